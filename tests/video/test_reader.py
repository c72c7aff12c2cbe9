from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from oddframe.errors import InputError
from oddframe.video.decoding.container import read_packets
from oddframe.video.decoding.isolated import open_source
from oddframe.video.decoding.reader import VideoFile
from tests.conftest import BAD_VIDEOS, Image, encode, flip_bits, keep_part, remux, without_start


def times(path: Path) -> list[float]:
    return [frame.time_s for frame in VideoFile(path).frames()]


def by_plain_pyav(path: Path) -> tuple[int, int]:
    """(pictures, damaged packets) that a simple loop over the packets finds."""
    pictures = damaged = 0
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                pictures += len(packet.decode())
            except av.FFmpegError:
                damaged += 1
    return pictures, damaged


def turn(path: Path, matrix: tuple[int, ...]) -> None:
    """Set the display matrix (a, b, c, d) of an MP4's only track."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def test_frames_and_their_times(clip: Path, clip_frames: list[Image]) -> None:
    video = VideoFile(clip)
    frames = list(video.frames())
    assert (video.fps, video.expected_frames, video.name) == (25.0, 50, str(clip))
    assert [frame.time_s for frame in frames] == [i / 25 for i in range(50)]
    for frame, truth in zip(frames, clip_frames, strict=True):
        assert np.array_equal(frame.image, truth)


def test_reading_again_starts_at_the_beginning(clip: Path) -> None:
    video = VideoFile(clip)
    first = next(iter(video.frames())).image
    assert np.array_equal(next(iter(video.frames())).image, first)
    assert len(list(video.frames())) == 50


@pytest.mark.parametrize("kind", BAD_VIDEOS)
def test_the_error_of_a_bad_file_is_one_line_with_its_name(
    bad_video: Callable[[str], Path], kind: str
) -> None:
    path = bad_video(kind)
    with pytest.raises(InputError) as error:
        list(open_source(path).frames())
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file"),
        ("text", "not a video"),
        ("empty", "empty"),
        ("audio_only", "only sound"),
        ("no_moov", "without its index"),
        ("cut_header", "without its index"),
        ("no_pictures", "no picture could be decoded (50 damaged packets)"),
    ],
)
def test_the_error_names_the_reason(
    bad_video: Callable[[str], Path], kind: str, words: str
) -> None:
    with pytest.raises(InputError) as error:
        list(open_source(bad_video(kind)).frames())
    assert words in str(error.value)


@pytest.mark.parametrize(("kind", "count"), [("one_frame", 1), ("fifteen_frames", 15)])
def test_short_videos(bad_video: Callable[[str], Path], kind: str, count: int) -> None:
    assert times(bad_video(kind)) == [i / 25 for i in range(count)]


@pytest.mark.parametrize("kind", ["cut_mp4", "cut_mkv"])
def test_a_truncated_file_is_read_to_its_end_and_lost_frames_are_counted(
    bad_video: Callable[[str], Path], kind: str
) -> None:
    path = bad_video(kind)
    video = VideoFile(path)
    recovered = len(list(video.frames()))
    assert recovered == by_plain_pyav(path)[0] > 10
    assert recovered + video.damaged_packets == 50


def test_high_definition_whole_and_truncated(tmp_path: Path, clip_frames: list[Image]) -> None:
    large = [cv2.resize(frame, (1280, 720)) for frame in clip_frames[:40]]
    path = encode(tmp_path / "v.mp4", large, container_options={"movflags": "faststart"})
    assert len(times(path)) == 40
    keep_part(path, 0.5)
    video = VideoFile(path)
    recovered = len(list(video.frames((64, 64))))
    assert recovered == by_plain_pyav(path)[0] > 10
    assert recovered + video.damaged_packets == 40


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_flipped_bits_lose_few_frames(
    tmp_path: Path, clip_frames: list[Image], seed: int, suffix: str
) -> None:
    whole = encode(tmp_path / "whole.mp4", clip_frames * 4)
    path = flip_bits(whole, 40, seed)
    if suffix != ".mp4":
        path = remux(path, tmp_path / f"other{suffix}")
    video = VideoFile(path)
    recovered = len(list(video.frames((64, 64))))
    pictures, damaged = by_plain_pyav(path)
    assert recovered >= 0.99 * pictures
    assert recovered >= 0.97 * 200
    assert video.damaged_packets >= damaged
    assert recovered + video.damaged_packets == 200 or suffix == ".ts"
    assert 0 < video.mended_frames < 60


@pytest.mark.parametrize("suffix", [".ts", ".mpg", ".avi", ".mkv", ".flv"])
def test_flipped_bits_in_the_container(
    tmp_path: Path, clip_frames: list[Image], suffix: str
) -> None:
    codec = {".mpg": "mpeg1video", ".flv": "flv"}.get(suffix, "libx264")
    path = tmp_path / f"v{suffix}"
    # The same bytes on every machine: x264 splits work by cores, Matroska writes a random id.
    container_format = "mpeg" if suffix == ".mpg" else None
    exact = {"fflags": "+bitexact"}
    with av.open(str(path), "w", format=container_format, options=exact) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 352, 240, "yuv420p"
        stream.codec_context.thread_count = 1
        for image in clip_frames * 2:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    whole = path.read_bytes()
    for seed in range(6):
        data, dice = bytearray(whole), random.Random(seed)
        for _ in range(40):
            data[dice.randrange(3000, len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        with av.open(str(path)) as container, suppress(IndexError, av.FFmpegError):
            pictures = 0
            for packet in container.demux(video=0):
                with suppress(av.FFmpegError):
                    pictures += len(packet.decode())
        assert len(list(VideoFile(path).frames((64, 64)))) >= 0.99 * pictures
        assert pictures > 20


def test_streams_that_appear_within_the_file(tmp_path: Path, clip: Path) -> None:
    silent = remux(clip, tmp_path / "silent.ts")
    loud = tmp_path / "loud.ts"
    with av.open(str(clip)) as old, av.open(str(loud), "w") as new:
        streams = [new.add_stream_from_template(each) for each in old.streams]
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    path = tmp_path / "both.ts"
    path.write_bytes(silent.read_bytes() * 3 + loud.read_bytes())
    assert len(times(path)) == 200

    class Surprised:
        def demux(self, stream: int) -> Iterator[int]:
            yield stream
            raise IndexError("list index out of range")

    assert list(read_packets(Surprised(), 7)) == [7]


def test_an_avi_that_counts_several_ticks_for_a_frame(
    tmp_path: Path, clip_frames: list[Image]
) -> None:
    path = encode(tmp_path / "v.avi", clip_frames)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 600
    video = VideoFile(path)
    assert (video.fps, video.expected_frames) == (25, 50)
    keep_part(path, 0.5)
    cut = VideoFile(path)
    assert 48 <= len(list(cut.frames((64, 64)))) + cut.damaged_packets <= 52


def test_a_whole_file_has_no_damage(clip: Path, normal_clip: Path) -> None:
    for path in (clip, normal_clip):
        video = VideoFile(path)
        assert len(list(video.frames())) == video.expected_frames
        assert (video.damaged_packets, video.mended_frames) == (0, 0)


@pytest.mark.parametrize("size", [(352, 240), (1280, 720)])
def test_concealed_errors_are_counted_with_any_number_of_threads(
    tmp_path: Path, clip_frames: list[Image], size: tuple[int, int]
) -> None:
    whole = encode(tmp_path / "v.mp4", [cv2.resize(frame, size) for frame in clip_frames])
    path = flip_bits(whole, 6, seed=1)
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        marked = sum(frame.is_corrupt for frame in container.decode(video=0))
    video = VideoFile(path)
    for _ in range(2):
        assert len(list(video.frames((64, 64)))) == 50
        assert video.mended_frames == marked > 0
        assert video.damaged_packets == 0


def test_pictures_dropped_without_an_error_are_counted(
    tmp_path: Path, clip_frames: list[Image]
) -> None:
    options = {"preset": "ultrafast", "x265-params": "log-level=none"}
    whole = encode(tmp_path / "v.mp4", clip_frames * 4, codec="libx265", options=options)
    data, silent = whole.read_bytes(), 0
    for seed in range(6):
        whole.write_bytes(data)
        video = VideoFile(flip_bits(whole, 30, seed))
        recovered = len(list(video.frames((64, 64))))
        assert recovered + video.damaged_packets == 200
        silent += 200 - sum(by_plain_pyav(whole))
    assert silent > 50


def test_a_stream_with_missing_packets(tmp_path: Path, clip_frames: list[Image]) -> None:
    path = encode(tmp_path / "v.ts", clip_frames)
    data = path.read_bytes()
    path.write_bytes(data[: 188 * 200] + data[188 * 210 :])
    video = VideoFile(path)
    assert len(list(video.frames((64, 64)))) >= 48
    assert 1 <= video.mended_frames <= 12


def test_frames_that_depend_on_earlier_files_are_not_damage(
    tmp_path: Path, clip_frames: list[Image]
) -> None:
    whole = encode(tmp_path / "whole.mp4", clip_frames, options={"g": "20", "bf": "2"})
    path = tmp_path / "cut.ts"
    without_start(whole, path)
    video = VideoFile(path)
    assert len(list(video.frames((64, 64)))) < 43
    assert video.damaged_packets == 0


def test_errors_are_concealed_deterministically(tmp_path: Path, clip_frames: list[Image]) -> None:
    path = flip_bits(encode(tmp_path / "v.mp4", clip_frames), 20)
    once, twice = ([f.image for f in VideoFile(path).frames()] for _ in range(2))
    assert np.array_equal(np.stack(once), np.stack(twice))


def test_a_damaged_matroska_cluster(tmp_path: Path, clip: Path) -> None:
    path = remux(clip, tmp_path / "v.mkv")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    assert len(times(path)) >= 0.99 * by_plain_pyav(path)[0]


def test_variable_frame_rate(tmp_path: Path, clip_frames: list[Image]) -> None:
    stamps = np.append(0.0, np.cumsum(np.random.default_rng(0).uniform(0.01, 0.3, 39)))
    for suffix in (".mp4", ".mkv"):
        path = encode(tmp_path / f"v{suffix}", clip_frames[:40], times=stamps)
        assert np.allclose(times(path), stamps, atol=1.6e-3)


def test_the_first_frame_is_at_zero_whatever_the_container_starts_with(
    tmp_path: Path, clip_frames: list[Image]
) -> None:
    late = [1000.5 + i / 25 for i in range(20)]
    path = encode(tmp_path / "v.ts", clip_frames[:20], times=late)
    assert np.allclose(times(path), np.arange(20) / 25, atol=1e-3)


def test_a_stream_without_time_stamps(tmp_path: Path, clip_frames: list[Image]) -> None:
    path = tmp_path / "v.h264"
    encode(path, clip_frames[:30], options={"bf": "0", "preset": "ultrafast"})
    assert len(times(path)) == 30
    assert (np.diff(times(path)) > 0).all()


def rot90(frames: list[Image], turns: int) -> list[Image]:
    return [np.rot90(frame, turns) for frame in frames]


@pytest.mark.parametrize(
    ("matrix", "turns"),
    [
        ((0, 1, -1, 0), 3),  # Clockwise, as telephones write it.
        ((-1, 0, 0, -1), 2),
        ((0, -1, 1, 0), 1),
    ],
)
@pytest.mark.parametrize("filter", ["bicubic", "lanczos"])
def test_rotation_is_applied(
    tmp_path: Path,
    clip: Path,
    clip_frames: list[Image],
    matrix: tuple[int, ...],
    turns: int,
    filter,
) -> None:
    path = remux(clip, tmp_path / "v.mp4")
    turn(path, matrix)
    native = [frame.image for frame in VideoFile(path).frames()]
    assert np.array_equal(np.stack(native), np.stack(rot90(clip_frames, turns)))
    size = (120, 176) if turns % 2 else (176, 120)
    upright = [f.image for f in VideoFile(clip).frames((176, 120), filter)]
    turned = [f.image for f in VideoFile(path).frames(size, filter)]
    difference = np.abs(np.stack(turned).astype(int) - np.stack(rot90(upright, turns)))
    assert difference.mean() < 0.5  # Pillow resizes rows first, and rounds in between.


def test_the_resolution_may_change_within_a_stream(
    tmp_path: Path, clip_frames: list[Image]
) -> None:
    parts = []
    small = [np.ascontiguousarray(frame[::2, ::2]) for frame in clip_frames[:30]]
    for name, frames in (("large", clip_frames[:30]), ("small", small)):
        path = encode(tmp_path / f"{name}.ts", frames, options={"bf": "0"})
        parts.append(path.read_bytes())
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(parts))
    for size, shape in (((224, 224), (224, 224, 3)), (None, (240, 352, 3))):
        frames = list(VideoFile(path).frames(size))
        assert len(frames) >= 59  # The decoder may drop one where the stream changes.
        assert {frame.image.shape for frame in frames} == {shape}
        assert (np.diff([frame.time_s for frame in frames]) > 0).all()
        # The scene is the same before and after, so the resized pictures match.
        difference = np.abs(frames[5].image.astype(int) - frames[-25].image)
        assert difference.mean() < 8


def test_a_cover_picture_is_not_the_video(tmp_path: Path, clip_frames: list[Image]) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 640, 480, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 352, 240, "yuv420p"
        black = av.VideoFrame.from_ndarray(np.zeros((480, 640, 3), np.uint8), format="rgb24")
        container.mux(cover.encode(black))
        container.mux(cover.encode(None))
        for number, image in enumerate(clip_frames[:20]):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = list(VideoFile(path).frames())
    assert len(frames) == 20
    assert frames[0].image.shape == (240, 352, 3)


@pytest.mark.parametrize(
    "name",
    [
        "with space.mp4",
        'it\'s "quoted".mp4',
        "фильм 映画 🎬.mp4",
        "-dash.mp4",
        "rtp:cam.mp4",
        "100%d#?&.mp4",
        "new\nline.mp4",
    ],
)
def test_unusual_file_names(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert len(times(Path(name))) == 50


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/v.mp4", "rtsp://127.0.0.1:9/s", "file:///etc/passwd"]
)
def test_addresses_are_refused(address: str) -> None:
    with pytest.raises(InputError, match="only local files"):
        open_source(address)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("v.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n"),
        ("v.ffconcat", "ffconcat version 1.0\nfile '{clip}'\n"),
        ("v.mp4", "ffconcat version 1.0\nfile '{clip}'\n"),
        ("v.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 5004 RTP/AVP 96\n"),
        ("v.asf", "[Reference]\nRef1=http://127.0.0.1:9/a.wmv\n"),
        ("v.wmv", '<ASX version="3.0"><entry><ref href="{clip}"/></entry></ASX>'),
        ("v.pls.mp4", "[playlist]\nFile1={clip}\n"),
        ("v.mov", "RTSPtext\nrtsp://127.0.0.1:9/s\n"),
        ("v.txt", "only text, which FFmpeg could draw on a terminal\n" * 50),
    ],
)
def test_files_that_refer_to_other_files_are_refused(
    tmp_path: Path, clip: Path, name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_text(text.format(clip=clip))
    with pytest.raises(InputError, match=r"playlist|not a video"):
        open_source(path)


def test_no_permission(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match="no permission"):
        VideoFile(clip)


def test_a_truncated_file_with_its_index_at_the_start_still_opens(
    tmp_path: Path, clip: Path
) -> None:
    path = keep_part(remux(clip, tmp_path / "v.mp4", {"movflags": "faststart"}), 0.98)
    video = VideoFile(path)
    assert len(list(video.frames())) >= 47
    assert video.damaged_packets >= 1
