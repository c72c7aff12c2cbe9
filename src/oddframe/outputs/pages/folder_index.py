"""The index of a folder of results: a page with all its videos and events, worst first."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from oddframe._utils.files import open_regular_file, write_text
from oddframe.detector import VideoResult
from oddframe.errors import InputError, OddframeError
from oddframe.features.extraction.extract_video import gap_note
from oddframe.outputs.pages.templates import render_template
from oddframe.outputs.score_files import read_score_file
from oddframe.outputs.text import format_clock, format_count, format_duration
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
    that were not scored yet (``pending``, path by stem), and the failures. After a run that was
    killed it shows which videos are missing: an input that is not scored yet is never shown with an
    earlier result.
    """

    folder: Path
    pending: Mapping[str, str]
    _written: float = 0.0
    _seconds: float = 0.0

    def __post_init__(self) -> None:
        self._videos = {stem: _Video(path) for stem, path in self.pending.items()}
        for file in sorted(self.folder.glob("*.json")):
            if file.stem not in self._videos and (video := _read(file)) is not None:
                self._videos[file.stem] = video
        known = {row.video for row in self._videos.values()}
        failures = _read_failures(self.folder / INDEX_NAME)
        self._failed_before = {path: why for path, why in failures.items() if path not in known}

    @property
    def path(self) -> Path:
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
        """Write the page; until all videos are ``finished``, not again right after it was written.

        OddframeError: a file that oddframe did not write has its name.
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
    try:
        # The score file is written after its report; a later report may show other scores.
        if report.stat().st_mtime_ns <= file.stat().st_mtime_ns:
            belongs = report.name in found.files
        else:
            belongs = not find_wrong_files(found, ["html"], file.parent, file.stem)
    except OSError:
        belongs = False
    return _row(found.result, report.name if belongs else "")


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
    paths = [row.video for row in scored]
    try:  # Names are paths without the folders that all videos are in.
        above = os.path.commonpath([Path(path).parent for path in paths])
        names = {path: str(Path(path).relative_to(above)) for path in paths}
    except ValueError:  # Relative paths beside absolute ones, or no videos.
        names = {path: path for path in paths}
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
        videos=[(row, names[row.video], quote(row.report)) for row in scored],
        pending=[row.video for row in pending],
        failed=failed,
        events=[
            {
                "row": row,
                "name": names[row.video],
                "link": quote(row.report) + f"#event-{number}" if row.report else "",
                "start_s": start,
                "start": format_clock(start, 1, hours=row.duration_s >= 3600),
                "end": format_clock(end, 1, hours=row.duration_s >= 3600),
                "length_s": end - start,
                "score": score,
            }
            for row, number, (start, end, score) in events[:_MAX_EVENTS]
        ],
        left_out=max(0, len(events) - _MAX_EVENTS),
        data={"failed": failed},
    )


def _summary(
    scored: list[_Video], pending: list[_Video], failed: list[tuple[str, str]], events: int
) -> str:
    total = format_duration(sum(row.duration_s for row in scored))
    text = f"{format_count(events, 'event')} in {format_count(len(scored), 'video')}, "
    text += f"{total} in all."
    if failed:
        text += f" {len(failed)} could not be scored."
    if pending:
        text += f" {len(pending)} not scored yet."
    return text
