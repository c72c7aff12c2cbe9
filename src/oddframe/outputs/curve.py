"""The score curve as a picture, in the style of figure 4 of the UR-DMU paper (AAAI 2023)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MultipleLocator

from oddframe.detector import VideoResult
from oddframe.files import write_bytes
from oddframe.outputs import picture
from oddframe.outputs.clock import clock, length, tick_step
from oddframe.outputs.moments import Moment
from oddframe.outputs.picture import Picture
from oddframe.outputs.series import Steps, steps

# Inches at 160 dots an inch: 1600 pixels wide.
_DPI, _WIDTH = 160, 10.0
_LEFT, _RIGHT = 0.72, 0.30
_PLOT, _FOOT, _HEAD = 2.45, 0.98, 0.52
_PICTURES, _CAPTION, _LEADERS, _GAP = 1.05, 0.24, 0.34, 0.10
_INK, _GREY = "#1d2430", "#6b7480"


def _rgb(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


_BLUE, _RED, _GREEN, _PINK = map(_rgb, (picture.BLUE, picture.RED, picture.GREEN, picture.PINK))


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
    above = _PICTURES + _CAPTION + _LEADERS if frames else 0.0
    height = _HEAD + above + _PLOT + _FOOT
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes(
        (
            _LEFT / _WIDTH,
            _FOOT / height,
            (_WIDTH - _LEFT - _RIGHT) / _WIDTH,
            _PLOT / height,
        )
    )
    curve = steps(result, 1500)
    _draw_curve(axes, result, curve)
    _draw_legend(figure, result, curve, height)
    _draw_title(figure, result, height)
    if frames:
        _draw_frames(figure, curve, frames, height)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_bytes(path, buffer.getvalue())


def _draw_curve(axes: Axes, result: VideoResult, curve: Steps) -> None:
    start, end = float(curve.edges[0]), float(curve.edges[-1])
    axes.patch.set_visible(False)  # The lines from the key frames pass behind.
    for a, b in result.truth or ():
        axes.axvspan(a, b, facecolor=_PINK, edgecolor="none", zorder=0)
    for event in result.events:
        # Never thinner than two pixels: an event of seconds has to be seen in a video of hours.
        width = max(event.duration_s, (end - start) * 0.0015)
        bar = Rectangle((event.start_s, 1.0), width, 0.035, facecolor=_RED, zorder=4)
        axes.add_patch(bar)
    axes.axhline(result.rule.threshold, color=_GREY, linewidth=1.1, linestyle=(0, (5, 3)), zorder=2)
    times, low, high = curve.outline()
    axes.fill_between(times, 0, high, facecolor=_BLUE, alpha=0.06, linewidth=0, zorder=1)
    if curve.whole:
        axes.plot(times, high, color=_BLUE, linewidth=1.6, solid_joinstyle="round", zorder=3)
    else:
        axes.fill_between(times, low, high, color=_BLUE, linewidth=0.7, zorder=3)
    axes.set_xlim(start, end)
    axes.set_ylim(0, 1.035)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.grid(axis="y", color="#e6e9ed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#aab2bd")
    axes.tick_params(colors=_GREY, labelcolor=_INK, labelsize=9.5, length=4)
    axes.set_ylabel("anomaly score", fontsize=10, color=_INK)
    _time_axis(axes, end - start)


def _time_axis(axes: Axes, duration_s: float) -> None:
    step = tick_step(duration_s, 10)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    if duration_s < 60:
        digits = 0 if step >= 1 else 1 if step >= 0.1 else 2
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.{digits}f}"))
        axes.set_xlabel("time (s)", fontsize=10, color=_INK)
    else:
        hours = duration_s >= 3600
        # Steps of whole minutes over hours: seconds would only be noughts.
        cut = -3 if hours and step >= 60 else None
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: clock(x, hours=hours)[:cut]))
        unit = "h:mm" if cut else "h:mm:ss" if hours else "m:ss"
        axes.set_xlabel(f"time ({unit})", fontsize=10, color=_INK)


def _draw_legend(figure: Figure, result: VideoResult, curve: Steps, height: float) -> None:
    name = "score" if curve.whole else "score (lowest to highest)"
    entries: list[tuple[Line2D | Patch, str]] = [
        (Line2D([], [], color=_BLUE, linewidth=2), name),
        (
            Line2D([], [], color=_GREY, linewidth=1.1, linestyle=(0, (5, 3))),
            f"threshold {result.rule.threshold:.2f}",
        ),
    ]
    if result.events:
        entries.append((Patch(facecolor=_RED), "event found"))
    if result.truth is not None:
        entries.append((Patch(facecolor=_PINK), "truth"))
    figure.legend(
        *zip(*entries, strict=True),
        loc="lower center",
        bbox_to_anchor=((_LEFT + _WIDTH - _RIGHT) / 2 / _WIDTH, 0.08 / height),
        ncols=len(entries),
        frameon=False,
        fontsize=9.5,
        labelcolor=_INK,
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
        _letters(Path(result.video).name, 64),
        fontsize=12,
        fontweight="bold",
        color=_INK,
        va="center",
        parse_math=False,
    )
    figure.text(
        right, y, about, fontsize=10.5, color=_RED if count else _GREEN, va="center", ha="right"
    )


def _letters(text: str, most: int) -> str:
    """``text`` cut in its middle to ``most`` characters; what the font lacks becomes a box."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    text = "".join(c if font.get_char_index(ord(c)) else "\N{WHITE SQUARE}" for c in text)
    return text if len(text) <= most else f"{text[: most * 2 // 3]}…{text[-most // 3 + 1 :]}"


