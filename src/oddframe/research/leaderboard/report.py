"""The league as Markdown: the ranking of the methods with its plot, then each benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oddframe._utils.files import write_text
from oddframe.evaluation.confidence import Interval
from oddframe.methods.registry import get_method
from oddframe.outputs.curve import BLUE, GREY, INK
from oddframe.outputs.text import TextTable
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.fold_figures import (
    FigureColumn,
    FoldFigures,
    column_values,
    common_difference,
    interval_text,
    mean_std,
)
from oddframe.research.leaderboard.competitors import (
    BASELINE_METHOD,
    OWN_METHOD,
    REFERENCE_METHOD,
    SMALL_UR_DMU,
    LearningRates,
)
from oddframe.research.leaderboard.ranking import (
    SIGNIFICANCE_LEVEL,
    LeagueRanking,
    Ranking,
    rank_leagues,
)
from oddframe.research.leaderboard.record import League, LeagueEntry
from oddframe.research.published_results import published_figures
from oddframe.research.reproduce.figures import save_figure

_PUBLISHED = (("UCF-Crime", "AUC"), ("XD-Violence", "AP"))
_NO_VALUE = "\N{EN DASH}"
# Per cent, of an area under the ROC curve.
_CHANCE = 50.0
# The plot of ranks.
_DPI = 160
# Sizes in inches: page width, space for names at either side, height of a name's line and of a
# bar, space above the axis, and for each critical difference.
_WIDTH, _SIDE, _LINE, _BAR, _TOP, _GAP = 9.0, 2.7, 0.24, 0.10, 0.53, 0.32
_FONT_SIZE = 9.5


def write_league_table(leagues: Sequence[League], rates: LearningRates | None, path: Path) -> None:
    """Write ``league_markdown`` to a file, and the picture of the ranks beside it."""
    overall = rank_leagues(leagues)
    picture = ""
    if overall.ranking is not None:
        png = path.with_name("league_ranks.png")
        write_rank_plot(overall, png)
        picture = png.name
    write_text(path, league_markdown(leagues, overall, picture, rates))


def league_markdown(
    leagues: Sequence[League],
    overall: LeagueRanking,
    picture: str,
    rates: LearningRates | None = None,
) -> str:
    """The whole text; ``picture`` is the file name of the critical-difference plot, or empty."""
    blocks = Counter(dataset for dataset, _ in overall.blocks)
    gaps = []
    if overall.by_benchmark is not None:
        ranks = overall.by_benchmark.ranks
        gaps = [b - a > overall.by_benchmark.critical for a, b in combinations(ranks, 2)]
    template = _TEMPLATES.get_template("league.md.jinja")
    text = template.render(
        conclusion=_conclusion(leagues, overall),
        overall_table=_overall_table(leagues, overall),
        ranking=overall.ranking,
        by_benchmark=overall.by_benchmark,
        blocks={league.title: blocks[league.dataset] for league in leagues},
        level=SIGNIFICANCE_LEVEL,
        apart=(sum(gaps), len(gaps)),
        picture=picture,
        benchmarks=[_benchmark(league) for league in leagues],
        recipe_table=_recipe_table(leagues),
        rates=rates,
        rates_title=BENCHMARKS[rates.dataset].title if rates else "",
        rate_table=_rate_table(leagues, rates) if rates else "",
    )
    return text.rstrip("\n") + "\n"


def _wrap(text: str) -> str:
    paragraphs = (
        fill(each, 100, break_long_words=False, break_on_hyphens=False)
        for each in text.strip().split("\n\n")
    )
    return "\n\n".join(paragraphs) + "\n"


_TEMPLATES = Environment(
    loader=PackageLoader("oddframe.research", "leaderboard"),
    autoescape=False,  # Markdown.
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["wrap"] = _wrap


def _conclusion(leagues: Sequence[League], overall: LeagueRanking) -> dict[str, Any] | None:
    """The own method against the baseline and published methods; None unless both were trained on
    all benchmarks."""
    own = {name: d for name, d in overall.own_differences.items() if np.isfinite(d.low)}
    published = [name for name in own if _checked(name) != "ours"]
    if overall.ranking is None or BASELINE_METHOD not in own or not published:
        return None
    baseline = own[BASELINE_METHOD]
    compared = "ahead of" if baseline.low > 0 else "behind" if baseline.high < 0 else "level with"
    ahead = [name for name in published if own[name].low > 0]
    count = f"{len(ahead)} of {len(published)}"
    steps = sorted({league.steps for league in leagues})
    return {
        "benchmarks": "this benchmark" if len(leagues) == 1 else f"these {len(leagues)} benchmarks",
        "steps": " or ".join(f"{number:,}" for number in steps),
        "compared": compared,
        "baseline": overall.titles[BASELINE_METHOD],
        "count": f"all {len(ahead)}" if len(ahead) == len(published) > 1 else count,
        "not_ahead": [overall.titles[name] for name in published if name not in ahead],
        "difference": interval_text(baseline, 1.0),
        "ranks": [overall.ranking.rank(name) for name in (OWN_METHOD, BASELINE_METHOD)],
        "ranked": len(overall.ranking.names),
    }


def _checked(name: str) -> str:
    """How a row was checked against the published method."""
    return "ours" if name == SMALL_UR_DMU else get_method(name).info.checked


def _overall_table(leagues: Sequence[League], overall: LeagueRanking) -> str:
    equal = [league.on_equal_terms for league in leagues]
    differences = {"mean of all, minus UR-DMU (95 %)": overall.differences}
    if overall.own_differences:
        differences["oddframe, minus it (95 %)"] = overall.own_differences
    rows = []
    for name, title in overall.titles.items():
        ranks = [each and each.rank(name) for each in (overall.ranking, overall.pooled)]
        entries = [league.entry(name) for league in equal]
        entry = next(entry for entry in entries if entry is not None)
        rows.append(
            (
                title,
                _checked(name),
                *(_NO_VALUE if rank is None else f"{rank:.1f}" for rank in ranks),
                *map(_leading_cell, equal, entries),
                *(_interval_cell(each.get(name)) for each in differences.values()),
                *(_published_cell(entry, data, figure) for data, figure in _PUBLISHED),
            )
        )
    headings = ["method", "checked", "mean rank, each benchmark alike", "pooled"]
    headings += [f"{league.title}: {league.lead.heading}" for league in leagues]
    headings += [*differences, *(f"published, {data} {figure}" for data, figure in _PUBLISHED)]
    return _table(headings, rows, words=2)


def _interval_cell(interval: Interval | None) -> str:
    return _NO_VALUE if interval is None else interval_text(interval, 1.0)


def _leading_cell(league: League, entry: LeagueEntry | None) -> str:
    """The leading figure, and how many of its trainings are inverted."""
    if entry is None:
        return _NO_VALUE
    inverted = len(_inverted(league, entry))
    of = f" ({inverted} of {len(entry.figures)} inverted)" if inverted else ""
    return _figure_cell(entry, league.lead) + of


def _inverted(league: League, entry: LeagueEntry) -> list[tuple[FoldFigures, float]]:
    """Trainings whose leading figure, per cent, is below chance, and the figure."""
    values = column_values(entry.figures, league.lead).tolist()
    return [pair for pair in zip(entry.figures, values, strict=True) if pair[1] < _CHANCE]


def _figure_cell(entry: LeagueEntry, column: FigureColumn) -> str:
    values = column_values(entry.figures, column)
    return f"{values[0]:.1f}" if len(values) == 1 else mean_std(values)


def _published_cell(entry: LeagueEntry, data: str, figure: str) -> str:
    if entry.name == SMALL_UR_DMU:  # It is not published.
        return _NO_VALUE
    found = [
        f"{each.value:g}" + (f" ({each.features})" if each.features else "")
        for each in published_figures(get_method(entry.method).title)
        if (each.data, each.figure) == (data, figure)
    ]
    return "; ".join(found) or _NO_VALUE


def _benchmark(league: League) -> dict[str, Any]:
    equal, extra = league.on_equal_terms, league.with_extra_repeats
    # Notes are about all trainings of a row.
    entries = [league.entry(entry.name) for entry in _best_first(equal)]
    codes = sorted({each.code[:12] for entry in league.entries for each in entry.trainings})
    return {
        "league": league,
        "equal": _benchmark_tables(equal),
        "extra": _benchmark_tables(extra) if extra else None,
        "notes": [f"{e.title}: {note}" for e in entries if e for note in _notes(league, e)],
        "codes": ", ".join(f"`{each}`" for each in codes) or _NO_VALUE,
    }


def _benchmark_tables(league: League) -> dict[str, str]:
    """Figures and costs of every row, best first, and differences to the reference method."""
    entries = _best_first(league)
    headings = ["method", *(column.heading for column in league.columns)]
    headings += ["parameters", "training, s", "an hour of video, ms", "trainings"]
    rows = [_entry_cells(league, entry) for entry in entries]
    compared = league.columns[:4]
    reference = league.entry(REFERENCE_METHOD)
    differences = []
    for entry in entries:
        if reference is None or entry is reference or not (entry.figures and reference.figures):
            continue
        found = [common_difference(entry.figures, reference.figures, c) for c in compared]
        differences.append((entry.title, *map(_interval_cell, found)))
    minus = ["minus UR-DMU", *(c.heading for c in compared)]
    return {
        "about": _trainings_text(league),
        "figures": _table(headings, rows),
        "differences": _table(minus, differences) if differences else "",
    }


def _best_first(league: League) -> list[LeagueEntry]:
    return sorted(league.entries, key=lambda entry: -_mean(league, entry))


def _mean(league: League, entry: LeagueEntry) -> float:
    values = column_values(entry.figures, league.lead)
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else -1.0


def _entry_cells(league: League, entry: LeagueEntry) -> tuple[str, ...]:
    costs = entry.costs
    on_cpu = [cost for cost in costs if cost.device == "cpu"]
    return (
        entry.title,
        _leading_cell(league, entry),
        *(_figure_cell(entry, column) for column in league.columns[1:]),
        f"{costs[0].parameters:,}" if costs else _NO_VALUE,
        f"{np.median([c.training_s for c in on_cpu]):.0f}" if on_cpu else _NO_VALUE,
        f"{np.median([c.head_ms for c in on_cpu]):.0f}" if on_cpu else _NO_VALUE,
        f"{len(entry.figures)} of {len(league.parts)}",
    )


def _trainings_text(league: League) -> str:
    normal, abnormal = league.bags
    bags = "joined from clips at every step" if league.joined else "videos"
    devices = [cost.device for entry in league.entries for cost in entry.costs]
    on_cpu, where = devices.count("cpu"), ""
    if on_card := len(devices) - on_cpu:
        where = f" of the {on_cpu} trainings that ran on a processor, {on_card} ran on a card"
    return (
        f"{len(league.parts)} trainings a method, {league.steps} steps of {normal} + {abnormal} "
        f"bags ({bags}) of {league.segments} segments, averaged at {league.average:g}. Per cent, "
        "mean \N{PLUS-MINUS SIGN} standard deviation over trainings; time is processor time, the "
        f"median{where}; an hour of video is from features to scores."
    )


def _notes(league: League, entry: LeagueEntry) -> list[str]:
    found = _inverted(league, entry)
    each = ", ".join(f"{value:.1f} (repeat {f.repeat}, fold {f.fold})" for f, value in found)
    count = f"{len(found)} of {len(entry.figures)} trainings"
    inverted = [f"inverted, {league.lead.heading} below 50, in {count}: {each}"] if found else []
    failed = [f"no figures of repeat {f.repeat}, fold {f.fold}: {f.reason}" for f in entry.failed]
    return [*inverted, *entry.notes, *failed]


def _recipe_table(leagues: Sequence[League]) -> str:
    entries = {entry.name: entry for league in leagues for entry in league.entries}
    rows = []
    for entry in entries.values():
        method = get_method(entry.method)
        own = method.recipe
        bags = f"{own.normal_bags} + {own.abnormal_bags} bags of {own.segments} segments"
        no_recipe = method.closed_form or entry.name == SMALL_UR_DMU
        steps = _NO_VALUE if no_recipe else f"{own.steps:,} steps of {bags}"
        rows.append((entry.title, entry.recipe, steps))
    recipe = "optimiser, rate, weight decay, clipping"
    return _table(["method", recipe, "published recipe, or its default"], rows, words=3)


def _rate_table(leagues: Sequence[League], rates: LearningRates) -> str:
    """The result of every factor, the chosen one in bold."""
    titles = {entry.name: entry.title for league in leagues for entry in league.entries}
    factors = sorted({rate.factor for tried in rates.tried.values() for rate in tried})
    rows = []
    for name, title in titles.items():
        tried = {rate.factor: rate for rate in rates.tried.get(name, ())}
        if not tried:
            continue
        chosen = rates.factor(name)
        cells = [f"{100 * tried[f].mean:.1f}" if f in tried else _NO_VALUE for f in factors]
        marked = [f"**{c}**" if f == chosen else c for c, f in zip(cells, factors, strict=True)]
        rows.append((title, *marked, f"{tried[chosen].lr:g}"))
    return _table(["method", *(f"x {f:g}" for f in factors), "rate"], rows)


def _table(headings: Sequence[str], rows: Sequence[tuple[str, ...]], words: int = 1) -> str:
    return TextTable("", tuple(headings), tuple(rows), word_columns=words).markdown()


def write_rank_plot(overall: LeagueRanking, png: Path) -> None:
    """Draw mean ranks, the best at the left, with bars over methods that are not distinguished.

    The critical-difference plot of Demšar (JMLR 2006). Benchmarks count equally; the bars are those
    of trainings as blocks.
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
    save_figure(figure, png, dpi=_DPI, bbox_inches="tight", pad_inches=0.12)


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
        small = _FONT_SIZE - 1
        axes.text(start, y + 0.05, text, ha="left", va="bottom", fontsize=small, color=GREY)


def _draw_name(axes: Axes, x: float, y: float, text: str, *, left: bool) -> None:
    side = _SIDE - 0.15 if left else _WIDTH - _SIDE + 0.15
    axes.plot([x, x, side], [0, y, y], color=GREY, linewidth=0.8)
    gap, align = (-0.06, "right") if left else (0.06, "left")
    axes.text(side + gap, y, text, ha=align, va="center", fontsize=_FONT_SIZE, color=INK)
