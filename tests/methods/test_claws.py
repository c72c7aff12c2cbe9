"""CLAWS: loss, clusters and suppression by hand."""

from __future__ import annotations

import math

import pytest
import torch

from oddframe.methods.mil.claws import ClawsOutput, NormalcySuppression, centre_distance
from oddframe.methods.registry import get_method

METHOD = get_method("claws")
LABELS = torch.tensor([0.0, 1.0])


def test_two_clusters_are_found() -> None:
    rng = torch.Generator().manual_seed(0)
    for distance in (0.5, 3.0):
        away = torch.zeros(1, 12, 4)
        away[:, [2, 3, 9], 1] = distance
        x = away + 0.01 * torch.randn(1, 12, 4, generator=rng)
        assert centre_distance(x).item() == pytest.approx(distance, rel=0.05)
    assert centre_distance(torch.ones(1, 5, 3)).item() == pytest.approx(0, abs=1e-5)
    assert centre_distance(torch.ones(1, 1, 3)).item() == pytest.approx(0, abs=1e-5)


def test_loss_by_hand() -> None:
    scores = torch.tensor([[0.2, 0.1, 0.3], [0.9, 0.5, 0.4]])
    hidden = torch.tensor([[[1.0, 0], [1, 0], [0.8, 0.6]], [[1, 0], [1, 0], [0.8, 0.6]]])
    loss = METHOD.loss(ClawsOutput(scores, scores.logit(), hidden), LABELS, METHOD.Config())
    terms = {name: term.item() for name, term in loss.terms.items()}
    assert terms["cls"] == pytest.approx((0.04 + 0.01 + 0.09 + 0.01 + 0.25 + 0.36) / 6)
    apart = math.hypot(0.2, 0.6)
    assert terms["cluster"] == pytest.approx(apart + (1 - apart))
    assert terms["smooth"] == pytest.approx(0.4**2 + 0.1**2)
    assert terms["sparse"] == pytest.approx(1.8)
    weighted = terms["cls"] + 0.1 * terms["cluster"]
    assert loss.total.item() == pytest.approx(weighted + 8e-5 * (terms["smooth"] + terms["sparse"]))


def test_clusters_of_abnormal_videos_are_pushed_apart_and_of_normal_ones_together() -> None:
    near, far = torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[1.0, 0], [0, 1]])
    scores = torch.full((2, 2), 0.5)

    def cluster(normal: torch.Tensor, abnormal: torch.Tensor) -> float:
        out = ClawsOutput(scores, scores.logit(), torch.stack([normal, abnormal]))
        return METHOD.loss(out, LABELS, METHOD.Config()).terms["cluster"].item()

    assert cluster(near, far) == pytest.approx(0, abs=1e-5)
    assert cluster(far, near) == pytest.approx(math.sqrt(2) + 1, abs=1e-5)


def test_suppression_keeps_constant_features() -> None:
    torch.manual_seed(0)
    suppress = NormalcySuppression(3)
    x = torch.rand(1, 1, 3).expand(1, 40, 3)
    torch.testing.assert_close(suppress(x), x)


def test_suppression_by_hand_after_both_layers() -> None:
    torch.manual_seed(0)
    network = METHOD.network(6, METHOD.Config(hidden=5, bottleneck=4)).eval()
    for layer in (network.suppress, network.suppress_again):
        torch.nn.init.normal_(layer.weigh.weight)
    x = torch.randn(2, 7, 6)

    def suppressed(y: torch.Tensor, weigh: torch.nn.Module) -> torch.Tensor:
        exp = weigh(y).exp()
        return y * exp / exp.mean(1, keepdim=True)  # Over time, of mean 1.

    y = suppressed(network.first(x), network.suppress.weigh)
    y = suppressed(network.second(y), network.suppress_again.weigh)
    out = network(x, LABELS)
    torch.testing.assert_close(out.logits, network.score(y).squeeze(-1))
    torch.testing.assert_close(out.hidden, torch.nn.functional.normalize(y, dim=-1))


def test_clusters_are_the_result_of_all_iterations() -> None:
    """It starts at 12 and 0, from where 5.5 belongs to 0; not so from the first means."""
    x = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.5, 6.5, 7.0, 12.0])[None, :, None]
    assert centre_distance(x).item() == pytest.approx((5.5 + 6.5 + 7 + 12) / 4)


def test_an_untrained_network_does_not_suppress_or_saturate() -> None:
    torch.manual_seed(0)
    network = METHOD.network(1024, METHOD.Config()).eval()
    x = torch.randn(4, 96, 1024)
    assert isinstance(network.suppress, NormalcySuppression)
    torch.testing.assert_close(network.suppress(x[..., :512]), x[..., :512])
    # Where a sigmoid is 0 or 1 a squared error has no slope, and nothing is learned.
    assert network(x).scores.sub(0.5).abs().quantile(0.95) < 0.47


def test_the_gradient_of_a_centre_is_shared_by_its_members() -> None:
    """The gradient of the distance of centres is shared by the members of a cluster."""
    bag = torch.tensor([[1.0, 0], [1, 0], [0.8, 0.6]])
    hidden = torch.stack([bag, bag]).requires_grad_()
    scores = torch.full((2, 3), 0.5)
    config = METHOD.Config(cluster=1.0)
    METHOD.loss(ClawsOutput(scores, scores.logit(), hidden), LABELS, config).total.backward()
    way = (bag[0] - bag[2]) / math.hypot(0.2, 0.6)
    expected = torch.stack([way / 2, way / 2, -way])
    torch.testing.assert_close(hidden.grad, torch.stack([expected, -expected]))
