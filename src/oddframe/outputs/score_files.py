"""The files for programs and players: scores as JSON (the score file) or CSV, events as WebVTT."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from oddframe._utils.files import open_regular_file, write_text
from oddframe.detector import ModelInfo, VideoResult
from oddframe.errors import InputError, UsageError
from oddframe.events import EventRule
from oddframe.timeline import (
    Box,
    Event,
    LikelyAction,
    MemorySlot,
    ScoreTrack,
    SimilarClip,
    TileScores,
    Timebase,
)

SCORE_FILE_SCHEMA = 1
_EVENT_REASONS = {"similar": SimilarClip, "memory_slots": MemorySlot, "actions": LikelyAction}
_MODEL_KEYS = {"detects": "knows"}  # Fields of ``ModelInfo`` with another name in the file.


def result_to_dict(result: VideoResult) -> dict[str, Any]:
    """A result as JSON types, as ``schema/score_file.schema.json`` and docs/formats.md say."""
    base = result.track.timebase
    rule = asdict(result.rule)
    threshold = rule.pop("threshold")
    model = {_MODEL_KEYS.get(name, name): text for name, text in asdict(result.model).items()}
    data: dict[str, Any] = {
        "schema": SCORE_FILE_SCHEMA,
        "video": result.video,
        "frames": base.n_frames,
        "fps": base.fps,
        "duration_s": base.duration_s,
        "snippet_frames": base.snippet_frames,
        "snippet_stride": base.stride,
        "snippet_rate": base.rate,
        "snippet_scores": result.track.scores.tolist(),
        "events": [_event_to_dict(event) for event in result.events],
        "threshold": threshold,
        "rule": rule,
        "model": model,
        "damaged_packets": result.damaged_packets,
        "mended_frames": result.mended_frames,
        "fingerprint": result.fingerprint,
    }
    if base.start_s:
        data["start_s"] = base.start_s
    if base.gaps:
        data["gaps"] = base.gap_times.tolist()
    uneven = base.start_s or base.pts is not None or base.stride != base.snippet_frames
    if base.rate is not None or uneven:
        data["snippet_times"] = base.snippet_times().tolist()
    if base.pts is not None:
        data["frame_times"] = base.pts.tolist()
    if (tiles := result.track.tiles) is not None:
        data["tiles"] = {"grid": list(tiles.grid), "scores": tiles.scores.tolist()}
    if result.track.boxes is not None:
        data["boxes"] = result.track.boxes.tolist()
    if result.mask:
        data["mask"] = result.mask
    if result.truth is not None:
        data["truth"] = [list(interval) for interval in result.truth]
    return data


def _event_to_dict(event: Event) -> dict[str, Any]:
    data = {name: value for name, value in asdict(event).items() if value not in (None, ())}
    for clip in data.get("similar", ()):
        del clip["picture"]
    return data


@dataclass(frozen=True)
class ScoreFile:
    """The contents of a score file; those of earlier versions have no files and no checksum."""

    result: VideoResult
    files: Mapping[str, str]  # sha256 by name of each other file of the result in the folder.
    intact: bool | None  # Whether the checksum is right; None: there is none.


def write_json(result: VideoResult, path: Path, files: Mapping[str, str] | None = None) -> None:
    """Write the score file, with a line for each field, so that files are easy to compare.

    ``files``: sha256 by name of the other files of the same result.
    """
    data = {**result_to_dict(result), "files": dict(files or {})}
    data["checksum"] = _checksum(data)
    lines = (
        f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        for key, value in data.items()
    )
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def read_score_file(path: Path) -> ScoreFile:
    """Read a score file; InputError: it is missing, not a score file, or of a newer schema."""
    try:
        with open_regular_file(path) as file:
            text = file.read()
        data = json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a score file: this is no JSON") from error
    if not isinstance(data, dict) or "schema" not in data:
        raise InputError(f"{path}: not a score file: no field 'schema'")
    if data["schema"] != SCORE_FILE_SCHEMA:
        raise InputError(
            f"{path}: schema {data['schema']}, but this version of oddframe reads "
            f"{SCORE_FILE_SCHEMA}; update oddframe"
        )
    try:
        files = {str(name): str(digest) for name, digest in data.get("files", {}).items()}
        intact = data["checksum"] == _checksum(data) if "checksum" in data else None
        return ScoreFile(_from_dict(data, len(text)), files, intact)
    except InputError as error:
        raise InputError(f"{path}: a damaged score file ({error})") from None
    except KeyError as error:
        raise InputError(f"{path}: not a whole score file: no field {error}") from error
    except (TypeError, ValueError, AttributeError, ArithmeticError, UsageError) as error:
        raise InputError(f"{path}: not a score file: {error}") from error


def _checksum(data: dict[str, Any]) -> str:
    """sha256 of all fields but ``checksum``, whatever their order and white space."""
    rest = {key: value for key, value in data.items() if key != "checksum"}
    text = json.dumps(rest, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    # ``write_text`` replaces the same way: a file name may hold bytes that are not text.
    return hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()


def _from_dict(data: dict[str, Any], size: int) -> VideoResult:
    pts = np.asarray(data["frame_times"], dtype=np.float64) if "frame_times" in data else None
    gap_ends = [end for _, end in data.get("gaps", ())]
    base = Timebase(
        fps=data["fps"],
        n_frames=data["frames"],
        snippet_frames=data["snippet_frames"],
        stride=data["snippet_stride"],
        rate=data["snippet_rate"],
        pts=pts,
        start_s=data.get("start_s", 0.0),
        gaps=() if pts is None else tuple(np.searchsorted(pts, gap_ends).tolist()),
    )
    base.check_claims(len(data["snippet_scores"]), size)
    truth, tile_data = data.get("truth"), data.get("tiles")
    tiles = tile_data and TileScores(
        tuple(tile_data["grid"]), np.asarray(tile_data["scores"], dtype=np.float64)
    )
    scores = np.asarray(data["snippet_scores"], dtype=np.float64)
    boxes = np.asarray(data["boxes"], dtype=np.float64) if "boxes" in data else None
    return VideoResult(
        video=data["video"],
        track=ScoreTrack(scores, base, tiles or None, boxes),
        events=tuple(map(_event_from, data["events"])),
        rule=EventRule(threshold=data["threshold"], **_known(EventRule, data["rule"])),
        model=ModelInfo(
            **{name: data["model"][_MODEL_KEYS.get(name, name)] for name in _names(ModelInfo)}
        ),
        damaged_packets=data["damaged_packets"],
        mended_frames=data.get("mended_frames", 0),  # Earlier versions did not count them.
        fingerprint=data["fingerprint"],
        mask=data.get("mask", ""),
        truth=None if truth is None else tuple((float(a), float(b)) for a, b in truth),
    )


def _event_from(data: dict[str, Any]) -> Event:
    known = _known(Event, data)
    if known.get("where") is not None:
        known["where"] = _box(known["where"])
    known["boxes"] = tuple(map(_box, known.get("boxes", ())))
    known["boxes_at"] = tuple(
        (float(time_s), tuple(map(_box, boxes))) for time_s, boxes in known.get("boxes_at", ())
    )
    if known.get("heatmap") is not None:
        heat = np.array(known["heatmap"], dtype=np.float64)
        if heat.ndim != 2 or not ((heat >= 0) & (heat <= 1)).all():
            raise ValueError("a heat map is rows of numbers from 0 to 1")
        known["heatmap"] = tuple(map(tuple, heat.tolist()))
    for name, kind in _EVENT_REASONS.items():
        known[name] = tuple(kind(**_known(kind, each)) for each in known.get(name, ()))
    return Event(**known)


def _box(values: Sequence[float]) -> Box:
    left, top, right, bottom = map(float, values)
    if not all(0 <= value <= 1 for value in (left, top, right, bottom)):
        raise ValueError("a box is not inside the picture")
    return left, top, right, bottom


def _known(kind: Any, data: dict[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass: a later version may write more under the same schema."""
    return {name: data[name] for name in _names(kind) if name in data}


