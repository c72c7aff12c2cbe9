"""``oddframe train``: train a model on labelled videos; see ``oddframe.train``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import message_printer, print_answer, print_json, printable, progress_bar

if TYPE_CHECKING:
    from oddframe.api import TrainingResult


def train_command(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder with normal/ and others, a CSV path,label[,group], or NAME:DIR.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="The model file; a report is written beside it.")
    ] = Path("model.safetensors"),
    budget: Annotated[
        str,
        opt.optional(
            help="Time for everything, as 10m or 1h: what remains after the features are loaded is "
            "used to search for better settings on validation groups. Without it: no search."
        ),
    ] = "",
    pretrained: Annotated[
        str,
        opt.optional(
            "--from",
            help="Start from the weights of a model: its name, as fight, or a file.",
            autocompletion=opt.complete_models,
        ),
    ] = "",
    method: Annotated[
        str,
        opt.optional(
            help="A method that oddframe methods lists, instead of the configuration's or that of "
            "the model in --from. Without any of them: oddframe.",
            autocompletion=opt.complete_methods,
        ),
    ] = "",
    config: opt.ConfigOption = "",
    tiles: opt.TilesOption = "",
    regions: opt.RegionsOption = "",
    squares: opt.SquaresOption = None,
    seed: Annotated[
        int | None, opt.optional(min=0, max=2**63 - 1, help="Seed, instead of the configuration's.")
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            min=1, max=1000, help="Train with so many seeds; keep the best on validation groups."
        ),
    ] = 1,
    fresh: opt.FreshOption = False,
    tensorboard: Annotated[
        Path | None, opt.optional(help="A folder for TensorBoard, with every loss term.")
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Whether the model file holds small pictures of the training clips that events "
            "are compared with, for reports. They may show people, and whoever has the file has "
            "them.",
        ),
    ] = False,
    mask: opt.MaskOption = None,
    profile: Annotated[
        opt.ProfileChoice,
        typer.Option(help="fast: the model also gets a faster profile, of one snippet in five."),
    ] = opt.ProfileChoice.best,
    features: opt.FeaturesOption = "",
    sound: opt.SoundOption = None,
    store: opt.StoreOption = opt.STORE_DEFAULT,
    device: opt.DeviceOption = opt.Device.auto,
    engine: opt.EngineOption = opt.Engine.auto,
    precision: opt.PrecisionOption = opt.Precision.auto,
    jobs: opt.JobsOption = 1,
    memory: opt.MemoryOption = None,
    patience: opt.PatienceOption = opt.DEFAULT_PATIENCE_S,
    as_json: opt.JsonOption = False,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Train a detector on videos of which only the label of the whole video is known.

    Some groups (recordings, cameras) are held out: they set the threshold and give the figures, and
    nothing else is chosen by them. Where no groups are given, videos with similar backgrounds stay
    together. With normal videos alone it trains a detector of what is unusual. Features are
    extracted first and kept. When stopped or killed, the same command resumes. Started by torchrun,
    several processes share the training.
    """
    from oddframe import api
    from oddframe.training.distributed import joined_processes, run_worker
    from oddframe.training.loop import train_as_worker

    with joined_processes() as processes:
        if not processes.is_first:
            run_worker(train_as_worker)
            return
        with progress_bar(quiet=quiet) as progress:
            result = api.train(
                data,
                out,
                method=method or None,
                config=config or None,
                pretrained=pretrained or None,
                budget=budget or None,
                seed=seed,
                seeds=seeds,
                tiles=tiles or None,
                regions=regions or None,
                squares=squares,
                fast=profile is opt.ProfileChoice.fast,
                features=features or None,
                audio_features=sound,
                mask=mask,
                store=store,
                device=device.value,
                engine=engine.value,
                precision=precision.value,
                jobs=jobs,
                fresh=fresh,
                tensorboard=tensorboard,
                pictures=pictures,
                progress=progress,
                message=message_printer(quiet=quiet),
                command=shlex.join(["oddframe", *sys.argv[1:]]),
            )
    if as_json:
        print_json(result.to_dict())
    else:
        _print_result(result)


def _print_result(result: TrainingResult) -> None:
    from oddframe.outputs.pages.evaluation_text import key_figures, summary_sentence
    from oddframe.outputs.pages.training_page import FIGURE_NAMES

    model, evaluation = result.model, result.evaluation
    threshold = model.profiles["best"].rule.threshold
    print_answer(f"{result.path}: finds {printable(model.detects)}; threshold {threshold:.3f}")
    if evaluation is not None:
        groups = len(model.card["held_out_groups"])
        print_answer(
            f"On {len(evaluation.videos)} videos of {groups} groups that it was not trained on:"
        )
        print_answer(f"  {summary_sentence(evaluation)}")
        for name, value, basis in key_figures(evaluation):
            print_answer(f"  {name:<26} {value:>10}  {basis}".rstrip())
        for name in ("frame_auc", "frame_ap"):
            if name in model.metrics:
                print_answer(f"  {FIGURE_NAMES[name]:<26} {model.metrics[name]:>10.3f}")
    spread = model.card.get("seeds", {}).get("mean_and_deviation", {})
    for name, (mean, deviation) in spread.items():
        if name in FIGURE_NAMES:
            basis = f"± {deviation:.3f} over {len(result.seeds)} seeds"
            print_answer(f"  {FIGURE_NAMES[name]:<26} {mean:>10.3f}  {basis}")
    print_answer(f"Look at it: {result.report}")
    print_answer(f"Use it: oddframe score VIDEO --model {result.path}")
