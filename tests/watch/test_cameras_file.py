"""``cameras.yaml``: what it takes, and one line about what it does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.errors import UsageError
from oddframe.watch.cameras_file import (
    AnnounceRule,
    CameraSection,
    announce_rule,
    parse_span,
    read_cameras,
    time_zone,
)
from oddframe.watch.setup import name_sources

MONDAY = datetime(2026, 11, 30, tzinfo=UTC)


def write(folder: Path, text: str) -> Path:
    path = folder / "cameras.yaml"
    path.write_text(text)
    return path


def test_paths_are_those_of_the_file_and_variables_are_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAM_PASSWORD", "s3cret")
    path = write(
        tmp_path,
        "time_zone: Europe/Berlin\ncameras:\n"
        "  yard: {source: 'rtsp://me:${CAM_PASSWORD}@10.0.0.3/s', threshold: 0.9}\n"
        "  door: {source: nvr/door, mask: door.png, model: own.safetensors, cool_down_s: 60}\n",
    )
    cameras = read_cameras(path).cameras
    assert cameras["yard"].source == "rtsp://me:s3cret@10.0.0.3/s"
    assert cameras["door"].source == str(tmp_path / "nvr/door")
    assert cameras["door"].mask == str(tmp_path / "door.png")
    assert cameras["door"].model == str(tmp_path / "own.safetensors")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cameras: {}", "cameras"),
        ("cameras: {a: {source: x, treshold: 1}}", "did you mean 'threshold'"),
        ("cameras: {a: {source: x, schedule: [never]}}", "a schedule has entries such as"),
        ("cameras: {a: {source: x, schedule: ['25:00-26:00']}}", "no such time of the day"),
        ("cameras: {a: {source: x}}\ntime_zone: Mars/One", "not a time zone"),
        ("cameras: {a/b: {source: x}}", "the name of a camera"),
        ("cameras: {a: {source: 'rtsp://u:${NOT_SET_ANYWHERE}@h/'}}", "is not set"),
        ("cameras: {a: {source: x, threshold: 2}}", "threshold"),
    ],
)
def test_mistakes_are_said_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_cameras(write(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "cameras: {a: {source: ['rtsp://u:hunter2@h/']}}",
        "cameras: {a: 'rtsp://u:hunter2@h/'}",
        "cameras: ['rtsp://u:hunter2@h/']",
        "a: {source: 'rtsp://u:hunter2@h/'}",
        "cameras:\n  a:\n    source: 'rtsp://u:hunter2@h/\n",
        "cameras: {a: {source: rtsp://u:hunter2@h/]}}",
    ],
)
def test_a_source_is_not_quoted_in_a_message(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_cameras(write(tmp_path, text))
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_camera_shows_no_password() -> None:
    assert "hunter2" not in repr(CameraSection(source="rtsp://u:hunter2@h/"))


def test_too_many_or_too_long_sources_are_one_line() -> None:
    with pytest.raises(UsageError, match="257 sources; at most 256"):
        name_sources(["rtsp://h/"] * 257, False)
    with pytest.raises(UsageError, match="at most 4096") as caught:
        name_sources(["rtsp://u:hunter2@h/" + "x" * 5000], False)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hours", "inside"),
    [
        ("mon-fri 18:00-07:00", 18, True),
        ("mon-fri 18:00-07:00", 24 + 6.9, True),  # Tuesday morning, since Monday.
        ("mon-fri 18:00-07:00", 6, False),  # Monday morning, since Sunday.
        ("mon-fri 18:00-07:00", 5 * 24 + 6, True),  # Saturday morning, since Friday.
        ("mon-fri 18:00-07:00", 5 * 24 + 19, False),
        ("sat,sun", 6 * 24 + 12, True),
        ("sat,sun", 12, False),
        ("fri-mon", 3, True),
        ("08:00-17:00", 17, False),
        ("08:00-24:00", 23.9, True),
    ],
)
def test_schedules(text: str, hours: float, inside: bool) -> None:
    assert (MONDAY + timedelta(hours=hours) in parse_span(text)) is inside


@given(st.integers(0, 10079), st.integers(0, 1439), st.integers(0, 1439))
def test_a_span_and_its_rest_fill_the_day(minute: int, start: int, end: int) -> None:
    if start == end:
        return
    when = MONDAY + timedelta(minutes=minute)
    clock = [f"{m // 60:02}:{m % 60:02}" for m in (start, end)]
    one, other = parse_span("-".join(clock)), parse_span("-".join(clock[::-1]))
    assert (when in one) != (when in other)


def test_zone_cool_down_and_snooze(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "time_zone: Asia/Tokyo\ncameras:\n  a:\n    source: rtsp://h/\n"
        "    schedule: [09:00-10:00]\n"
        "    cool_down_s: 60\n    snooze_until: 2026-11-30 09:30\n",
    )
    sections = read_cameras(path)
    rule = announce_rule(sections.cameras["a"], time_zone(sections))
    tokyo = ZoneInfo("Asia/Tokyo")
    at = datetime(2026, 11, 30, 9, 40, tzinfo=tokyo)
    assert rule.allows(at.astimezone(UTC), None)
    assert not rule.allows(at - timedelta(minutes=15), None)  # Snoozed.
    assert not rule.allows(at + timedelta(minutes=30), None)  # Not in the schedule.
    assert not rule.allows(at, at - timedelta(seconds=59))
    assert rule.allows(at, at - timedelta(seconds=60))
    assert AnnounceRule().allows(at, at)
    # The clock was set back by an hour.
    assert rule.allows(at, at + timedelta(hours=1))
    assert AnnounceRule().allows(at, at + timedelta(hours=1))
