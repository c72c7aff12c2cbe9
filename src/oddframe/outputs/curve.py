"""The score curve as a picture, in the style of figure 4 of the UR-DMU paper (AAAI 2023)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from oddframe.detector import VideoResult
from oddframe.files import write_bytes
from oddframe.outputs.clock import length
from oddframe.outputs.moments import Moment
from oddframe.outputs.panel import (
    BLUE,
    CAPTION,
    GAP_GREY,
    GREEN,
    GREY,
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
from oddframe.outputs.series import Steps, steps

# Inches at 160 dots an inch: 1600 pixels wide.
_DPI, _WIDTH = 160, 10.0
_LEFT, _RIGHT = 0.72, 0.30
_PLOT, _FOOT, _HEAD = 2.45, 0.98, 0.52


def write_png(
    result: VideoResult, path: Path, shown: Mapping[Moment, Picture] | None = None
) -> None:
    """Draw the score over time with threshold, events, truth, and key frames above, 1600 wide.

    Args:
        result: What to draw.
        path: PNG file.
        shown: Key frames (h, w, 3) RGB by moment; none: the curve alone, and a lower picture.

    Raises:
        OddframeError: the file cannot be written.
    """
    frames = sorted((shown or {}).items(), key=lambda item: item[0].time_s)
    above = PICTURES + CAPTION + LEADERS if frames else 0.0
    height = _HEAD + above + _PLOT + _FOOT
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    place = Place(_LEFT, _FOOT, _WIDTH - _LEFT - _RIGHT, _PLOT, (_WIDTH, height))
    axes = place.axes(figure)
    curve = steps(result, 1500)
    _draw_curve(axes, result, curve)
    _draw_legend(figure, result, curve, height)
    _draw_title(figure, result, height)
    if frames:
        draw_frames(figure, place, curve, frames)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_bytes(path, buffer.getvalue())


def _draw_curve(axes: Axes, result: VideoResult, curve: Steps) -> None:
    start, end = float(curve.edges[0]), float(curve.edges[-1])
    dress(axes, start, end)
    for a, b in result.truth or ():
        axes.axvspan(a, b, facecolor=PINK, edgecolor="none", zorder=0)
    for a, b in result.track.timebase.gap_times:
        axes.axvspan(a, b, facecolor=GAP_GREY, edgecolor="none", zorder=0)
    for event in result.events:
        # Never thinner than two pixels: an event of seconds has to be seen in a video of hours.
        width = max(event.duration_s, (end - start) * 0.0015)
        left = min(event.start_s, end - width)
        bar = Rectangle((left, 1.0), width, 0.035, facecolor=RED, zorder=4)
        axes.add_patch(bar)
    axes.axhline(result.rule.threshold, color=GREY, linewidth=1.1, linestyle=(0, (5, 3)), zorder=2)
    times, low, high = curve.outline()
    axes.fill_between(times, 0, high, facecolor=BLUE, alpha=0.06, linewidth=0, zorder=1)
    if curve.whole:
        axes.plot(times, high, color=BLUE, linewidth=1.6, solid_joinstyle="round", zorder=3)
    else:
        axes.fill_between(times, low, high, color=BLUE, linewidth=0.7, zorder=3)


def _draw_legend(figure: Figure, result: VideoResult, curve: Steps, height: float) -> None:
    name = "score" if curve.whole else "score (lowest to highest)"
    entries: list[tuple[Line2D | Patch, str]] = [
        (Line2D([], [], color=BLUE, linewidth=2), name),
        (
            Line2D([], [], color=GREY, linewidth=1.1, linestyle=(0, (5, 3))),
            f"threshold {result.rule.threshold:.2f}",
        ),
    ]
    if result.events:
        entries.append((Patch(facecolor=RED), "event found"))
    if result.truth is not None:
        entries.append((Patch(facecolor=PINK), "truth"))
    if result.track.timebase.gaps:
        entries.append((Patch(facecolor=GAP_GREY), "no picture, no score"))
    figure.legend(
        *zip(*entries, strict=True),
        loc="lower center",
        bbox_to_anchor=((_LEFT + _WIDTH - _RIGHT) / 2 / _WIDTH, 0.08 / height),
        ncols=len(entries),
        frameon=False,
        fontsize=9.5,
        labelcolor=INK,
        handlelength=1.8,
        columnspacing=2.2,
    )


def _draw_title(figure: Figure, result: VideoResult, height: float) -> None:
    count = len(result.events)
    found = f"{count} event{'s' * (count != 1)}" if count else "no events"
    about = f"{found} in {length(result.track.timebase.duration_s)}"
    y = 1 - 0.30 / height
    left, right = _LEFT / _WIDTH, 1 - _RIGHT / _WIDTH
    figure.text(
        left,
        y,
        letters(Path(result.video).name, 64),
        fontsize=12,
        fontweight="bold",
        color=INK,
        va="center",
        parse_math=False,
    )
    figure.text(
        right, y, about, fontsize=10.5, color=RED if count else GREEN, va="center", ha="right"
    )
