"""The index of a folder of results: a page with all its videos and events, worst first."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from oddframe._utils.files import open_regular_file, write_text
from oddframe.detector import VideoResult
from oddframe.errors import InputError, OddframeError
from oddframe.features.extraction.extract_video import gap_note
from oddframe.outputs.pages.templates import render_template
from oddframe.outputs.score_files import ScoreFile, read_score_file
from oddframe.outputs.text import format_clock, format_duration
from oddframe.outputs.write import find_wrong_files, output_path

INDEX_NAME = "index.html"
_KIND = "oddframe index"
_MARK = f'<meta name="generator" content="{_KIND}">'
_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
# Of more events the page shows those with the highest scores, and says so.
_MAX_EVENTS = 5000
# While videos are scored, at most this share of the time is spent on writing the index.
_MAX_SHARE = 0.05


@dataclass(frozen=True)
class _Video:
    """A row: a scored video, one that failed (``reason``), or one that is still to be scored."""

    video: str
    report: str = ""
    duration_s: float = 0.0
    events: tuple[tuple[float, float, float], ...] = ()  # Start, end, score.
    highest: float | None = None
    threshold: float = 0.0
    notes: str = ""
    reason: str = ""
    model: str = ""


@dataclass
class FolderIndex:
    """Keeps ``index.html`` of a folder of results up to date while videos are scored.

    The page lists every result of the folder, also those of earlier runs, the inputs of this run
    that were not scored yet, and the failures. After a run that was killed it shows which videos
    are missing: an input that is not scored yet is never shown with an earlier result.

    Args:
        folder: The folder of results.
        pending: Inputs of this run: path by stem.
    """

    folder: Path
    pending: Mapping[str, str]
    _videos: dict[str, _Video] = field(default_factory=dict)
    _failed_before: dict[str, str] = field(default_factory=dict)
    _written: float = 0.0
    _seconds: float = 0.0

    def __post_init__(self) -> None:
        for stem, path in self.pending.items():
            self._videos[stem] = _Video(path)
        for file in sorted(self.folder.glob("*.json")):
            if file.stem not in self._videos and (video := _read(file)) is not None:
                self._videos[file.stem] = video
        known = {row.video for row in self._videos.values()}
        failures = _read_failures(self.folder / INDEX_NAME)
        self._failed_before = {path: why for path, why in failures.items() if path not in known}

    @property
    def path(self) -> Path:
        """The page."""
        return self.folder / INDEX_NAME

    @property
    def needed(self) -> bool:
        """Whether there is more than one video, or a page already, which must not get outdated."""
        return len(self._videos) + len(self._failed_before) > 1 or self.path.exists()

    def add_result(self, stem: str, result: VideoResult) -> None:
        """Add a video of this run whose files are written."""
        report = output_path(self.folder, stem, "html").name
        try:
            listed = report in read_score_file(output_path(self.folder, stem, "json")).files
        except InputError:
            listed = False
        self._videos[stem] = _row(result, report if listed else "")

    def add_failure(self, stem: str, video: str, reason: str) -> None:
        """Add a video of this run that could not be scored."""
        self._videos[stem] = _Video(video, reason=reason)

    def write(self, finished: bool = True) -> None:
        """Write the page.

        Args:
            finished: Whether all videos are scored. Until then, the page is not written again
                right after it was written.

        Raises:
            OddframeError: the page cannot be written, or a file that oddframe did not write has its
                name.
        """
        start = time.monotonic()
        if not finished and start - self._written < self._seconds / _MAX_SHARE:
            return
        if self.path.exists() and not is_index(self.path):
            raise OddframeError(
                f"{self.path}: not written by oddframe, so it is kept and there is no index; move "
                "it, or choose another --out"
            )
        write_text(self.path, _page(self.folder, self._videos, self._failed_before))
        self._written = time.monotonic()
        self._seconds = self._written - start


def is_index(path: Path) -> bool:
    """Whether a file is an index that oddframe wrote."""
    try:
        with open_regular_file(path) as file:
            return _MARK.encode() in file.read(2000)
    except (OSError, InputError):
        return False


def _read(file: Path) -> _Video | None:
    """The row of a result of an earlier run; None: the file is not a score file."""
    try:
        found = read_score_file(file)
    except InputError:
        return None
    report = output_path(file.parent, file.stem, "html")
    return _row(found.result, report.name if _belongs(report, file, found) else "")


def _belongs(report: Path, file: Path, found: ScoreFile) -> bool:
    """Whether a report shows the scores of its score file, which is written after it."""
    try:
        if report.stat().st_mtime_ns <= file.stat().st_mtime_ns:
            return report.name in found.files
    except OSError:
        return False
    return not find_wrong_files(found, ["html"], file.parent, file.stem)


def _row(result: VideoResult, report: str) -> _Video:
    notes = []
    if result.damaged_packets:
        notes.append(f"{result.damaged_packets} damaged packets skipped")
    if result.mended_frames:
        notes.append(f"{result.mended_frames} damaged frames mended")
    if result.track.timebase.gaps:
        notes.append(gap_note(result.track.timebase))
    return _Video(
        result.video,
        report,
        result.track.timebase.duration_s,
        tuple((event.start_s, event.end_s, event.score) for event in result.events),
        result.highest_score,
        result.rule.threshold,
        ", ".join(notes),
        model=result.model.name,
    )


def _read_failures(path: Path) -> dict[str, str]:
    """Read from the folder's last index which videos could not be scored, and why."""
    try:
        with open_regular_file(path) as file:
            found = _DATA.search(file.read().decode(errors="replace"))
        data = json.loads(found[1]) if found else {}
        return {str(video): str(reason) for video, reason in data["failed"]}
    except (OSError, InputError, ValueError, KeyError, TypeError):
        return {}


