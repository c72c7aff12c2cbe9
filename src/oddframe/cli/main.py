"""``oddframe``: the verbs, and the exit code and last line of each.

Neither this module nor a verb's module imports anything slow at its top: ``--help`` is instant.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Literal

import typer

from oddframe._utils.version import VERSION
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

_HELP_STYLE: Literal["markdown"] = "markdown"  # Options in panels by ``rich``.

app = typer.Typer(
    name="oddframe",
    help="Finds abnormal events in video.",
    epilog="A first look: oddframe demo. Your own video: oddframe score cam3.mp4",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=_HELP_STYLE,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# Name, function or group of functions, one line for the list of verbs, example.
_VERBS: tuple[tuple[str, Callable[..., None] | typer.Typer, str, str], ...] = (
    (
        "score",
        score.score_command,
        "Find abnormal events in videos.",
        score.SCORE_EXAMPLE,
    ),
    (
        "demo",
        demo.demo,
        "Find the fights in a surveillance video that comes with oddframe.",
        demo.DEMO_EXAMPLE,
    ),
    ("train", train.train_command, "Train a detector on labelled videos.", train.TRAIN_EXAMPLE),
    (
        "calibrate",
        calibrate.calibrate_command,
        "Set the threshold of a model by its false alarms an hour.",
        calibrate.CALIBRATE_EXAMPLE,
    ),
    (
        "evaluate",
        evaluate.evaluate_command,
        "Measure how good a model is on labelled videos.",
        evaluate.EVALUATE_EXAMPLE,
    ),
    (
        "methods",
        methods.methods,
        "List the methods that can be trained.",
        methods.METHODS_EXAMPLE,
    ),
    (
        "extract",
        extract.extract_command,
        "Compute the features of videos and store them.",
        extract.EXTRACT_EXAMPLE,
    ),
    ("features", features.features_app, "List, check, compare and export stored features.", ""),
    ("data", data.data_app, "Describe a data set and check it for mistakes.", ""),
    ("import", imports.import_app, "Import published features and checkpoints.", ""),
    (
        "reproduce",
        reproduce.reproduce,
        "Reproduce the tables and figures of the UR-DMU paper.",
        reproduce.REPRODUCE_EXAMPLE,
    ),
    (
        "league",
        league.league,
        "Train all methods under equal conditions and rank them.",
        league.LEAGUE_EXAMPLE,
    ),
    ("report", report.report_app, "Show what a recorded training depends on.", ""),
    ("info", info.info, "Describe a video, a feature file or a model.", info.INFO_EXAMPLE),
    (
        "doctor",
        doctor.doctor,
        "Check the installation.",
        doctor.DOCTOR_EXAMPLE,
    ),
)
for _name, _verb, _line, _example in _VERBS:
    if isinstance(_verb, typer.Typer):
        _verb.rich_markup_mode = _HELP_STYLE
        app.add_typer(_verb, name=_name, help=_line)
    else:
        app.command(_name, short_help=_line, epilog=_example)(_verb)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"oddframe {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Find abnormal events in video with a detector that learns from labels of whole videos."""


def run_command_line() -> None:
    """Run one verb, and exit: 0 done, 1 a failure, 2 a wrong call, 3 inputs failed, 130 Ctrl-C."""
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
    """Run the verb that the command line names; return its exit code.

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
        # Typer raises errors of a wrong call that have ``show`` and an exit code. Their base class
        # is another one in every other version.
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
