"""What every method must do. A new one in the registry is tested here automatically.

``SMALL`` has a config for those whose default widths are too slow for a test.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from oddframe.methods.base import AnyMethod, Loss, OneClass, Unsupervised, WeaklySupervised
from oddframe.methods.registry import get_method, method_names
from tests.methods.planted import Planted, Small, planted, trained

SMALL: dict[str, Small] = {
    "ur_dmu": Small(
        {
            "hidden": 16,
            "heads": 2,
            "head_dim": 8,
            "depth": 1,
            "classifier_hidden": 16,
            "dropout": 0.2,
        },
        lr=5e-3,
    ),
    "oddframe": Small({"hidden": 16, "heads": 2, "head_dim": 8, "deep_share": 1.0}, lr=5e-3),
    "linear": Small(lr=1e-2),
    "sultani": Small({"hidden": 32, "dropout": 0.2}, 5e-2, 150),
    "rtfm": Small({"hidden": 16, "dropout": 0.1}, lr=5e-3),
    "hl_net": Small(
        {"hidden": 64, "fused": 32, "graph": 16, "dropout": 0.1, "online_lr": 5e-3}, 5e-3, 150
    ),
    "pel4vad": Small({"width": 16, "out": 16, "kernel": 3, "smooth": "none"}, lr=1e-2),
    "bn_wvad": Small(
        {
            "hidden": 512,
            "heads": 2,
            "head_dim": 8,
            "depth": 1,
            "video_share": 0.08,
            "batch_share": 0.08,
        },
        1e-3,
        150,
    ),
    "msl": Small({"hidden": 32, "heads": 2, "depth": 1}),
    "gcn": Small({"hidden": 32, "bottleneck": 16, "dropout": 0.3, "rounds": 2}, 1e-2, 200),
    "crfd": Small({"hidden": 256, "inner": 8, "kernel": 1, "dropout": 0.1}, 1e-3, 200),
    "mist": Small({"hidden": 32, "dropout": 0.2, "sub_bag": 2, "smooth": 1}, lr=5e-3),
    "claws": Small({"hidden": 128, "bottleneck": 32, "dropout": 0.2}, 3e-3, 200),
    "ibl": Small({"hidden": 32, "kernel": 1, "dropout": 0.1}, lr=5e-3),
    "ma": Small({"hidden": 32, "dropout": 0.2}, lr=5e-3),
    # The 16 numbers of a snippet as frames: one of 4x4, four of 2x2.
    "hasan": Small({"frames": 1, "widths": [4, 4, 4], "kernel": 1, "stride": 1}),
    "lu": Small({"frames": 4, "height": 2, "cube": 2, "sizes": [[2, 2]], "components": 4}),
    "acf": Small({"hidden": 64, "dropout": 0.2}, lr=5e-3),
    "gcl": Small({"wide": 32, "narrow": 8, "hidden": 32, "bottleneck": 16, "dropout": 0.2}),
    "pang": Small({"hidden": 64, "inner": 8, "rank": 64, "dropout": 0.2}, lr=5e-3),
}
# Methods that are fitted at once have tests of their own.
TRAINED = [
    name
    for name in method_names()
    if not (get_method(name).one_class or get_method(name).closed_form)
]
WEAK = [name for name in TRAINED if not get_method(name).unsupervised]
KINDS = (WeaklySupervised, OneClass, Unsupervised)
LABELS = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])

every_method = pytest.mark.parametrize("name", method_names())
every_trained_method = pytest.mark.parametrize("name", TRAINED)
every_weak_method = pytest.mark.parametrize("name", WEAK)


def small(name: str, **fields: Any) -> tuple[AnyMethod, BaseModel]:
    """The method and a config for a small network."""
    method = get_method(name)
    known = {key: value for key, value in fields.items() if key in method.Config.model_fields}
    settings = dict(SMALL.get(name, Small()).config) | known
    return method, method.Config.model_validate(settings)


def network(name: str, dim: int = 16, **fields: Any) -> nn.Module:
    """A network whose parameters are all random, also those that start at zero."""
    method, config = small(name, **fields)
    torch.manual_seed(0)
    made: nn.Module = method.network(dim, config)
    with torch.no_grad():
        for parameter in made.parameters():
            if not parameter.count_nonzero():
                parameter.normal_(std=0.3)
    return made


@cache
def data() -> tuple[Planted, Planted]:
    """Training and test bags."""
    return planted(160, 0), planted(40, 1)


def auc(made: nn.Module, test: Planted) -> float:
    with torch.inference_mode():
        logits = made(test.bags).logits
    return float(roc_auc_score(test.odd.flatten(), logits.flatten()))


def learns(method: AnyMethod, config: BaseModel, how: Small, seeds: int = 1) -> None:
    """Assert that it learns the planted anomaly from the bags' labels with most of the seeds."""
    (train, test), found = data(), []
    for seed in range(seeds):
        found.append(auc(trained(method, config, how, train.bags, train.labels, seed), test))
        if 2 * sum(each > 0.95 for each in found) > seeds:
            return
    raise AssertionError(found)


