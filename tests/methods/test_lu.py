"""Lu et al.: errors against least squares, the objective by definition, generated frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from oddframe.errors import UsageError
from oddframe.methods.base import Output
from oddframe.methods.lu import Lu, LuConfig, LuNetwork, learn_combinations
from oddframe.metrics import roc_auc
from oddframe.training.config import parse_config
from oddframe.training.one_class import fit_one_class
from tests.methods.moving import square_videos

METHOD = Lu()
TINY = LuConfig(frames=4, height=2, cube=2, sizes=((2, 2),), components=4, vectors=2)
SMALL: dict[str, Any] = {"height": 24, "cube": 6, "sizes": [[12, 12], [24, 24]]}


def planes(seed: int = 0) -> torch.Tensor:
    """(60, 6) points of three planes through 0."""
    rng = torch.Generator().manual_seed(seed)
    spans = torch.randn(3, 2, 6, generator=rng)
    return torch.cat([torch.randn(20, 2, generator=rng) @ span for span in spans])


def test_the_error_is_that_of_the_best_least_squares() -> None:
    network, rng = METHOD.network(16, TINY), np.random.default_rng(0)
    bases = [np.linalg.qr(rng.normal(size=(4, 2)))[0] for _ in range(3)]
    network.basis[:3] = torch.from_numpy(np.stack(bases))
    x = rng.normal(size=(9, 4))
    by_hand = []
    for row in x:
        each = []
        for basis in bases:
            skewed = basis @ rng.normal(size=(2, 2))  # Any vectors that span the same.
            beta = np.linalg.lstsq(skewed, row, rcond=None)[0]
            each.append(((row - skewed @ beta) ** 2).sum())
        by_hand.append(min(each))
    found = network.errors(torch.from_numpy(x).float())
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-5)


def test_combinations_reconstruct_every_cube_within_the_bound() -> None:
    x = planes()
    config = LuConfig(vectors=2, bound=0.01)
    found = learn_combinations(x, config)
    gram = found.transpose(1, 2) @ found
    assert ((gram - torch.eye(2)).abs() < 1e-4).all()
    errors = [x.square().sum(1) - (x @ basis).square().sum(1) for basis in found]
    assert (torch.stack(errors).amin(0) < 0.01).all()
    assert len(found) < 30, "fewer than two cubes each would be no learning"


def test_one_plane_needs_one_combination() -> None:
    (found,) = learn_combinations(planes()[:20], LuConfig(vectors=2, bound=0.01))
    rebuilt = planes()[:20] @ found @ found.T
    torch.testing.assert_close(rebuilt, planes()[:20], atol=1e-4, rtol=1e-4)


def test_fewer_combinations_reconstruct_all_within_a_wider_bound() -> None:
    x = torch.randn(200, 6)
    found = learn_combinations(x, LuConfig(vectors=1, bound=1e-6, combinations=5))
    assert 1 <= len(found) <= 5
    errors = [x.square().sum(1) - (x @ basis).square().sum(1) for basis in found]
    least = torch.stack(errors).amin(0)
    assert least.max() < 4 * x.square().sum(1).max()
    finer = learn_combinations(x, LuConfig(vectors=1, bound=1e-6, combinations=150))
    errors = [x.square().sum(1) - (x @ basis).square().sum(1) for basis in finer]
    assert torch.stack(errors).amin(0).mean() < least.mean()


def test_alternation_lowers_the_objective() -> None:
    """The first combination's sum of gamma (error - bound) is below that of all cubes' basis."""
    x, bound = planes(3), 0.5
    (basis, *_) = learn_combinations(x, LuConfig(vectors=2, bound=bound))
    everything = torch.linalg.svd(x)[2][:2].T

    def total(of: torch.Tensor) -> float:
        errors = x.square().sum(1) - (x @ of).square().sum(1)
        return float((errors - bound).clamp(max=0).sum())

    assert total(basis) <= total(everything) + 1e-4
    assert total(basis) < 0


def test_gradients_of_cubes_are_differences() -> None:
    config = LuConfig(frames=3, height=4, cube=2, sizes=((4, 6), (2, 2)), components=4)
    network, frames = METHOD.network(3 * 4 * 6, config), torch.rand(2, 3, 4, 6)
    cubes = network.cubes(frames.flatten(1))
    assert cubes.shape == (2, 6 + 1, 3 * 3 * 2 * 2)
    slopes = np.stack(np.gradient(frames[1].numpy()))  # (3: time, down, right; 3, 4, 6)
    np.testing.assert_allclose(cubes[1, 4], slopes[:, :, 2:4, 2:4].ravel(), rtol=1e-4, atol=1e-6)


def test_a_snippets_distance_is_that_of_its_largest_cube_error() -> None:
    config = LuConfig(frames=4, height=2, cube=2, sizes=((2, 2), (2, 4)), components=4, vectors=2)
    network, frames = METHOD.network(4 * 2 * 4, config), torch.rand(3, 32)
    network.mean.normal_()
    network.axes.normal_()
    network.basis[0] = torch.linalg.qr(torch.randn(4, 2))[0]
    cubes = network.cubes(frames)
    errors = network.errors((cubes.flatten(0, 1) - network.mean) @ network.axes).view(3, -1)
    assert errors.shape == (3, 3)
    torch.testing.assert_close(network.distance(frames), errors.amax(1))


def test_settings_are_the_published_ones() -> None:
    config = LuConfig()
    assert (config.frames, config.cube, config.components, config.vectors) == (5, 10, 100, 20)
    assert config.sizes == ((20, 20), (30, 40), (120, 160))


def test_components_are_the_principal_ones_of_normal_cubes() -> None:
    network, frames = METHOD.network(16, TINY), torch.rand(40, 16)
    network.fit_snippets(frames)
    cubes = network.cubes(frames).flatten(0, 1)
    torch.testing.assert_close(network.mean, cubes.mean(0), atol=1e-5, rtol=1e-4)
    centred = cubes - cubes.mean(0)
    reduced = network.reduced(cubes)
    assert reduced.square().sum(1).mean().item() == pytest.approx(1, rel=1e-3)
    values = torch.linalg.svdvals(centred)[:4].square()
    shares = reduced.square().sum(0).sort(descending=True).values
    torch.testing.assert_close(shares / shares.sum(), values / values.sum(), atol=1e-4, rtol=1e-3)


def test_still_cubes_have_no_error() -> None:
    network = METHOD.network(16, TINY)
    still = torch.rand(1, 1, 4).repeat(1, 4, 1).view(1, 1, 16)
    assert network.distance(still).item() == 0
    assert network.distance(torch.rand(1, 1, 16)).item() > 0
    network.fit_snippets(still[0])
    assert network.distance(still).item() == 0
    assert network(torch.rand(1, 3, 16)).logits.isfinite().all()


def found_auc(speed: float) -> float:
    config = parse_config({"method": {"name": "lu", "config": SMALL}})
    videos, _ = square_videos(24, abnormal=False, seed=0, frames=5)
    fitted = fit_one_class(videos, config).network
    test, odd = square_videos(8, abnormal=True, seed=1, frames=5, speed=speed)
    scores = [fitted.score_views(np.stack(video.views)) for video in test]
    return roc_auc(odd.ravel(), np.concatenate(scores))


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_a_square_that_turns_and_speeds_up_is_found(speed: float) -> None:
    assert found_auc(speed) > 0.95


def test_a_turn_is_not_found_without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the error is the amount of change, which is equal at equal speed."""
    monkeypatch.setattr(LuNetwork, "fit_snippets", lambda *_: None)
    assert 0.2 < found_auc(0.5) < 0.8


def test_other_features_are_refused_and_so_are_steps() -> None:
    with pytest.raises(UsageError, match=r"features\.backbone to grey_5x120x160"):
        METHOD.network(1024, LuConfig())
    scores = torch.rand(2, 3)
    with pytest.raises(UsageError, match="fit_snippets"):
        METHOD.loss(Output(scores, scores), torch.tensor([0.0, 1.0]), LuConfig())


def test_frames_are_resized_by_area() -> None:
    config = LuConfig(frames=3, height=4, cube=2, sizes=((2, 2),), components=4)
    network, frames = METHOD.network(3 * 4 * 6, config), torch.rand(1, 3, 4, 6)
    small = frames.view(3, 2, 2, 2, 3).mean((2, 4)).numpy()
    slopes = np.stack(np.gradient(small))
    found = network.cubes(frames.flatten(1))[0, 0]
    np.testing.assert_allclose(found, slopes.ravel(), rtol=1e-4, atol=1e-6)
