"""``cameras.yaml``: the cameras that ``oddframe watch`` reads, and when it tells of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NaiveDatetime,
    ValidationError,
)

from oddframe._utils.parsing import format_validation_error, read_yaml
from oddframe.errors import UsageError

MAX_CAMERAS, MAX_SOURCE = 256, 4096  # Cameras, and characters of a source.
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MAX_NAME = 60
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class WeeklySpan:
    """A time of the week.

    Attributes:
        days: On which it begins, 0: Monday.
        start: When it begins.
        end: When it ends, on the next day if that is not after ``start``.
    """

    days: frozenset[int]
    start: time
    end: time

    def __contains__(self, when: datetime) -> bool:
        clock, day = when.time(), when.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= clock < self.end
        yesterday = (day - 1) % 7
        return (day in self.days and clock >= self.start) or (
            yesterday in self.days and clock < self.end
        )


def parse_span(text: str) -> WeeklySpan:
    """Read ``mon-fri 18:00-07:00``, ``sat,sun`` or ``08:00-17:00``; ValueError if it is none."""
    example = "a schedule has entries such as 'mon-fri 18:00-07:00', 'sat,sun' or '08:00-17:00'"
    days, start, end = frozenset(range(7)), time(), time()
    words = text.lower().split()
    if not 1 <= len(words) <= 2:
        raise ValueError(example)
    for place, word in enumerate(words):
        if found := _CLOCK.fullmatch(word):
            hours = [int(each) for each in found.groups()]
            if hours[2:] == [24, 0]:
                hours[2] = 0
            try:
                start, end = time(hours[0], hours[1]), time(hours[2], hours[3])
            except ValueError:
                raise ValueError(f"{word}: no such time of the day") from None
        elif place == 0:
            days = frozenset(_parse_days(word, example))
        else:
            raise ValueError(example)
    return WeeklySpan(days, start, end)


def _parse_days(word: str, example: str) -> set[int]:
    days: set[int] = set()
    for part in word.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise ValueError(example)
        start, end = _DAYS.index(first), _DAYS.index(last or first)
        days |= {(start + step) % 7 for step in range((end - start) % 7 + 1)}
    return days


def _check_span(text: str) -> str:
    parse_span(text)
    return text


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError.
        raise ValueError("not a time zone; a name such as Europe/Berlin") from None
    return name


class CameraSection(BaseModel):
    """One camera.

    Attributes:
        source: Address, device, folder or file. ``${NAME}`` is a variable of the environment.
        model: A shipped model or a model file.
        profile: ``best`` or ``fast``.
        threshold: Replaces the model's own.
        mask: A picture that is black where nothing is looked at.
        schedule: When events are announced; empty: always.
        cool_down_s: So long after an event no other is announced.
        snooze_until: Nothing is announced until then.
        silence_s: After so long without a picture the camera is connected again.
        frozen_s: A picture that has not changed for so long is frozen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    source: str = Field(min_length=1, max_length=MAX_SOURCE, repr=False)
    model: str | None = None
    profile: Literal["best", "fast"] | None = None
    threshold: float | None = Field(default=None, ge=0, le=1)
    mask: str | None = None
    schedule: tuple[Annotated[str, AfterValidator(_check_span)], ...] = ()
    cool_down_s: float = Field(default=0.0, ge=0, le=86400)
    snooze_until: AwareDatetime | NaiveDatetime | None = None
    silence_s: float = Field(default=10.0, ge=1, le=3600)
    frozen_s: float = Field(default=60.0, ge=1, le=86400)


class CamerasSection(BaseModel):
    """The whole file.

    Attributes:
        time_zone: Of the schedules, and of the times in messages; None: the machine's.
        cameras: By name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_zone: Annotated[str, AfterValidator(_check_zone)] | None = None
    cameras: dict[str, CameraSection] = Field(min_length=1, max_length=MAX_CAMERAS)


@dataclass(frozen=True)
class AnnounceRule:
    """When events of a camera are announced.

    Attributes:
        schedule: In any of these; empty: always.
        cool_down_s: Not so soon after the last one.
        snooze_until: Not before.
        zone: Of the schedule; None: the machine's.
    """

    schedule: tuple[WeeklySpan, ...] = ()
    cool_down_s: float = 0.0
    snooze_until: datetime | None = None
    zone: tzinfo | None = None

    def allows(self, start: datetime, last_end: datetime | None) -> bool:
        """Whether an event that starts then is announced; ``last_end``: that of the one before."""
        local = start.astimezone(self.zone)
        if self.schedule and not any(local in span for span in self.schedule):
            return False
        if self.snooze_until is not None and start < self.snooze_until:
            return False
        if last_end is None:
            return True
        # A clock that was set back may put an event before the last one.
        return abs(start - last_end) >= timedelta(seconds=self.cool_down_s)


def announce_rule(section: CameraSection, zone: tzinfo | None) -> AnnounceRule:
    """The rule of a camera."""
    until = section.snooze_until
    if until is not None and until.tzinfo is None:
        until = until.replace(tzinfo=zone) if zone is not None else until.astimezone()
    spans = tuple(parse_span(each) for each in section.schedule)
    return AnnounceRule(spans, section.cool_down_s, until, zone)


def time_zone(section: CamerasSection) -> tzinfo | None:
    """The zone of a file; None: the machine's."""
    return None if section.time_zone is None else ZoneInfo(section.time_zone)


def read_cameras(path: Path) -> CamerasSection:
    """Read a file of cameras; paths in it are relative to its folder.

    Raises:
        UsageError: it cannot be read, a key or a value is wrong, or a variable is not set.
    """
    values, node = read_yaml(path, "a file of cameras")
    try:
        found = CamerasSection.model_validate(values)
    except ValidationError as error:
        text = format_validation_error(error, CamerasSection, (), str(path), node)
        raise UsageError(_without_source(error, text)) from None
    cameras = {
        check_name(name): _completed(path, name, camera) for name, camera in found.cameras.items()
    }
    return found.model_copy(update={"cameras": cameras})


def check_name(name: str) -> str:
    """A camera's name, which is part of topics and of file names; UsageError if it cannot be."""
    is_good = name.strip() == name and name.isprintable() and not set(name) & set("/\\+#")
    if not is_good or not 1 <= len(name) <= _MAX_NAME:
        raise UsageError(
            f"{name!r:.80}: the name of a camera has 1 to {_MAX_NAME} characters, without / \\ + #"
        )
    return name


def _completed(path: Path, name: str, camera: CameraSection) -> CameraSection:
    source = _VARIABLE.sub(lambda found: _variable(path, name, found[1], os.environ), camera.source)
    changes: dict[str, str] = {"source": source}
    if "://" not in source:
        changes["source"] = str(path.parent / source)
    for key in ("mask", "model"):
        value = getattr(camera, key)
        if value is not None and (key == "mask" or value.endswith(".safetensors")):
            changes[key] = str(path.parent / value)
    return camera.model_copy(update=changes)


def _variable(path: Path, camera: str, name: str, known: Mapping[str, str]) -> str:
    if name not in known:
        raise UsageError(f"{path}: {camera}: the variable {name} is not set")
    return known[name]


def _without_source(error: ValidationError, text: str) -> str:
    """A message that does not quote a source, which may hold a password, wherever it stands."""
    first = error.errors()[0]
    loc: Sequence[int | str] = first["loc"]
    quotes = "source" in loc or "://" in text or "://" in str(first.get("input"))
    return text.partition(", not ")[0] if quotes else text