def test_the_mean_of_a_bag_does_not_give_its_label_away() -> None:
    train, test = data()
    model = LogisticRegression(max_iter=1000).fit(train.bags.mean(1), train.labels)
    guessed = model.decision_function(test.bags.mean(1))
    assert 0.35 < roc_auc_score(test.labels, guessed) < 0.7
    snippets = model.decision_function(test.bags.flatten(0, 1))
    assert roc_auc_score(test.odd.flatten(), snippets) < 0.95


@every_weak_method
def test_learns_the_planted_anomaly(name: str) -> None:
    learns(*small(name), SMALL.get(name, Small()), seeds=3)


class NoLoss:
    """A method whose loss is replaced by zero."""

    def __init__(self, method: AnyMethod):
        self.method = method

    def __getattr__(self, name: str) -> Any:
        return getattr(self.method, name)

    def loss(self, output: Any, labels: Tensor, config: BaseModel) -> Loss:
        loss = self.method.loss(output, labels, config)
        return replace(loss, total=0 * loss.total)


@every_weak_method
def test_does_not_learn_without_its_loss(name: str) -> None:
    method, config = small(name)
    with pytest.raises(AssertionError):
        learns(NoLoss(method), config, SMALL.get(name, Small()))  # type: ignore[arg-type]


@pytest.mark.slow
@every_weak_method
def test_learns_nothing_from_shuffled_labels(name: str) -> None:
    """Half of each class is labelled abnormal, then the other half, with as many seeds as the mean
    needs."""
    (method, config), (train, test) = small(name), data()
    how, found = replace(SMALL.get(name, Small()), steps=20), []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        shuffled = np.concatenate([rng.permutation(160) % 2 for _ in range(2)])
        labels = torch.from_numpy(shuffled).float()
        each = [trained(method, config, how, train.bags, to, seed) for to in (labels, 1 - labels)]
        found.append(np.mean([auc(made, test) for made in each]))
        if seed >= 3 and np.std(found) / len(found) ** 0.5 < 0.04:
            break
    assert abs(np.mean(found) - 0.5) < 0.1, found


@every_method
def test_videos_of_a_batch_are_independent(name: str) -> None:
    made = network(name).eval()
    bags = torch.randn(5, 9, 16)
    with torch.inference_mode():
        together = made(bags).logits
        alone = torch.cat([made(bag[None]).logits for bag in bags])
        turned = made(bags.flip(0)).logits.flip(0)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together, turned, atol=1e-4, rtol=1e-4)


