"""Clips hold the camera's own pictures, and only files of events are ever removed."""

from __future__ import annotations

import pickle
from datetime import timedelta, timezone
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from oddframe.cli.demo import DEMO_DATA
from oddframe.errors import OddframeError
from oddframe.watch.event_files import EventFiles, clip_span
from oddframe.watch.messages import camera_part, new_event_id
from oddframe.watch.packet_ring import PacketRing
from tests.watch.samples import START, encode, event, frames

OPTIONS = {
    "libx265": {"x265-params": "log-level=none:keyint=10"},
    "libsvtav1": {"svtav1-params": "keyint=10", "preset": "12"},
}


def fill(ring: PacketRing, path: Path, start_s: float = 0.0) -> list[float]:
    """Add a video's packets; returns the times of its frames."""
    times = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.pts is not None:
                times.append(start_s + float(packet.pts * packet.time_base))
                ring.add(packet, times[-1])
    return sorted(times)


@pytest.mark.parametrize(
    ("codec", "source", "ending"),
    [
        ("libx264", "in.ts", "mp4"),  # Annex B, as RTSP has it, with B-frames.
        ("libx264", "in.mp4", "mp4"),
        ("libx265", "in.ts", "mp4"),
        ("mjpeg", "in.avi", "mkv"),
        ("libvpx-vp9", "in.webm", "mp4"),
        ("libsvtav1", "in.mkv", "mp4"),
    ],
)
def test_a_clip_shows_exactly_the_pictures_of_its_source(
    codec: str, source: str, ending: str, tmp_path: Path
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    path = tmp_path / source
    encode(path, codec, options=OPTIONS.get(codec))
    ring = PacketRing(100, 10**8)
    times = fill(ring, path, start_s=7.0)
    middle = times[25]
    clip = pickle.loads(pickle.dumps(ring.cut(middle, times[40] + 0.001)))  # noqa: S301

    name = EventFiles(tmp_path / "out").write_clip(event(), clip)

    assert name == f"yard/2026-03-04/{event().id}.{ending}"
    found, whole = frames(tmp_path / "out" / name), frames(path)
    first = next(i for i, frame in enumerate(whole) if np.array_equal(frame, found[0]))
    assert first <= 25  # The key frame before.
    assert first == 25 or codec != "mjpeg"
    assert first + len(found) >= 41
    assert all(np.array_equal(a, b) for a, b in zip(found, whole[first:], strict=False))
    with av.open(str(tmp_path / "out" / name)) as container:
        shown = [float(frame.time) for frame in container.decode(video=0)]
    assert np.diff(shown) == pytest.approx(np.diff(times[first : first + len(found)]), abs=2e-3)
    assert shown[0] < 0.2


def test_a_clip_of_a_real_recording_plays_with_its_own_times(tmp_path: Path) -> None:
    source = DEMO_DATA / "fi026.mp4"
    ring = PacketRing(100, 10**8)
    times = fill(ring, source)
    clip = ring.cut(0.0, 100.0)
    assert clip is not None
    path = tmp_path / EventFiles(tmp_path).write_clip(event(), clip)
    assert all(np.array_equal(a, b) for a, b in zip(frames(path), frames(source), strict=True))
    with av.open(str(path)) as container:
        shown = [float(frame.time) for frame in container.decode(video=0)]
    assert shown == pytest.approx(times, abs=1e-3)


def test_the_ring_holds_the_seconds_asked_for_and_starts_at_a_key_frame(tmp_path: Path) -> None:
    path = tmp_path / "in.ts"
    encode(path, "libx264", n_frames=200, gop=10)
    ring = PacketRing(2.0, 10**8)
    times = fill(ring, path)
    clip = ring.cut(0.0, 100.0)
    assert clip is not None
    assert clip.packets[0].is_key
    kept_s = times[-1] - clip.packets[0].time_s
    assert 2.0 <= kept_s <= 2.0 + 0.5
    assert ring.n_bytes == sum(len(packet.data) for packet in clip.packets)


def test_the_ring_never_holds_more_bytes_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / "in.ts"
    encode(path, "libx264", n_frames=60, gop=20)
    ring = PacketRing(100.0, 40_000)
    sizes = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.pts is not None:
                ring.add(packet, float(packet.pts * packet.time_base))
                sizes.append(ring.n_bytes)
    assert max(sizes) <= 40_000
    assert max(sizes) > 0


def test_a_ring_without_pictures_of_that_time_gives_no_clip(tmp_path: Path) -> None:
    ring = PacketRing(10.0, 10**8)
    assert ring.cut(0.0, 1.0) is None
    path = tmp_path / "in.ts"
    encode(path, "libx264")
    fill(ring, path, start_s=50.0)
    assert ring.cut(0.0, 1.0) is None
    ring.clear()
    assert ring.cut(0.0, 100.0) is None


def test_time_stamps_that_repeat_or_go_back_still_make_a_clip(tmp_path: Path) -> None:
    path = tmp_path / "in.avi"
    encode(path, "mjpeg", n_frames=20)
    ring = PacketRing(10.0, 10**8)
    with av.open(str(path)) as container:
        for i, packet in enumerate(container.demux(video=0)):
            if packet.pts is not None:
                packet.pts = packet.dts = 3 if 5 <= i < 10 else packet.pts
                ring.add(packet, i / 25)
    clip = ring.cut(0.0, 10.0)
    assert clip is not None
    assert len(frames(tmp_path / EventFiles(tmp_path).write_clip(event(), clip))) == 20


@pytest.mark.parametrize("codec", ["rawvideo", "huffyuv"])
def test_a_codec_that_cannot_be_a_clip_is_said_in_one_line(codec: str, tmp_path: Path) -> None:
    """Raw pictures of webcams; the ring still has them, for the event's picture."""
    path = tmp_path / "in.avi"
    encode(path, codec, n_frames=10, pix_fmt="yuv422p" if codec == "huffyuv" else "yuv420p")
    ring = PacketRing(10.0, 10**8)
    fill(ring, path)
    clip = ring.cut(0.0, 10.0)
    assert clip is not None
    assert len(clip.packets) == 10
    with pytest.raises(OddframeError, match=f"no clip: {codec} cannot be written"):
        EventFiles(tmp_path / "out").write_clip(event(), clip)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_a_codec_that_cannot_be_described_gives_no_clip(tmp_path: Path) -> None:
    path = tmp_path / "in.mov"
    encode(path, "prores", n_frames=5, pix_fmt="yuv422p10le")
    ring = PacketRing(10.0, 10**8)
    fill(ring, path)
    assert ring.cut(0.0, 10.0) is None


def test_the_clip_of_a_long_event_has_its_beginning() -> None:
    assert clip_span(100.0, 104.0, 5.0, 3.0, 60.0) == (95.0, 107.0)
    assert clip_span(100.0, 500.0, 5.0, 3.0, 60.0) == (95.0, 155.0)


def test_a_picture_is_a_jpeg_of_the_frame_as_it_is(tmp_path: Path) -> None:
    picture = np.zeros((90, 120, 3), np.uint8)
    picture[:, 60:] = (250, 30, 30)
    local = event(start=START.astimezone(timezone(timedelta(hours=9))))
    name = EventFiles(tmp_path).write_picture(local, picture)
    assert name == f"yard/2026-03-05/{event().id}.jpg"  # The day where the camera is.
    found = cv2.imread(str(tmp_path / name))[..., ::-1]
    assert np.abs(found.astype(int) - picture).mean() < 3


def test_a_picture_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "yard").write_text("in the way")
    with pytest.raises(OddframeError, match=r"yard.*cannot be written"):
        EventFiles(tmp_path).write_picture(event(), np.zeros((8, 8, 3), np.uint8))


