"""UR-DMU without some of its parts: the others compute what they should."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from oddframe.methods.mil.urdmu import ur_dmu_loss
from oddframe.methods.mil.urdmu_network import UrDmuConfig, UrDmuNetwork, UrDmuOutput
from oddframe.training.import_checkpoint import read_published_checkpoint

DIM, WIDTH = 10, 16
SMALL = {"hidden": WIDTH, "heads": 2, "head_dim": 6, "classifier_hidden": 8, "dropout": 0.0}
LABELS = torch.tensor([0.0, 1.0, 0.0, 1.0])
NORMAL = LABELS < 0.5
CLS = {"cls"}
DM_A = {"dm", "dm_a_of_normal", "dm_a_of_abnormal"}
DM_N = {"dm", "dm_n_of_normal", "dm_n_of_abnormal"}
# The config's memory and uncertainty, and the terms that are left of the loss.
CUTS = {
    "single_anomaly": ("anomaly", True, CLS | DM_A),
    "single_normal": ("normal", True, CLS | DM_N | {"kl"}),
    "whole": ("dual", True, CLS | DM_A | DM_N | {"trip", "kl", "dis"}),
    "gl_mhsa": ("none", False, CLS),
    "dmu": ("dual", False, CLS | DM_A | DM_N | {"trip"}),
    "nul": ("none", True, CLS | {"kl", "dis"}),
}
cut = pytest.mark.parametrize("name", CUTS)


class Still(UrDmuNetwork):
    """The network with a noise of ones."""

    def noise(self, like: Tensor) -> Tensor:
        return torch.ones_like(like)


def config_of(name: str, **fields: Any) -> UrDmuConfig:
    memory, uncertainty, _ = CUTS[name]
    cut = {"memory": memory, "uncertainty": uncertainty}
    return UrDmuConfig.model_validate(SMALL | cut | fields)


def network_of(name: str, **fields: Any) -> Still:
    torch.manual_seed(0)
    return Still(DIM, config_of(name, **fields))


def videos() -> Tensor:
    return torch.rand(len(LABELS), 40, DIM, generator=torch.Generator().manual_seed(1))


def trained(net: UrDmuNetwork) -> UrDmuOutput:
    output = net(videos(), LABELS)
    assert isinstance(output, UrDmuOutput)
    return output


@cut
def test_terms_of_the_loss(name: str) -> None:
    config = config_of(name)
    loss = ur_dmu_loss(trained(network_of(name)), LABELS, config)
    assert set(loss.terms) == CUTS[name][2]
    assert set(config.terms) == {term for term in loss.terms if not term.startswith("dm_")}
    weighted = [weight * loss.terms[t] for t, weight in config.loss_weights if t in loss.terms]
    torch.testing.assert_close(loss.total, torch.stack(weighted).sum())


@cut
def test_every_parameter_has_a_gradient(name: str) -> None:
    net = network_of(name)
    ur_dmu_loss(trained(net), LABELS, config_of(name)).total.backward()
    for each, parameter in net.named_parameters():
        assert parameter.grad is not None, each
        assert parameter.grad.abs().max() > 0, each


@cut
def test_removed_parts_are_none(name: str) -> None:
    memory, uncertainty, _ = CUTS[name]
    parts = {each.split(".")[0] for each in network_of(name).state_dict()}
    expected = {"embedding", "selfatt", "cls_head"}
    expected |= {"Amemory"} if memory in ("dual", "anomaly") else set()
    expected |= {"Nmemory"} if memory in ("dual", "normal") else set()
    expected |= {"encoder_mu"} if uncertainty else set()
    expected |= {"encoder_var"} if uncertainty and memory != "anomaly" else set()
    assert parts == expected


def fused(net: UrDmuNetwork, name: str, x: Tensor, training: bool) -> Tensor:
    """What is concatenated with X for the classifier, (B, T, H), by hand."""
    with torch.no_grad():
        read = {m: getattr(net, m)(x).value for m in ("Amemory", "Nmemory") if getattr(net, m)}
        if name == "dmu":
            return read["Amemory"] + read["Nmemory"]
        if name == "gl_mhsa":
            return x[..., :0]
        means = {m: net.encoder_mu(value) for m, value in read.items()}
        source = read.get("Nmemory", x)
        spread = torch.exp(net.encoder_var(source) / 2) if net.encoder_var else None
        total = sum(means.values()) if means else net.encoder_mu(x)
        if training and spread is not None:
            total = torch.where(NORMAL[:, None, None], total + spread, total)
        return total


@cut
@pytest.mark.parametrize("training", [False, True])
def test_what_the_classifier_reads(name: str, training: bool) -> None:
    net = network_of(name)
    hidden = trained(net).hidden
    output = net(videos(), LABELS if training else None)
    beside = fused(net, name, hidden, training)
    expected = net.cls_head(torch.cat([hidden, beside], -1)).squeeze(-1)
    torch.testing.assert_close(output.logits, expected)


def test_uncertainty_without_memories_reads_x_and_scores_select() -> None:
    net, config = network_of("nul"), config_of("nul", distance_margin=10.0)
    out = trained(net)
    terms = ur_dmu_loss(out, LABELS, config).terms
    mu, logvar = net.encoder_mu(out.hidden), net.encoder_var(out.hidden)
    kl = -0.5 * (1 + logvar - mu**2 - logvar.exp())
    torch.testing.assert_close(terms["kl"], kl[NORMAL].sum(1).mean())
    z = mu + torch.exp(logvar / 2)
    top = out.scores.topk(40 // 16 + 1, dim=1).indices
    near = torch.stack([z[i, top[i]].mean(0).norm() for i in (0, 2)])
    far = torch.stack([mu[i, top[i]].mean(0).norm() for i in (1, 3)])
    torch.testing.assert_close(terms["dis"], (10 - far + near).relu().mean())


@pytest.mark.parametrize(("name", "memory"), [("single_anomaly", "A"), ("single_normal", "N")])
def test_terms_of_a_single_memory(name: str, memory: str) -> None:
    out = trained(network_of(name))
    terms = ur_dmu_loss(out, LABELS, config_of(name)).terms
    score = out.anomaly_score if memory == "A" else out.normal_score
    assert score is not None
    known = score[NORMAL] if memory == "N" else 1 - score[NORMAL]
    odd = score[~NORMAL] if memory == "A" else 1 - score[~NORMAL]
    expected = -known.log().mean() - odd.topk(3, dim=1).values.mean(1).log().mean()
    torch.testing.assert_close(terms["dm"], expected)


@cut
def test_scores_of_several_crops_are_averaged(name: str) -> None:
    net = network_of(name).eval()
    crops = videos().unflatten(0, (2, 2))
    each = torch.stack([net(crops[:, crop]).scores for crop in (0, 1)])
    torch.testing.assert_close(net(crops).scores, each.mean(0))


@pytest.mark.parametrize("slots", [20, 60, 100])
def test_sizes_of_the_memories(slots: int) -> None:
    net = network_of("whole", anomaly_slots=slots, normal_slots=slots)
    reading = net.Nmemory(torch.rand(1, 3, WIDTH))
    k = math.floor(slots / 16) + 1
    assert reading.weights.shape == (1, 3, slots)
    torch.testing.assert_close(reading.score, reading.weights.topk(k).values.mean(-1))


def test_a_loss_without_terms_is_refused() -> None:
    with pytest.raises(ValidationError, match="are cls, and all weights are 0"):
        config_of("gl_mhsa", loss_weights={"cls": 0})
    for fields in ({"memory": "both"}, {"uncertainty": "much"}):
        with pytest.raises(ValidationError):
            UrDmuConfig.model_validate(fields)


def test_a_published_checkpoint_is_of_the_complete_network(tmp_path: Any) -> None:
    net = UrDmuNetwork(DIM, UrDmuConfig())
    torch.save(net.state_dict(), tmp_path / "whole.pkl")
    assert read_published_checkpoint(tmp_path / "whole.pkl").config.memory == "dual"