def _page(folder: Path, videos: Mapping[str, _Video], failed_before: Mapping[str, str]) -> str:
    rows = list(videos.values())
    scored = [row for row in rows if row.highest is not None]
    pending = [row for row in rows if row.highest is None and not row.reason]
    failed = [(row.video, row.reason) for row in rows if row.reason] + list(failed_before.items())
    scored.sort(key=lambda row: (-(row.highest or 0.0), row.video))
    events = sorted(
        ((row, number, event) for row in scored for number, event in enumerate(row.events, 1)),
        key=lambda each: (-each[2][2], each[0].video, each[2][0]),
    )
    names = _names([row.video for row in scored])
    return render_template(
        "index",
        style=("report",),
        script=("table", "index"),
        over=_KIND,
        title=f"{folder.resolve().name}: oddframe index",
        name=folder.resolve().name or str(folder),
        summary=_summary(scored, pending, failed, len(events)),
        found=bool(events),
        models=", ".join(dict.fromkeys(row.model for row in scored)),
        videos=[_video_cells(row, names[row.video]) for row in scored],
        pending=[row.video for row in pending],
        failed=failed,
        events=[
            _event_cells(row, names[row.video], number, event)
            for row, number, event in events[:_MAX_EVENTS]
        ],
        left_out=max(0, len(events) - _MAX_EVENTS),
        data={"failed": failed},
    )


def _names(videos: list[str]) -> dict[str, str]:
    """A short name by path: the path without the folders that all videos are in."""
    try:
        above = os.path.commonpath([Path(video).parent for video in videos])
        return {video: str(Path(video).relative_to(above)) for video in videos}
    except ValueError:  # Relative paths beside absolute ones, or no videos.
        return {video: video for video in videos}


def _summary(
    scored: list[_Video], pending: list[_Video], failed: list[tuple[str, str]], events: int
) -> str:
    def count(n: int, word: str) -> str:
        return f"{n:,} {word}{'' if n == 1 else 's'}"

    total = sum(row.duration_s for row in scored)
    text = f"{count(events, 'event')} in {count(len(scored), 'video')}, "
    text += f"{format_duration(total)} in all."
    if failed:
        text += f" {len(failed)} could not be scored."
    if pending:
        text += f" {len(pending)} not scored yet."
    return text


def _video_cells(row: _Video, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "path": row.video,
        "link": quote(row.report),
        "duration_s": row.duration_s,
        "duration": format_duration(row.duration_s),
        "events": len(row.events),
        "highest_s": row.highest,
        "highest": f"{row.highest:.2f}",
        "threshold": f"{row.threshold:.2f}",
        "notes": row.notes,
    }


def _event_cells(
    row: _Video, name: str, number: int, event: tuple[float, float, float]
) -> dict[str, Any]:
    start, end, score = event
    hours = row.duration_s >= 3600
    return {
        "name": name,
        "path": row.video,
        "link": quote(row.report) + f"#event-{number}" if row.report else "",
        "start_s": start,
        "start": format_clock(start, 1, hours=hours),
        "end": format_clock(end, 1, hours=hours),
        "length_s": end - start,
        "length": format_duration(end - start),
        "score_s": score,
        "score": f"{score:.2f}",
    }
