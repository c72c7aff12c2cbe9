"""The critical-difference plot of Demšar (JMLR 2006): mean ranks on a line, bars over equals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from oddframe.outputs.curve import BLUE, GREY, INK
from oddframe.research.leaderboard.ranking import LeagueRanking, Ranking
from oddframe.research.reports.figures import save_figure

_DPI = 160
# Sizes in inches: page width, space for names at either side, height of a name's line and of a
# bar, space above the axis, and for each critical difference.
_WIDTH, _SIDE, _LINE, _BAR, _TOP, _GAP = 9.0, 2.7, 0.24, 0.10, 0.53, 0.32
_FONT_SIZE = 9.5


def write_rank_plot(overall: LeagueRanking, png: Path, svg: Path) -> None:
    """Draw mean ranks, the best at the left, with bars over methods that are not distinguished.

    Benchmarks count equally, and the bars are those of trainings as blocks. Critical differences
    are drawn above, also that of benchmarks as blocks.

    Args:
        overall: A ranking.
        png: PNG file.
        svg: SVG file.

    Raises:
        OddframeError: a file cannot be written.
        ValueError: nothing is ranked.
    """
    ranking = overall.ranking
    if ranking is None:
        raise ValueError("nothing is ranked")
    critical = {"trainings as blocks": ranking.critical}
    if overall.by_benchmark is not None:
        critical["data sets as blocks"] = overall.by_benchmark.critical
    top = _TOP + _GAP * len(critical)
    cliques = ranking.cliques()
    lines = -(-len(ranking.names) // 2)
    height = top + _BAR * len(cliques) + _LINE * (lines + 1) + 0.15
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(-height + top, top)  # In inches; 0 is the line of ranks.
    axes.axis("off")
    _draw_scale(axes, ranking, critical)
    for number, (first, last) in enumerate(cliques, start=1):
        ends = [_x(ranking, ranking.ranks[first]) - 0.04, _x(ranking, ranking.ranks[last]) + 0.04]
        axes.plot(ends, [-_BAR * number] * 2, color=BLUE, linewidth=3, zorder=3)
    below = _BAR * len(cliques) + _LINE
    for index, (name, rank) in enumerate(zip(ranking.names, ranking.ranks, strict=True)):
        left = index < lines
        line = index if left else len(ranking.names) - 1 - index
        text = f"{overall.titles[name]}  {rank:.1f}"
        _draw_name(axes, _x(ranking, rank), -below - _LINE * line, text, left=left)
    # Fitted to what is drawn, so that no name is too long.
    save_figure(figure, png, svg, dpi=_DPI, bbox_inches="tight", pad_inches=0.12)


def _x(ranking: Ranking, rank: float) -> float:
    return _SIDE + (rank - 1) / (len(ranking.names) - 1) * (_WIDTH - 2 * _SIDE)


def _draw_scale(axes: Axes, ranking: Ranking, critical: Mapping[str, float]) -> None:
    k = len(ranking.names)
    axes.plot([_x(ranking, 1), _x(ranking, k)], [0, 0], color=INK, linewidth=1.2)
    for rank in range(1, k + 1):
        x = _x(ranking, rank)
        axes.plot([x, x], [0, 0.07], color=INK, linewidth=1.2)
        axes.text(x, 0.11, str(rank), ha="center", va="bottom", fontsize=_FONT_SIZE - 1, color=INK)
    for number, (blocks, difference) in enumerate(critical.items()):
        y = 0.48 + _GAP * number
        start, end = _x(ranking, 1), _x(ranking, min(k, 1 + difference))
        axes.plot([start, end], [y, y], color=GREY, linewidth=2, solid_capstyle="butt")
        text = f"critical difference {difference:.2f}, {blocks}"
        axes.text(
            start, y + 0.05, text, ha="left", va="bottom", fontsize=_FONT_SIZE - 1, color=GREY
        )


def _draw_name(axes: Axes, x: float, y: float, text: str, *, left: bool) -> None:
    side = _SIDE - 0.15 if left else _WIDTH - _SIDE + 0.15
    axes.plot([x, x, side], [0, y, y], color=GREY, linewidth=0.8)
    gap, align = (-0.06, "right") if left else (0.06, "left")
    axes.text(side + gap, y, text, ha=align, va="center", fontsize=_FONT_SIZE, color=INK)
