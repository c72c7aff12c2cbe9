"""``oddframe report``: what was run, so that a figure can be trusted or repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oddframe.cli.console import print_answer
from oddframe.cli.options import DebugOption, JsonOption

REPORT_EXAMPLE = "Example: oddframe report show reproduce/ped2/table3.json"

report_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=REPORT_EXAMPLE)


@report_app.command("show", epilog=REPORT_EXAMPLE)
def show(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A table's .json, a training's record, or a folder of oddframe reproduce.",
        ),
    ],
    as_json: JsonOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Show what a figure depends on: configuration, seed, code version, digest of features."""
    import json

    from oddframe.research.reports.run_text import describe_run, run_as_json

    print_answer(json.dumps(run_as_json(run), indent=1) if as_json else describe_run(run))


@report_app.callback()
def _report() -> None:
    """Show what a recorded training depends on."""
