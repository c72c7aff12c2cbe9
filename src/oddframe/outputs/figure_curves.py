"""Figures 1 and 4 of the paper for any methods and videos: curves, truth, key frames."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from oddframe.events import EventRule
from oddframe.experiments.reproduce_figures import Curves
from oddframe.files import write_bytes
from oddframe.outputs.clip_frames import clip_frames
from oddframe.outputs.moments import Moment, moments
from oddframe.outputs.panel import (
    BLUE,
    CAPTION,
    GREEN,
    INK,
    LEADERS,
    PICTURES,
    PINK,
    RED,
    Place,
    draw_frames,
    dress,
    letters,
)
from oddframe.outputs.picture import Picture
from oddframe.outputs.series import steps
from oddframe.timeline import Event, ScoreTrack

# The paper's blue and orange first; green and red are those of the key frames.
COLOURS = (BLUE, "#e8850c", "#7d4fc4", "#12908e", "#8a6d3b", "#c2408c")
_DPI = 160
_WIDE, _NARROW = 8.98, 5.55  # Of a plot: one in a row, two.
_LEFT, _RIGHT, _PLOT, _FOOT, _HEAD, _LEGEND = 0.72, 0.30, 1.9, 0.66, 0.42, 0.45
_FRAMES = {1: 6, 2: 4}
_STEPS = 1500


@dataclass(frozen=True)
class _Shown:
    """What key frames are chosen by: the first method's curve, and what really happens."""

    track: ScoreTrack
    rule: EventRule
    events: tuple[Event, ...]
    truth: tuple[tuple[float, float], ...] | None


def write_curves(
    shown: Sequence[Curves], png: Path, svg: Path, folder: Path | None = None
) -> list[str]:
    """Draw several methods over each video, truth shaded, key frames framed green and red.

    Key frames are taken at the middle of true intervals and at quiet instants far from each other.

    Args:
        shown: At least one video; the same methods over each.
        png: PNG file.
        svg: SVG file, its pictures inside.
        folder: Where videos lie of a data set of features.

    Returns:
        Names of the videos of which no frame could be had.

    Raises:
        OddframeError: a file cannot be written.
    """
    per_row = 1 if len(shown) == 1 else 2
    wide = _WIDE if per_row == 1 else _NARROW
    pictures = [_frames(each, _FRAMES[per_row], folder) for each in shown]
    above = PICTURES + CAPTION + LEADERS if any(pictures) else 0.0
    row = _FOOT + _PLOT + above + _HEAD
    rows = -(-len(shown) // per_row)
    page = (per_row * (_LEFT + wide + _RIGHT), rows * row + _LEGEND)
    figure = Figure(figsize=page, dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for number, (each, frames) in enumerate(zip(shown, pictures, strict=True)):
        left = (number % per_row) * (_LEFT + wide + _RIGHT) + _LEFT
        foot = (rows - 1 - number // per_row) * row + _LEGEND + _FOOT
        place = Place(left, foot, wide, _PLOT, page)
        _panel(figure, place, each, frames, ticks=10 if per_row == 1 else 6)
    _legend(figure, list(shown[0].tracks), page)
    for path, kind in ((png, "png"), (svg, "svg")):
        save(figure, path, kind)
    return [each.name for each, frames in zip(shown, pictures, strict=True) if not frames]


def save(figure: Figure, path: Path, kind: str) -> None:
    """Write a figure; the same figure gives the same file.

    Raises:
        OddframeError: it cannot be written.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "oddframe"}):
        undated = {"Date": None} if kind == "svg" else {}
        figure.savefig(buffer, format=kind, metadata=undated)
    write_bytes(path, buffer.getvalue())


def _view(each: Curves) -> _Shown:
    return _Shown(next(iter(each.tracks.values())), EventRule(), (), each.video.truth)


def _frames(each: Curves, most: int, folder: Path | None) -> dict[Moment, Picture]:
    return clip_frames(each.video, moments(_view(each), most), folder)


def _panel(
    figure: Figure, place: Place, each: Curves, frames: dict[Moment, Picture], ticks: int
) -> None:
    view = _view(each)
    axes = place.axes(figure)
    curve = steps(view, _STEPS)
    dress(axes, float(curve.edges[0]), float(curve.edges[-1]), ticks=ticks)
    for a, b in each.video.truth:
        axes.axvspan(a, b, facecolor=PINK, edgecolor="none", zorder=0)
    for number, track in reversed(list(enumerate(each.tracks.values()))):
        _line(axes, _Shown(track, view.rule, (), None), COLOURS[number % len(COLOURS)])
    roof = place.foot + place.tall
    if frames:
        draw_frames(figure, place, curve, sorted(frames.items(), key=lambda item: item[0].time_s))
        roof += PICTURES + CAPTION + LEADERS
    kind, colour = ("abnormal", RED) if each.video.abnormal else ("normal", GREEN)
    y = (roof + _HEAD / 2) / place.page[1]
    name = letters(each.name, 48)
    left, right = place.left / place.page[0], (place.left + place.wide) / place.page[0]
    figure.text(
        left, y, name, fontsize=11.5, fontweight="bold", color=INK, va="center", parse_math=False
    )
    figure.text(right, y, kind, fontsize=10, color=colour, va="center", ha="right")


def _line(axes: Axes, shown: _Shown, colour: str) -> None:
    curve = steps(shown, _STEPS)
    times, low, high = curve.outline()
    if curve.whole:
        axes.plot(times, high, color=colour, linewidth=1.5, solid_joinstyle="round", zorder=3)
    else:
        axes.fill_between(times, low, high, color=colour, linewidth=0.7, zorder=3)


def _legend(figure: Figure, titles: Sequence[str], page: tuple[float, float]) -> None:
    lines: list[Line2D | Patch] = [
        Line2D([], [], color=COLOURS[i % len(COLOURS)], linewidth=2) for i in range(len(titles))
    ]
    figure.legend(
        [*lines, Patch(facecolor=PINK)],
        [*titles, "truth"],
        loc="lower center",
        bbox_to_anchor=(0.5, 0.06 / page[1]),
        ncols=len(titles) + 1,
        frameon=False,
        fontsize=10,
        labelcolor=INK,
        handlelength=1.8,
        columnspacing=2.2,
    )
