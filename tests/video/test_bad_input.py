"""Unusual and damaged files: each is read as far as possible, or refused with one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from oddframe.errors import InputError
from oddframe.video.audio import audio_windows
from oddframe.video.decoding.isolated import open_source
from oddframe.video.decoding.probe import probe
from oddframe.video.decoding.reader import VideoFile
from oddframe.video.snippets.preprocessing import Preprocessing
from tests.conftest import ROOT, Image, encode, remux, without_start
from tests.snippets import SnippetReader
from tests.sounds import tone, with_sound

PREPROCESSING = Preprocessing(resize=(64, 48), filter="bicubic", crop_size=(48, 48))


def store(
    path: Path,
    frames: Iterable[np.ndarray],
    codec: str,
    pixels: str,
    *,
    given: str = "rgb24",
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames with a given codec and pixel format."""
    frames = list(frames)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.options = pixels, options or {}
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format=given).reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path: Path) -> tuple[Image, list[float]]:
    frames = list(VideoFile(path).frames())
    reader = SnippetReader(open_source(path), PREPROCESSING)
    snippets = list(reader)
    assert len(snippets) == reader.timebase.n_snippets
    assert reader.timebase.n_frames == len(frames)
    return np.stack([frame.image for frame in frames]), [frame.time_s for frame in frames]


def assert_close(ours: Image, theirs: Iterable[Image], levels: float) -> None:
    theirs = np.stack(list(theirs))
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).mean() < levels


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
def test_no_key_frame_at_the_start(tmp_path: Path, clip_frames: list[Image], suffix: str) -> None:
    whole = encode(tmp_path / "whole.mp4", clip_frames, options={"g": "20", "bf": "0"})
    path = tmp_path / f"cut{suffix}"
    without_start(whole, path)
    pictures, times = read(path)
    assert 30 <= len(pictures) <= 43
    # A player starts at packet 7 and shows nothing before the key frame, packet 20.
    assert times[0] == pytest.approx((50 - 7 - len(pictures)) / 25, abs=1e-3)
    assert_close(pictures[-30:], [f.image for f in VideoFile(whole).frames()][-30:], 1)


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix"),
    [
        ("libx264", "yuv420p10le", ".mp4"),
        ("ffv1", "yuv422p10le", ".mkv"),
        ("ffv1", "gray16le", ".mkv"),
    ],
)
def test_more_than_eight_bits(
    tmp_path: Path, clip_frames: list[Image], codec: str, pixels: str, suffix: str
) -> None:
    grey = [np.repeat(f.mean(axis=2, keepdims=True).astype(np.uint8), 3, 2) for f in clip_frames]
    pictures, times = read(store(tmp_path / f"v{suffix}", grey, codec, pixels))
    assert np.allclose(times, np.arange(50) / 25, atol=2e-3)
    assert_close(pictures, grey, 3)


@pytest.mark.parametrize("size", [(239, 351), (1, 1), (17, 9)])
def test_odd_sizes(tmp_path: Path, clip_frames: list[Image], size: tuple[int, int]) -> None:
    frames = [np.ascontiguousarray(f[: size[0], : size[1]]) for f in clip_frames]
    pictures, _ = read(store(tmp_path / "v.mkv", frames, "ffv1", "yuv420p"))
    assert_close(pictures, frames, 8)


def test_interlaced(tmp_path: Path, clip_frames: list[Image]) -> None:
    options = {"x264-params": "interlaced=1:tff=1"}
    path = store(tmp_path / "v.mp4", clip_frames, "libx264", "yuv420p", options=options)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    pictures, _ = read(path)
    assert_close(pictures, clip_frames, 4)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("png", ".mov"), ("ffv1", ".mkv"), ("qtrle", ".mov")]
)
def test_transparent_pictures(
    tmp_path: Path, clip_frames: list[Image], codec: str, suffix: str
) -> None:
    alpha = np.full((240, 352, 1), 255, np.uint8)
    frames = [np.concatenate([f, alpha], axis=2) for f in clip_frames[:20]]
    pixels = {"png": "rgba", "ffv1": "bgra", "qtrle": "argb"}[codec]
    path = store(tmp_path / f"v{suffix}", frames, codec, pixels, given="rgba")
    pictures, _ = read(path)
    assert_close(pictures, clip_frames[:20], 1)


