"""MSL: loss by hand, stages and product of scores."""

from __future__ import annotations

import math

import pytest
import torch

from oddframe.methods.mil.msl import ConvProjection, EncoderLayer, MslOutput, sequence_length
from oddframe.methods.registry import get_method

METHOD = get_method("msl")
LABELS = torch.tensor([0.0, 1.0])


def output(snippets: torch.Tensor, video: torch.Tensor, done: float) -> MslOutput:
    scores = snippets * video.sigmoid()[:, None]
    return MslOutput(scores, scores.logit(), snippets, video, torch.full((2,), done))


@pytest.mark.parametrize(
    ("done", "normal", "abnormal"),
    [
        (0.0, (0.1 + 0.3 + 0.2 + 0.4) / 4, (0.9 + 0.1 + 0.6 + 0.7) / 4),
        (0.4, 0.3, 0.65),
        (0.9, 0.4, 0.9),
    ],
)
def test_loss_by_hand(done: float, normal: float, abnormal: float) -> None:
    snippets = torch.tensor([[0.1, 0.3, 0.2, 0.4], [0.9, 0.1, 0.6, 0.7]])
    loss = METHOD.loss(output(snippets, torch.tensor([-1.0, 2.0]), done), LABELS, METHOD.Config())
    assert loss.terms["rank"].item() == pytest.approx(1 - abnormal + normal)
    video = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2))) / 2
    assert loss.terms["video"].item() == pytest.approx(video)
    assert loss.total.item() == pytest.approx(1 - abnormal + normal + video)


def test_sequences_are_halved_down_to_one() -> None:
    lengths = [sequence_length(32, step / 600) for step in range(600)]
    assert sorted(set(lengths), reverse=True) == [32, 16, 8, 4, 2, 1]
    assert lengths == sorted(lengths, reverse=True)
    assert all(lengths.count(k) == 100 for k in set(lengths))
    assert [sequence_length(n, 0.0) for n in (1, 3, 200)] == [1, 3, 200]
    assert [sequence_length(n, 1.0) for n in (1, 3, 200)] == [1, 1, 1]


def test_the_stage_is_set_before_a_step() -> None:
    config = METHOD.Config(hidden=8, heads=2)
    network = METHOD.network(4, config)
    METHOD.begin_step(network, 0.25, config)
    assert network(torch.randn(2, 5, 4), LABELS).done.tolist() == [0.25, 0.25]


def test_a_layer_by_hand() -> None:
    """Attention and a feed-forward network, each with a residual connection."""
    torch.manual_seed(0)
    layer = EncoderLayer(METHOD.Config(hidden=6, heads=2)).eval()
    x = torch.randn(2, 5, 6)
    normed = layer.before(x)
    q, k, v = (project(normed) for project in (layer.q, layer.k, layer.v))
    heads = []
    for part in (slice(0, 3), slice(3, 6)):
        weights = (q[..., part] @ k[..., part].mT / 3**0.5).softmax(-1)
        heads.append(weights @ v[..., part])
    y = x + layer.out(torch.cat(heads, dim=-1))
    torch.testing.assert_close(layer(x), y + layer.feed(layer.between(y)))


def test_projections_convolve_snippets_but_not_the_class_token() -> None:
    torch.manual_seed(0)
    project, x = ConvProjection(4), torch.randn(1, 8, 4)
    for changed, seen in ((0, [0]), (1, [1, 2]), (4, [3, 4, 5])):
        other = x.clone()
        other[:, changed] += 1
        apart = (project(x) - project(other)).abs().sum(-1)[0]
        assert (apart > 1e-6).nonzero().flatten().tolist() == seen


def test_the_video_is_scored_by_the_class_token() -> None:
    torch.manual_seed(0)
    network = METHOD.network(4, METHOD.Config(hidden=8, heads=2)).eval()
    x = torch.randn(2, 5, 4)
    inside = torch.cat([network.token.expand(2, -1, -1), network.project(x)], dim=1)
    encoded = network.norm(network.layers(inside))
    out = network(x, LABELS)
    torch.testing.assert_close(out.video, network.video(encoded[:, 0]).squeeze(1))
    torch.testing.assert_close(out.snippets, network.snippet(encoded[:, 1:]).squeeze(-1).sigmoid())


def test_a_score_is_the_snippets_times_the_videos() -> None:
    torch.manual_seed(0)
    config = METHOD.Config(hidden=8, heads=2)
    network = METHOD.network(4, config).eval()
    out = network(torch.randn(3, 5, 4), torch.zeros(3))
    expected = out.snippets * out.video.sigmoid()[:, None]
    torch.testing.assert_close(out.scores, expected)
    torch.testing.assert_close(out.logits, expected.logit())
