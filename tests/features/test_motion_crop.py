"""The crop ``motion`` from the frames to the event that says where it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oddframe.backbones.base import Backbone, VisualEncoder
from oddframe.backbones.engines import Runtime
from oddframe.detector import VideoResult
from oddframe.errors import InputError, UsageError
from oddframe.events import EventRule, find_events
from oddframe.features.extraction.extract_video import backbone_spec, extract_video
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.features.formats.feature_file import open_features
from oddframe.features.spec import Features, FeatureSpec, join_features
from oddframe.features.store.store import FeatureStore
from oddframe.modelfile import Model, Profile
from oddframe.outputs.overlay import frame_boxes
from oddframe.outputs.score_files import read_score_file, write_json
from oddframe.timeline import ScoreTrack
from oddframe.training.config import parse_config
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.loop import fit
from oddframe.video.decoding.isolated import open_in_process, open_source
from oddframe.video.mask import Mask
from oddframe.video.snippets.motion import WHOLE
from oddframe.video.snippets.preprocessing import (
    Preprocessing,
    check_crops,
    with_crops,
    with_squares,
    with_views,
)
from oddframe.video.snippets.reader import MultiSnippetReader
from tests.conftest import Image, encode
from tests.outputs.conftest import INFO
from tests.snippets import SnippetReader
from tests.video.test_motion import joined, planted

PLAIN = Preprocessing(
    resize=(64, 64), filter="bicubic", crop_size=(64, 64), crops=("full",), stride=8
)
BOTH = replace(PLAIN, crops=("full", "motion"))


def brightness(snippets: np.ndarray) -> np.ndarray:
    return snippets.mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)


EYE = Backbone("eye", (3,), "e", Runtime("torch", "cpu", "float32"), (VisualEncoder(brightness),))


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An object that moves in the lower right, 32 frames of 320x240."""
    frames, _ = planted(240, 320, 0.95, 0.9, 0.12)
    path = tmp_path_factory.mktemp("moving") / "moving.mp4"
    return encode(path, frames * 4, options={"crf": "12"})


def made(path: Path, how: Preprocessing = BOTH, **more) -> Features:
    spec = backbone_spec(EYE, how)
    return extract_video(open_source(path), spec, EYE, **more).features


def test_the_crop_beside_the_whole_leaves_the_whole_as_it_is(moving: Path) -> None:
    both = MultiSnippetReader(open_in_process(moving), [BOTH, replace(PLAIN, crops=("motion",))])
    snippets = [[], []]
    for which, snippet in both:
        snippets[which].append(snippet)
    alone = list(SnippetReader(open_source(moving), PLAIN))
    assert len(alone) == len(snippets[0]) == len(snippets[1]) == 3
    for whole, pair, square in zip(alone, *snippets, strict=True):
        assert np.array_equal(whole[0], pair[0])
        assert np.array_equal(square[0], pair[1])
    ours, again = both.boxes
    assert np.array_equal(ours, again)
    assert (ours[:, :2] > 0.5).all()  # Lower right.
    assert MultiSnippetReader(open_in_process(moving), [PLAIN]).boxes == ()


def test_the_square_is_cut_before_the_frame_is_scaled(moving: Path) -> None:
    how = replace(PLAIN, crops=("motion", "motion_mirrored"))
    reading = MultiSnippetReader(open_in_process(moving), [how])
    square, mirrored = next(snippet for _, snippet in reading)
    assert np.array_equal(mirrored, square[:, :, ::-1])
    # The planted object is checkered, black and white; scaled with the whole it would be grey.
    assert square.max() > 210
    assert square.min() < 50
    assert (square < 60).mean() > 3 * (
        next(iter(SnippetReader(open_source(moving), PLAIN))) < 60
    ).mean()


def test_a_mask_hides_motion(moving: Path) -> None:
    ignored = np.zeros((2, 2), bool)
    ignored[1, 1] = True
    features = made(moving, mask=Mask(ignored))
    assert features.boxes is not None
    assert np.array_equal(features.boxes, [WHOLE] * len(features.boxes))


def test_names_and_sizes_are_checked() -> None:
    assert with_crops(replace(PLAIN, resize=(85, 64)), "full, motion") == BOTH
    with pytest.raises(UsageError, match="no crop is called motions"):
        with_crops(PLAIN, "motions")
    with pytest.raises(UsageError, match="is a square"):
        check_crops(replace(PLAIN, crops=("motion",), crop_size=(64, 48), resize=(64, 48)))
    with pytest.raises(UsageError, match="more than 268,435,456"):
        check_crops(
            replace(
                PLAIN,
                crops=("motion",),
                crop_size=(512, 512),
                resize=(512, 512),
                snippet_frames=256,
            )
        )
    with pytest.raises(UsageError, match="make them equal"):
        check_crops(replace(PLAIN, crops=("motion",), resize=(85, 64)))
    with pytest.raises(UsageError, match="no views"):
        with_views(BOTH, 5)
    section = parse_config({"features": {"crops": ["full", "motion"]}}).features
    assert section.preprocessing().crops == ("full", "motion")


def test_features_of_other_crops_are_others() -> None:
    whole, both = (
        FeatureSpec(**vars(how), backbone="i3d", weights_sha256="", dim=3) for how in (PLAIN, BOTH)
    )
    assert both.differences(whole)
    assert whole.differences(both)
    assert not both.differences(replace(both, stride=4))
    assert whole.hash() != both.hash()
    assert FeatureSpec.from_dict(both.to_dict()) == both


