"""Behaviour of the network for any weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from oddframe.errors import UsageError
from oddframe.methods.mil.urdmu import ur_dmu_loss
from oddframe.methods.mil.urdmu_network import UrDmuConfig, UrDmuNetwork, UrDmuOutput
from oddframe.methods.registry import get_method

DIM = 12
SMALL = {"hidden": 16, "heads": 2, "head_dim": 6, "classifier_hidden": 8, "dropout": 0.0}
SMALL |= {"anomaly_slots": 20, "normal_slots": 33}


def network(**fields: object) -> UrDmuNetwork:
    torch.manual_seed(0)
    return UrDmuNetwork(DIM, UrDmuConfig.model_validate(SMALL | fields))


def trained(net: UrDmuNetwork, features: Tensor, labels: Tensor) -> UrDmuOutput:
    output = net(features, labels)
    assert isinstance(output, UrDmuOutput)
    return output


def videos(*shape: int) -> Tensor:
    return torch.rand(*shape, DIM, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("dim", "parameters"), [(1024, 6_492_929), (1152, 6_689_537)])
def test_size_is_the_published_one(dim: int, parameters: int) -> None:
    official = get_method("ur_dmu").network(dim, UrDmuConfig())
    assert len(official.state_dict()) == 34
    assert sum(p.numel() for p in official.parameters()) == parameters


def test_the_papers_blocks_have_one_more_norm() -> None:
    paper, official = network(variant="paper"), network()
    more = set(paper.state_dict()) - set(official.state_dict())
    assert more == {f"selfatt.layers.{i}.2.{p}" for i in (0, 1) for p in ("weight", "bias")}
    hidden = trained(paper, videos(2, 9), torch.tensor([0.0, 1.0])).hidden
    torch.testing.assert_close(hidden.mean(-1), torch.zeros(2, 9), rtol=0, atol=1e-5)


def test_row_normalisation_changes_both_ends_only() -> None:
    column, row = network(depth=1), network(depth=1, local_norm="row")
    seen = videos(1, 60)
    labels = torch.tensor([0.0])
    gap = (trained(column, seen, labels).hidden - trained(row, seen, labels).hidden).abs()
    gap = gap.amax(-1)[0]
    assert gap[0] > 1e-4
    assert gap[-1] > 1e-4
    assert gap[25:35].max() < 1e-4


@settings(max_examples=20)
@given(length=st.integers(1, 100), crops=st.integers(1, 4), batch=st.integers(1, 3))
def test_any_length_and_number_of_crops(length: int, crops: int, batch: int) -> None:
    net, features = network().eval(), videos(batch, crops, length)
    with torch.inference_mode():
        scores = net(features).scores
        each = torch.stack([net(features[:, crop]).scores for crop in range(crops)])
    assert scores.shape == (batch, length)
    assert ((scores >= 0) & (scores <= 1)).all()
    torch.testing.assert_close(scores, each.mean(0))


@given(order=st.permutations(range(5)))
@settings(max_examples=20)
def test_videos_are_independent(order: list[int]) -> None:
    net, features = network().eval(), videos(5, 21)
    torch.testing.assert_close(net(features[order]).scores, net(features).scores[order])


@pytest.mark.parametrize("memory", ["Amemory", "Nmemory"])
def test_order_of_slots_does_not_matter(memory: str) -> None:
    net, features = network().eval(), videos(2, 15)
    before = net(features).scores
    block = getattr(net, memory).memory_block
    with torch.no_grad():
        block.copy_(block.flip(0).roll(3, 0))
    torch.testing.assert_close(net(features).scores, before)


def test_a_memory_averages_its_largest_weights() -> None:
    memory = network().Nmemory
    x = torch.randn(1, 1, 16)
    weights = torch.sigmoid((memory.memory_block @ x[0, 0]) / 4)
    reading = memory(x)
    torch.testing.assert_close(reading.score[0, 0], weights.sort().values[-3:].mean())  # 33 slots.
    torch.testing.assert_close(reading.value[0, 0], weights @ memory.memory_block)


def test_only_normal_videos_are_noisy_in_training() -> None:
    net, features = network(), videos(4, 10)
    labels = torch.tensor([1.0, 0.0, 1.0, 0.0])
    calm = net(features).scores
    noisy = trained(net, features, labels)
    torch.testing.assert_close(noisy.scores[[0, 2]], calm[[0, 2]])
    assert (noisy.scores[[1, 3]] - calm[[1, 3]]).abs().max() > 1e-4
    assert noisy.normal_z.shape == (2, 10, 16)
    spread = (noisy.normal_z - noisy.normal_z_mu) / torch.exp(noisy.normal_z_logvar / 2)
    assert 0.8 < spread.std() < 1.2


def test_noise_is_as_wide_as_the_learnt_variance() -> None:
    net, labels = network(), torch.tensor([0.0, 0.0])
    assert net.encoder_var is not None
    with torch.no_grad():
        for parameter in net.encoder_var.parameters():
            parameter.zero_()
        net.encoder_var.get_parameter("0.bias").fill_(math.log(9))
    out = trained(net, videos(2, 200), labels)
    assert out.normal_z is not None
    assert out.normal_z_mu is not None
    assert float((out.normal_z - out.normal_z_mu).detach().std()) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize(
    ("place", "behind"),
    [
        ("0.fn.to_out", True),  # What attention adds to a snippet.
        ("1.fn.net.3", False),  # What the second linear layer of the feed-forward part reads.
        ("1.fn.net", True),  # What that part adds to a snippet.
    ],
)
def test_dropout_is_where_the_published_code_has_it(place: str, behind: bool) -> None:
    assert UrDmuConfig().dropout == 0.5
    seen: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        seen.append(output if behind else args[0])

    net, labels = network(dropout=0.4), torch.tensor([0.0, 1.0])
    for block in (0, 1):
        net.get_submodule(f"selfatt.layers.{block}.{place}").register_forward_hook(keep)
    for training in (True, False):
        torch.manual_seed(3)
        net.train(training)(videos(2, 60), labels)
    gone = [float((x == 0).float().mean()) for x in seen]
    assert gone == pytest.approx([0.4, 0.4, 0.0, 0.0], abs=0.05)


def test_noise_follows_the_seed() -> None:
    net, features, labels = network(), videos(2, 10), torch.tensor([0.0, 1.0])
    torch.manual_seed(7)
    first = net(features, labels).scores
    second = net(features, labels).scores
    torch.manual_seed(7)
    assert torch.equal(net(features, labels).scores, first)
    assert not torch.equal(second, first)


def test_gradient_reaches_every_weight() -> None:
    net, labels = network(), torch.tensor([0.0, 1.0])
    config = UrDmuConfig.model_validate(SMALL)
    ur_dmu_loss(trained(net, videos(2, 40), labels), labels, config).total.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_crops_are_refused_in_training() -> None:
    with pytest.raises(UsageError, match="one crop at a time"):
        network()(videos(2, 3, 8), torch.tensor([0.0, 1.0]))


class Scores(nn.Module):
    def __init__(self, net: UrDmuNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, features: Tensor) -> Tensor:
        scores: Tensor = self.net(features).scores
        return scores


def test_export_for_any_length() -> None:
    whole = Scores(network().eval())
    shapes = ({1: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(whole, (videos(1, 100),), dynamic_shapes=shapes).module()
    for n in (2, 17, 76, 301):
        torch.testing.assert_close(exported(videos(1, n)), whole(videos(1, n)))


def test_settings_of_the_paper_can_be_changed_one_by_one() -> None:
    paper = UrDmuConfig(variant="paper", tau=0.5, dm_last="one_minus_score")
    assert paper.local_norm == "row"
    assert paper.kl_over_time == "mean"
    assert paper.dm_last == "one_minus_score"
    assert UrDmuConfig.model_validate(paper.model_dump()) == paper
    assert UrDmuConfig().top_k == "time"


def test_impossible_settings_are_refused() -> None:
    for fields in ({"memory": 60}, {"heads": 0}, {"dropout": 1}, {"variant": "other"}):
        with pytest.raises(ValidationError):
            UrDmuConfig.model_validate(fields)
    nothing = dict.fromkeys(("cls", "dm", "trip", "kl", "dis"), 0)
    with pytest.raises(ValidationError, match="at least one"):
        UrDmuConfig.model_validate({"loss_weights": nothing})
