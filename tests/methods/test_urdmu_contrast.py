"""UR-DMU's contrastive terms: as a plain loop has them, and settings that do nothing when off."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.nn import functional as F

from oddframe.errors import UsageError
from oddframe.methods.mil.urdmu import UrDmu, memory_contrast, snippet_contrast, ur_dmu_loss
from oddframe.methods.mil.urdmu_network import UrDmuConfig, UrDmuNetwork, UrDmuOutput
from oddframe.training.step import microbatches
from oddframe.training.train import check_pretrained
from tests.test_modelfile import SPEC, made_model
from tests.training.planted import SMALL, small_config

SIZES = st.integers(1, 5)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(F.cosine_similarity(a, b, dim=0))


def plain_nce(positive: float, negatives: list[float], temperature: float) -> float:
    total = sum(math.exp(each / temperature) for each in [positive, *negatives])
    return -math.log(math.exp(positive / temperature) / total)


@given(SIZES, SIZES, SIZES, st.integers(0, 99), st.sampled_from([0.1, 0.5]))
def test_the_memory_term_is_that_of_a_plain_loop(
    snippets: int, own: int, other: int, seed: int, temperature: float
) -> None:
    rng = torch.Generator().manual_seed(seed)
    x, a, b = (torch.randn(n, 6, generator=rng) for n in (snippets, own, other))
    expected = [
        plain_nce(max(cosine(row, slot) for slot in a), [cosine(row, n) for n in b], temperature)
        for row in x
    ]
    found = float(memory_contrast(x, a, b, temperature))
    assert found == pytest.approx(sum(expected) / len(expected), rel=1e-4, abs=1e-5)


@given(SIZES, SIZES, SIZES, st.integers(0, 99))
def test_the_snippet_term_is_that_of_a_plain_loop(
    videos: int, count: int, normals: int, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    odd = torch.randn(videos, count, 6, generator=rng)
    normal = torch.randn(normals, count, 6, generator=rng)
    expected = []
    for v, i in ((v, i) for v in range(videos) for i in range(count)):
        negatives = [cosine(odd[v, i], row) for row in normal.flatten(0, 1)]
        for w, j in ((w, j) for w in range(videos) for j in range(count)):
            if (w != v) if videos > 1 else (j != i):
                expected.append(plain_nce(cosine(odd[v, i], odd[w, j]), negatives, 0.1))
    mean = sum(expected) / len(expected) if expected else 0.0
    assert float(snippet_contrast(odd, normal, 0.1)) == pytest.approx(mean, rel=1e-4, abs=1e-5)


def output_of(config: UrDmuConfig) -> tuple[UrDmuOutput, torch.Tensor]:
    torch.manual_seed(0)
    labels = torch.tensor([0.0, 0, 0, 1, 1, 1])
    network = UrDmuNetwork(24, config).eval()
    output = network(torch.randn(6, 20, 24), labels)
    assert isinstance(output, UrDmuOutput)
    return output, labels


def test_each_term_counts_as_often_as_its_weight_says() -> None:
    output, labels = output_of(UrDmuConfig.model_validate(SMALL))
    off = ur_dmu_loss(output, labels, UrDmuConfig.model_validate(SMALL))
    assert not [name for name in off.terms if name.startswith("contrast")]
    for name in ("contrast_memory", "contrast_snippets"):
        config = UrDmuConfig.model_validate({**SMALL, name: 0.3})
        on = ur_dmu_loss(output, labels, config)
        assert float(on.terms[name]) > 0
        torch.testing.assert_close(on.total - off.total, 0.3 * on.terms[name])


def test_both_terms_train_network_and_memories() -> None:
    config = UrDmuConfig.model_validate({**SMALL, "contrast_memory": 1, "contrast_snippets": 1})
    network = UrDmuNetwork(24, config)
    labels = torch.tensor([0.0, 0, 1, 1])
    losses = []
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    torch.manual_seed(0)
    x = torch.randn(4, 20, 24)
    for _ in range(30):
        optimiser.zero_grad()
        loss = ur_dmu_loss(network(x, labels), labels, config)
        loss.total.backward()  # type: ignore[no-untyped-call]
        assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
        optimiser.step()
        losses.append(float(loss.terms["contrast_memory"] + loss.terms["contrast_snippets"]))
    assert losses[-1] < losses[0] / 2


def test_settings_that_are_off_are_in_no_file() -> None:
    assert not [name for name in UrDmuConfig().model_dump() if name.startswith("contrast")]
    config = UrDmuConfig(contrast_memory=0.1)
    assert config.model_dump()["contrast_memory"] == 0.1
    assert UrDmuConfig.model_validate(config.model_dump()) == config


def test_they_need_both_memories() -> None:
    with pytest.raises(ValidationError, match="both memories"):
        UrDmuConfig(memory="anomaly", contrast_memory=0.1)


def test_videos_that_are_compared_with_each_other_stay_in_one_batch() -> None:
    config = small_config(recipe={"normal_bags": 64, "abnormal_bags": 64, "segments": 200})
    parts = {}
    for name in ("contrast_memory", "contrast_snippets"):
        section = config.method.model_copy(update={"config": {**SMALL, name: 0.1}})
        parts[name] = len(microbatches(config.model_copy(update={"method": section}), 1))
    assert parts["contrast_memory"] > 1
    assert parts["contrast_snippets"] == 1
    assert UrDmu().splits_batches(UrDmuConfig())


def test_a_model_trained_otherwise_is_named_by_the_field() -> None:
    model = made_model()
    section = small_config().method.model_copy(update={"config": {**SMALL, "contrast_memory": 0.1}})
    config = small_config().model_copy(update={"method": section})
    with pytest.raises(UsageError, match=r"contrast_memory: 0\.0, not 0\.1"):
        check_pretrained(model, config, SPEC)