def test_boxes_are_kept_with_the_features(moving: Path, tmp_path: Path) -> None:
    store, features = FeatureStore(tmp_path), made(moving)
    path = store.put("ab" * 32, features)
    kept = store.get("ab" * 32, features.spec)
    assert kept is not None
    for again in (kept, open_features(path, verify=True), join_features([kept])):
        assert np.array_equal(again.boxes, features.boxes)
    plain = made(moving, PLAIN)
    assert open_features(store.put("ab" * 32, plain), verify=True).boxes is None
    with pytest.raises(InputError, match="boxes of shape"):
        replace(features, boxes=features.boxes[1:])  # type: ignore[index]


def test_a_resumed_extraction_has_all_boxes(moving: Path, tmp_path: Path) -> None:
    def fail(done: int, _total: int | None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    partial = PartialFeatures(tmp_path / "unfinished", chunk=1)
    with pytest.raises(KeyboardInterrupt):
        made(moving, partial=partial, progress=fail)
    assert partial.count_rows(2, 3) > 0
    resumed, whole = made(moving, partial=partial), made(moving)
    assert np.array_equal(resumed.boxes, whole.boxes)
    assert np.array_equal(resumed.array, whole.array)


def test_an_event_says_where_it_moves(moving: Path, tmp_path: Path) -> None:
    features = made(moving)
    scores = np.zeros(features.timebase.n_snippets)
    scores[2] = 0.9
    track = ScoreTrack(scores, features.timebase, boxes=features.boxes)
    rule = EventRule(threshold=0.5)
    (event,) = find_events(track, rule)
    assert event.where == tuple(features.boxes[2])  # type: ignore[index]
    write_json(VideoResult("a.mp4", track, (event,), rule, INFO), tmp_path / "a.json")
    again = read_score_file(tmp_path / "a.json").result
    assert again.events == (event,)
    assert np.array_equal(again.track.boxes, features.boxes)
    box = frame_boxes(again.track)
    assert box is not None
    assert box(0) == tuple(features.boxes[0])  # type: ignore[index]
    assert box(31) == tuple(features.boxes[-1])  # type: ignore[index]
    assert frame_boxes(ScoreTrack(scores, features.timebase)) is None


def test_small_squares_are_parts_with_boxes_of_their_own(moving: Path, tmp_path: Path) -> None:
    features = made(moving, with_squares(PLAIN, 2))
    snippets = features.timebase.n_snippets
    assert features.array.shape[:2] == (2, snippets)
    assert features.boxes is not None
    assert features.boxes.shape == (snippets, 2, 4)
    assert features.spec.tiles == (1, 2)
    path = FeatureStore(tmp_path).put("ab" * 32, features)
    assert np.array_equal(open_features(path, verify=True).boxes, features.boxes)
    with pytest.raises(InputError, match="boxes of shape"):
        replace(features, boxes=features.boxes[:, 0])
    with pytest.raises(UsageError, match="1 to 9, not 10"):
        with_squares(PLAIN, 10)
    with pytest.raises(UsageError, match="complete and in order"):
        check_crops(replace(PLAIN, crops=("square_1_of_2",)))


def test_a_configuration_asks_for_small_squares_or_other_parts() -> None:
    section = parse_config({"features": {"squares": 3}}).features
    assert section.preprocessing().crops == tuple(f"square_{i}_of_3" for i in (1, 2, 3))
    with pytest.raises(UsageError, match="tiles and squares exclude each other"):
        parse_config({"features": {"squares": 3, "tiles": [2, 2]}})
    with pytest.raises(UsageError, match="crops and squares exclude each other"):
        parse_config({"features": {"squares": 3, "crops": ["motion"]}})
    with pytest.raises(UsageError, match="squares"):
        parse_config({"features": {"squares": 10}})


def test_normality_looks_at_small_squares_unless_told_otherwise() -> None:
    assert parse_config({"method": {"name": "normality"}}).features.squares == 4
    whole = {"method": {"name": "normality"}, "features": {"crops": ["full"]}}
    assert parse_config(whole).features.squares is None


def test_a_model_says_which_square_is_odd(tmp_path: Path) -> None:
    left, right = planted(240, 320, 0.1, 0.1, 0.12)[0], planted(240, 320, 0.9, 0.9, 0.16)[0]
    path = encode(tmp_path / "two.mp4", joined(left, right) * 4, options={"crf": "12"})
    features = made(path, with_squares(PLAIN, 2))
    assert features.boxes is not None
    config = parse_config({"method": {"name": "normality"}, "standardise": False})
    normal = np.asarray(features.array)[0]  # The first square of each snippet is normal.
    network = fit([TrainingVideo((normal,), abnormal=False)], config).network
    profiles = {"best": Profile(features.spec, EventRule(threshold=0.5))}
    settings = config.chosen_method()[1]
    track = Model("eye", "normality", settings, network, profiles, "oddities").score(features)
    assert track.tiles is None
    assert np.array_equal(track.boxes, features.boxes[:, 1])
    assert not np.array_equal(features.boxes[:, 0], features.boxes[:, 1])


def test_the_window_of_a_large_video_stays_small() -> None:
    frame = np.zeros((1080, 3840, 3), np.uint8)
    how = Preprocessing(resize=(224, 224), filter="bicubic", crops=("motion",), snippet_frames=2)
    sizes: list[tuple[int, ...]] = []

    def look(images: list[Image], _: object) -> tuple[float, float, float, float]:
        sizes.extend(image.shape for image in images)
        return WHOLE

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oddframe.video.snippets.reader.find_motion", look)
        (snippet,) = SnippetReader(open_source(np.stack([frame, frame])), how)
    assert snippet.shape == (1, 2, 224, 224, 3)
    assert all(h * w <= 2 * 640 * 640 * 1.01 for h, w, _ in sizes)
    assert sizes[0][1] / sizes[0][0] == pytest.approx(3840 / 1080, rel=0.01)
