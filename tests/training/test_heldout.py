"""The threshold on held-out videos: it keeps the wish, with room on either side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oddframe.datasets.labelled import NORMAL, LabelledVideo
from oddframe.events import find_events
from oddframe.features.spec import Features
from oddframe.modelfile import Model, Profile
from oddframe.timeline import ScoreTrack, Timebase
from oddframe.training.config import BagSection, TrainConfig, parse_config
from oddframe.training.gather import Gathered
from oddframe.training.heldout import Scored, figures, normal_tracks, threshold
from oddframe.training.measure import measured
from oddframe.training.sections import EventSection
from tests.test_modelfile import SPEC, made_model

EVENTS = EventSection(smooth_s=0.0, min_duration_s=0.0, merge_gap_s=0.0)


def video(*scores: float) -> ScoreTrack:
    """A score a second."""
    return ScoreTrack(np.array(scores), Timebase(16.0, 16 * len(scores)))


def test_separated_videos_get_a_threshold_in_the_middle_of_the_gap() -> None:
    normal = [video(0.1, 0.2, 0.1), video(0.05, 0.1)]
    abnormal = [video(0.1, 0.8, 0.2), video(0.1, 0.6)]
    found = threshold(normal, abnormal, EVENTS, 1.0)
    assert found.threshold == pytest.approx((0.2 + 0.6) / 2)
    assert found.false_alarms == 0
    assert threshold(normal, [], EVENTS, 1.0).threshold == pytest.approx(0.2)


def test_abnormal_videos_below_the_edge_change_nothing() -> None:
    normal = [video(0.1, 0.9)]
    found = threshold(normal, [video(0.3, 0.2)], EVENTS, 1.0)
    assert found == threshold(normal, [], EVENTS, 1.0)


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=8), min_size=1, max_size=4),
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=8), max_size=4),
    st.sampled_from([0.0, 500.0, 3000.0]),
)
def test_it_keeps_the_wish_and_every_video_that_the_lowest_finds(
    normal: list[list[float]], abnormal: list[list[float]], wish: float
) -> None:
    calm, odd = [video(*scores) for scores in normal], [video(*scores) for scores in abnormal]
    lowest, found = threshold(calm, [], EVENTS, wish), threshold(calm, odd, EVENTS, wish)
    assert found.false_alarms <= wish * found.hours + 1e-6
    assert found.threshold >= lowest.threshold
    for track in odd:
        if track.scores.max() > lowest.threshold:
            assert find_events(track, EVENTS.rule(found.threshold))


@pytest.fixture
def model() -> Model:
    """Scores a snippet by the sigmoid of its first dimension."""
    made = made_model("linear")
    with torch.no_grad():
        made.network.standardise.mean.zero_()
        made.network.standardise.std.fill_(1)
        for parameter in made.network.parameters():
            parameter.zero_()
        made.network.network.get_parameter("score.weight")[0, 0] = 1
    return replace(made, profiles={"best": Profile(SPEC, made.profiles["best"].rule)})


def features(*scores: float) -> Features:
    """A snippet a score."""
    array = np.zeros((1, len(scores), SPEC.dim), np.float32)
    array[0, :, 0] = np.log(scores) - np.log1p(-np.array(scores))
    return Features(array, SPEC, SPEC.timebase(16.0, 16 * len(scores)))


CALM = [features(0.1, 0.3, 0.2), features(0.2, 0.1)]
ODD = [features(0.1, 0.8, 0.1), features(0.9, 0.1)]


def gathered(config: TrainConfig, number: int, given: Features, *, abnormal: bool) -> Gathered:
    label = "fight" if abnormal else NORMAL
    video = LabelledVideo(Path(f"{number}.mp4"), abnormal, label, f"g{number}")
    return Gathered(video, f"{number}", {config.features: given})


@pytest.mark.parametrize("mode", ["video", "joined"])
def test_a_threshold_stands_on_normal_videos_alone(model: Model, mode: str) -> None:
    section = BagSection.model_validate({"mode": mode, "clips": (1, 2), "abnormal": (1, 1)})
    videos = [Scored(model, each, abnormal=False) for each in CALM]
    videos += [Scored(model, each, abnormal=True) for each in ODD]
    found = np.concatenate([track.scores for track in normal_tracks(model, videos, section)])
    np.testing.assert_allclose(found, [0.1, 0.3, 0.2, 0.2, 0.1], rtol=1e-5)


@pytest.mark.parametrize("held_out", [True, False])
def test_abnormal_videos_do_not_raise_a_models_threshold(model: Model, held_out: bool) -> None:
    config = parse_config({"method": {"name": "linear"}})
    videos = [gathered(config, i, each, abnormal=False) for i, each in enumerate(CALM)]
    videos += [gathered(config, 5 + i, each, abnormal=True) for i, each in enumerate(ODD)]
    inside: list[Gathered] = [] if held_out else videos
    found = measured(model, config, videos if held_out else [], inside, lambda _: None)
    # Without held-out videos it lies where normal ones end: nothing abnormal is looked at.
    expected = (0.3 + 0.8) / 2 if held_out else 0.3
    assert found.profiles["best"].rule.threshold == pytest.approx(expected, rel=1e-5)
    about = found.card["threshold_best"]
    assert about["on"] == ("held-out groups" if held_out else "training videos")
    assert about["normal_minutes"] == pytest.approx(5 / 60)
    assert about["false_alarms"] == 0
    assert dict(found.metrics) == ({"video_auc": 1.0, "video_accuracy": 1.0} if held_out else {})


def test_a_videos_mark_is_its_highest_score_and_a_clips_the_mean(model: Model) -> None:
    calm, odd = features(0.5, 0.5), features(0.1, 0.7)
    videos = [Scored(model, calm, abnormal=False), Scored(model, odd, abnormal=True)]
    whole = figures(model, videos, BagSection(), 0.6, seed=0)
    assert whole == {"video_auc": 1.0, "video_accuracy": 1.0}
    section = BagSection.model_validate({"mode": "joined", "clips": (2, 2), "abnormal": (1, 1)})
    clips = figures(model, videos, section, 0.6, seed=0)
    assert (clips["video_auc"], clips["video_accuracy"]) == (0.0, 0.5)
