"""One-class training: finds planted anomalies, whatever the order of the videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from oddframe.errors import InputError
from oddframe.events import EventRule
from oddframe.features.spec import FeatureSpec
from oddframe.methods.scorer import ModelNetwork
from oddframe.metrics import roc_auc
from oddframe.modelfile import Model, Profile, load_model, save_model
from oddframe.training import one_class as normal
from oddframe.training.config import TrainConfig
from oddframe.training.configure import with_one_class_method
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.loop import fit
from oddframe.training.one_class import fit_one_class
from tests.training.planted import DIM, planted, small_config


def config(**sections: object) -> TrainConfig:
    return with_one_class_method(small_config(**sections))


def assert_equal(ours: ModelNetwork, theirs: ModelNetwork) -> None:
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name


def scores(network: ModelNetwork, videos: list[TrainingVideo]) -> np.ndarray:
    with torch.inference_mode():
        each = [network(torch.from_numpy(v.views[0])[None])[0].numpy() for v in videos]
    return np.concatenate(each)


@pytest.mark.parametrize("standardise", [True, False])
def test_planted_anomalies_are_found_without_abnormal_videos(standardise: bool) -> None:
    fitted = fit_one_class(planted(20, 0, seed=1)[0], config(standardise=standardise))
    videos, truth = planted(20, 20, seed=2)
    found, odd = scores(fitted.network, videos), np.concatenate(truth)
    assert roc_auc(odd, found) > 0.95
    assert (found[~odd] > 0.5).mean() < 0.1, "one normal snippet in a hundred, or nearly"
    assert (found[odd] > 0.5).mean() > 0.5
    assert 0 <= found.min() < found.max() <= 1
    assert fitted.warnings == ()
    assert fitted.spread > 0.1


def test_order_and_duplicates_of_videos_do_not_matter() -> None:
    videos, _ = planted(12, 0, seed=1)
    first = fit_one_class(videos, config()).network
    shuffled = [videos[i] for i in np.random.default_rng(0).permutation(12)]
    assert_equal(first, fit_one_class([*shuffled, videos[3]], config()).network)
    torch.manual_seed(5)
    seeded = config(recipe={"seed": 1})
    assert_equal(first, fit_one_class(videos, seeded).network)


def test_abnormal_videos_are_left_out_and_fit_selects_one_class_training() -> None:
    videos, _ = planted(12, 5, seed=1)
    fitted = fit(videos, config())
    assert_equal(fitted.network, fit_one_class(videos[:12], config()).network)
    assert "5 abnormal left aside" in fitted.warnings[0]


def test_the_scale_is_set_on_held_out_snippets() -> None:
    # As many dimensions as snippets: every seen snippet is near, whatever it is.
    rng = np.random.default_rng(0)
    videos = [TrainingVideo((rng.normal(size=(6, 60)).astype(np.float32),), False) for _ in "12345"]
    unseen = [TrainingVideo((rng.normal(size=(6, 60)).astype(np.float32),), False) for _ in "12345"]
    found = scores(fit_one_class(videos, config()).network, unseen)
    assert (found > 0.5).mean() < 0.2


def test_one_video_trains_with_a_warning() -> None:
    videos, truth = planted(6, 6, seed=4)
    longest = max(videos[:6], key=lambda video: len(video.views[0]))
    fitted = fit_one_class([longest], config())
    assert "one video" in fitted.warnings[0]
    assert roc_auc(np.concatenate(truth), scores(fitted.network, videos)) > 0.8


def test_all_views_are_used() -> None:
    videos, _ = planted(6, 0, seed=1)
    mirrored = [TrainingVideo((v.views[0], v.views[0][::-1] + 40), False) for v in videos]
    far = [TrainingVideo((v.views[0] + 40,), False) for v in planted(6, 0, seed=2)[0]]
    assert scores(fit_one_class(videos, config()).network, far).min() > 0.9
    assert np.median(scores(fit_one_class(mirrored, config()).network, far)) < 0.5


def test_frozen_video_trains_with_a_warning() -> None:
    frozen = [TrainingVideo((np.full((n, DIM), 2.0, np.float32),), False) for n in (3, 5)]
    fitted = fit_one_class(frozen, config())
    assert any("frozen" in line for line in fitted.warnings)
    seen = scores(fitted.network, frozen)
    assert np.isfinite(seen).all()
    assert seen.max() < 0.1
    moved = [TrainingVideo((np.full((2, DIM), 3.0, np.float32),), True)]
    assert scores(fitted.network, moved).min() > 0.9


def test_many_snippets_are_thinned_out_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normal, "MAX_SNIPPETS", 100)
    videos, truth = planted(40, 10, seed=1)
    fitted = fit_one_class(videos[:40], config())
    assert int(fitted.network.network.filled) == 100
    assert roc_auc(np.concatenate(truth), scores(fitted.network, videos)) > 0.9


def test_a_one_class_model_is_written_and_read(tmp_path: Path) -> None:
    chosen = config()
    network = fit_one_class(planted(12, 0, seed=1)[0], chosen).network
    spec = FeatureSpec(backbone="array", weights_sha256="", dim=DIM)
    model = Model(
        "normal",
        chosen.method.name,
        chosen.chosen_method()[1],
        network,
        {"best": Profile(spec, EventRule())},
        detects="the unusual",
    )
    save_model(model, tmp_path / "normal.safetensors")
    loaded = load_model(tmp_path / "normal.safetensors")
    assert_equal(network, loaded.network)
    videos, _ = planted(3, 3, seed=2)
    np.testing.assert_array_equal(scores(network, videos), scores(loaded.network, videos))


def test_unusable_videos_and_methods_are_refused() -> None:
    videos, _ = planted(3, 3, seed=1)
    with pytest.raises(InputError, match="no normal videos"):
        fit_one_class(videos[3:], config())
    with pytest.raises(InputError, match="one snippet"):
        fit_one_class([TrainingVideo((np.zeros((1, DIM), np.float32),), False)], config())
    with pytest.raises(InputError, match="not finite"):
        fit_one_class([TrainingVideo((np.full((4, DIM), np.nan, np.float32),), False)], config())
    with pytest.raises(InputError, match="different lengths"):
        fit_one_class([*videos, TrainingVideo((np.zeros((4, 3), np.float32),), False)], config())
