"""``oddframe methods``: list the methods that can be trained, or show one."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import print_answer, print_json, print_note

if TYPE_CHECKING:
    from oddframe.research.published_results import PublishedFigure


# Benchmarks of the league, by their column.
_BENCHMARKS = {
    "ped2": "Ped2",
    "ur_fall": "Fall",
    "surveillance_fight": "Fight",
    "shanghaitech_tracks": "tracks",
}
_COLUMNS = ("name", "method", "year", "reads", "supervision", "checked")


def methods(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]",
            help="Show everything about this method.",
            show_default=False,
            autocompletion=opt.complete_methods,
        ),
    ] = "",
    as_json: opt.JsonOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """List the methods that can be trained: paper, year, results, how each was verified.

    The first one is the default of train.
    """
    from oddframe.methods.registry import method_names

    if as_json:
        print_json(_describe(name) if name else list(map(_describe, method_names())))
    elif name:
        _print_method(name)
    else:
        _print_table()


def _describe(name: str) -> dict[str, Any]:
    """Everything about a method, as JSON types."""
    from oddframe.methods.registry import get_method
    from oddframe.research.published_results import published_figures, shipped_results

    method = get_method(name)
    info = asdict(method.info)
    return {
        "name": method.name,
        "title": method.title,
        "year": method.year,
        "paper": info["paper"],
        "inputs": info["inputs"],
        "supervision": method.supervision,
        "checked": info["checked"],
        "evidence": info["evidence"],
        "deviations": list(info["deviations"]),
        "published": [asdict(figure) for figure in published_figures(method.title)],
        "ours": [asdict(figure) for figure in shipped_results(method.name)],
        "recipe": asdict(method.recipe),
        "config": method.Config().model_dump(mode="json"),
    }


def _print_table() -> None:
    from oddframe.methods.registry import DEFAULT_METHOD, list_methods
    from oddframe.research.published_results import published_figures, shipped_results

    rows = [(*_COLUMNS, *_BENCHMARKS.values(), "published")]
    for method in list_methods():
        means = {figure.benchmark: f"{figure.mean:.1f}" for figure in shipped_results(method.name)}
        rows.append(
            (
                method.name,
                method.title,
                str(method.year),
                re.split("[,;]", method.inputs)[0],
                method.supervision,
                method.checked,
                *(means.get(name, "-") for name in _BENCHMARKS),
                "; ".join(map(_format_published, published_figures(method.title)[:3])),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print_answer("  ".join(cells).rstrip())
    print_note(
        f"oddframe train takes {DEFAULT_METHOD} by default; --method NAME takes another.\n"
        "Results are means of a benchmark's main metric in our league (benchmarks/LEAGUE.md)."
    )


def _print_method(name: str) -> None:
    from oddframe.methods.registry import get_method
    from oddframe.research.published_results import published_figures, shipped_results

    method = get_method(name)
    info, recipe = method.info, method.recipe
    settings = method.Config().model_dump(mode="json", by_alias=False)
    trained = "fitted at once, without steps"
    if not method.closed_form:
        trained = (
            f"{recipe.optimiser}, lr {recipe.lr:g}, weight decay {recipe.weight_decay:g}, "
            f"{recipe.steps:,} steps of {recipe.normal_bags} + {recipe.abnormal_bags} bags of "
            f"{recipe.segments} segments"
        )
    ours = [
        f"{f.data}: {f.figure} {f.mean:.1f} \N{PLUS-MINUS SIGN} {f.std:.1f} "
        f"({f.trainings} training{'s' * (f.trainings > 1)})"
        for f in shipped_results(name)
    ]
    published = list(map(_format_published, published_figures(method.title)))
    lines: dict[str, list[str]] = {
        "paper": [info.paper],
        "reads": [info.inputs],
        "supervision": [method.supervision],
        "published": published or ["nothing on UCF-Crime, XD-Violence or Ped2"],
        "ours": ours or ["not in the league"],
        "checked": [f"{info.checked}: {info.evidence}"],
        "deviations": list(info.deviations) or ["none known"],
        "recipe": [trained],
        "settings": [", ".join(f"{key} {value}" for key, value in settings.items()) or "none"],
    }
    print_answer(f"{method.title} ({method.year}): oddframe train DATA --method {name}")
    for label, texts in lines.items():
        for i, text in enumerate(texts):
            print_answer(f"  {label if i == 0 else '':<11} {text}")


def _format_published(figure: PublishedFigure) -> str:
    features = f" ({figure.features})" if figure.features else ""
    return f"{figure.data} {figure.figure} {figure.value:g}{features}"