def _names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


# Event times and frame times are rounded differently: they may differ by this (s).
_SLACK = 1e-6


def write_csv(result: VideoResult, path: Path) -> None:
    """Write ``frame,time_s,score,event`` for every frame; ``event`` is 1 during one."""
    times = result.track.timebase.frame_times
    during_event = np.zeros(len(times), dtype=np.bool_)
    for each in result.events:
        first, end = np.searchsorted(times, [each.start_s - _SLACK, each.end_s - _SLACK])
        during_event[first:end] = True
    scores = result.track.to_frames()
    columns = zip(times.tolist(), scores.tolist(), during_event.tolist(), strict=True)
    rows = (
        f"{i},{time:.6f},{score:.6f},{event:d}\n" for i, (time, score, event) in enumerate(columns)
    )
    write_text(path, "frame,time_s,score,event\n" + "".join(rows))


def write_vtt(result: VideoResult, path: Path) -> None:
    """Write a cue for each event: ``Event 1, score 0.93``. Without events, write a note."""
    blocks = ["WEBVTT"]
    for number, event in enumerate(result.events, start=1):
        start = round(event.start_s * 1000)
        end = max(round(event.end_s * 1000), start + 1)  # A cue without length is not valid.
        blocks.append(
            f"{number}\n{_stamp(start)} --> {_stamp(end)}\nEvent {number}, score {event.score:.2f}"
        )
    if not result.events:
        blocks.append("NOTE No events found.")
    write_text(path, "\n\n".join(blocks) + "\n")


def _stamp(milliseconds: int) -> str:
    seconds, milli = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}.{milli:03d}"
