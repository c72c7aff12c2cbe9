"""``oddframe methods``: what can be trained, where it comes from, how far it is to be trusted."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Annotated, Any

import typer

from oddframe.cli.console import print_answer, print_note
from oddframe.cli.options import DebugOption, JsonOption, complete_methods

EXAMPLE = "Example: oddframe methods    oddframe methods rtfm"

# Of the league, as they stand in the list.
_BENCHMARKS = {
    "ped2": "Ped2",
    "ur_fall": "Fall",
    "surveillance_fight": "Fight",
    "shanghaitech_tracks": "tracks",
}
_COLUMNS = (
    "name",
    "method",
    "year",
    "reads",
    "told",
    "checked",
    *_BENCHMARKS.values(),
    "published",
)


def methods(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]",
            help="All that is known of one.",
            show_default=False,
            autocompletion=complete_methods,
        ),
    ] = "",
    as_json: JsonOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """List the methods that train takes: paper, year, what was published, how ours was checked.

    The first one is what train takes unless told otherwise.
    """
    from oddframe.methods.registry import method_names

    known = [described(each) for each in ([name] if name else method_names())]
    if as_json:
        print_answer(json.dumps(known[0] if name else known, indent=2))
    elif name:
        _show(known[0])
    else:
        _table(known)


def described(name: str) -> dict[str, Any]:
    """What is known of a method, as JSON types.

    Raises:
        UsageError: there is none of that name.
    """
    from oddframe.methods.registry import get_method
    from oddframe.research.published_results import figures_of, ours_of

    method = get_method(name)
    about = asdict(method.info)
    return {
        "name": method.name,
        "title": method.title,
        "year": method.year,
        **about,
        "deviations": list(about["deviations"]),
        "published": [asdict(figure) for figure in figures_of(method.title)],
        "ours": [asdict(figure) for figure in ours_of(method.name)],
        "recipe": asdict(method.recipe),
        "config": method.Config().model_dump(mode="json"),
    }


def _figures(method: dict[str, Any]) -> list[str]:
    return [
        f"{f['data']} {f['figure']} {f['value']:g}"
        + (f" ({f['features']})" if f["features"] else "")
        for f in method["published"]
    ]


def _ours(method: dict[str, Any]) -> list[str]:
    return [
        f"{f['data']}: {f['figure']} {f['mean']:.1f} \N{PLUS-MINUS SIGN} {f['std']:.1f} "
        f"({f['trainings']} training{'s' * (f['trainings'] > 1)})"
        for f in method["ours"]
    ]


def _table(known: list[dict[str, Any]]) -> None:
    rows = [_COLUMNS]
    for method in known:
        reads = re.split("[,;]", method["inputs"])[0]
        first = (method["name"], method["title"], str(method["year"]), reads)
        means = {figure["benchmark"]: f"{figure['mean']:.1f}" for figure in method["ours"]}
        ours = (means.get(name, "-") for name in _BENCHMARKS)
        published = "; ".join(_figures(method)[:3])
        rows.append((*first, method["supervision"], method["checked"], *ours, published))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print_answer("  ".join(cells).rstrip())
    print_note(f"oddframe train takes {known[0]['name']} unless told otherwise: --method NAME.")
    print_note(
        "Figures are means of the benchmark's leading one in our league (benchmarks/LEAGUE.md)."
    )


def _show(method: dict[str, Any]) -> None:
    from oddframe.methods.registry import get_method

    recipe = method["recipe"]
    trained = (
        f"{recipe['optimiser']}, lr {recipe['lr']:g}, weight decay {recipe['weight_decay']:g}, "
        f"{recipe['steps']:,} steps of {recipe['normal_bags']} + {recipe['abnormal_bags']} bags of "
        f"{recipe['segments']} segments"
    )
    if get_method(method["name"]).closed_form:
        trained = "found at once, without steps"
    settings = ", ".join(f"{key} {value}" for key, value in method["config"].items())
    print_answer(
        f"{method['title']} ({method['year']}): oddframe train DATA --method {method['name']}"
    )
    lines = {
        "paper": [method["paper"]],
        "reads": [method["inputs"]],
        "told": [method["supervision"]],
        "published": _figures(method) or ["nothing on UCF-Crime, XD-Violence or Ped2"],
        "ours": _ours(method) or ["not in the league"],
        "checked": [f"{method['checked']}: {method['evidence']}"],
        "deviates": method["deviations"] or ["in nothing that is known"],
        "recipe": [trained],
        "settings": [settings or "none"],
    }
    for label, texts in lines.items():
        for i, text in enumerate(texts):
            print_answer(f"  {label if i == 0 else '':<10} {text}")
