"""Normality: distances by definition, and scores in the order of distances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oddframe.errors import UsageError
from oddframe.methods.base import Output
from oddframe.methods.normality import NormalityNetwork, lloyd_centres, whitening_matrix
from oddframe.methods.registry import get_method
from oddframe.methods.scorer import ModelNetwork, Standardise

METHOD = get_method("normality")


def remembered(x: torch.Tensor, **settings: object) -> NormalityNetwork:
    network = METHOD.network(x.shape[1], METHOD.Config(**settings))
    network.fit_snippets(x)
    return network


def correlated(n: int, dim: int, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=rng)
    return torch.randn(n, dim, generator=rng) @ mix + 3


def test_one_unit_is_the_mahalanobis_distance() -> None:
    x, y = correlated(400, 5, 0), correlated(7, 5, 1) * 2
    network = remembered(x, units=1, shrinkage=1e-6)
    inverse = np.linalg.inv(np.cov(x.numpy().T.astype(float), bias=True))
    away = (y - x.mean(0)).numpy().astype(float)
    expected = np.sqrt(np.einsum("nd,de,ne->n", away, inverse, away))
    np.testing.assert_allclose(network.distance(y).numpy(), expected, rtol=1e-3)


def test_all_units_without_whitening_are_the_nearest_neighbours() -> None:
    x, y = correlated(50, 4, 0), correlated(9, 4, 1)
    network = remembered(x, units=50, neighbours=3, shrinkage=1.0)
    scale = x.var(0, unbiased=False).mean().sqrt()
    far = (y[:, None] - x[None]).norm(dim=-1).sort(dim=1).values[:, :3].mean(1) / scale
    torch.testing.assert_close(network.distance(y), far, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(network.distance(y.view(3, 3, 4)), network.distance(y).view(3, 3))


def test_whitened_snippets_have_unit_covariance() -> None:
    x = correlated(500, 6, 0)
    z = (x - x.mean(0)) @ whitening_matrix(x, 1e-6)
    torch.testing.assert_close(z.T @ z / len(z), torch.eye(6), rtol=0, atol=1e-2)


def test_centres_are_those_of_the_clusters() -> None:
    rng = torch.Generator().manual_seed(0)
    middles = torch.tensor([[0.0, 0], [9, 0], [0, 9]])
    x = torch.cat([m + torch.randn(30, 2, generator=rng) for m in middles])
    found = lloyd_centres(x, 3)
    assert torch.cdist(middles, found).min(1).values.max() < 1
    assert torch.equal(lloyd_centres(x, 90), x)


@given(st.lists(st.floats(0, 100, width=32), min_size=2, max_size=30), st.integers(0, 9))
def test_the_score_keeps_the_order_of_distances(values: list[float], seed: int) -> None:
    network = remembered(correlated(20, 3, seed), units=1, shrinkage=1.0)
    network.calibrate(torch.tensor(values))
    out = (
        torch.linspace(0, 50, 40)[:, None] * torch.tensor([1.0, 0, 0])
        + network.memory[0] / (network.whiten[0, 0])
    )
    distances, output = network.distance(out), network(out[None])
    assert torch.isfinite(output.logits).all()
    assert ((output.scores >= 0) & (output.scores <= 1)).all()
    order = distances.argsort()
    assert (output.logits[0, order].diff() >= 0).all()


def test_the_scale_is_set_by_normal_snippets() -> None:
    distances = torch.linspace(1, 2, 1001)
    network = remembered(correlated(20, 3, 0))
    network.calibrate(distances)
    score = network.logits(distances).sigmoid()
    assert (score > 0.5).float().mean().item() == pytest.approx(0.01, abs=0.002)
    assert score[500].item() == pytest.approx(0.1, abs=0.002)


def test_crops_are_averaged_and_steps_are_refused() -> None:
    network = remembered(correlated(20, 4, 0)).eval()
    features = correlated(42, 4, 1).view(2, 3, 7, 4)
    each = torch.stack([network(features[:, crop]).scores for crop in range(3)])
    torch.testing.assert_close(network(features).scores, each.mean(0))
    with pytest.raises(UsageError, match="fit_snippets"):
        METHOD.loss(Output(each[0], each[0]), torch.tensor([0.0, 1]), METHOD.Config())


def test_large_distances_keep_their_order() -> None:
    normal = correlated(200, 8, 0)
    network = remembered(normal)
    network.calibrate(network.distance(normal))
    far = normal.mean(0) + torch.linspace(1, 4, 12)[:, None] * normal.std(0) * 40
    scores = ModelNetwork(Standardise.identity(8), network).eval().score_views(far[None].numpy())
    assert network(far[None]).logits.max() > 20  # Where float32 knows no more than 1.
    assert (np.diff(scores) > 0).all()
