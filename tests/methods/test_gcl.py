"""GCL: both losses by hand; it finds rare snippets and never reads labels."""

from __future__ import annotations

from math import log

import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score
from torch import Tensor

from oddframe.methods.gcl import GclOutput, threshold_labels
from oddframe.methods.registry import get_method
from tests.methods.planted import Planted, Small, trained
from tests.methods.test_behaviour import NoLoss

METHOD = get_method("gcl")
LABELS = torch.tensor([0.0, 1.0])
SMALL = Small({"wide": 32, "narrow": 8, "hidden": 32, "bottleneck": 16, "dropout": 0.2}, 3e-3, 400)


def rare(n: int, seed: int) -> Planted:
    """Snippets in six dimensions of 24, except for one in twenty; labels are random."""
    axes = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(7)))[0]
    rng = torch.Generator().manual_seed(seed)
    odd = torch.rand(2 * n, 32, generator=rng) < 0.05
    inside = torch.randn(2 * n, 32, 6, generator=rng) @ axes[:6]
    outside = torch.randn(2 * n, 32, 6, generator=rng) @ axes[6:12]
    bags = torch.where(odd[..., None], outside, inside)
    return Planted(bags + 0.1 * torch.randn(bags.shape, generator=rng), LABELS.repeat(n), odd)


def output(done: float) -> GclOutput:
    """Three snippets a bag; only the error 6 and the score 0.9 are far above the mean."""
    scores = torch.tensor([[0.1, 0.2, 0.1], [0.1, 0.9, 0.2]])
    error = torch.tensor([[1.0, 1.0, 6.0], [1.0, 2.0, 1.0]])
    ones = torch.tensor([[3.0, 3.0, 3.0], [3.0, 0.5, 3.0]])
    return GclOutput(scores, scores.logit(), error, ones, torch.full((2,), done))


def test_labels_are_values_far_above_the_mean() -> None:
    values = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 6.0]])  # Mean 1, deviation sqrt(5).
    assert threshold_labels(values, 1.0).tolist() == [[0, 0, 0], [0, 0, 1]]
    assert threshold_labels(values, 2.3).sum() == 0
    assert threshold_labels(torch.ones(2, 3), 1.0).sum() == 0


@pytest.mark.parametrize("done", [0.1, 0.3, 0.5])
def test_loss_by_hand(done: float) -> None:
    loss = METHOD.loss(output(done), LABELS, METHOD.Config())
    # The third snippet is odd for the generator, the fifth for the discriminator.
    tell = -(log(0.9) + log(0.8) + log(0.1) + log(0.9) + log(0.1) + log(0.8)) / 6
    make = (1 + 1 + 6 + 1 + (0.5 if done == 0.5 else 2) + 1) / 6
    assert loss.terms["make"].item() == pytest.approx(make)
    assert loss.terms["tell"].item() == pytest.approx(tell, rel=1e-5)
    assert loss.total.item() == pytest.approx(make + (0 if done == 0.1 else tell), rel=1e-5)


def test_the_generator_by_hand() -> None:
    torch.manual_seed(0)
    network = METHOD.network(6, METHOD.Config(**SMALL.config)).eval()
    layers = [layer for layer in network.generator if isinstance(layer, torch.nn.Linear)]
    assert [layer.out_features for layer in layers] == [32, 8, 32, 6]
    made = x = torch.randn(2, 5, 6)
    for layer in layers[:-1]:
        made = layer(made).clamp(min=0)
    made = layers[-1](made)
    out = network(x, LABELS)
    torch.testing.assert_close(out.error, ((x - made) ** 2).mean(-1))
    torch.testing.assert_close(out.to_ones, ((1 - made) ** 2).mean(-1))
    config = METHOD.Config()
    assert config.narrow < config.wide  # What goes through is less than what came in.


def test_labels_do_not_matter_to_the_loss() -> None:
    found = [METHOD.loss(output(1.0), labels, METHOD.Config()) for labels in (LABELS, 1 - LABELS)]
    assert found[0].total == found[1].total


def test_negative_learning_draws_abnormal_snippets_to_ones() -> None:
    """Distances to ones have a gradient only where the discriminator's label is abnormal."""
    made = output(1.0)
    made.to_ones.requires_grad_()
    made.error.requires_grad_()
    METHOD.loss(made, LABELS, METHOD.Config()).total.backward()
    odd = torch.tensor([[0.0, 0, 0], [0, 1, 0]])
    torch.testing.assert_close(made.to_ones.grad, odd / 6)
    torch.testing.assert_close(made.error.grad, (1 - odd) / 6)


def found(method: object, bags: Planted, seed: int = 0) -> float:
    config = METHOD.Config(**SMALL.config)
    network = trained(method, config, SMALL, bags.bags, bags.labels, seed)  # type: ignore[arg-type]
    test = rare(40, 1)
    with torch.inference_mode():
        logits: Tensor = network(test.bags).logits
    return float(roc_auc_score(test.odd.flatten(), logits.flatten()))


def test_rare_snippets_are_found_but_not_without_the_loss() -> None:
    assert found(METHOD, rare(100, 0)) > 0.95
    assert found(NoLoss(METHOD), rare(100, 0)) < 0.8


def test_stages_come_in_order() -> None:
    with pytest.raises(ValidationError, match="not be less than generator_share"):
        METHOD.Config(generator_share=0.6)


def test_the_threshold_is_set_by_deviations() -> None:
    """Both snippets are 2.2 standard deviations above the mean."""
    loss = METHOD.loss(output(1.0), LABELS, METHOD.Config(deviations=2.5))
    assert loss.terms["make"].item() == pytest.approx(2)
    tell = -sum(log(1 - s) for s in (0.1, 0.2, 0.1, 0.1, 0.9, 0.2)) / 6
    assert loss.terms["tell"].item() == pytest.approx(tell, rel=1e-5)