def _draw_frames(
    figure: Figure,
    curve: Steps,
    frames: list[tuple[Moment, Picture]],
    height: float,
) -> None:
    """Key frames in a row, each as near above its moment as its neighbours let it."""
    start, end = float(curve.edges[0]), float(curve.edges[-1])
    plot = _WIDTH - _LEFT - _RIGHT
    room = plot / len(frames) - _GAP
    widths = [min(room, _PICTURES * image.shape[1] / image.shape[0]) for _, image in frames]
    wanted = [_LEFT + plot * (moment.time_s - start) / (end - start) for moment, _ in frames]
    places = _apart(wanted, widths, _LEFT, _LEFT + plot)
    floor = _FOOT + _PLOT + _LEADERS
    for (moment, image), x, centre, width in zip(frames, wanted, places, widths, strict=True):
        colour = _RED if moment.abnormal else _GREEN
        tall = width * image.shape[0] / image.shape[1]
        box = (
            (centre - width / 2) / _WIDTH,
            (floor + (_PICTURES - tall) / 2) / height,
            width / _WIDTH,
            tall / height,
        )
        axes = figure.add_axes(box)
        axes.imshow(image, aspect="auto", interpolation="antialiased")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=2.6)
        below = floor + (_PICTURES - tall) / 2
        top = _FOOT + _PLOT * curve.at(moment.time_s) / 1.035
        figure.add_artist(
            Line2D(
                [centre / _WIDTH, x / _WIDTH, x / _WIDTH],
                [below / height, (_FOOT + _PLOT + 0.06) / height, top / height],
                color=colour,
                linewidth=1.0,
                alpha=0.75,
                zorder=-1,
            )
        )
        figure.add_artist(
            Line2D(
                [x / _WIDTH],
                [top / height],
                color=colour,
                marker="o",
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=1.0,
                linestyle="none",
            )
        )
        figure.text(
            centre / _WIDTH,
            (floor + (_PICTURES + tall) / 2 + 0.13) / height,
            _instant(moment.time_s, end - start),
            fontsize=9.5,
            color=colour,
            fontweight="bold",
            ha="center",
            va="center",
        )


def _instant(time_s: float, duration_s: float) -> str:
    if duration_s < 60:
        return f"{time_s:.{1 if duration_s >= 1 else 2}f} s"
    return clock(time_s, hours=duration_s >= 3600)


def _apart(wanted: list[float], widths: list[float], left: float, right: float) -> list[float]:
    """Centres near ``wanted`` (in order) so that no two of ``widths`` overlap in [left, right]."""
    places: list[float] = []
    edge = left
    for want, width in zip(wanted, widths, strict=True):
        places.append(max(want, edge + width / 2))
        edge = places[-1] + width / 2 + _GAP
    edge = right
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], edge - widths[i] / 2)
        edge = places[i] - widths[i] / 2 - _GAP
    return places