def test_audio_with_a_cover_picture(tmp_path: Path, clip_frames: list[Image]) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 240, 352, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        container.mux(cover.encode(av.VideoFrame.from_ndarray(clip_frames[0], format="rgb24")))
        container.mux(cover.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
        silence.sample_rate = 16_000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(InputError, match="no video stream in it, only sound"):
        open_source(path)


def test_a_recording_without_frames(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(InputError, match="ends before its first picture"):
        open_source(path)


def boxes(data: bytes, kind: bytes) -> list[int]:
    """Offsets of the contents of all MP4 boxes of a kind."""
    found, at = [], data.find(kind)
    while at >= 0:
        found.append(at + 4)
        at = data.find(kind, at + 4)
    return found


def test_a_stream_without_duration(tmp_path: Path, clip: Path) -> None:
    path = remux(clip, tmp_path / "v.mp4")
    data = bytearray(path.read_bytes())
    for kind, offset in ((b"mvhd", 16), (b"mdhd", 16), (b"tkhd", 20)):
        for start in boxes(data, kind):
            data[start + offset : start + offset + 4] = bytes(4)
    for start in boxes(data, b"elst"):
        data[start - 4 : start] = b"free"
    for start in boxes(data, b"stts"):
        for entry in range(int.from_bytes(data[start + 4 : start + 8], "big")):
            data[start + 12 + 8 * entry : start + 16 + 8 * entry] = bytes(4)
    path.write_bytes(data)
    pictures, times = read(path)
    assert len(pictures) == 50
    assert (np.diff(times) > 0).all()


def test_a_video_shortened_by_an_edit_list_has_no_damage(tmp_path: Path, clip: Path) -> None:
    path = remux(clip, tmp_path / "v.mp4")
    data = bytearray(path.read_bytes())
    (start,) = boxes(data, b"elst")
    assert int.from_bytes(data[start + 4 : start + 8], "big") == 1
    half = int.from_bytes(data[start + 8 : start + 12], "big") // 2
    data[start + 8 : start + 12] = half.to_bytes(4, "big")
    path.write_bytes(data)
    video = VideoFile(path)
    assert 24 <= len(list(video.frames((64, 64)))) <= 28
    assert video.damaged_packets == 0


def test_an_index_entry_past_the_end_of_the_file(tmp_path: Path, clip: Path) -> None:
    path = remux(clip, tmp_path / "v.mp4")
    data = bytearray(path.read_bytes())
    (start,) = boxes(data, b"stsz")
    at = start + 12 + 4 * 25  # The size of that packet in bytes.
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(data)
    video = VideoFile(path)
    pictures = len(list(video.frames((64, 64))))
    assert pictures + video.damaged_packets == 50
    assert 20 < pictures < 30
    assert probe(path).frames == 50


def claim(path: Path, kind: bytes, values: dict[int, int]) -> None:
    """Write 32-bit numbers into the first box of a kind, by offset."""
    data = bytearray(path.read_bytes())
    start = boxes(data, kind)[0]
    for at, value in values.items():
        data[start + at : start + at + 4] = value.to_bytes(4, "big")
    path.write_bytes(data)


def test_a_table_that_claims_more_frames_than_the_file_has_bytes(
    tmp_path: Path, clip: Path
) -> None:
    path = remux(clip, tmp_path / "v.mp4")
    claim(path, b"stts", {8: 10**9})
    video = VideoFile(path)
    assert video.expected_frames == path.stat().st_size == probe(path).frames
    reader = SnippetReader(open_source(path), PREPROCESSING)
    assert len(list(reader)) == 4
    assert reader.timebase.n_frames == 50


def test_an_index_that_claims_samples_without_listing_them(tmp_path: Path, clip: Path) -> None:
    """FFmpeg would allocate 0.7 GB for these."""
    path = remux(clip, tmp_path / "v.mp4")
    claim(path, b"stsz", {4: 1, 8: 20_000_000})
    claim(path, b"stsc", {12: 20_000_000})
    fragments = remux(clip, tmp_path / "f.mp4", {"movflags": "frag_keyframe+empty_moov"})
    assert len(list(VideoFile(fragments).frames())) == 50
    claim(fragments, b"trun", {0: 1, 4: 20_000_000})
    for each in (path, fragments):
        with pytest.raises(InputError, match="its index claims 20000000 samples, too many for"):
            open_source(each)


@pytest.mark.parametrize("kind", ["m3u8", "ffconcat", "mpd", "avi"])
@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:9/secret.mp4", "../outside.mp4", "/etc/hostname", "file:clip.mp4"]
)
def test_playlists_are_refused(tmp_path: Path, clip: Path, kind: str, target: str) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    for path in (tmp_path / "outside.mp4", folder / "clip.mp4"):
        path.write_bytes(clip.read_bytes())
    text = {
        "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n" + f"#EXTINF:2,\n{target}\n" * 100_000,
        "ffconcat": "ffconcat version 1.0\n" + f"file '{target}'\n" * 100_000,
        "mpd": f'<?xml version="1.0"?><MPD><Period><BaseURL>{target}</BaseURL></Period></MPD>',
        "avi": f"#EXTM3U\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n",
    }[kind]
    path = folder / f"list.{kind}"
    path.write_text(text)
    with pytest.raises(InputError, match="playlist"):
        open_source(path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
def test_pictures_that_exceed_the_memory_limit(tmp_path: Path) -> None:
    path = tmp_path / "large.mkv"
    store(path, [np.zeros((4000, 6000), np.uint8)], "ffv1", "gray", given="gray")
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from oddframe._utils.child_process import limit_memory\n"
        "from oddframe.video.decoding.reader import VideoFile\n"
        "limit_memory(int(sys.argv[2]))\n"
        "print(len(list(VideoFile(Path(sys.argv[1])).frames((64, 64)))))\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    enough = subprocess.run([*command, "2000000000"], env=env, capture_output=True, text=True)
    assert enough.stdout == "1\n"
    less = subprocess.run([*command, "30000000"], env=env, capture_output=True, text=True)
    assert "need more memory than decoding may take" in less.stderr


@pytest.mark.parametrize(("box", "at"), [(b"stts", 16), (b"mdhd", 16)])
def test_no_header_makes_a_frame_last_longer_than_a_gap(
    tmp_path: Path, clip_frames: list[Image], box: bytes, at: int
) -> None:
    path = encode(tmp_path / "a.mp4", clip_frames)
    data = bytearray(path.read_bytes())
    claim = data.find(box) + at  # In stts the duration of a sample, in mdhd the ticks a second.
    data[claim : claim + 4] = b"\x7f\xff\xff\xff" if box == b"stts" else b"\x00\x00\x00\x01"
    path.write_bytes(data)
    reader = SnippetReader(open_source(path), PREPROCESSING)
    list(reader)
    assert reader.timebase.covered_s <= 10 * reader.timebase.n_frames


def test_audio_with_too_many_channels_is_silence(tmp_path: Path, clip_frames: list[Image]) -> None:
    path = tmp_path / "a.avi"
    with_sound(path, clip_frames, [tone(2.0)], codec="pcm_s16le")
    data = bytearray(path.read_bytes())
    form = data.rfind(b"strf") + 8
    data[form + 2 : form + 4] = (255).to_bytes(2, "little")
    data[form + 12 : form + 14] = (510).to_bytes(2, "little")
    path.write_bytes(data)
    windows = open_source(path).run(audio_windows, 16_000, np.array([0.64, 1.28]), 8_000)
    assert [window.shape for window in windows] == [(8_000,), (8_000,)]
