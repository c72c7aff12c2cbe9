"""One pass over a video computes all features that are asked for, audio included."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from oddframe.backbones.base import AudioEncoder, Backbone, VisualEncoder
from oddframe.backbones.engines import Runtime
from oddframe.backbones.registry import load_backbone
from oddframe.errors import InputError, UsageError
from oddframe.features.extraction.extract_video import (
    ExtractionTask,
    backbone_spec,
    extract_tasks,
    extract_video,
    make_spec,
)
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.video.decoding.isolated import open_in_process, open_source
from oddframe.video.decoding.reader import VideoFile
from oddframe.video.snippets.preprocessing import AUDIO_ONLY, Preprocessing
from tests.conftest import Image
from tests.sounds import tone, with_sound

HOW = Preprocessing(
    resize=(64, 48), filter="bicubic", crop_size=(64, 48), crops=("full", "full_mirrored"), stride=4
)
PLAIN = Runtime("torch", "cpu", "float32")
RATE, WINDOW = 1000, 400


def brightness(snippets: np.ndarray) -> np.ndarray:
    """A backbone of two numbers: mean brightness, and that of the left half."""
    left = snippets[..., : snippets.shape[3] // 2, :]
    pair = [part.mean(axis=(1, 2, 3, 4), dtype=np.float64) for part in (snippets, left)]
    return np.stack(pair, axis=1).astype(np.float32)


def loudness(windows: np.ndarray) -> np.ndarray:
    """A backbone of three numbers: how loud it is in the window, its first and its last quarter."""
    parts = (windows, windows[:, : WINDOW // 4], windows[:, -WINDOW // 4 :])
    return np.stack([part.std(axis=1) for part in parts], axis=1).astype(np.float32)


SEES = Backbone("eye", (2,), "e", PLAIN, (VisualEncoder(brightness),))
HEARS = Backbone("ear", (3,), "h", PLAIN, (), (AudioEncoder(loudness, RATE, WINDOW),))
BOTH = Backbone("eye+ear", (2, 3), "e+h", PLAIN, SEES.visual_encoders, HEARS.audio_encoders)


def features(path: Path, backbone: Backbone, preprocessing: Preprocessing = HOW):
    return extract_video(open_source(path), backbone_spec(backbone, preprocessing), backbone)


@pytest.fixture
def frames(clip_frames: list[Image]) -> list[Image]:
    return [np.ascontiguousarray(frame[:64, :64]) for frame in clip_frames]


def test_several_backbones_share_one_decoding(clip: Path, monkeypatch, tmp_path: Path) -> None:
    other = Preprocessing(resize=(32, 32), crop_size=(32, 32), crops=("full",), rate=10.0)
    wanted = [(SEES, HOW), (SEES, other), (HEARS, HOW), (BOTH, HOW), (SEES, replace(HOW, stride=8))]
    alone = [features(clip, *each) for each in wanted]
    opened = []
    decode = VideoFile._decode
    monkeypatch.setattr(VideoFile, "_decode", lambda *a: opened.append(a) or decode(*a))
    seen = []
    made = extract_tasks(
        open_in_process(clip),
        [ExtractionTask(backbone_spec(*each), each[0]) for each in wanted],
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(opened) == 1
    for ours, theirs in zip(made, alone, strict=True):
        assert ours.features.spec == theirs.features.spec
        assert ours.features.timebase == theirs.features.timebase
        np.testing.assert_array_equal(ours.features.array, theirs.features.array)
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][1] == len(seen)


def test_joint_backbones_give_the_features_of_single_ones(clip: Path) -> None:
    how = replace(HOW, stride=16)
    names = ("efficientnet_lite0", "aisfx")
    one = load_backbone("+".join(names), how)
    made = features(clip, one, how).features
    apart = [features(clip, load_backbone(name, how), how).features.array for name in names]
    np.testing.assert_array_equal(made.array[..., :1280], apart[0])
    np.testing.assert_array_equal(made.array[..., 1280:], np.repeat(apart[1], 2, axis=0))
    assert made.spec == make_spec("+".join(names), how, one.runtime.precision)


def test_a_window_of_sound_ends_with_its_snippet(tmp_path: Path, frames: list[Image]) -> None:
    loud = tone(2)
    loud[:48_000] = 0  # Silence up to second 1.
    path = with_sound(tmp_path / "v.mkv", frames, [loud])
    how = replace(HOW, crops=("full",), stride=5)
    made = features(path, HEARS, how).features
    assert made.spec.crops == AUDIO_ONLY
    ends_s = made.timebase.snippet_times()[:, 1]
    np.testing.assert_allclose(ends_s[:3], [0.64, 0.84, 1.04])
    whole, first, last = made.array[0].T
    for end_s, *heard in zip(ends_s, whole, first, last, strict=True):
        assert (heard[0] > 0.01) == (end_s > 1)
        assert (heard[1] > 0.2) == (end_s - 0.4 >= 1)
        assert (heard[2] > 0.2) == (end_s - 0.1 >= 0.99)


def test_sound_is_the_same_for_every_crop_and_follows_the_picture(clip: Path) -> None:
    made = features(clip, BOTH).features.array
    np.testing.assert_array_equal(made[..., :2], features(clip, SEES).features.array)
    sound = features(clip, HEARS).features.array
    np.testing.assert_array_equal(made[..., 2:], np.repeat(sound, 2, axis=0))


def test_missing_sound_is_silence_with_a_note(
    normal_clip: Path, clip_frames: list[Image], tmp_path: Path
) -> None:
    array = np.stack(clip_frames)
    for source in (open_source(normal_clip), open_source(array)):
        made = extract_video(source, backbone_spec(BOTH, HOW), BOTH)
        assert made.notes == ("no sound: silence in its place",)
        assert not made.features.array[..., 2:].any()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1.0, "ends 1.0 s before the picture"), (3.5, "longer than the picture"), (2, "")],
)
def test_sound_of_another_length_gives_a_note(
    seconds: float, words: str, tmp_path: Path, frames: list[Image]
) -> None:
    path = with_sound(tmp_path / "v.mkv", frames, [tone(seconds)])
    made = features(path, BOTH)
    assert made.features.timebase.n_frames == 50
    assert len(made.notes) == bool(words)
    assert words in " ".join(made.notes)
    assert (made.features.array[0, -1, 4] > 0.2) == (seconds >= 2)


def test_silence_is_encoded_once(normal_clip: Path) -> None:
    calls = []

    def counted(windows: np.ndarray) -> np.ndarray:
        calls.append(len(windows))
        return loudness(windows)

    backbone = replace(HEARS, audio_encoders=(AudioEncoder(counted, RATE, WINDOW),))
    assert features(normal_clip, backbone).features.array.shape == (1, 12, 3)
    assert calls == [1]


def test_resuming_with_audio_gives_the_same_features(clip: Path, tmp_path: Path) -> None:
    partial = PartialFeatures(tmp_path / "p", chunk=2)
    spec = backbone_spec(BOTH, HOW)
    first = extract_video(open_source(clip), spec, BOTH, partial=partial).features
    calls = []
    watched = replace(
        BOTH, visual_encoders=(VisualEncoder(lambda s: calls.append(1) or brightness(s)),)
    )
    again = PartialFeatures(tmp_path / "p", chunk=2)
    made = extract_video(open_source(clip), spec, watched, partial=again).features
    np.testing.assert_array_equal(made.array, first.array)
    assert len(calls) == first.timebase.n_snippets % 2


def test_another_backbone_than_that_of_the_spec_is_refused(clip: Path) -> None:
    with pytest.raises(UsageError, match=r"another backbone: .*backbone: eye\+ear, not eye"):
        extract_video(open_source(clip), backbone_spec(SEES, HOW), BOTH)
    broken = replace(
        SEES, visual_encoders=(VisualEncoder(lambda s: np.full((len(s), 2), np.nan, np.float32)),)
    )
    with pytest.raises(InputError, match="not a number"):
        features(clip, broken)


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "pcm_s16le"), (".ts", "aac")])
def test_sound_stays_aligned_with_a_late_picture(
    suffix: str, codec: str, tmp_path: Path, frames: list[Image]
) -> None:
    samples = np.concatenate([np.zeros(3 * 48_000, np.float32), tone(1.5)])
    path = tmp_path / f"v{suffix}"
    with_sound(path, frames, [samples], picture_at_s=2.5, codec=codec)
    made = extract_video(open_source(path), backbone_spec(BOTH, HOW), BOTH)
    time = made.features.timebase
    assert time.start_s == pytest.approx(2.5, abs=0.03)
    assert made.notes == ()
    ends_s = time.snippet_times()[:, 1] - (time.start_s - 2.5)
    for end_s, heard in zip(ends_s, made.features.array[0, :, 2], strict=True):
        assert (heard > 0.01) == (end_s > 3.0)


def test_a_gap_in_time_stamps_takes_no_memory_and_keeps_sound_aligned(
    tmp_path: Path, frames: list[Image]
) -> None:
    path = with_sound(tmp_path / "v.mkv", frames, [tone(1)], sound_at_s=40_001.2)
    times = np.arange(50) / 25 + np.repeat([0.0, 40_000.0], [30, 20])
    with av.open(str(path)) as old, av.open(str(tmp_path / "gap.mkv"), "w") as new:
        streams = {s: new.add_stream_from_template(s) for s in old.streams}
        packets = [packet for packet in old.demux() if packet.dts is not None]
        for packet in sorted(packets, key=lambda p: p.stream.type == "audio"):
            if packet.stream.type == "video":
                frame = round(packet.pts * packet.time_base * 25)
                packet.pts = packet.dts = round(times[frame] / packet.time_base)
            packet.stream = streams[packet.stream]
            new.mux(packet)
    tracemalloc.start()
    made = extract_video(open_source(tmp_path / "gap.mkv"), backbone_spec(BOTH, HOW), BOTH)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.notes == ("its time stamps jump by 11:06:40 at 0:00:01; no scores in between",)
    time, loud = made.features.timebase, made.features.array[0, :, 2] > 0.01
    assert time.gaps == (30,)
    assert time.fps == 25
    assert np.array_equal(loud, time.snippet_times()[:, 1] > 40_001.3)
    assert peak < 40e6
