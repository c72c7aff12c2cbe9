"""``oddframe``: the verbs, and how every one of them ends.

Nothing heavy is imported here or at the top of a verb's module, so that ``--help`` is instant.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from oddframe import __version__
from oddframe.cli import (
    calibrate,
    data,
    demo,
    doctor,
    evaluate,
    extract,
    features,
    imports,
    info,
    league,
    methods,
    report,
    reproduce,
    score,
    train,
)
from oddframe.cli.console import print_error, standard_streams
from oddframe.cli.options import translate_old_options
from oddframe.errors import OddframeError, describe_unexpected_error

EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="oddframe",
    help="Finds the odd frames in video.",
    epilog="A first look: oddframe demo. Your own video: oddframe score cam3.mp4",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(
    "score", short_help="When something odd happens in these videos.", epilog=score.EXAMPLE
)(score.score)
app.command(
    "demo", short_help="Find the fights in real surveillance video, drawn.", epilog=demo.EXAMPLE
)(demo.demo)
app.command("train", short_help="Labelled videos in, a detector out.", epilog=train.EXAMPLE)(
    train.train
)
app.command(
    "calibrate",
    short_help="A threshold for so many false alarms an hour.",
    epilog=calibrate.EXAMPLE,
)(calibrate.calibrate)
app.command(
    "evaluate", short_help="How good a model is on labelled videos.", epilog=evaluate.EXAMPLE
)(evaluate.evaluate)
app.command(
    "methods", short_help="What can be trained, and how it was checked.", epilog=methods.EXAMPLE
)(methods.methods)
app.command(
    "extract",
    short_help="Videos in, features out.",
    epilog=extract.EXAMPLE,
)(extract.extract)
app.add_typer(features.app, name="features", help="What a store of features holds.")
app.add_typer(data.app, name="data", help="What a data set holds, and what is wrong with it.")
app.add_typer(imports.app, name="import", help="Published features and checkpoints, made ours.")
app.command(
    "reproduce",
    short_help="The paper's tables and figures, ours beside them.",
    epilog=reproduce.EXAMPLE,
)(reproduce.reproduce)
app.command("league", short_help="Every method on equal terms, ranked.", epilog=league.EXAMPLE)(
    league.league
)
app.add_typer(report.app, name="report", help="What a run was, and what it depends on.")
app.command("info", short_help="What a video, feature file or model is.", epilog=info.EXAMPLE)(
    info.info
)
app.command(
    "doctor", short_help="What is installed, what runs, what is missing.", epilog=doctor.EXAMPLE
)(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"oddframe {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Finds the odd frames in video: when something happens, learned from whole-video labels."""


def main() -> None:
    """Run one verb. Exits with 0 done, 1 our failure, 2 wrong call, 3 inputs failed, 130 Ctrl-C."""
    with standard_streams():
        try:
            code = _run()
            sys.stdout.flush()
        except OddframeError as error:
            if "--debug" in sys.argv:
                raise
            print_error(str(error))
            code = error.exit_code
        if code == EXIT_INTERRUPTED:  # Typer turns Ctrl-C into this.
            print_error("stopped; what was finished is kept")
        sys.exit(code)


def _run() -> int:
    """The exit code of the verb that the command line names.

    Raises:
        OddframeError: the verb failed.
    """
    try:
        words, renamed = translate_old_options(sys.argv[1:])
        for line in renamed:
            print_error(line)
        code = app(words, prog_name="oddframe", standalone_mode=False)
    except OddframeError:
        raise
    except Exception as error:
        # What typer raises for a wrong call can show itself and has its exit code; its base class
        # is another in every other version.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            for word in sys.argv[1:]:
                if word.startswith("-") and os.path.exists(word):  # noqa: PTH110 - never raises
                    print_error(f"a file is called {word}, too: as ./{word} it is no option")
            return int(error.exit_code)
        if isinstance(error, typer.Abort):
            return EXIT_INTERRUPTED
        if "--debug" in sys.argv:
            raise
        raise OddframeError(describe_unexpected_error(error)) from None
    return code if isinstance(code, int) else 0