@every_method
def test_crops_are_averaged_in_any_order(name: str) -> None:
    made = network(name).eval()
    crops = torch.randn(2, 3, 9, 16)
    with torch.inference_mode():
        scores = made(crops).scores
        each = torch.stack([made(crops[:, i]).scores for i in range(3)])
        torch.testing.assert_close(scores, each.mean(0), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(scores, made(crops.flip(1)).scores, atol=1e-5, rtol=1e-4)


@every_method
@pytest.mark.parametrize("length", [1, 2, 50, 301])
def test_scores_of_videos_of_any_length(name: str, length: int) -> None:
    with torch.inference_mode():
        found = network(name).eval()(torch.randn(2, length, 16))
    assert found.scores.shape == found.logits.shape == (2, length)
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    low, high = found.logits.flatten().sort().indices[[0, -1]]
    assert found.scores.flatten()[low] <= found.scores.flatten()[high]


@every_trained_method
@pytest.mark.parametrize("length", [1, 32])
def test_normal_and_abnormal_bags_come_in_any_order(name: str, length: int) -> None:
    method, config = small(name, dropout=0.0)
    bags, losses = torch.randn(6, length, 16), []
    for order in ([0, 1, 2, 3, 4, 5], [3, 0, 4, 1, 5, 2]):  # Each kind in its own order.
        made = network(name, dropout=0.0)
        torch.manual_seed(0)
        losses.append(method.loss(made(bags[order], LABELS[order]), LABELS[order], config))
    assert losses[0].total.isfinite()
    torch.testing.assert_close(losses[0].total, losses[1].total, atol=1e-5, rtol=1e-4)
    for term, value in losses[0].terms.items():
        torch.testing.assert_close(value, losses[1].terms[term], atol=1e-5, rtol=1e-4)


class Held(TorchFunctionMode):
    """Detached tensors keep the value that they had in the first pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first: list[Tensor] = []
        self.at: int | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is not Tensor.detach:
            return func(*args, **(kwargs or {}))
        if self.at is None:
            self.first.append(func(*args).clone())
            return self.first[-1]
        self.at += 1
        return self.first[self.at - 1]


@every_trained_method
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    method, config = small(name, dropout=0.0)
    made, bags = network(name, dropout=0.0).double(), torch.randn(6, 20, 16).double()
    held = Held()

    def loss(at: nn.Module) -> Tensor:
        torch.manual_seed(0)
        with held:
            return method.loss(at(bags, LABELS.double()), LABELS.double(), config).total

    base = deepcopy(made)
    loss(base).backward()
    gradients = [p.grad for p in base.parameters()]
    assert any(g is not None and g.abs().max() > 1e-6 for g in gradients)

    def moved(step: float, direction: list[Tensor]) -> float:
        at, held.at = deepcopy(made), 0
        with torch.no_grad():
            for parameter, way in zip(at.parameters(), direction, strict=True):
                parameter += step * way
            return loss(at).item()

    for seed in range(4):
        rng = torch.Generator().manual_seed(seed)
        drawn = [torch.randn(p.shape, generator=rng).double() for p in made.parameters()]
        length = torch.cat([w.flatten() for w in drawn]).norm()
        way = [w / length for w in drawn]
        slope = sum(
            (g * w).sum().item() for g, w in zip(gradients, way, strict=True) if g is not None
        )
        found = (moved(1e-5, way) - moved(-1e-5, way)) / 2e-5
        assert found == pytest.approx(slope, rel=1e-4, abs=1e-7)


@every_method
def test_documents_its_origin(name: str) -> None:
    info = get_method(name).info
    assert info.paper
    assert info.evidence
    assert info.checked != "from the paper" or info.deviations, "say what was chosen"


@every_method
def test_its_type_says_what_it_learns_from(name: str) -> None:
    method = get_method(name)
    kinds = [kind for kind in KINDS if isinstance(method, kind)]
    assert len(kinds) == 1
    assert method.one_class == (kinds == [OneClass])
    assert method.unsupervised == (kinds == [Unsupervised])
    assert method.needs_abnormal_videos == (kinds == [WeaklySupervised])
    target = method.describe_target(["fight", "fall", "fight"])
    assert (
        target
        == {
            WeaklySupervised: "fall, fight",
            OneClass: "what is unusual",
            Unsupervised: "what is rare",
        }[kinds[0]]
    )
