"""The score curve as a PNG, like figure 4 of the UR-DMU paper; ``research`` uses its parts, too."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MultipleLocator

from oddframe._utils.files import write_bytes
from oddframe.detector import VideoResult
from oddframe.outputs.drawing import (
    BLUE_RGB,
    GREEN_RGB,
    KEY_FRAME_SIDE,
    PINK_RGB,
    RED_RGB,
    Highlight,
    KeyFrameCollector,
    RgbImage,
    StepCurve,
    select_highlights,
    step_curve,
)
from oddframe.outputs.registry import FrameConsumer, VideoTarget
from oddframe.outputs.text import format_clock, format_duration, tick_step

INK, GREY, GAP_GREY = "#1d2430", "#6b7480", "#e6e9ed"
# The threshold, in the plot and in its legend.
_THRESHOLD_LINE: dict[str, Any] = {"color": GREY, "linewidth": 1.1, "linestyle": (0, (5, 3))}
# Inches: height of key frames, of their captions, of the lines down to the curve; the gap between
# two key frames.
KEY_FRAME_HEIGHT, CAPTION_HEIGHT, LEADER_HEIGHT, KEY_FRAME_GAP = 1.05, 0.24, 0.34, 0.10
# The axis reaches so far above a score of 1.
SCORE_AXIS_TOP = 1.035


BLUE, RED, GREEN, PINK = (
    "#{:02x}{:02x}{:02x}".format(*rgb) for rgb in (BLUE_RGB, RED_RGB, GREEN_RGB, PINK_RGB)
)


@dataclass(frozen=True)
class PlotLayout:
    """Where a plot is on a page, in inches from the lower left; page_size: (width, height)."""

    left: float
    bottom: float
    width: float
    height: float
    page_size: tuple[float, float]

    def axes(self, figure: Figure) -> Axes:
        """Add axes for the plot."""
        width, height = self.page_size
        box = (self.left / width, self.bottom / height, self.width / width, self.height / height)
        return figure.add_axes(box)


def style_axes(axes: Axes, start: float, end: float, *, ticks: int = 10) -> None:
    """Set up axes for scores from 0 to 1 over the seconds from ``start`` to ``end``."""
    axes.patch.set_visible(False)  # The lines from the key frames are behind.
    axes.set_xlim(start, end)
    axes.set_ylim(0, SCORE_AXIS_TOP)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.grid(axis="y", color="#e6e9ed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#aab2bd")
    axes.tick_params(colors=GREY, labelcolor=INK, labelsize=9.5, length=4)
    axes.set_ylabel("anomaly score", fontsize=10, color=INK)
    step = tick_step(end - start, ticks)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    if end - start < 60:
        digits = 0 if step >= 1 else 1 if step >= 0.1 else 2
        form, unit = FuncFormatter(lambda x, _: f"{x:.{digits}f}"), "s"
    else:
        hours = end - start >= 3600
        # Steps of whole minutes over hours: the seconds would all be zero.
        cut = -3 if hours and step >= 60 else None
        form = FuncFormatter(lambda x, _: format_clock(x, hours=hours)[:cut])
        unit = "h:mm" if cut else "h:mm:ss" if hours else "m:ss"
    axes.xaxis.set_major_formatter(form)
    axes.set_xlabel(f"time ({unit})", fontsize=10, color=INK)


def fit_label(text: str, max_length: int) -> str:
    """``text`` cut in the middle to ``max_length`` characters; a box for those the font lacks."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    text = "".join(c if font.get_char_index(ord(c)) else "\N{WHITE SQUARE}" for c in text)
    if len(text) <= max_length:
        return text
    return f"{text[: max_length * 2 // 3]}…{text[-max_length // 3 + 1 :]}"


def draw_key_frames(
    figure: Figure,
    layout: PlotLayout,
    curve: StepCurve,
    frames: Sequence[tuple[Highlight, RgbImage]],
) -> None:
    """Draw key frames, in order of time, in a row above a plot, each as near its time as can be."""
    start, end = float(curve.edges[0]), float(curve.edges[-1])
    room = layout.width / len(frames) - KEY_FRAME_GAP
    widths = [min(room, KEY_FRAME_HEIGHT * image.shape[1] / image.shape[0]) for _, image in frames]
    wanted = [
        layout.left + layout.width * (highlight.time_s - start) / (end - start)
        for highlight, _ in frames
    ]
    centres = spread_centres(wanted, widths, layout.left, layout.left + layout.width)
    plot_top = layout.bottom + layout.height
    inches = figure.dpi_scale_trans
    for (highlight, image), x, centre, width in zip(frames, wanted, centres, widths, strict=True):
        colour = RED if highlight.abnormal else GREEN
        height = width * image.shape[0] / image.shape[1]
        bottom = plot_top + LEADER_HEIGHT + (KEY_FRAME_HEIGHT - height) / 2
        place = PlotLayout(centre - width / 2, bottom, width, height, layout.page_size)
        axes = place.axes(figure)
        axes.imshow(image, aspect="auto", interpolation="antialiased")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=2.6)
        top = layout.bottom + layout.height * curve.at(highlight.time_s) / SCORE_AXIS_TOP
        leader = Line2D([centre, x, x], [bottom, plot_top + 0.06, top], linewidth=1.0, zorder=-1)
        leader.set(color=colour, alpha=0.75, transform=inches)
        dot = Line2D([x], [top], marker="o", markersize=5, markeredgewidth=1.0)
        dot.set(color=colour, markeredgecolor="white", transform=inches)
        figure.add_artist(leader)
        figure.add_artist(dot)
        label = figure.text(centre, bottom + height + 0.13, "", transform=inches)
        label.set(text=_format_time(highlight.time_s, end - start), color=colour, fontsize=9.5)
        label.set(fontweight="bold", ha="center", va="center")


