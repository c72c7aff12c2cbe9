"""oddframe's own method: UR-DMU without the additions, and the additions by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oddframe.methods.mil.oddframe import (
    NormalDistance,
    Oddframe,
    OddframeConfig,
    OddframeNetwork,
    gaussian_blur,
)
from oddframe.methods.mil.urdmu import UrDmu
from oddframe.research.fold_training import smooth_scores

DIM = 12
LABELS = torch.tensor([0.0, 0.0, 1.0, 1.0])
SMALL = {"hidden": 16, "heads": 2, "head_dim": 8}


def bags(seed: int = 0, count: int = 4, length: int = 20) -> torch.Tensor:
    return torch.randn(count, length, DIM, generator=torch.Generator().manual_seed(seed))


def network(**fields: object) -> tuple[OddframeNetwork, OddframeConfig]:
    """A small network with random last layers, which would start at zero."""
    config = OddframeConfig.model_validate(SMALL | fields)
    torch.manual_seed(0)
    made = Oddframe().network(DIM, config)
    with torch.no_grad():
        for parameter in made.parameters():
            if not parameter.count_nonzero():
                parameter.normal_(std=0.3)
    return made, config


@pytest.mark.parametrize("kind", ["contextual", "snippetwise"])
def test_one_network_without_the_additions_is_ur_dmu(kind: str) -> None:
    one = {"contextual": 0, "snippetwise": 0, kind: 1}
    bare = {"deep_share": 1.0, "distance": 0.0, "blur": 0.0, "dropout": 0.0}
    made, config = network(**bare, **one)
    (member,) = config.members
    alone = UrDmu().network(DIM, member)
    state = made.members[0].state_dict()
    if kind == "snippetwise":  # Its embedding has no weight for neighbours.
        name = "base.embedding.conv_1.0.weight"
        none = torch.zeros_like(state[name])
        state[name] = torch.cat([none, state[name], none], dim=2)
    alone.load_state_dict(state)
    x = bags()
    torch.testing.assert_close(made.eval()(x).scores, alone.eval()(x).scores)
    losses = []
    for method, each, settings in ((Oddframe(), made, config), (UrDmu(), alone, member)):
        torch.manual_seed(1)
        losses.append(method.loss(each.train()(x, LABELS), LABELS, settings))  # type: ignore[attr-defined]
    assert losses[0].terms.keys() == losses[1].terms.keys()
    torch.testing.assert_close(losses[0].total, losses[1].total)


def test_one_network_sees_the_video_and_one_a_snippet() -> None:
    made, _ = network()
    x = bags()
    for member, sees_all in zip(made.eval().members, (True, False), strict=True):
        one_by_one = torch.cat([member(x[:, i : i + 1]).logits for i in range(x.shape[1])], dim=1)
        assert torch.allclose(member(x).logits, one_by_one, atol=1e-5) != sees_all


def test_a_config_without_networks_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one network"):
        OddframeConfig(contextual=0, snippetwise=0)


def test_networks_are_trained_independently_and_averaged() -> None:
    made, config = network(contextual=1, snippetwise=2, distance=0.0, blur=0.0, dropout=0.0)
    x = bags()
    each = torch.stack([member.eval()(x).logits for member in made.members])
    torch.testing.assert_close(made.eval()(x).logits, each.mean(0))
    assert not torch.allclose(each[0], each[1])
    torch.manual_seed(1)
    output = made.train()(x, LABELS)
    members = zip(output.members, config.members, strict=True)
    alone = [UrDmu().loss(one, LABELS, settings).total for one, settings in members]
    torch.testing.assert_close(
        Oddframe().loss(output, LABELS, config).total, torch.stack(alone).mean()
    )


def test_linear_shortcuts_have_their_own_learning_rate() -> None:
    made, config = network()
    deep, linear = Oddframe().parameter_groups(made, config)
    assert linear["lr"] == config.members[0].shortcut_lr
    assert len(linear["params"]) == 4
    ids = [id(p) for p in (*deep["params"], *linear["params"])]
    assert sorted(ids) == sorted(id(p) for p in made.parameters())


def test_a_distance_is_standardised_by_normal_snippets() -> None:
    normal = torch.tensor([[0.0, 10.0], [2.0, 30.0], [4.0, 50.0]])
    measure = NormalDistance(2)
    assert measure(normal[None]).abs().max() == 0  # Until it is told what is normal.
    measure.calibrate(normal, torch.tensor(0.5))
    # Deviations of 2 and 20: squared distances of the three are 1, 0 and 1, of the far one 9.
    logs = torch.tensor([0.0, np.log(1e-6), 0.0])
    far = torch.tensor([[[8.0, 30.0]]])
    expected = 0.5 * (np.log(9 / 2) - logs.mean()) / logs.std()
    torch.testing.assert_close(measure(far)[0, 0], expected.float())


def test_the_distance_is_added_by_its_weight() -> None:
    x, far = bags(), 6.0 * bags(3)
    rises = []
    for weight in (0.0, 0.5, 1.0):
        made, _ = network(distance=weight, blur=0.0)
        made.eval()
        before = made(far).logits
        with torch.inference_mode():
            Oddframe().calibrate(made, iter(x[i : i + 1] for i in range(4)))
        rises.append((made(far).logits - before).mean())
    assert rises[0] == 0
    assert rises[2] > 0
    torch.testing.assert_close(rises[2], 2 * rises[1])


def test_statistics_are_saved_with_the_weights() -> None:
    made, _ = network()
    with torch.inference_mode():
        Oddframe().calibrate(made.eval(), iter([bags()[:1]]))
    again, _ = network()
    again.load_state_dict(made.state_dict())
    torch.testing.assert_close(again.eval()(bags(5)).scores, made(bags(5)).scores)


@pytest.mark.parametrize("length", [1, 2, 30])
def test_smoothing_is_that_of_the_protocol(length: int) -> None:
    logits = torch.randn(2, length, dtype=torch.float64)
    for row, done in zip(logits, gaussian_blur(logits, 0.7), strict=True):
        np.testing.assert_allclose(done, smooth_scores(row.numpy(), 0.7), atol=1e-12)
    assert torch.equal(gaussian_blur(logits, 0.0), logits)


@pytest.mark.parametrize("spacing", [0.5, 1.0, 5.0])
def test_smoothing_lasts_as_long_at_any_spacing(spacing: float) -> None:
    """Otherwise ``fast``, a snippet in 3.2 s, would smooth short events over seven seconds."""
    rough, _ = network(blur=0.0)
    fine, _ = network(blur=0.7)
    logits = fine.eval()(bags(), spacing=spacing).logits
    torch.testing.assert_close(logits, gaussian_blur(rough.eval()(bags()).logits, 0.7 / spacing))
    if spacing == 5.0:
        torch.testing.assert_close(logits, rough(bags()).logits, atol=1e-4, rtol=1e-4)


@given(st.floats(-50, 50), st.integers(1, 40), st.floats(0.1, 5))
def test_smoothing_keeps_constant_scores(level: float, length: int, deviation: float) -> None:
    flat = torch.full((1, length), level, dtype=torch.float64)
    torch.testing.assert_close(gaussian_blur(flat, deviation), flat)
