"""UR-DMU with a linear shortcut: it starts as the linear score, and trains both paths."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from oddframe.methods.mil.urdmu_network import UrDmuConfig
from oddframe.methods.registry import get_method

DIM = 12
CONFIG = UrDmuConfig(hidden=16, heads=2, head_dim=8, shortcut=True, dropout=0.0)


def test_it_starts_as_the_linear_score() -> None:
    network = get_method("ur_dmu").network(DIM, CONFIG).eval()
    features = torch.randn(2, 7, DIM)
    torch.testing.assert_close(network(features).scores, torch.full((2, 7), 0.5))
    torch.nn.init.normal_(network.shortcut.weight)
    expected = network.shortcut(features).squeeze(-1)
    torch.testing.assert_close(network(features).logits, expected)
    crops = torch.randn(2, 3, 7, DIM)
    each = torch.stack([network(crops[:, i]).scores for i in range(3)])
    torch.testing.assert_close(network(crops).scores, each.mean(0))


def test_both_paths_learn_at_their_own_rates() -> None:
    torch.manual_seed(0)
    method = get_method("ur_dmu")
    network = method.network(DIM, CONFIG)
    groups = method.parameter_groups(network, CONFIG)
    assert [g.get("lr") for g in groups] == [None, CONFIG.shortcut_lr]
    count = sum(len(g["params"]) for g in groups)
    assert count == len(list(network.parameters())), "every parameter is in one group"
    optimiser = torch.optim.Adam(groups, lr=1e-4)
    labels = torch.tensor([0.0, 1.0])
    before = [p.detach().clone() for p in network.parameters()]
    for _ in range(3):
        loss = method.loss(network(torch.randn(2, 20, DIM), labels), labels, CONFIG)
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
    changed = [not torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True)]
    assert all(changed)


def test_scores_may_use_a_share_of_the_deep_path() -> None:
    torch.manual_seed(0)
    method = get_method("ur_dmu")
    network = method.network(DIM, CONFIG.model_copy(update={"deep_share": 0.25})).eval()
    torch.nn.init.normal_(network.shortcut.weight)
    torch.nn.init.normal_(network.base.cls_head.get_submodule("mlp.2").weight)
    features, labels = torch.randn(2, 20, DIM), torch.tensor([0.0, 1.0])
    linear, deep = network.shortcut(features).squeeze(-1), network.base(features).logits
    torch.testing.assert_close(network(features).logits, linear + 0.25 * deep)
    trained = []
    for path in (network, network.base):
        torch.manual_seed(1)  # In training the normal latents are drawn.
        trained.append(path(features, labels).logits)
    torch.testing.assert_close(trained[0], linear + trained[1])


def test_deep_share_needs_a_shortcut() -> None:
    with pytest.raises(ValidationError, match="shortcut: true"):
        UrDmuConfig(deep_share=0.5)
