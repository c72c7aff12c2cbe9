"""A panel of a figure in the style of figure 4 of the UR-DMU paper: an axis of time, key frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MultipleLocator

from oddframe.outputs import picture
from oddframe.outputs.clock import clock, tick_step
from oddframe.outputs.moments import Moment
from oddframe.outputs.picture import Picture
from oddframe.outputs.series import Steps

INK, GREY, GAP_GREY = "#1d2430", "#6b7480", "#e6e9ed"
# Inches: pictures' height, their captions, the lines down to the curve, between two pictures.
PICTURES, CAPTION, LEADERS, GAP = 1.05, 0.24, 0.34, 0.10
# The axis reaches so far above a score of 1.
TOP = 1.035


def rgb(colour: tuple[int, int, int]) -> str:
    """``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


BLUE, RED, GREEN, PINK = map(rgb, (picture.BLUE, picture.RED, picture.GREEN, picture.PINK))


@dataclass(frozen=True)
class Place:
    """Where the plot of a panel is, in inches from the lower left of a page.

    Attributes:
        left: Of the plot.
        foot: Below the plot.
        wide: Of the plot.
        tall: Of the plot.
        page: Width and height of the page.
    """

    left: float
    foot: float
    wide: float
    tall: float
    page: tuple[float, float]

    def axes(self, figure: Figure) -> Axes:
        """The axes there."""
        width, height = self.page
        box = (self.left / width, self.foot / height, self.wide / width, self.tall / height)
        return figure.add_axes(box)


def dress(axes: Axes, start: float, end: float, *, ticks: int = 10) -> None:
    """Scores from 0 to 1 over the seconds from ``start`` to ``end``."""
    axes.patch.set_visible(False)  # The lines from the key frames pass behind.
    axes.set_xlim(start, end)
    axes.set_ylim(0, TOP)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.grid(axis="y", color="#e6e9ed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#aab2bd")
    axes.tick_params(colors=GREY, labelcolor=INK, labelsize=9.5, length=4)
    axes.set_ylabel("anomaly score", fontsize=10, color=INK)
    _time_axis(axes, end - start, ticks)


def _time_axis(axes: Axes, duration_s: float, ticks: int) -> None:
    step = tick_step(duration_s, ticks)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    if duration_s < 60:
        digits = 0 if step >= 1 else 1 if step >= 0.1 else 2
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.{digits}f}"))
        axes.set_xlabel("time (s)", fontsize=10, color=INK)
    else:
        hours = duration_s >= 3600
        # Steps of whole minutes over hours: seconds would only be noughts.
        cut = -3 if hours and step >= 60 else None
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: clock(x, hours=hours)[:cut]))
        unit = "h:mm" if cut else "h:mm:ss" if hours else "m:ss"
        axes.set_xlabel(f"time ({unit})", fontsize=10, color=INK)


def letters(text: str, most: int) -> str:
    """``text`` cut in its middle to ``most`` characters; what the font lacks becomes a box."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    text = "".join(c if font.get_char_index(ord(c)) else "\N{WHITE SQUARE}" for c in text)
    return text if len(text) <= most else f"{text[: most * 2 // 3]}…{text[-most // 3 + 1 :]}"


def draw_frames(
    figure: Figure, place: Place, curve: Steps, frames: Sequence[tuple[Moment, Picture]]
) -> None:
    """Key frames in a row above a plot, each as near above its moment as its neighbours let it."""
    width, height = place.page
    start, end = float(curve.edges[0]), float(curve.edges[-1])
    room = place.wide / len(frames) - GAP
    widths = [min(room, PICTURES * image.shape[1] / image.shape[0]) for _, image in frames]
    wanted = [
        place.left + place.wide * (moment.time_s - start) / (end - start) for moment, _ in frames
    ]
    places = apart(wanted, widths, place.left, place.left + place.wide)
    roof = place.foot + place.tall
    floor = roof + LEADERS
    for (moment, image), x, centre, wide in zip(frames, wanted, places, widths, strict=True):
        colour = RED if moment.abnormal else GREEN
        tall = wide * image.shape[0] / image.shape[1]
        box = (
            (centre - wide / 2) / width,
            (floor + (PICTURES - tall) / 2) / height,
            wide / width,
            tall / height,
        )
        axes = figure.add_axes(box)
        axes.imshow(image, aspect="auto", interpolation="antialiased")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=2.6)
        below = floor + (PICTURES - tall) / 2
        top = place.foot + place.tall * curve.at(moment.time_s) / TOP
        figure.add_artist(
            Line2D(
                [centre / width, x / width, x / width],
                [below / height, (roof + 0.06) / height, top / height],
                color=colour,
                linewidth=1.0,
                alpha=0.75,
                zorder=-1,
            )
        )
        figure.add_artist(
            Line2D(
                [x / width],
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
            centre / width,
            (floor + (PICTURES + tall) / 2 + 0.13) / height,
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


def apart(wanted: list[float], widths: list[float], left: float, right: float) -> list[float]:
    """Centres near ``wanted`` (in order) so that no two of ``widths`` overlap in [left, right]."""
    places: list[float] = []
    edge = left
    for want, width in zip(wanted, widths, strict=True):
        places.append(max(want, edge + width / 2))
        edge = places[-1] + width / 2 + GAP
    edge = right
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], edge - widths[i] / 2)
        edge = places[i] - widths[i] / 2 - GAP
    return places
