"""The league as Markdown: where methods stand, then benchmark by benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np

from oddframe._utils.files import write_text
from oddframe.methods.registry import get_method
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.fold_figures import Figures
from oddframe.research.leaderboard.league import BASELINE, OWN, REFERENCE, SMALL
from oddframe.research.leaderboard.ranking import LEVEL, Ranking, Standing, standing
from oddframe.research.leaderboard.rates import Rates
from oddframe.research.leaderboard.record import Entry, League
from oddframe.research.published_results import figures_of
from oddframe.research.reports.league_plot import write_ranks
from oddframe.research.table import (
    Column,
    difference_in_common,
    interval_text,
    mean_std,
    values_of,
)

_PUBLISHED = (("UCF-Crime", "AUC"), ("XD-Violence", "AP"))
_NONE = "\N{EN DASH}"
# Per cent, of an area under the ROC.
_CHANCE = 50.0
_ABOUT = """\
Every method is trained on the same draws, folds and seeds, features and bags, for the same number
of steps, and tested after the last one. Optimiser, weight decay and clipping are each method's own,
as its authors give them, and so are widths and loss weights; where a paper does not say, they are
ours, much the same for all, and `oddframe methods NAME` says which. {rates} Features are
standardised, and the weights that are tested are a moving average, for all alike. "UR-DMU, small"
is what oddframe trains on a few hundred videos: 128 wide with a linear path beside it. Its settings
and those of "oddframe" were chosen on validation recordings inside training parts of these
benchmarks (docs/methods.md). Figures of test videos had a part in two choices: the first weights of
MA's attention, on Ped2, and that one network of "oddframe" sees a snippet at a time, on the tracks.