def put(folder: Path, camera: str, age_days: float, size: int = 10) -> Path:
    start = START - timedelta(days=age_days)
    name = f"{new_event_id(camera, start)}.jpg"
    path = folder / camera_part(camera) / f"{start:%Y-%m-%d}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_old_files_go_and_their_empty_folders_with_them(tmp_path: Path) -> None:
    old, new = put(tmp_path, "Gate 1: north", 8), put(tmp_path, "Gate 1: north", 6)
    assert EventFiles(tmp_path, max_days=7).remove_old(START) == 1
    assert not old.parent.exists()
    assert new.exists()
    assert EventFiles(tmp_path).remove_old(START) == 0


def test_the_oldest_files_go_when_all_are_too_large(tmp_path: Path) -> None:
    paths = [put(tmp_path, f"cam{i % 2}", age_days=i, size=100) for i in range(6)]
    assert EventFiles(tmp_path, max_bytes=350).remove_old(START) == 3
    assert [path.exists() for path in paths] == [True] * 3 + [False] * 3


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    ours = put(tmp_path, "yard", 100)
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    target = put(elsewhere, "yard", 100)
    day = ours.parent
    other_names = [
        day / f"copy of {ours.name}",
        day / f"{ours.stem}.png",
        day / f"{ours.name}.bak",
        day / "notes.txt",
        day / ours.name.replace("yard", "gate"),  # Of another camera than the folder's.
        day / "yard-20269999T000000Z-00000000.jpg",  # No date.
        tmp_path / "yard" / ours.name,
        tmp_path / ours.name,
        tmp_path / "yard" / "older" / ours.name,
        tmp_path / "yard" / "2026-01-01" / "sub" / ours.name,
    ]
    for path in other_names:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (day / put(tmp_path, "yard", 101).name).symlink_to(target)
    (tmp_path / "link").symlink_to(elsewhere / "yard")
    (tmp_path / "yard" / "2020-01-01").symlink_to(target.parent)

    assert EventFiles(tmp_path, max_days=1, max_bytes=0).remove_old(START) == 2

    assert not ours.exists()
    assert target.exists()
    assert all(path.exists() for path in other_names)


def test_a_file_that_cannot_be_removed_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, other = put(tmp_path, "yard", 10), put(tmp_path, "yard", 9)
    unlink = Path.unlink

    def refuse_one(path: Path, missing_ok: bool = False) -> None:
        if path == stuck:
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse_one)
    assert EventFiles(tmp_path, max_days=1).remove_old(START) == 1
    assert not other.exists()
