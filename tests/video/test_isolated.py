"""Decoding in a child process gives the same frames, and no file can end the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from oddframe.errors import InputError, UsageError
from oddframe.outputs.drawing import KeyFrameCollector
from oddframe.video.audio import audio_windows
from oddframe.video.decoding.isolated import (
    DecodingLimits,
    IsolatedVideo,
    decoding_limits,
    open_in_process,
    open_source,
    set_decoding_limits,
)
from oddframe.video.decoding.probe import probe, sample_pictures
from oddframe.video.frame import FrameSource, FrameTransform
from oddframe.video.snippets.preprocessing import Preprocessing
from oddframe.video.snippets.reader import MultiSnippetReader
from tests.conftest import ROOT, Image

PREPROCESSING = Preprocessing(resize=(64, 48), filter="bicubic", crop_size=(48, 48))


@pytest.fixture
def limits() -> Iterator[Callable[..., None]]:
    """Sets the decoding limits for one test."""
    before = decoding_limits()
    yield lambda **changed: set_decoding_limits(DecodingLimits(**changed))
    set_decoding_limits(before)


def huge(path: Path) -> Path:
    """A real video of one picture, 9000 x 6000 pixels, in a file of some kilobytes."""
    picture = np.zeros((6_000, 9_000), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 6_000, 9_000, "gray"
        frame = av.VideoFrame.from_ndarray(picture, format="gray")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


@pytest.mark.parametrize("kind", ["clip", "cut_mp4", "folder"])
def test_frames_and_counts_equal_those_of_decoding_in_process(
    clip: Path,
    bad_video: Callable[[str], Path],
    clip_frames: list[Image],
    tmp_path: Path,
    kind: str,
) -> None:
    path = clip if kind == "clip" else tmp_path / "frames"
    if kind == "folder":
        path.mkdir()
        for number, image in enumerate(clip_frames[:5]):
            cv2.imwrite(str(path / f"{number}.png"), image)
        (path / "7.png").write_bytes(b"no picture")
    elif kind != "clip":
        path = bad_video(kind)
    ours, theirs = open_source(path), open_in_process(path)
    assert isinstance(ours, IsolatedVideo)
    assert (ours.fps, ours.expected_frames) == (theirs.fps, theirs.expected_frames)
    looks = [FrameTransform((64, 48)), FrameTransform()]
    for mine, other in zip(ours.read(looks), theirs.read(looks), strict=True):
        assert [frame.time_s for frame in mine] == [frame.time_s for frame in other]
        assert all(np.array_equal(a.image, b.image) for a, b in zip(mine, other, strict=True))
    counts = (ours.damaged_packets, ours.mended_frames)
    assert counts == (theirs.damaged_packets, theirs.mended_frames)
    assert kind == "clip" or counts[0] > 0


def test_snippets_and_audio_equal_those_of_decoding_in_process(clip: Path) -> None:
    ours, theirs = (
        MultiSnippetReader(open_source(clip), [PREPROCESSING]),
        MultiSnippetReader(open_in_process(clip), [PREPROCESSING]),
    )
    for (_, mine), (_, other) in zip(ours, theirs, strict=True):
        assert np.array_equal(mine, other)
    assert ours.timebases == theirs.timebases
    arguments = (audio_windows, 16_000, np.array([0.64, 1.28, 1.92]), 8_000)
    for mine, other in zip(
        open_source(clip).run(*arguments), open_in_process(clip).run(*arguments), strict=True
    ):
        assert np.array_equal(mine, other)


def test_a_picture_may_be_requested_later(clip: Path) -> None:
    later = list(open_source(clip).frames((64, 48)))
    for mine, other in zip(later, open_in_process(clip).frames((64, 48)), strict=True):
        assert np.array_equal(mine.image, other.image)


def test_key_frames_are_the_same(clip: Path) -> None:
    def caught(source: FrameSource) -> dict[float, Image]:
        catcher = KeyFrameCollector([0.0, 0.5, 1.99, 5.0], 64)
        for frame in source.frames():
            catcher.add(frame)
        catcher.close()
        return catcher.images

    ours, theirs = caught(open_source(clip)), caught(open_in_process(clip))
    assert ours.keys() == theirs.keys() == {0.0, 0.5, 1.99, 5.0}
    assert all(np.array_equal(ours[time_s], theirs[time_s]) for time_s in ours)


def test_stopping_early_leaves_the_process_usable(clip: Path) -> None:
    def process() -> int:
        return int(next(open_source(clip).run(pid)))

    before = process()
    for reading in (
        open_source(clip).frames(),
        iter(MultiSnippetReader(open_source(clip), [PREPROCESSING])),
    ):
        next(reading)
        reading.close()
    assert process() == before


def pid(source: FrameSource) -> Generator[int, None, None]:
    yield os.getpid()


def test_a_crash_while_decoding_fails_this_video_only(clip: Path) -> None:
    frames = open_source(clip).frames()
    next(frames)
    crashing = open_source(clip).run(crash)
    with pytest.raises(InputError, match=r"fi150\.mp4: the process .* ended by SIGSEGV"):
        next(crashing)
    assert len([next(frames), *frames]) == 49  # The process of another video continues.
    assert len(list(open_source(clip).frames())) == 50


def crash(source: FrameSource) -> Generator[None, None, None]:
    os.kill(os.getpid(), signal.SIGSEGV)
    yield


def test_a_decoder_that_hangs_times_out(clip: Path, limits: Callable[..., None]) -> None:
    limits(memory_bytes=10**9, timeout_s=1)
    with pytest.raises(InputError, match=r"fi150\.mp4: no progress for 1 s"):
        next(open_source(clip).run(hang))


def hang(source: FrameSource) -> Generator[None, None, None]:
    time.sleep(1000)
    yield


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
def test_memory_is_limited_for_every_opener(tmp_path: Path, limits: Callable[..., None]) -> None:
    path = huge(tmp_path / "huge.mkv")
    assert path.stat().st_size < 3_000_000
    limits(memory_bytes=100_000_000)
    words = r"huge\.mkv: .*(memory|0\.1 GB)"
    for read in (
        lambda: list(open_source(path).frames()),
        lambda: list(MultiSnippetReader(open_source(path), [PREPROCESSING])),
        lambda: probe(path),
        lambda: sample_pictures(path, (64, 48)),
    ):
        with pytest.raises(InputError, match=words):
            read()


def no_thread(source: FrameSource) -> Generator[None, None, None]:
    raise RuntimeError("can't start new thread")
    yield


def test_a_thread_that_cannot_start_means_out_of_memory(clip: Path) -> None:
    with pytest.raises(InputError, match=r"fi150\.mp4: .*(memory|GB)"):
        next(open_source(clip).run(no_thread))


def test_very_large_pictures_are_scaled_down(tmp_path: Path) -> None:
    (frame,) = open_source(huge(tmp_path / "huge.mkv")).frames()
    assert frame.image.shape == (5461, 8192, 3)


def test_invalid_limits_are_refused() -> None:
    for memory, silence in ((1000, 10.0), (10**9, 0.0), (10**9, float("nan"))):
        with pytest.raises(UsageError, match="decoding needs"):
            DecodingLimits(memory, silence)


def test_a_script_without_a_main_guard_works(tmp_path: Path, clip: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(
        "from oddframe.video.decoding.isolated import open_source\n"
        f"print(len(list(open_source({str(clip)!r}).frames())))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run([sys.executable, script], env=env, capture_output=True, timeout=120)
    assert (run.stdout, run.stderr) == (b"50\n", b"")
