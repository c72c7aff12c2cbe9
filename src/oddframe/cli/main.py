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
from oddframe.cli.calibrate import calibrate_command
from oddframe.cli.console import print_error, standard_streams
from oddframe.cli.data import data_app
from oddframe.cli.demo import demo
from oddframe.cli.doctor import doctor
from oddframe.cli.evaluate import evaluate_command
from oddframe.cli.export import export_model_command
from oddframe.cli.extract import extract_command
from oddframe.cli.features import features_app
from oddframe.cli.imports import import_app
from oddframe.cli.info import info
from oddframe.cli.methods import methods
from oddframe.cli.options import translate_old_options
from oddframe.cli.research import league, report_app, reproduce
from oddframe.cli.score import score_command
from oddframe.cli.train import train_command
from oddframe.cli.watch import watch_command
from oddframe.errors import OddframeError, describe_unexpected_error, torch_needed

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


def _add_verb(name: str, verb: Callable[..., None], line: str, *examples: str) -> None:
    """Add a verb, with its line in the list of verbs and the examples below its own help."""
    epilog = f"Example: {'    or: '.join(examples)}"
    app.command(name, short_help=line, epilog=epilog)(verb)


_add_verb(
    "score",
    score_command,
    "Find abnormal events in videos.",
    "oddframe score cam3.mp4 recordings/ --out results --format json,html",
)
_add_verb(
    "watch",
    watch_command,
    "Find abnormal events in what cameras show now.",
    "oddframe watch rtsp://10.0.0.3/stream1 --out events",
    "oddframe watch --cameras cameras.yaml",
)
_add_verb(
    "demo",
    demo,
    "Find the fights in a surveillance video that comes with oddframe.",
    "oddframe demo --out demo",
)
_add_verb(
    "train",
    train_command,
    "Train a detector on labelled videos.",
    "oddframe train clips/ --budget 30m --out my_model.safetensors",
)
_add_verb(
    "calibrate",
    calibrate_command,
    "Set the threshold of a model by its false alarms an hour.",
    "oddframe calibrate fight cam3/ --false-alarms-per-hour 0.5 --out cam3.safetensors",
)
_add_verb(
    "evaluate",
    evaluate_command,
    "Measure how good a model is on labelled videos.",
    "oddframe evaluate my_model.safetensors held_out/ --out results",
)
_add_verb(
    "methods",
    methods,
    "List the methods that can be trained.",
    "oddframe methods",
    "oddframe methods rtfm",
)
_add_verb(
    "extract",
    extract_command,
    "Compute the features of videos and store them.",
    "oddframe extract recordings/ --jobs 2",
    "oddframe extract videos/ --preset ucf-crime --format npy --out features",
)
_add_verb(
    "export",
    export_model_command,
    "Write a model as ONNX or OpenVINO files, for other programs.",
    "oddframe export fight --to onnx --out fight-onnx",
)
_add_verb(
    "reproduce",
    reproduce,
    "Reproduce the tables and figures of the UR-DMU paper.",
    "oddframe reproduce table3 table6 --dataset ped2 --data /data/ped2 --jobs 2",
    "oddframe reproduce figure4 --dataset ped2 --data /data/ped2 --methods ur_dmu,linear",
)
_add_verb(
    "league",
    league,
    "Train all methods under equal conditions and rank them.",
    "nohup oddframe league --dataset ped2 --data /data/ped2 >league.log 2>&1 &",
)
_add_verb(
    "info",
    info,
    "Describe a video, a feature file or a model.",
    "oddframe info cam3.mp4",
    "oddframe info fight",
)
_add_verb("doctor", doctor, "Check the installation.", "oddframe doctor")
for _name, _group, _line in (  # Verbs of several commands.
    ("features", features_app, "List, check, compare and export stored features."),
    ("data", data_app, "Describe a data set and check it for mistakes."),
    ("import", import_app, "Import published features and checkpoints."),
    ("report", report_app, "Show what a recorded training depends on."),
):
    _group.rich_markup_mode = _HELP_STYLE
    app.add_typer(_group, name=_name, help=_line)


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
    """Run the verb that the command line names; return its exit code."""
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
        if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "torch":
            raise torch_needed("this command") from None
        raise OddframeError(describe_unexpected_error(error)) from None
    return code if isinstance(code, int) else 0
