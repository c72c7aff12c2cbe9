"""Scoring from Python: files, arrays, iterators and features give the same scores."""

from __future__ import annotations

import doctest
import itertools
import socket
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import oddframe
from oddframe import Detector
from oddframe import detector as detector_module
from oddframe.errors import InputError, UsageError
from oddframe.events import smooth_frame_scores
from oddframe.features.spec import FeatureSpec
from oddframe.modelfile import load_model
from oddframe.video.snippets.preprocessing import with_views

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load("fight")


def test_the_example_of_the_detector_is_true(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clip.parent)
    tried = doctest.testmod(detector_module)
    assert tried.attempted
    assert not tried.failed


def test_progress_is_reported_as_everywhere(detector: Detector, clip: Path) -> None:
    seen: list[tuple[int, int | None, str]] = []
    made = detector.features(clip, progress=lambda *what: seen.append(what))
    assert {text for _, _, text in seen} == {f"features: {clip.name}"}
    assert [done for done, _, _ in seen] == list(range(1, made.features.array.shape[1] + 1))


def test_a_fight_scores_above_a_quiet_street(
    detector: Detector, clip: Path, normal_clip: Path
) -> None:
    fight, quiet = detector.score(clip), detector.score(normal_clip)
    assert len(fight.to_frames()) == 50
    assert len(quiet.to_frames()) == 60
    assert fight.scores.max() > quiet.scores.max()


def test_file_array_and_iterator_agree(
    detector: Detector, clip: Path, clip_frames: list[Image]
) -> None:
    from_file = detector.score(clip)
    frames = np.stack(clip_frames)
    from_array = detector.score(frames, fps=25)
    from_iterator = detector.score(iter(clip_frames), fps=25)
    np.testing.assert_array_equal(from_array.scores, from_iterator.scores)
    # A file is resized as it is decoded, an array after conversion to RGB: rounding differs.
    np.testing.assert_allclose(from_file.scores, from_array.scores, atol=0.05)


def test_an_endless_stream_is_read_only_as_far_as_needed(
    detector: Detector, clip_frames: list[Image]
) -> None:
    endless = itertools.cycle(clip_frames)
    track = detector.score(itertools.islice(endless, 20), fps=25)
    assert len(track.to_frames()) == 20


def test_events_follow_the_rule(detector: Detector, clip: Path) -> None:
    track = detector.score(clip)
    rule = detector.rule.with_threshold(0.0)
    (event,) = detector.events(track, rule)
    assert (event.start_s, event.end_s) == (0.0, pytest.approx(2.0))
    assert event.score == pytest.approx(smooth_frame_scores(track, rule.smooth_s).max())


def test_features_of_another_backbone_are_refused(detector: Detector, clip: Path) -> None:
    from dataclasses import replace

    features = detector.features(clip).features
    other = replace(features, spec=replace(features.spec, weights_sha256="0" * 64, rate=None))
    with pytest.raises(InputError, match=r"rate.*weights_sha256"):
        detector.score(other)


def test_other_numbers_of_crops_are_the_same_features() -> None:
    spec = load_model("fight_urdmu").profiles["best"].spec
    for views in (1, 5, 10):
        assert spec.differences(with_views(spec, views)) == []
        assert len(with_views(spec, views).crops) == views
    assert spec.differences(spec) == []
    changed = FeatureSpec.from_dict({**spec.to_dict(), "crop_size": [112, 112]})
    assert spec.differences(changed) == [f"crop_size: {spec.crop_size}, not (112, 112)"]


def test_unknown_models_profiles_and_files_are_refused() -> None:
    with pytest.raises(UsageError, match="come with oddframe: fight"):
        Detector.load("no_such_model")
    with pytest.raises(UsageError, match="has no profile 'best_of_all'; it has: best, fast"):
        Detector.load("fight", profile="best_of_all")
    with pytest.raises(InputError, match="no such file"):
        Detector.load("fight").score("no_such_video.mp4")


def test_scoring_opens_no_network_connection(
    clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a network connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setenv("ODDFRAME_CACHE", str(tmp_path))
    assert Detector.load("fight").score(clip).scores.size


def test_the_shipped_model_is_small() -> None:
    from oddframe.modelfile import find_model

    assert find_model("fight").stat().st_size <= 15_000_000


def test_public_names_can_be_imported() -> None:
    for name in oddframe.__all__:
        assert getattr(oddframe, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        oddframe.nonsense  # noqa: B018
