"""Files as live, RTSP, HTTP and growing folders give events with the right times, and states."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from oddframe.watch.cameras_file import CameraSection, CamerasSection
from oddframe.watch.setup import WatchDefaults, open_cameras
from oddframe.watch.sources import parse_source
from oddframe.watch.watcher import Watcher
from tests.watch.samples import frames
from tests.watch.servers import (
    http_server,
    needs_ffmpeg,
    needs_rtsp_server,
    rtsp_server,
    wait_for,
)
from tests.watch.watch_brightness import brightness, camera, make_clip, watch

LEVELS = [(40, 1.6), (220, 1.6), (40, 1.6)]


def messages(out: Path) -> list[dict[str, Any]]:
    path = out / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def events(out: Path, kind: str = "end") -> list[dict[str, Any]]:
    return [each for each in messages(out) if each["type"] == "event" and each["kind"] == kind]


def states(out: Path) -> list[str]:
    return [each["state"] for each in messages(out) if each["type"] == "camera"]


def test_a_file_as_live_gives_its_event_with_wall_clock_clip_and_picture(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", LEVELS)
    started = datetime.now(UTC)
    summary = watch([camera("a", parse_source(str(clip), as_live=True), brightness())], tmp_path)
    (new,), (end,) = events(tmp_path, "new"), events(tmp_path)
    assert summary.n_events == 1
    assert summary.coverage == {"a": 1.0}
    assert new["id"] == end["id"]
    assert end["start_s"] == pytest.approx(1.6, abs=0.25)
    assert end["end_s"] == pytest.approx(3.2, abs=0.25)
    start, over = (datetime.fromisoformat(end[key]) for key in ("start", "end"))
    assert (over - start).total_seconds() == pytest.approx(1.6, abs=0.4)
    announced = datetime.fromisoformat(new["announced"])
    assert started < start < announced
    assert (announced - start).total_seconds() < 2.0  # A snippet, smoothing, and a busy machine.
    assert len(frames(tmp_path / end["clip"])) > 80  # It is shorter than five seconds around it.
    assert (tmp_path / end["picture"]).stat().st_size > 300
    assert states(tmp_path) == ["online"]


def test_an_event_of_a_shipped_model_says_where_and_what_it_looks_like(
    clip: Path, tmp_path: Path
) -> None:
    section = CamerasSection(cameras={"yard": CameraSection(source=str(clip))})
    watch(open_cameras(section, WatchDefaults(), as_live=True), tmp_path, clips=False)
    (end,) = events(tmp_path)
    assert end["boxes"]
    left, top, right, bottom = end["boxes"][0]
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1
    assert {each["label"] for each in end["similar"]} <= {"fight", "normal"}
    assert len(end["similar"]) == 3


@pytest.mark.slow
@needs_rtsp_server
def test_rtsp_gives_events_and_comes_back_after_a_kill_and_a_stall(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", LEVELS * 20)
    out, backbone = tmp_path / "out", brightness()
    with rtsp_server(clip, "me:hunter2") as server:
        source = parse_source(server.address)
        cameras = [camera("yard", source, backbone, silence_s=2.0)]

        def disturb() -> None:
            wait_for(lambda: len(events(out)) >= 1)
            server.kill()
            wait_for(lambda: states(out) == ["online", "offline"])
            server.start()
            wait_for(lambda: states(out) == ["online", "offline", "online"])
            count = len(events(out, "new"))
            wait_for(lambda: len(events(out, "new")) > count)
            assert server.process is not None
            server.process.send_signal(signal.SIGSTOP)
            wait_for(lambda: states(out)[-1] == "offline")
            server.process.send_signal(signal.SIGCONT)
            wait_for(lambda: states(out) == ["online", "offline"] * 2 + ["online"])
            done.set()

        done = threading.Event()
        thread = threading.Thread(target=disturb, daemon=True)
        thread.start()
        said: list[str] = []
        watch(cameras, out, for_s=90, until=lambda _: not thread.is_alive(), said=said)
    assert done.is_set()
    assert all(event["clip"] and (out / event["clip"]).exists() for event in events(out)[:1])
    assert "hunter2" not in (out / "events.jsonl").read_text() + "".join(said)
    ids = {event["id"] for event in events(out, "new")}
    assert sorted(ids) == sorted(event["id"] for event in events(out))  # Each has ended, once.


@pytest.mark.slow
@needs_ffmpeg
def test_http_and_hls_are_read(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.ts", LEVELS)
    hls = ["-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_list_size", "0"]
    words = ["ffmpeg", "-v", "error", "-i", str(clip), *hls, str(tmp_path / "list.m3u8")]
    subprocess.run(words, check=True)
    backbone = brightness()
    with http_server(tmp_path) as address:
        cameras = [
            camera("plain", parse_source(f"{address}/a.ts"), backbone),
            camera("hls", parse_source(f"{address}/list.m3u8"), backbone),
            camera("absent", parse_source(f"{address}/none.m3u8"), backbone),
        ]
        out = tmp_path / "out"

        def enough(_: Watcher) -> bool:
            return {"plain", "hls"} <= {event["camera"] for event in events(out, "new")}

        watch(cameras, out, for_s=40, until=enough, clips=False)
    assert {event["camera"] for event in events(out)} == {"plain", "hls"}
    lost = [each for each in messages(out) if each["camera"] == "absent"]
    assert [each["state"] for each in lost] == ["offline"]
    assert "404" in lost[0]["text"] or "not found" in lost[0]["text"].lower()


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])  # The latter does not state its length.
def test_a_video_on_a_web_server_is_over_at_its_end(name: str, tmp_path: Path) -> None:
    make_clip(tmp_path / name, LEVELS)
    with http_server(tmp_path) as address:
        cameras = [camera("web", parse_source(f"{address}/{name}"), brightness())]
        out = tmp_path / "out"
        summary = watch(cameras, out, for_s=40, until=lambda _: False, clips=False)
    (event,) = events(out)
    assert event["start_s"] == pytest.approx(1.6, abs=0.25)
    assert event["end_s"] == pytest.approx(3.2, abs=0.25)
    assert states(out) == ["online"]
    assert summary.coverage == {"web": 1.0}


def test_a_growing_folder_is_one_stream_with_the_times_of_its_files(tmp_path: Path) -> None:
    folder, out = tmp_path / "nvr", tmp_path / "out"
    folder.mkdir()
    clip = make_clip(tmp_path / "a.mp4", LEVELS)
    half = make_clip(tmp_path / "b.mp4", [(220, 1.0), (40, 1.0)])
    shutil.copy(clip, folder / "old.mp4")  # It was there before: nobody waits for it.
    began: list[float] = []

    def drop() -> None:
        time.sleep(2)
        (folder / "bad.mp4").write_bytes(b"no video at all")
        shutil.copy(clip, folder / "1.mp4")
        began.append(time.time())
        time.sleep(1.5)
        shutil.copy(half, folder / "2.mp4")

    said: list[str] = []
    threading.Thread(target=drop, daemon=True).start()
    cameras = [camera("nvr", parse_source(str(folder)), brightness())]
    watch(cameras, out, for_s=40, until=lambda _: len(events(out, "new")) == 2, said=said)
    first, second = events(out)
    start = datetime.fromisoformat(first["start"]).timestamp()
    assert start == pytest.approx(began[0] - 4.8 + 1.6, abs=0.5)  # It was complete then.
    assert second["start_s"] == pytest.approx(4.8, abs=0.3)
    assert any("bad.mp4" in line and "left out" in line for line in said)


@pytest.mark.slow
def test_a_frozen_picture_and_another_resolution_are_said_once_and_when_they_end(
    tmp_path: Path,
) -> None:
    folder, out = tmp_path / "nvr", tmp_path / "out"
    folder.mkdir()
    frozen = make_clip(tmp_path / "frozen.mp4", [(60, 5.0)], is_still=True)
    small = make_clip(tmp_path / "small.mp4", [(60, 1.0)])
    large = make_clip(tmp_path / "large.mp4", [(60, 1.0)], (96, 64))

    def drop() -> None:
        time.sleep(2)
        for number, path in enumerate((small, frozen, small, large)):
            shutil.copy(path, folder / f"{number}{path.suffix}")
            time.sleep(0.05)

    threading.Thread(target=drop, daemon=True).start()
    cameras = [camera("nvr", parse_source(str(folder)), brightness(), frozen_s=3.0)]
    wanted = ["online", "frozen", "online", "resolution changed"]
    watch(cameras, out, for_s=40, until=lambda _: states(out) == wanted)
    assert states(out) == wanted


@pytest.mark.slow
def test_too_slow_a_machine_looks_at_less_fairly_and_says_so(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", [(40, 12.0)])
    source = parse_source(str(clip), as_live=True)
    backbone = brightness(0.1)  # Three cameras send 15 snippets a second.
    cameras = [camera(name, source, backbone) for name in "abc"]
    said: list[str] = []
    summary = watch(cameras, tmp_path / "out", said=said, clips=False)
    shares = sorted(summary.coverage.values())
    assert 0.3 < shares[0] <= shares[-1] < 0.85
    assert shares[-1] - shares[0] < 0.12
    assert all(any(f"{name}: " in line and "looked at" in line for line in said) for name in "abc")


@pytest.mark.slow
def test_an_endless_file_ends_when_it_is_stopped_and_memory_is_flat(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", LEVELS)
    source = replace(parse_source(str(clip), as_live=True), speed=float("inf"), loops=10**6)
    sizes: list[int] = []

    def measure(watcher: Watcher) -> bool:
        held = watcher._scorers[0]
        if held is not None:
            kept = (held._rows, held._heat, held._final, held._times._times)
            sizes.append(sum(len(each) for each in kept))
        return len(sizes) > 4000

    watch([camera("a", source, brightness())], tmp_path / "out", for_s=12, until=measure)
    assert len(sizes) > 100
    assert max(sizes[len(sizes) // 2 :]) <= max(sizes[: len(sizes) // 2]) + 5
    ids = [event["id"] for event in events(tmp_path / "out", "new")]
    assert len(ids) == len(set(ids)) > 10
    assert sorted(ids) == sorted(event["id"] for event in events(tmp_path / "out"))
