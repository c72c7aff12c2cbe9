"""Each term of the loss on small cases by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oddframe.errors import UsageError
from oddframe.methods.mil.urdmu import ur_dmu_loss
from oddframe.methods.mil.urdmu_network import UrDmuConfig, UrDmuNetwork, UrDmuOutput

LABELS = torch.tensor([0.0, 1.0])


def output(length: int = 4, hidden: int = 3) -> UrDmuOutput:
    """One normal and one abnormal video of ``length`` snippets."""
    ramp = torch.linspace(0.1, 0.9, length)
    values = torch.arange(2.0 * length * hidden).view(2, length, hidden) / 10 + 0.1
    scores = torch.stack([ramp, ramp.flip(0)])
    one = values[:1]
    return UrDmuOutput(scores, scores.logit(), values, scores, scores, values, one, -one, one)


def terms(out: UrDmuOutput, **fields: object) -> dict[str, float]:
    loss = ur_dmu_loss(out, LABELS, UrDmuConfig.model_validate(fields))
    return {name: term.item() for name, term in loss.terms.items()}


def test_classification() -> None:
    # k = 4 // 16 + 1 = 1: the highest score of either video, 0.9.
    expected = -(math.log(1 - 0.9) + math.log(0.9)) / 2
    assert terms(output())["cls"] == pytest.approx(expected)
    # k = 16 // 16 + 1 = 2: the mean of the two highest.
    top = torch.linspace(0.1, 0.9, 16)[-2:].mean().item()
    expected = -(math.log(1 - top) + math.log(top)) / 2
    assert terms(output(16))["cls"] == pytest.approx(expected)


def test_memory_terms() -> None:
    scores = torch.tensor([[0.6, 0.8], [0.3, 0.7]])
    found = terms(replace(output(2), normal_score=scores, anomaly_score=1 - scores))
    assert found["dm_n_of_normal"] == pytest.approx(-(math.log(0.6) + math.log(0.8)) / 2)
    assert found["dm_a_of_normal"] == pytest.approx(-(math.log(0.6) + math.log(0.8)) / 2)
    assert found["dm_a_of_abnormal"] == pytest.approx(-math.log(0.7))
    assert found["dm_n_of_abnormal"] == pytest.approx(-math.log(1 - 0.3))
    assert found["dm"] == pytest.approx(sum(v for k, v in found.items() if k[:3] == "dm_"))


def test_last_memory_term_of_the_paper() -> None:
    scores = torch.tensor([[0.6, 0.8], [0.3, 0.7]])
    out = replace(output(2), normal_score=scores)
    assert terms(out, dm_last="score")["dm_n_of_abnormal"] == pytest.approx(-math.log(0.7))


def test_triplet() -> None:
    x = torch.tensor([[[0.0, 2.0], [9.0, 9.0]], [[3.0, 0.0], [0.0, -5.0]]])
    normal = torch.tensor([[0.9, 0.1], [0.8, 0.2]])  # Anchor (0, 1), positive (1, 0).
    anomaly = torch.tensor([[0.5, 0.5], [0.1, 0.9]])  # Negative (0, -1).
    out = replace(output(2, 2), hidden=x, normal_score=normal, anomaly_score=anomaly)
    expected = math.sqrt(2) - 2 + 1
    assert terms(out)["trip"] == pytest.approx(expected, abs=1e-5)
    assert terms(out, triplet_margin=0.1)["trip"] == 0


@pytest.mark.parametrize(("rule", "times"), [("sum", 4), ("mean", 1)])
def test_divergence(rule: str, times: int) -> None:
    mu, logvar = torch.full((1, 4, 3), 2.0), torch.full((1, 4, 3), 1.0)
    out = replace(output(), normal_z_mu=mu, normal_z_logvar=logvar)
    one = 0.5 * (4 + math.e - 1 - 1)
    assert terms(out, kl_over_time=rule)["kl"] == pytest.approx(times * one)


@pytest.mark.parametrize(("norm", "expected"), [("plain", 100 - 13 + 5), ("squared", 0)])
def test_distance(norm: str, expected: float) -> None:
    scores = torch.tensor([[0.2, 0.8], [0.9, 0.1]])
    mu = torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[5.0, 12.0], [0.0, 0.0]]])
    z = torch.tensor([[[70.0, 70.0], [3.0, 4.0]]])
    out = replace(
        output(2, 2), normal_score=scores, anomaly_score=scores, anomaly_mu=mu, normal_z=z
    )
    assert terms(out, distance_norm=norm)["dis"] == pytest.approx(expected)
    short = replace(out, anomaly_mu=mu / 2)
    squared = max(0.0, 100 - 6.5**2 + 25)
    assert terms(short, distance_norm="squared")["dis"] == pytest.approx(squared)


def test_top_k_by_memory() -> None:
    # 33 normal slots: K = 3; 20 anomaly slots: K = 2, which is also the scores' K.
    found = terms(output(5), top_k="memory", anomaly_slots=20, normal_slots=33)
    ramp = torch.linspace(0.1, 0.9, 5)
    two, three = ramp[-2:].mean().item(), ramp[-3:].mean().item()
    assert found["cls"] == pytest.approx(-(math.log(1 - two) + math.log(two)) / 2)
    assert found["dm_a_of_abnormal"] == pytest.approx(-math.log(two))
    assert found["dm_n_of_abnormal"] == pytest.approx(-math.log(three))
    # Fewer snippets than K: all of them.
    assert terms(output(1), top_k="memory", normal_slots=60)["dm"] > 0


def test_weights_of_the_total() -> None:
    out = output()
    weights = {"cls": 2.0, "dm": 0.0, "trip": 3.0, "kl": 0.0, "dis": 0.5}
    config = UrDmuConfig.model_validate({"loss_weights": weights})
    loss = ur_dmu_loss(out, LABELS, config)
    expected = sum(weights[name] * loss.terms[name] for name in weights)
    torch.testing.assert_close(loss.total, torch.as_tensor(expected))


def test_weights_are_the_published_ones() -> None:
    published = {"cls": 1.0, "dm": 0.1, "trip": 0.1, "kl": 0.001, "dis": 0.0001}
    assert dict(UrDmuConfig().loss_weights) == published


def test_terms_of_weight_0_are_left_out_of_the_total() -> None:
    out = replace(output(), normal_z_logvar=torch.full((1, 4, 3), 200.0))
    config = UrDmuConfig.model_validate({"loss_weights": {"kl": 0}})
    assert ur_dmu_loss(out, LABELS, config).total.isfinite()


def small(**fields: object) -> UrDmuConfig:
    sizes = {"hidden": 8, "heads": 2, "head_dim": 4, "classifier_hidden": 4, "dropout": 0.0}
    return UrDmuConfig.model_validate(sizes | fields)


class Quiet(UrDmuNetwork):
    """The network without noise."""

    def __init__(self, dim: int, config: UrDmuConfig) -> None:
        super().__init__(dim, config)
        self.config = config

    def noise(self, like: Tensor) -> Tensor:
        return torch.zeros_like(like)


@settings(max_examples=15)
@given(
    pairs=st.permutations(range(3)),
    abnormal_first=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    variant=st.sampled_from(["official", "paper"]),
)
def test_order_of_the_batch_does_not_matter(
    pairs: list[int], abnormal_first: tuple[bool, bool, bool], variant: str
) -> None:
    quiet = Quiet(6, small(variant=variant))
    labels = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    features = torch.rand(6, 20, 6)
    order: list[int] = []  # The i-th normal video stays with the i-th abnormal one.
    for pair, swapped in zip(pairs, abnormal_first, strict=True):
        order += (pair + 3, pair) if swapped else (pair, pair + 3)
    mixed = ur_dmu_loss(quiet(features[order], labels[order]), labels[order], quiet.config)
    plain = ur_dmu_loss(quiet(features, labels), labels, quiet.config)
    torch.testing.assert_close(mixed.total, plain.total)


@settings(max_examples=25)
@given(
    length=st.integers(1, 70),
    normal=st.integers(1, 3),
    abnormal=st.integers(1, 3),
    variant=st.sampled_from(["official", "paper"]),
)
def test_finite_for_any_length_and_balance(
    length: int, normal: int, abnormal: int, variant: str
) -> None:
    labels = torch.tensor([1.0] * abnormal + [0.0] * normal)
    config = small(variant=variant)
    network = UrDmuNetwork(6, config)
    features = torch.rand(len(labels), length, 6)
    loss = ur_dmu_loss(network(features, labels), labels, config)
    loss.total.backward()
    assert loss.total.isfinite()
    assert all(term.isfinite() for term in loss.terms.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_batch_of_one_class_is_refused(label: float) -> None:
    labels = torch.full((2,), label)
    network = UrDmuNetwork(6, small())
    with pytest.raises(UsageError, match="normal and abnormal"):
        ur_dmu_loss(network(torch.rand(2, 5, 6), labels), labels, small())
