"""Times, durations and places in the picture as text; tables of text; ticks of a time axis."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Its import takes time: every start of the command line imports this module.
    from pathlib import Path

    from oddframe.timeline import Box, Event, SimilarClip


# Round steps of a time axis (s).
_TICKS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400),
)


def format_clock(seconds: float, decimals: int = 0, hours: bool = False) -> str:
    """``m:ss``, or ``h:mm:ss`` from an hour on; ``decimals`` digits of a second: ``1:02.5``.

    With ``hours``, hours are always written: ``0:01:02``.
    """
    units = 10**decimals
    total = round(max(0.0, seconds) * units)
    whole, part = divmod(total, units)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    text = f"{hour}:{minute:02d}:{second:02d}" if hour or hours else f"{minute}:{second:02d}"
    return f"{text}.{part:0{decimals}d}" if decimals else text


def format_duration(seconds: float) -> str:
    """A duration for a sentence: ``0.04 s``, ``9.5 s``, ``48 s``, ``5:48 min``, ``1:02:03 h``."""
    if round(seconds) < 60:
        digits = 2 if seconds < 1 else 1 if seconds < 10 else 0
        return f"{seconds:.{digits}f} s"
    return f"{format_clock(seconds)} {'h' if round(seconds) >= 3600 else 'min'}"


def format_count(count: int, what: str) -> str:
    """``1 video``, ``3 videos``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def damage_notes(packets: int, frames: int, path: Path | None = None) -> list[str]:
    """Notes on skipped packets (pictures, if ``path`` is a folder), and on mended frames."""
    notes = []
    if packets:
        what = "picture" if path is not None and path.is_dir() else "packet"
        notes.append(f"{packets} damaged {what}{'s' if packets > 1 else ''} skipped")
    if frames:
        notes.append(f"{frames} damaged frame{'s' if frames > 1 else ''} mended by the decoder")
    return notes


def tick_step(duration_s: float, max_ticks: int) -> float:
    """The finest round step (s) with at most ``max_ticks`` ticks in ``duration_s``."""
    for step in _TICKS:
        if duration_s / step <= max_ticks:
            return step
    return 86400.0 * -(-duration_s // (86400 * max_ticks))


_ACROSS, _DOWN = ("left", "centre", "right"), ("top", "middle", "bottom")


def describe_box(box: Box) -> str:
    """``top left``, ``bottom``, ``centre``; empty for the whole picture.

    A side is named where the box lies mostly in that third of the picture and does not span it.
    """
    left, top, right, bottom = box
    down = "" if bottom - top > 0.99 else _DOWN[min(2, int(1.5 * (top + bottom)))]
    across = "" if right - left > 0.99 else _ACROSS[min(2, int(1.5 * (left + right)))]
    if (down, across) == ("middle", "centre"):
        return "centre"
    if down and across == "centre" and down != "middle":
        return down
    return " ".join(word for word in (down, across) if word)


def describe_clip(clip: SimilarClip) -> str:
    """A training clip by its file's name: ``fi026 (0:01, fight)``."""
    return f"{PurePosixPath(clip.video).stem} ({format_clock(clip.time_s)}, {clip.label})"


def describe_reason(event: Event) -> str:
    """What an event looks like, in a few words: ``like fi026 (0:01, fight)``, ``perhaps wrestling
    (0.41)``; empty where the model says nothing."""
    if event.actions:
        best = event.actions[0]
        return f"perhaps {best.name} ({best.probability:.2f})"
    return f"like {describe_clip(event.similar[0])}" if event.similar else ""


_LATEX = str.maketrans(
    {
        **{character: "\\" + character for character in "_%&#${}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\N{CHECK MARK}": r"\checkmark",
        "\N{PLUS-MINUS SIGN}": r"$\pm$",
        "\N{MINUS SIGN}": "$-$",
        "\N{EN DASH}": "--",
    }
)


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are text already.

    ``word_columns``: how many leading columns hold words. The columns after them hold numbers and
    are aligned right in Markdown and LaTeX. None: all columns are aligned left.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    word_columns: int | None = None

    def markdown(self) -> str:
        """The table in GitHub's Markdown, without title and note; it ends with a line feed."""
        words = len(self.headings) if self.word_columns is None else self.word_columns
        ruler = ["---"] * words + ["---:"] * (len(self.headings) - words)
        head = "|" + "".join(f" {one_line(name)} |" if name else " |" for name in self.headings)
        lines = ["| " + " | ".join(map(one_line, row)) + " |" for row in (ruler, *self.rows)]
        return "\n".join([head, *lines]) + "\n"

    def latex(self, caption: str = "") -> str:
        """A ``table`` environment for booktabs and amssymb; its caption, else title and note."""
        words = len(self.headings) if self.word_columns is None else self.word_columns
        columns = "l" * words + "r" * (len(self.headings) - words)
        caption = caption or ". ".join(filter(None, (self.title, self.note)))
        lines = [
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{escape_latex(caption)}}}",
            f"  \\begin{{tabular}}{{{columns}}}",
            "    \\toprule",
            "    " + " & ".join(map(escape_latex, self.headings)) + r" \\",
            "    \\midrule",
            *("    " + " & ".join(map(escape_latex, row)) + r" \\" for row in self.rows),
            "    \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Headings and rows as comma-separated values."""
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([self.headings, *self.rows])
        return file.getvalue()


def escape_latex(text: str) -> str:
    """``text`` with LaTeX's special characters, and a few symbols, as commands."""
    return text.translate(_LATEX)


def one_line(cell: str) -> str:
    """``cell`` for a Markdown table."""
    return " ".join(cell.split()).replace("|", "\\|")