Figures are of the draws, folds and seeds that most methods were trained on, ranks of those that all
were; a training whose leading figure is below 50 is *inverted*: what is normal scores higher than
what is odd, hardly at 49, nearly always at 10 (docs/methods.md says why some of IBL's are). Rows
with further repeats, in each of which folds are drawn anew, have a second table. The differences
below a table are of its trainings. Over several benchmarks a difference is of all trainings that
the two have in common: the mean of each benchmark's mean, so that each counts alike. Intervals
(Student's t; Welch's over several benchmarks) take trainings for independent; those of one data set
share videos, so the true intervals are wider.

Published figures stand there to compare directions, not sizes: they are of UCF-Crime and
XD-Violence, of ten crops of I3D features or of those named, after the step that did best on the
test set. Features are in brackets.
"""
_OWN_RATES = """\
So are learning rates: **no rate was chosen for any method**, on test videos or on others. A method
whose published recipe takes many times more steps may want another rate here, and its row says so
where its loss still fell at the end."""
_CHOSEN_RATES = """\
Learning rates are each method's own times what did best on validation recordings
([below](#learning-rates)); where a loss still fell at the end, its row says so."""
_RATES = """\
Each method's own rate, times each of these factors, was tried on {folds} folds by group inside the
training part of {dataset}, whose videos no benchmark tests on: {steps} steps, and then the AUC of
whole videos by their mean scores, per cent, for only their labels are known. Taken for every
benchmark is, in bold, from 1 on towards the best factor the first one that the best is ahead of by
no more than the standard error of the difference. A method that is not here keeps its own rate.
"""
_RANKS = """\
Methods are ranked in each of the {blocks} trainings that all of them have ({counts}) by the
benchmark's leading figure; a training that failed ranks last. *Each benchmark alike* is the mean of
the benchmarks' mean ranks; *pooled* is the mean over all trainings, in which the benchmark with the
most trainings counts most.
"""
_RANKS_OF_ONE = """\
Methods are ranked in each of the {blocks} trainings that all of them have by the benchmark's
leading figure; a training that failed ranks last.
"""
_TRAININGS = """\
With trainings as blocks, each benchmark alike, Friedman's chi square is {statistic:.1f},
p = {p:.2g}, and Nemenyi's critical difference {critical:.2f} ({level:.0%}): methods nearer to each
other are joined by a bar. That is about these data sets, trained again. Trainings of one data set
share videos, and the test takes them for independent, so the true difference is larger.
"""
_DATA_SETS = """\
About other data sets the test has {blocks} blocks, the benchmarks, each with a method's mean figure
(Demšar, JMLR 2006): chi square {statistic:.1f}, p = {p:.2g}, critical difference {critical:.2f}.
{apart}
"""


def league_markdown(
    leagues: Sequence[League], stands: Standing, picture: str, rates: Rates | None = None
) -> str:
    """All of it.

    Args:
        leagues: One a benchmark.
        stands: Of them.
        picture: File of the critical-difference plot, beside this one; empty: there is none.
        rates: What learning rates were chosen by; None: all methods kept their own.
    """
    about = _ABOUT.format(rates=_OWN_RATES if rates is None else _CHOSEN_RATES)
    lines = ["# The league", "", *_take_home(leagues, stands), _wrapped(about)]
    lines += _standing(leagues, stands)
    if stands.ranking is not None:
        lines += [*_ranks(leagues, stands, stands.ranking)]
        if picture:
            lines += [f"![Mean ranks and critical difference]({picture})", ""]
    for league in leagues:
        lines += _benchmark(league)
    lines += ["## What each method was trained with", "", *_recipes(leagues)]
    if rates is not None:
        lines += ["## Learning rates", "", *_rates(leagues, rates)]
    return "\n".join(lines).rstrip("\n") + "\n"


def write_table(leagues: Sequence[League], rates: Rates | None, path: Path) -> None:
    """Write ``league_markdown`` of these, and the picture of the ranks beside it.

    Raises:
        OddframeError: a file cannot be written.
    """
    stands = standing(leagues)
    picture = ""
    if stands.ranking is not None:
        png = path.with_name("league_ranks.png")
        write_ranks(stands, png, png.with_suffix(".svg"))
        picture = png.name
    write_text(path, league_markdown(leagues, stands, picture, rates))


def _take_home(leagues: Sequence[League], stands: Standing) -> list[str]:
    """What a reader should know after one sentence: how oddframe's own stands to the baseline and
    to what is published; nothing where they were not trained on all benchmarks."""
    own = {name: d for name, d in stands.own.items() if np.isfinite(d.low)}
    published = [name for name in own if _checked(name) != "ours"]
    if stands.ranking is None or BASELINE not in own or not published:
        return []
    baseline, title = own[BASELINE], stands.titles[BASELINE]
    how = "ahead of" if baseline.low > 0 else "behind" if baseline.high < 0 else "level with"
    ahead = [name for name in published if own[name].low > 0]
    others = [stands.titles[name] for name in published if name not in ahead]
    all_of_them = len(ahead) == len(published) > 1
    count = f"all {len(ahead)}" if all_of_them else f"{len(ahead)} of {len(published)}"
    but = f", not ahead of {', '.join(others)}" if others else ""
    ranks = [stands.ranking.rank(name) for name in (OWN, BASELINE)]
    number = "this benchmark" if len(leagues) == 1 else f"these {len(leagues)} benchmarks"
    steps = " or ".join(f"{steps:,}" for steps in sorted({league.steps for league in leagues}))
    return [
        _wrapped(
            f"**On {number} of small data, in {steps} steps, `{OWN}` is {how} the linear baseline "
            f"({title}) and ahead of {count} published methods{but}.** That is by 95 % intervals "
            f"of differences in the leading figures, each benchmark alike: "
            f"{interval_text(baseline, 1.0)} points to the baseline. Mean ranks, each benchmark "
            f"alike: {ranks[0]:.1f} and {ranks[1]:.1f} of {len(stands.ranking.names)}."
        )
    ]


def _checked(name: str) -> str:
    """How far a row is to be trusted to be the published method."""
    return "ours" if name == SMALL else get_method(name).info.checked


def _ranks(leagues: Sequence[League], stands: Standing, ranked: Ranking) -> list[str]:
    counts = Counter(dataset for dataset, _ in stands.blocks)
    listed = ", ".join(f"{league.title}: {counts[league.dataset]}" for league in leagues)
    about = _RANKS if len(leagues) > 1 else _RANKS_OF_ONE
    lines = [_wrapped(about.format(blocks=ranked.blocks, counts=listed))]
    tests = [(_TRAININGS, ranked, "")]
    if (of := stands.of_benchmarks) is not None:
        gaps = [b - a for i, a in enumerate(of.ranks) for b in of.ranks[i + 1 :]]
        told = sum(gap > of.critical for gap in gaps)
        some = f"tell {told} of {len(gaps)} pairs of methods apart" if told else "tell no two apart"
        tests.append((_DATA_SETS, of, f"Ranks over so few data sets {some}."))
    for words, test, apart in tests:
        text = words.format(
            blocks=test.blocks,
            statistic=test.statistic,
            p=test.p_value,
            critical=test.critical,
            level=LEVEL,
            apart=apart,
        )
        lines.append(_wrapped(text))
    return lines


def _standing(leagues: Sequence[League], stands: Standing) -> list[str]:
    heads = [f"{league.title}: {league.lead.heading}" for league in leagues]
    even = [league.equal for league in leagues]
    published = [f"published, {data} {figure}" for data, figure in _PUBLISHED]
    apart = {"mean of all, minus UR-DMU (95 %)": stands.differences}
    if stands.own:
        apart["oddframe, minus it (95 %)"] = stands.own
    rankings = (stands.ranking, stands.pooled)
    rows = []
    for name, title in stands.titles.items():
        ranks = [each and each.rank(name) for each in rankings]
        found = [league.entry(name) for league in even]
        means = [_lead(lg, e) for lg, e in zip(even, found, strict=True)]
        entry = next(e for e in found if e is not None)
        rows.append(
            [
                title,
                _checked(name),
                *(_NONE if rank is None else f"{rank:.1f}" for rank in ranks),
                *means,
                *(
                    interval_text(by_name[name], 1.0) if name in by_name else _NONE
                    for by_name in apart.values()
                ),
                *(_published(entry, data, figure) for data, figure in _PUBLISHED),
            ]
        )
    heads = ["mean rank, each benchmark alike", "pooled", *heads, *apart, *published]
    return _table(["method", "checked", *heads], rows, words=2)


def _lead(league: League, entry: Entry | None) -> str:
    """The leading figure, and how many of its trainings are inverted."""
    if entry is None:
        return _NONE
    inverted = len(_inverted(league, entry))
    of = f" ({inverted} of {len(entry.figures)} inverted)" if inverted else ""
    return _cell(entry, league.lead) + of


def _inverted(league: League, entry: Entry) -> list[tuple[Figures, float]]:
    """Trainings whose leading figure, per cent, is below that of chance, and the figure."""
    values = values_of(entry.figures, league.lead).tolist()
    return [pair for pair in zip(entry.figures, values, strict=True) if pair[1] < _CHANCE]


def _cell(entry: Entry, column: Column) -> str:
    values = values_of(entry.figures, column)
    return f"{values[0]:.1f}" if len(values) == 1 else mean_std(values)


def _published(entry: Entry, data: str, figure: str) -> str:
    if entry.name == SMALL:  # It is not published.
        return _NONE
    known = [
        f"{each.value:g}" + (f" ({each.features})" if each.features else "")
        for each in figures_of(get_method(entry.method).title)
        if (each.data, each.figure) == (data, figure)
    ]
    return "; ".join(known) or _NONE


def _benchmark(league: League) -> list[str]:
    equal = league.equal
    lines = [f"## {league.title}", "", *_tables(equal)]
    # Of all trainings of a row, in the order of the table.
    whole = [league.entry(entry.name) for entry in _ordered(equal)]
    notes = [
        f"- {entry.title}: {note}" for entry in whole if entry for note in _notes(league, entry)
    ]
    lines += [*notes, *([""] if notes else [])]
    if (further := league.further) is not None:
        lines += [f"### {league.title}: rows with further repeats", "", *_tables(further)]
    return lines


def _tables(league: League) -> list[str]:
    """Figures and costs of every row, best first, and differences to UR-DMU."""
    entries = _ordered(league)
    heads = ["method", *(column.heading for column in league.columns)]
    heads += ["parameters", "training, s", "an hour of video, ms", "trainings"]
    lines = [_how(league), "", *_table(heads, [_row(league, entry) for entry in entries])]
    compared = league.columns[:4]
    reference = league.entry(REFERENCE)
    apart = []
    for entry in entries:
        if reference is None or entry is reference or not (entry.figures and reference.figures):
            continue
        found = [difference_in_common(entry.figures, reference.figures, c) for c in compared]
        cells = [_NONE if each is None else interval_text(each, 1.0) for each in found]
        apart.append([entry.title, *cells])
    if apart:
        lines += _table(["minus UR-DMU", *(c.heading for c in compared)], apart)
    return lines


def _ordered(league: League) -> list[Entry]:
    """Its rows, best first."""
    return sorted(league.entries, key=lambda entry: -_mean(league, entry))


def _mean(league: League, entry: Entry) -> float:
    values = values_of(entry.figures, league.lead)
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else -1.0


def _row(league: League, entry: Entry) -> list[str]:
    costs = entry.costs
    timed = [cost for cost in costs if cost.device == "cpu"]
    return [
        entry.title,
        _lead(league, entry),
        *(_cell(entry, column) for column in league.columns[1:]),
        f"{costs[0].parameters:,}" if costs else _NONE,
        f"{np.median([c.training_s for c in timed]):.0f}" if timed else _NONE,
        f"{np.median([c.head_ms for c in timed]):.0f}" if timed else _NONE,
        f"{len(entry.figures)} of {len(league.parts)}",
    ]


def _how(league: League) -> str:
    normal, abnormal = league.bags
    bags = "joined from clips at every step" if league.joined else "videos"
    return (
        f"{len(league.parts)} trainings a method, {league.steps} steps of {normal} + {abnormal} "
        f"bags ({bags}) of {league.segments} segments, averaged at {league.average:g}. Per cent, "
        "mean \N{PLUS-MINUS SIGN} standard deviation over trainings; time is processor time, the "
        f"median{_where(league)}; an hour of video is from features to scores."
    )


def _where(league: League) -> str:
    """Of which trainings the time is: a card's says nothing of a processor's."""
    devices = [cost.device for entry in league.entries for cost in entry.costs]
    on_cpu = devices.count("cpu")
    if on_cpu == len(devices):
        return ""
    return (
        f" of the {on_cpu} trainings that ran on a processor, {len(devices) - on_cpu} ran on a card"
    )


def _notes(league: League, entry: Entry) -> list[str]:
    found = _inverted(league, entry)
    each = ", ".join(f"{value:.1f} (repeat {f.repeat}, fold {f.fold})" for f, value in found)
    count = f"{len(found)} of {len(entry.figures)} trainings"
    inverted = [f"inverted, {league.lead.heading} below 50, in {count}: {each}"] if found else []
    failed = [f"no figures of repeat {f.repeat}, fold {f.fold}: {f.reason}" for f in entry.failed]
    return [*inverted, *entry.notes, *failed]


def _recipes(leagues: Sequence[League]) -> list[str]:
    entries = {entry.name: entry for league in leagues for entry in league.entries}
    rows = []
    for entry in entries.values():
        method = get_method(entry.method)
        own = method.recipe
        bags = f"{own.normal_bags} + {own.abnormal_bags} bags of {own.segments} segments"
        no_recipe = method.closed_form or entry.name == SMALL
        steps = _NONE if no_recipe else f"{own.steps:,} steps of {bags}"
        rows.append([entry.title, entry.recipe, steps])
    heads = [
        "method",
        "optimiser, rate, weight decay, clipping",
        "published recipe, or its default",
    ]
    lines = _table(heads, rows, words=3)
    for league in leagues:
        made = sorted({each.code[:12] for entry in league.entries for each in entry.trainings})
        lines.append(
            f"- {league.title}: features `{league.features_sha256[:12]}`, oddframe "
            f"{league.code.version}, code {', '.join(f'`{each}`' for each in made) or _NONE}"
        )
    return [*lines, ""]


def _rates(leagues: Sequence[League], rates: Rates) -> list[str]:
    """The grid: what every factor gave, the chosen one in bold."""
    titles = {entry.name: entry.title for league in leagues for entry in league.entries}
    factors = sorted({rate.factor for tried in rates.tried.values() for rate in tried})
    rows = []
    for name, title in titles.items():
        tried = {rate.factor: rate for rate in rates.tried.get(name, ())}
        if not tried:
            continue
        chosen = rates.factor(name)
        cells = [f"{100 * tried[f].mean:.1f}" if f in tried else _NONE for f in factors]
        marked = [f"**{c}**" if f == chosen else c for c, f in zip(cells, factors, strict=True)]
        rows.append([title, *marked, f"{tried[chosen].lr:g}"])
    about = _RATES.format(
        folds=rates.folds, dataset=BENCHMARKS[rates.dataset].title, steps=rates.steps
    )
    return [_wrapped(about), *_table(["method", *(f"x {f:g}" for f in factors), "rate"], rows)]


def _wrapped(text: str) -> str:
    """Its paragraphs, in lines of a hundred."""
    paragraphs = (
        fill(each, 100, break_long_words=False, break_on_hyphens=False)
        for each in text.strip().split("\n\n")
    )
    return "\n\n".join(paragraphs) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> list[str]:
    ruler = ["---"] * words + ["---:"] * (len(heads) - words)
    return ["| " + " | ".join(cells) + " |" for cells in (heads, ruler, *rows)] + [""]
