"""The messages of ``oddframe watch``, and their JSON: events of cameras, and states of cameras."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from oddframe._utils.files import safe_file_name
from oddframe.timeline import Box, SimilarClip

# Of the JSON. Fields may be added under the same number; none is removed or changes its meaning.
MESSAGE_VERSION = 1

EventKind = Literal["new", "update", "end"]
StateName = Literal["online", "offline", "frozen", "clock stopped", "resolution changed"]

_UNSAFE = re.compile(r"[^\w.-]")
_MAX_ID_NAME = 40  # Characters of the camera's name in an id.
_MAX_BOXES, _MAX_SIMILAR = 64, 64
_MAX_TEXT = 4096


@dataclass(frozen=True, kw_only=True)
class CameraEvent:
    """An event of a camera has started, has changed, or is over.

    Attributes:
        kind: ``new``, ``update``, or ``end``: it will not change any more.
        id: The same in all messages about one event, also after a restart; see ``new_event_id``.
        camera: Name of the camera.
        start: When it started, with a time zone.
        end: When it ended; that of an event which is not over moves on.
        peak: When its score was the highest.
        start_s: Its start in the time of the stream, in seconds.
        end_s: Its end in the time of the stream, in seconds.
        score: The highest smoothed score so far, in [0, 1].
        where: Rectangle in the picture at ``peak``, as ``timeline.Event`` has it; None: unknown.
        boxes: Rectangles around what moves, the hottest first.
        similar: The training clips that it looks like, nearest first; their pictures are not sent.
        clip: Path of its video below ``--out``, with forward slashes; None: there is none (yet).
        picture: Path of its picture, likewise.
        before: What the message before said of the same event; None: this is the first.
        number: Number of the message, from 1, set when it is announced. A message that is delivered
            twice has the same number and id.
        announced: When it was announced, set at that time.
    """

    kind: EventKind
    id: str
    camera: str
    start: datetime
    end: datetime
    peak: datetime
    start_s: float
    end_s: float
    score: float
    where: Box | None = None
    boxes: tuple[Box, ...] = ()
    similar: tuple[SimilarClip, ...] = ()
    clip: str | None = None
    picture: str | None = None
    before: CameraEvent | None = field(default=None, repr=False)
    number: int = 0
    announced: datetime | None = None

    def __post_init__(self) -> None:
        _check_zones(self.start, self.end, self.peak, self.announced)

    def to_json(self) -> dict[str, Any]:
        """The message as plain data for ``json.dumps``; docs/watch_events.md has the fields."""
        head = {"version": MESSAGE_VERSION, "type": "event", "number": self.number}
        state = self._state_json()
        before = None if self.before is None else self.before._state_json()
        return head | {"announced": _time(self.announced)} | state | {"before": before}

    def _state_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "id": self.id,
            "camera": self.camera,
            "start": _time(self.start),
            "end": _time(self.end),
            "peak": _time(self.peak),
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "score": round(self.score, 4),
            "where": _box_json(self.where),
            "boxes": [_box_json(box) for box in self.boxes],
            "similar": [
                {
                    "video": clip.video,
                    "time_s": round(clip.time_s, 3),
                    "label": clip.label,
                    "abnormal": clip.abnormal,
                    "similarity": round(clip.similarity, 4),
                }
                for clip in self.similar
            ],
            "clip": self.clip,
            "picture": self.picture,
        }


@dataclass(frozen=True, kw_only=True)
class CameraState:
    """A camera's state has changed.

    Attributes:
        camera: Name of the camera.
        state: ``online``: pictures come again. ``resolution changed`` is no trouble; the others
            last until the next ``online``.
        since: When it changed, with a time zone.
        text: One line for people, without passwords.
        number: As in ``CameraEvent``.
        announced: As in ``CameraEvent``.
    """

    camera: str
    state: StateName
    since: datetime
    text: str = ""
    number: int = 0
    announced: datetime | None = None

    def __post_init__(self) -> None:
        _check_zones(self.since, self.announced)

    def to_json(self) -> dict[str, Any]:
        """The message as plain data for ``json.dumps``; docs/watch_events.md has the fields."""
        return {
            "version": MESSAGE_VERSION,
            "type": "camera",
            "number": self.number,
            "announced": _time(self.announced),
            "camera": self.camera,
            "state": self.state,
            "since": _time(self.since),
            "text": self.text,
        }


Message = CameraEvent | CameraState


def new_event_id(camera: str, start: datetime) -> str:
    """An id that no other event has: camera, start in UTC, random digits; fit for file names."""
    return f"{camera_part(camera)}-{start.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def camera_part(camera: str) -> str:
    """A camera's name as ids and folders have it: short, without characters that need quotes."""
    return _UNSAFE.sub("_", safe_file_name(camera)[:_MAX_ID_NAME]).rstrip(".")


def from_json(data: object) -> Message:
    """Read a message; fields that are not known are ignored. ValueError: it is none."""
    try:
        if not isinstance(data, Mapping) or data.get("version") != MESSAGE_VERSION:
            raise ValueError("no message, or one of another version")
        number = _integer(data["number"])
        announced = None if data["announced"] is None else _read_time(data["announced"])
        if data["type"] == "camera":
            return CameraState(
                camera=_text(data["camera"]),
                state=_one_of(data["state"], StateName),
                since=_read_time(data["since"]),
                text=_text(data["text"]),
                number=number,
                announced=announced,
            )
        if data["type"] != "event":
            raise ValueError("a message of an unknown type")
        before = None if data["before"] is None else _read_event(data["before"])
        return replace(_read_event(data), before=before, number=number, announced=announced)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"a message with a missing or wrong field: {error}") from None


def _read_event(data: Mapping[str, Any]) -> CameraEvent:
    return CameraEvent(
        kind=_one_of(data["kind"], EventKind),
        id=_text(data["id"]),
        camera=_text(data["camera"]),
        start=_read_time(data["start"]),
        end=_read_time(data["end"]),
        peak=_read_time(data["peak"]),
        start_s=float(data["start_s"]),
        end_s=float(data["end_s"]),
        score=float(data["score"]),
        where=None if data["where"] is None else _read_box(data["where"]),
        boxes=tuple(_read_box(box) for box in data["boxes"][:_MAX_BOXES]),
        similar=tuple(
            SimilarClip(
                video=_text(clip["video"]),
                time_s=float(clip["time_s"]),
                label=_text(clip["label"]),
                abnormal=bool(clip["abnormal"]),
                similarity=float(clip["similarity"]),
            )
            for clip in data["similar"][:_MAX_SIMILAR]
        ),
        clip=None if data["clip"] is None else _text(data["clip"]),
        picture=None if data["picture"] is None else _text(data["picture"]),
    )


def _check_zones(*times: datetime | None) -> None:
    if any(time is not None and time.utcoffset() is None for time in times):
        raise ValueError("a time without a time zone in a message")


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds")


def _read_time(text: Any) -> datetime:
    return datetime.fromisoformat(text)


def _box_json(box: Box | None) -> list[float] | None:
    return None if box is None else [round(side, 4) for side in box]


def _read_box(sides: Any) -> Box:
    left, top, right, bottom = map(float, sides)
    return left, top, right, bottom


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ValueError("a message with a field that should be a text")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a message without a number")
    return value


def _one_of(value: Any, names: Any) -> Any:
    if value not in get_args(names):
        raise ValueError(f"a message with an unknown value: {value!r}"[:100])
    return value
