"""Thresholds and metrics on held-out videos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oddframe.cameras import masks_by_camera, with_masks
from oddframe.datasets.labelled import NORMAL, LabelledVideo
from oddframe.events import find_events
from oddframe.features.spec import Features
from oddframe.modelfile import Model, Profile
from oddframe.timeline import ScoreTrack, Timebase
from oddframe.training.config import BagSection, EventSection, TrainConfig, parse_config
from oddframe.training.data.features import VideoFeatures
from oddframe.training.validation import (
    THRESHOLD_MIN_GROUPS,
    THRESHOLD_MIN_VIDEOS,
    ScoredFeatures,
    ThresholdChoice,
    choose_threshold,
    compute_metrics,
    normal_tracks,
    threshold_for_rate,
    with_threshold_and_metrics,
)
from tests.test_modelfile import SPEC, made_model

EVENTS = EventSection(smooth_s=0.0, min_duration_s=0.0, merge_gap_s=0.0)


def video(*scores: float) -> ScoreTrack:
    """A score a second."""
    return ScoreTrack(np.array(scores), Timebase(16.0, 16 * len(scores)))


def test_separated_videos_get_a_threshold_in_the_middle_of_the_gap() -> None:
    normal = [video(0.1, 0.2, 0.1), video(0.05, 0.1)]
    abnormal = [video(0.1, 0.8, 0.2), video(0.1, 0.6)]
    found = threshold_for_rate(normal, abnormal, EVENTS, 1.0)
    assert found.threshold == pytest.approx((0.2 + 0.6) / 2)
    assert found.false_alarms == 0
    assert threshold_for_rate(normal, [], EVENTS, 1.0).threshold == pytest.approx(0.2)


def test_abnormal_videos_below_the_lowest_threshold_change_nothing() -> None:
    normal = [video(0.1, 0.9)]
    found = threshold_for_rate(normal, [video(0.3, 0.2)], EVENTS, 1.0)
    assert found == threshold_for_rate(normal, [], EVENTS, 1.0)


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=8), min_size=1, max_size=4),
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=8), max_size=4),
    st.sampled_from([0.0, 500.0, 3000.0]),
)
def test_it_keeps_the_rate_and_every_found_video(
    normal: list[list[float]], abnormal: list[list[float]], wish: float
) -> None:
    calm, odd = [video(*scores) for scores in normal], [video(*scores) for scores in abnormal]
    lowest, found = (
        threshold_for_rate(calm, [], EVENTS, wish),
        threshold_for_rate(calm, odd, EVENTS, wish),
    )
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


def gathered(config: TrainConfig, number: int, given: Features, *, abnormal: bool) -> VideoFeatures:
    label = "fight" if abnormal else NORMAL
    video = LabelledVideo(Path(f"{number}.mp4"), abnormal, label, f"g{number}")
    return VideoFeatures(video, f"{number}", {config.features: given})


@pytest.mark.parametrize("mode", ["video", "joined"])
def test_a_threshold_is_set_on_normal_videos_alone(model: Model, mode: str) -> None:
    section = BagSection.model_validate({"mode": mode, "clips": (1, 2), "abnormal": (1, 1)})
    videos = [ScoredFeatures(model, each, abnormal=False) for each in CALM]
    videos += [ScoredFeatures(model, each, abnormal=True) for each in ODD]
    found = np.concatenate([track.scores for track in normal_tracks(model, videos, section)])
    np.testing.assert_allclose(found, [0.1, 0.3, 0.2, 0.2, 0.1], rtol=1e-5)


@pytest.mark.parametrize("held_out", [True, False])
def test_abnormal_videos_do_not_raise_a_models_threshold(model: Model, held_out: bool) -> None:
    config = parse_config({"method": {"name": "linear"}})
    calm = [*CALM, features(0.6)]
    videos = [gathered(config, i, each, abnormal=False) for i, each in enumerate(calm)]
    videos += [gathered(config, 5 + i, each, abnormal=True) for i, each in enumerate(ODD)]
    inside: list[VideoFeatures] = [] if held_out else videos
    found = with_threshold_and_metrics(
        model, config, videos if held_out else [], inside, lambda _: None
    )
    # Above all normal scores; where nothing is held out, not one abnormal score is looked at.
    expected = (0.6 + 0.8) / 2 if held_out else 0.6
    assert found.profiles["best"].rule.threshold == pytest.approx(expected, rel=1e-5)
    about = found.card["threshold_best"]
    assert about["on"] == ("held-out groups" if held_out else "training videos")
    assert about["normal_minutes"] == pytest.approx(6 / 60)
    assert about["false_alarms"] == 0
    assert dict(found.metrics) == ({"video_auc": 1.0, "video_accuracy": 1.0} if held_out else {})


def test_a_videos_score_is_its_maximum_and_a_clips_its_mean(model: Model) -> None:
    calm, odd = features(0.5, 0.5), features(0.1, 0.7)
    videos = [
        ScoredFeatures(model, calm, abnormal=False),
        ScoredFeatures(model, odd, abnormal=True),
    ]
    whole = compute_metrics(model, videos, BagSection(), 0.6, seed=0)
    assert whole == {"video_auc": 1.0, "video_accuracy": 1.0}
    section = BagSection.model_validate({"mode": "joined", "clips": (2, 2), "abnormal": (1, 1)})
    clips = compute_metrics(model, videos, section, 0.6, seed=0)
    assert (clips["video_auc"], clips["video_accuracy"]) == (0.0, 0.5)


def chosen(
    normal: list[ScoreTrack],
    abnormal: list[ScoreTrack],
    *,
    groups: int = 4,
    previous: float | None = None,
) -> ThresholdChoice:
    return choose_threshold(normal, normal, abnormal, EVENTS, 1.0, groups=groups, previous=previous)


def test_enough_normal_video_sets_the_threshold_by_the_rate() -> None:
    day = video(*[0.1, 0.2] * (3 * 1800))  # Three hours rule out one false alarm an hour.
    found = chosen([day], [], groups=1, previous=0.75)
    assert (found.value, found.basis) == (pytest.approx(0.2), "false alarms")
    shorter = chosen([video(*[0.1, 0.2] * (3 * 1800 - 1))], [], groups=1, previous=0.75)
    assert (shorter.value, shorter.basis) == (0.75, "model")


@pytest.mark.parametrize("loudest", [0.16, 0.74, 0.9])
def test_a_few_videos_keep_the_pretrained_threshold(loudest: float) -> None:
    calm, odd = [video(0.1, loudest), video(0.1)], [video(0.2, 0.95), video(0.1, 0.1)]
    found = chosen(calm, odd, previous=0.75)
    assert (found.value, found.basis) == (0.75, "model")
    assert found.false_alarms == (loudest > 0.75)


@pytest.mark.parametrize(("loudest", "value"), [(0.16, 0.5), (0.49, 0.5), (0.7, 0.7)])
def test_a_few_videos_without_pretrained_model_give_one_half(loudest: float, value: float) -> None:
    calm = [video(0.1, loudest), video(0.1)]
    for odd in ([], [video(0.2, 0.3)]):
        found = chosen(calm, odd)
        assert (found.value, found.basis) == (pytest.approx(value), "half")
        assert found.false_alarms == 0


def clips_with_one_loud_normal_one() -> tuple[list[ScoreTrack], list[ScoreTrack]]:
    calm = [video(0.1, 0.02 * i) for i in range(THRESHOLD_MIN_VIDEOS)] + [video(0.99, 0.1)]
    odd = [video(0.1, 0.3 + 0.04 * i) for i in range(THRESHOLD_MIN_VIDEOS)]
    return calm, odd


def test_with_enough_clips_most_are_predicted_correctly() -> None:
    calm, odd = clips_with_one_loud_normal_one()
    assert threshold_for_rate(calm, odd, EVENTS, 1.0).threshold >= 0.99, "nothing would be found"
    found = chosen(calm, odd, groups=THRESHOLD_MIN_GROUPS)
    assert (found.value, found.basis) == (pytest.approx((0.18 + 0.3) / 2), "videos")
    assert found.false_alarms == 1
    assert all(find_events(track, EVENTS.rule(found.value)) for track in odd)
    for few in (
        chosen(calm, odd, groups=THRESHOLD_MIN_GROUPS - 1, previous=0.75),
        chosen(calm[2:], odd, previous=0.75),
        chosen(calm, odd[1:], previous=0.75),
    ):
        assert (few.value, few.basis) == (0.75, "model")


def test_clips_may_raise_but_not_lower_the_pretrained_threshold() -> None:
    calm, odd = clips_with_one_loud_normal_one()
    kept = chosen(calm, odd, previous=0.45)
    assert (kept.value, kept.basis) == (0.45, "model")
    loud = [video(0.1, 0.5 + 0.01 * i) for i in range(THRESHOLD_MIN_VIDEOS)]
    assert chosen(loud, [video(0.8 + 0.01 * i) for i in range(12)], previous=0.45).value == (
        pytest.approx((0.59 + 0.8) / 2)
    )


def test_the_highest_of_equally_good_thresholds_is_taken() -> None:
    calm = [video(0.1)] * 16 + [video(0.1, at) for at in (0.3, 0.5, 0.7, 0.99)]
    odd = [video(0.1, at) for at in np.linspace(0.51, 0.95, 20)]
    rule = EVENTS.rule(chosen(calm, odd).value)
    alarms, found = (sum(bool(find_events(v, rule)) for v in videos) for videos in (calm, odd))
    assert (alarms, found) == (2, 19), "at 0.505, where most are right, 2 and 20"


def test_equal_scores_give_a_threshold() -> None:
    same = [video(0.3)] * THRESHOLD_MIN_VIDEOS
    assert (chosen(same, same).value, chosen(same, same, previous=0.6).value) == (0.5, 0.6)


def test_training_videos_do_not_lower_the_threshold() -> None:
    day = video(*[0.1, 0.2] * (3 * 1800))
    assert chosen([day], [], groups=0).value == 0.5
    assert chosen([day], [], groups=0, previous=0.75).value == 0.75


def test_the_wanted_rate_is_that_of_the_configuration(model: Model) -> None:
    """Seconds of normal video are enough where 720 false alarms an hour are wished."""
    found = []
    for wish in (720.0, 1.0):
        calibration = {"false_alarms_per_hour": wish}
        config = parse_config({"method": {"name": "linear"}, "calibration": calibration})
        videos = [gathered(config, i, each, abnormal=False) for i, each in enumerate(CALM * 4)]
        found.append(
            with_threshold_and_metrics(model, config, videos, [], lambda _: None).card[
                "threshold_best"
            ]
        )
    assert [each["set_by"] for each in found] == ["false alarms", "half"]
    assert found[0]["false_alarms"] > 0 == found[1]["false_alarms"]


LOUD = [features(0.1, 0.6), *CALM]
MANY = {
    "normal": [features(0.1, 0.1 + 0.02 * i) for i in range(THRESHOLD_MIN_VIDEOS)],
    "abnormal": [features(0.1, 0.4 + 0.03 * i) for i in range(THRESHOLD_MIN_VIDEOS)],
}


def in_three_groups(config: TrainConfig, calm: int, mask: str = "") -> list[VideoFeatures]:
    """So many clips of ``MANY["normal"]``, and all of ``MANY["abnormal"]``."""
    videos = [gathered(config, i, each, abnormal=False) for i, each in enumerate(MANY["normal"])]
    videos = videos[:calm]
    for i, each in enumerate(MANY["abnormal"], start=THRESHOLD_MIN_VIDEOS):
        videos.append(gathered(config, i, each, abnormal=True))
    return [
        replace(masked(each, mask), video=replace(each.video, group=f"g{i % THRESHOLD_MIN_GROUPS}"))
        for i, each in enumerate(videos)
    ]


def masked(given: VideoFeatures, mask: str) -> VideoFeatures:
    """The same video, with features that were made with a mask."""
    of = {
        k: replace(each, spec=replace(each.spec, mask=mask)) for k, each in given.features.items()
    }
    return replace(given, features=of)


def test_only_normal_videos_count_as_normal(model: Model) -> None:
    config = parse_config({"method": {"name": "linear"}})
    found = with_threshold_and_metrics(
        model, config, in_three_groups(config, THRESHOLD_MIN_VIDEOS), [], lambda _: None
    )
    # In the middle of 0.28, the highest normal score, and 0.4, the lowest abnormal one.
    assert found.profiles["best"].rule.threshold == pytest.approx(0.34, rel=1e-5)
    about = found.card["threshold_best"]
    assert (about["set_by"], about["false_alarms"]) == ("videos", 0)
    few = with_threshold_and_metrics(
        model, config, in_three_groups(config, THRESHOLD_MIN_VIDEOS - 1), [], lambda _: None
    )
    assert few.card["threshold_best"]["set_by"] == "half"


NEW, OLD = "a" * 16, "b" * 16


@pytest.mark.parametrize(
    ("basis", "settings", "calm", "mask"),
    [
        ("fixed", {"events": {"threshold": 0.7}}, CALM, ""),
        ("half", {}, CALM, ""),
        ("half", {}, LOUD, NEW),
        ("false alarms", {"calibration": {"false_alarms_per_hour": 720.0}}, CALM * 4, NEW),
    ],
)
def test_a_threshold_has_the_mask_of_the_videos_that_set_it(
    model: Model, basis: str, settings: dict[str, object], calm: list[Features], mask: str
) -> None:
    config = parse_config({"method": {"name": "linear"}, **settings})
    videos = [gathered(config, i, each, abnormal=False) for i, each in enumerate(calm)]
    held_out = [masked(each, NEW) for each in videos]
    found = with_threshold_and_metrics(model, config, held_out, [], lambda _: None)
    assert found.card.get("threshold_best", {"set_by": "fixed"})["set_by"] == basis
    assert (found.profiles["best"].spec.mask, masks_by_camera(found.card, "best")) == (mask, {})


@pytest.mark.parametrize("by_camera", [{}, {"gate": OLD, "yard": ""}])
def test_an_unchanged_threshold_keeps_its_mask(model: Model, by_camera: dict[str, str]) -> None:
    config = parse_config({"method": {"name": "linear"}})
    old = Profile(replace(SPEC, mask="" if by_camera else OLD), config.events.rule(0.4))
    start = replace(model, profiles={"best": old}, card=with_masks(model.card, "best", by_camera))
    videos = [gathered(config, i, each, abnormal=False) for i, each in enumerate(CALM)]
    held_out = [masked(each, NEW) for each in videos]
    kept = with_threshold_and_metrics(model, config, held_out, [], lambda _: None, start)
    assert kept.profiles["best"].rule.threshold == 0.4
    assert (kept.profiles["best"].spec.mask, masks_by_camera(kept.card, "best")) == (
        old.spec.mask,
        by_camera,
    )
    low = replace(start, profiles={"best": replace(old, rule=config.events.rule(0.2))})
    clips = in_three_groups(config, THRESHOLD_MIN_VIDEOS, NEW)
    risen = with_threshold_and_metrics(model, config, clips, [], lambda _: None, low)
    assert risen.card["threshold_best"]["set_by"] == "videos"
    assert (risen.profiles["best"].spec.mask, masks_by_camera(risen.card, "best")) == (NEW, {})