def _format_time(time_s: float, duration_s: float) -> str:
    if duration_s < 60:
        return f"{time_s:.{1 if duration_s >= 1 else 2}f} s"
    return format_clock(time_s, hours=duration_s >= 3600)


def spread_centres(
    wanted: list[float], widths: list[float], left: float, right: float
) -> list[float]:
    """Centres near ``wanted`` (in order) so that no two of ``widths`` overlap in [left, right]."""
    places: list[float] = []
    edge = left
    for want, width in zip(wanted, widths, strict=True):
        places.append(max(want, edge + width / 2))
        edge = places[-1] + width / 2 + KEY_FRAME_GAP
    edge = right
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], edge - widths[i] / 2)
        edge = places[i] - widths[i] / 2 - KEY_FRAME_GAP
    return places


# Inches, at 160 dots an inch: 1600 pixels wide.
_DPI, _WIDTH = 160, 10.0
_LEFT, _RIGHT = 0.72, 0.30
_PLOT, _FOOT, _HEAD = 2.45, 0.98, 0.52


def write_png(
    result: VideoResult, path: Path, key_frames: Mapping[Highlight, RgbImage] | None = None
) -> None:
    """Draw the score over time with threshold, events, truth and key frames, 1600 pixels wide.

    ``key_frames``: images (h, w, 3) RGB by highlight; without any, the picture is lower.
    """
    frames = sorted((key_frames or {}).items(), key=lambda item: item[0].time_s)
    above = KEY_FRAME_HEIGHT + CAPTION_HEIGHT + LEADER_HEIGHT if frames else 0.0
    height = _HEAD + above + _PLOT + _FOOT
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    layout = PlotLayout(_LEFT, _FOOT, _WIDTH - _LEFT - _RIGHT, _PLOT, (_WIDTH, height))
    axes = layout.axes(figure)
    curve = step_curve(result, 1500)
    _draw_curve(axes, result, curve)
    _draw_legend(figure, result, curve, height)
    _draw_title(figure, result, height)
    if frames:
        draw_key_frames(figure, layout, curve, frames)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_bytes(path, buffer.getvalue())


@contextmanager
def curve_writer(result: VideoResult, target: VideoTarget) -> Iterator[FrameConsumer]:
    """Take key frames from a video, then draw its curve; a writer of ``outputs.registry``."""
    highlights = select_highlights(result)
    collector = KeyFrameCollector((each.time_s for each in highlights), KEY_FRAME_SIDE)
    yield collector
    collector.close()
    images = collector.images
    found = {each: images[each.time_s] for each in highlights if each.time_s in images}
    write_png(result, target.path, found)


def _draw_curve(axes: Axes, result: VideoResult, curve: StepCurve) -> None:
    start, end = float(curve.edges[0]), float(curve.edges[-1])
    style_axes(axes, start, end)
    for a, b in result.truth or ():
        axes.axvspan(a, b, facecolor=PINK, edgecolor="none", zorder=0)
    for a, b in result.track.timebase.gap_times:
        axes.axvspan(a, b, facecolor=GAP_GREY, edgecolor="none", zorder=0)
    for event in result.events:
        # At least two pixels wide: an event of seconds has to be seen in a video of hours.
        width = max(event.duration_s, (end - start) * 0.0015)
        left = min(event.start_s, end - width)
        bar = Rectangle((left, 1.0), width, 0.035, facecolor=RED, zorder=4)
        axes.add_patch(bar)
    axes.axhline(result.rule.threshold, zorder=2, **_THRESHOLD_LINE)
    times, low, high = curve.outline()
    axes.fill_between(times, 0, high, facecolor=BLUE, alpha=0.06, linewidth=0, zorder=1)
    if curve.is_exact:
        axes.plot(times, high, color=BLUE, linewidth=1.6, solid_joinstyle="round", zorder=3)
    else:
        axes.fill_between(times, low, high, color=BLUE, linewidth=0.7, zorder=3)


def _draw_legend(figure: Figure, result: VideoResult, curve: StepCurve, height: float) -> None:
    name = "score" if curve.is_exact else "score (lowest to highest)"
    entries: list[tuple[Line2D | Patch, str]] = [
        (Line2D([], [], color=BLUE, linewidth=2), name),
        (Line2D([], [], **_THRESHOLD_LINE), f"threshold {result.rule.threshold:.2f}"),
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
    about = f"{count} event{'s' * (count != 1)}" if count else "no events"
    about += f" in {format_duration(result.track.timebase.duration_s)}"
    y = 1 - 0.30 / height
    name = figure.text(_LEFT / _WIDTH, y, fit_label(Path(result.video).name, 64), color=INK)
    name.set(fontsize=12, fontweight="bold", va="center", parse_math=False)
    found = figure.text(1 - _RIGHT / _WIDTH, y, about, color=RED if count else GREEN)
    found.set(fontsize=10.5, va="center", ha="right")
