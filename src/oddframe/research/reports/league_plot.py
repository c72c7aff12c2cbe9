"""The critical-difference plot of Demšar (JMLR 2006): mean ranks on a line, bars over equals."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from oddframe._utils.files import write_bytes
from oddframe.outputs.curve import BLUE, GREY, INK
from oddframe.research.leaderboard.ranking import Ranking, Standing

_DPI = 160
_WIDE, _SIDE, _LINE, _BAR, _TOP, _GAP = 9.0, 2.7, 0.24, 0.10, 0.53, 0.32
_SIZE = 9.5
_PAD = 0.12


def write_ranks(stands: Standing, png: Path, svg: Path) -> None:
    """Draw the mean ranks, each benchmark alike, the best at the left, and bars over what cannot be
    told apart with trainings as blocks. Critical differences are drawn above, with benchmarks as
    blocks, too.

    Args:
        stands: With a ranking.
        png: PNG file.
        svg: SVG file.

    Raises:
        OddframeError: a file cannot be written.
        ValueError: there is no ranking.
    """
    ranked, titles = stands.ranking, stands.titles
    if ranked is None:
        raise ValueError("nothing is ranked")
    critical = {"trainings as blocks": ranked.critical}
    if stands.of_benchmarks is not None:
        critical["data sets as blocks"] = stands.of_benchmarks.critical
    top = _TOP + _GAP * len(critical)
    cliques = ranked.cliques()
    rows = -(-len(ranked.names) // 2)
    tall = top + _BAR * len(cliques) + _LINE * (rows + 1) + 0.15
    figure = Figure(figsize=(_WIDE, tall), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, _WIDE)
    axes.set_ylim(-tall + top, top)  # In inches; 0 is the line of ranks.
    axes.axis("off")
    _scale(axes, ranked, critical)
    for number, (first, last) in enumerate(cliques, start=1):
        ends = [_x(ranked, ranked.ranks[first]) - 0.04, _x(ranked, ranked.ranks[last]) + 0.04]
        axes.plot(ends, [-_BAR * number] * 2, color=BLUE, linewidth=3, zorder=3)
    below = _BAR * len(cliques) + _LINE
    for place, (name, rank) in enumerate(zip(ranked.names, ranked.ranks, strict=True)):
        left = place < rows
        row = place if left else len(ranked.names) - 1 - place
        _label(axes, _x(ranked, rank), -below - _LINE * row, f"{titles[name]}  {rank:.1f}", left)
    for path, kind in ((png, "png"), (svg, "svg")):
        write_bytes(path, _saved(figure, kind))


def _x(ranked: Ranking, rank: float) -> float:
    return _SIDE + (rank - 1) / (len(ranked.names) - 1) * (_WIDE - 2 * _SIDE)


def _scale(axes: Axes, ranked: Ranking, critical: Mapping[str, float]) -> None:
    k = len(ranked.names)
    axes.plot([_x(ranked, 1), _x(ranked, k)], [0, 0], color=INK, linewidth=1.2)
    for rank in range(1, k + 1):
        x = _x(ranked, rank)
        axes.plot([x, x], [0, 0.07], color=INK, linewidth=1.2)
        axes.text(x, 0.11, str(rank), ha="center", va="bottom", fontsize=_SIZE - 1, color=INK)
    for row, (blocks, difference) in enumerate(critical.items()):
        y = 0.48 + _GAP * row
        start, end = _x(ranked, 1), _x(ranked, min(k, 1 + difference))
        axes.plot([start, end], [y, y], color=GREY, linewidth=2, solid_capstyle="butt")
        words = f"critical difference {difference:.2f}, {blocks}"
        axes.text(start, y + 0.05, words, ha="left", va="bottom", fontsize=_SIZE - 1, color=GREY)


def _label(axes: Axes, x: float, y: float, words: str, left: bool) -> None:
    side = _SIDE - 0.15 if left else _WIDE - _SIDE + 0.15
    axes.plot([x, x, side], [0, y, y], color=GREY, linewidth=0.8)
    gap, align = (-0.06, "right") if left else (0.06, "left")
    axes.text(side + gap, y, words, ha=align, va="center", fontsize=_SIZE, color=INK)


def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    undated = {"Date": None} if kind == "svg" else {}
    with matplotlib.rc_context({"svg.hashsalt": "oddframe"}):
        # Cut to what is there, so that no name is too long for it.
        figure.savefig(
            buffer, format=kind, dpi=_DPI, metadata=undated, bbox_inches="tight", pad_inches=_PAD
        )
    return buffer.getvalue()
