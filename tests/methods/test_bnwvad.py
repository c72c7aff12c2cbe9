"""BN-WVAD: loss, selection and criterion by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from oddframe.methods.mil.bnwvad import BatchNormHead, BnWvadNetwork, BnWvadOutput, select_abnormal
from oddframe.methods.registry import get_method
from oddframe.training.loop import fit
from tests.training.planted import DIM, planted, small_config

METHOD = get_method("bn_wvad")
LABELS = torch.tensor([0.0, 1.0])


def output(head: Tensor, first: Tensor, second: Tensor) -> BnWvadOutput:
    return BnWvadOutput(head, head.logit(), head, first, second)


def test_loss_by_hand() -> None:
    head = torch.tensor([[0.3, 0.4, 0.0, 0.0, 0.0], [0.9] * 5])
    # A fifth of five is one a video, two fifths of the batch are two.
    first = torch.tensor([[1.0, 3.0, 2.0, 0.0, 0.0], [1.0, 2.5, 0.0, 7.0, 0.0]])
    second = torch.tensor([[1.0, 1.0, 1.0, 1.0, 1.0], [1.2, 1.2, 9.0, 0.0, 0.0]])
    second[1, 1] = 1.3
    loss = METHOD.loss(output(head, first, second), LABELS, METHOD.Config())
    terms = {name: term.item() for name, term in loss.terms.items()}
    assert terms["normal"] == pytest.approx(0.5)
    # Odd ones in their order, 2.5 and 7; normal ones from the farthest on, 3 and 2.
    assert terms["first"] == pytest.approx(((3 - 2.5 + 1) + 0) / 2)
    assert terms["second"] == pytest.approx(((1 - 1.3 + 1) + 0) / 2)
    weighted = terms["normal"] + 5 * terms["first"] + 20 * terms["second"]
    assert loss.total.item() == pytest.approx(weighted)


def test_the_farthest_of_each_video_and_of_the_batch_are_selected() -> None:
    distance = torch.tensor([[9.0, 8.0, 7.0, 6.0, 1.0], [5.0, 0.0, 0.0, 0.0, 0.0]])
    odd = select_abnormal(distance, METHOD.Config())
    assert odd.int().tolist() == [[1, 1, 1, 1, 0], [1, 0, 0, 0, 0]]


def test_positives_are_taken_from_all_normal_videos() -> None:
    """First the farthest of each video, then the second farthest of each."""
    first = torch.tensor([[9.0, 8.0, 0.0], [1.0, 0.0, 0.0], [2.0, 4.0, 0.0]])
    labels = torch.tensor([0.0, 0.0, 1.0])
    config = METHOD.Config(video_share=0.7, batch_share=0.0)
    loss = METHOD.loss(output(torch.full((3, 3), 0.5), first, first), labels, config)
    # Odd in their order: 2, 4; normal: 9, 1.
    assert loss.terms["first"].item() == pytest.approx((9 - 2 + 1 + 0) / 2)


def test_distances_are_from_running_statistics() -> None:
    torch.manual_seed(0)
    head = BatchNormHead(64).eval()
    head.bn1.running_mean.normal_()  # type: ignore[union-attr]
    head.bn1.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    x = torch.randn(2, 64, 5)
    a = head.conv1(x).detach()
    mean, var = head.bn1.running_mean, head.bn1.running_var
    expected = [
        [math.sqrt(sum((a[i, c, t] - mean[c]) ** 2 / var[c] for c in range(4))) for t in range(5)]  # type: ignore[index]
        for i in range(2)
    ]
    torch.testing.assert_close(head(x)[1].detach(), torch.tensor(expected))


def test_the_head_by_hand() -> None:
    torch.manual_seed(0)
    head = BatchNormHead(64).eval()
    for norm in (head.bn1, head.bn2):
        norm.running_mean.normal_()  # type: ignore[union-attr]
        norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    x = torch.randn(2, 64, 5)
    a = head.conv1(x)
    b = head.conv2(F.relu(head.bn1(a)))
    logits, _, second = head(x)
    torch.testing.assert_close(logits, head.conv3(F.relu(head.bn2(b))).squeeze(1))
    mean, var = head.bn2.running_mean, head.bn2.running_var
    away = (b - mean[:, None]) ** 2 / var[:, None]  # type: ignore[index]
    torch.testing.assert_close(second, away.sum(1).sqrt())


def test_there_is_no_dropout_and_attention_is_over_snippets() -> None:
    torch.manual_seed(0)
    network = METHOD.network(6, METHOD.Config(hidden=32, heads=2, head_dim=8)).train()
    x = torch.randn(4, 10, 6)
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0])
    torch.testing.assert_close(network(x, labels).head_scores, network(x, labels).head_scores)
    other = x.clone()
    other[:, :3] += 1
    with torch.inference_mode():
        apart = (network.eval()(x).logits - network(other).logits).abs()
    assert apart[:, 6:].min() > 1e-6  # The embedding alone sees one snippet on either side.


def test_order_is_that_of_the_published_criterion() -> None:
    torch.manual_seed(0)
    config = METHOD.Config(hidden=32, heads=2, head_dim=8)
    network: BnWvadNetwork = METHOD.network(6, config).eval()
    x = torch.randn(1, 40, 6)
    with torch.inference_mode():
        out, training = network(x), network(x, torch.zeros(1))
    raw = training.head_scores * (training.first + training.second)
    torch.testing.assert_close(out.logits.exp(), raw)
    torch.testing.assert_close(out.scores, raw / (1 + raw))


def test_calibration_does_not_depend_on_the_previous_scale() -> None:
    """Training calibrates several times; the scale depends on r alone each time."""
    torch.manual_seed(0)
    network = METHOD.network(6, METHOD.Config(hidden=32, heads=2, head_dim=8)).eval()
    assert isinstance(network, BnWvadNetwork)
    normal = [torch.randn(1, 30, 6) for _ in range(4)]
    found = []
    with torch.inference_mode():
        for edge, slope in ((1.0, 1.0), (5.0, 0.3)):
            network.edge.fill_(edge)
            network.slope.fill_(slope)
            METHOD.calibrate(network, normal)
            found.append((network.edge.item(), network.slope.item()))
        scores = torch.cat([network(video).scores.flatten() for video in normal])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert (scores > 0.5).sum() == 2  # One in a hundred of 120.


def test_scores_are_scaled_by_normal_training_videos() -> None:
    videos, _ = planted(6, 6, seed=1)
    config = small_config("bn_wvad", recipe={"steps": 20, "lr": 1e-3})
    network = fit(videos, config).network
    assert isinstance(network.network, BnWvadNetwork)
    assert network.temperature >= 1
    normal = np.concatenate(
        [network.score_views(v.views[0][None]) for v in videos if not v.abnormal]
    )
    assert np.mean(normal > 0.5) <= 0.02
    assert float(np.median(normal)) < 0.5

    # The criterion's own order is kept.
    raw = METHOD.network(DIM, METHOD.Config())
    raw.load_state_dict(network.network.state_dict())
    raw.slope.fill_(1.0)
    raw.edge.fill_(1.0)
    x = network.standardise(torch.from_numpy(videos[-1].views[0])[None])
    with torch.inference_mode():
        before, after = raw.eval()(x).logits[0], network.network(x).logits[0]
    assert torch.equal(before.argsort(), after.argsort())


def test_the_norm_of_scores_is_taken_for_each_video() -> None:
    head = torch.tensor([[0.3, 0.4], [0.6, 0.8], [0.9, 0.9]])
    far = torch.ones(3, 2)
    labels = torch.tensor([0.0, 0.0, 1.0])
    loss = METHOD.loss(output(head, far, far), labels, METHOD.Config())
    assert loss.terms["normal"].item() == pytest.approx((0.5 + 1) / 2)


def test_distances_in_training_use_statistics_that_include_the_batch() -> None:
    torch.manual_seed(0)
    head = BatchNormHead(64).train()
    x = 3 * torch.randn(4, 64, 9) + 1
    a = head.conv1(x)
    _, first, _ = head(x)
    mean, var = 0.1 * a.mean((0, 2)), 0.9 + 0.1 * a.var((0, 2))
    expected = ((a - mean[:, None]) ** 2 / var[:, None]).sum(1).sqrt()
    torch.testing.assert_close(first, expected)
