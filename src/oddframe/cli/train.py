"""``oddframe train``: labelled videos in; one model file and one page that judges it out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from oddframe.cli.console import (
    LOADING_NOTE,
    bar_progress,
    print_answer,
    print_note,
    printable,
    progress_bar,
)
from oddframe.cli.options import (
    DEFAULT_PATIENCE_S,
    DEFAULT_STORE,
    ConfigOption,
    DebugOption,
    Device,
    DeviceOption,
    Engine,
    EngineOption,
    FeaturesOption,
    FreshOption,
    JobsOption,
    JsonOption,
    MaskOption,
    MemoryOption,
    PatienceOption,
    Precision,
    PrecisionOption,
    ProfileName,
    QuietOption,
    RegionsOption,
    SoundOption,
    StoreOption,
    TilesOption,
    complete_methods,
    complete_models,
)

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from oddframe.evaluation.results import Evaluation
    from oddframe.methods.base import Loss
    from oddframe.modelfile import Model
    from oddframe.training.config import TrainConfig
    from oddframe.training.train import TrainedModel

EXAMPLE = "Example: oddframe train clips/ --budget 30m --out my_model.safetensors"


def train(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder with normal/ and others, a CSV path,label[,group], or NAME:DIR.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The model file; its report lies beside it.")] = Path(
        "model.safetensors"
    ),
    budget: Annotated[
        str,
        typer.Option(
            help="Time for everything, as 10m or 1h: what is left of it goes into trying a grid "
            "of settings on validation groups. Without it, training is as configured.",
            show_default=False,
        ),
    ] = "",
    pretrained: Annotated[
        str,
        typer.Option(
            "--from",
            help="Go on from a model: fight, or a file.",
            show_default=False,
            autocompletion=complete_models,
        ),
    ] = "",
    method: Annotated[
        str,
        typer.Option(
            help="One that oddframe methods lists, instead of the configuration's or of the "
            "model's that --from names. Without any of them: oddframe.",
            show_default=False,
            autocompletion=complete_methods,
        ),
    ] = "",
    config: ConfigOption = "",
    tiles: TilesOption = "",
    regions: RegionsOption = "",
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**63 - 1, help="Instead of the configuration's.", show_default=False
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(min=1, max=1000, help="Train so often; keep the best on validation groups."),
    ] = 1,
    fresh: FreshOption = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(help="A folder for TensorBoard: every loss term.", show_default=False),
    ] = None,
    mask: MaskOption = None,
    profile: Annotated[
        ProfileName,
        typer.Option(help="fast: the model can also run faster, on one snippet of five."),
    ] = ProfileName.best,
    features: FeaturesOption = "",
    sound: SoundOption = None,
    store: StoreOption = DEFAULT_STORE,
    device: DeviceOption = Device.auto,
    engine: EngineOption = Engine.auto,
    precision: PrecisionOption = Precision.auto,
    jobs: JobsOption = 1,
    memory: MemoryOption = None,  # noqa: ARG001 - its callback sets the limit
    patience: PatienceOption = DEFAULT_PATIENCE_S,  # noqa: ARG001
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Train a detector on videos of which only the label as a whole is known.

    Some groups (recordings, cameras) are held out: on them the threshold is set and the figures are
    measured, and nothing is chosen. Where no groups are given, videos whose backgrounds are alike
    stay together. With normal videos alone it becomes a detector of the unusual. Features are
    extracted first and kept. Stopped or killed, the same command goes on. Started by torchrun,
    several processes share the training.
    """
    import shlex
    from dataclasses import replace

    from oddframe.datasets.attach_features import attach_features
    from oddframe.datasets.quality.check import check_dataset
    from oddframe.datasets.quality.scene_grouping import find_scenes, same_scene_warnings
    from oddframe.datasets.registry import survey_dataset
    from oddframe.features.store.store import FeatureStore
    from oddframe.modelfile import load_model
    from oddframe.outputs.pages.evaluation_page import write_evaluation_page
    from oddframe.outputs.pages.training_page import evaluate_held_out, training_report
    from oddframe.training.audio_config import check_audio
    from oddframe.training.config_files import with_fast
    from oddframe.training.data.splits import group_by_scene
    from oddframe.training.distributed import joined_processes, run_worker
    from oddframe.training.loop import train_as_worker
    from oddframe.training.search import Budget, parse_time_budget
    from oddframe.training.train import run_training as run
    from oddframe.video.mask import read_masks

    with joined_processes() as ranks:
        if not ranks.is_first:
            run_worker(train_as_worker)
            return
        limit = Budget(parse_time_budget(budget)) if budget else None
        began_from = load_model(pretrained) if pretrained else None
        settings = _settings(config, began_from, method, {"tiles": tiles, "regions": regions}, seed)
        if profile is ProfileName.fast:
            settings = with_fast(settings)
        masks = read_masks(mask)
        survey, kept = survey_dataset(data), FeatureStore(store)
        dataset = attach_features(survey.require_valid(), kept, features or None, sound)
        check_audio(settings, dataset)
        with progress_bar(quiet=quiet) as bar:
            found = check_dataset(
                replace(survey, dataset=dataset), bar_progress(bar, "looking at files")
            )
            looking = bar_progress(bar, "looking for places")
            places = find_scenes(dataset, looking, store=kept, hashes=found.hashes)
            alike = same_scene_warnings(dataset, places)
            dataset, placed = group_by_scene(dataset, places, settings)
            beware = (*found.problems, *found.warnings, *alike, *filter(None, [placed]))
            for line in beware:
                print_note(f"beware: {printable(line)}", quiet=quiet)
            trained = run(
                dataset,
                settings,
                out,
                store=kept,
                device=device.value,
                engine=engine.value,
                jobs=jobs,
                progress=_Told(bar, quiet),
                resume=not fresh,
                budget=limit,
                seeds=seeds,
                pretrained=began_from,
                tensorboard=tensorboard,
                precision=precision.value,
                masks=masks,
            )
    evaluation = evaluate_held_out(trained)
    page = out.with_name(f"{out.stem}.report.html")
    command = shlex.join(["oddframe", *sys.argv[1:]])
    write_evaluation_page(training_report(trained, evaluation, beware, command), page)
    if as_json:
        _print_json(trained, out, page)
    else:
        _show(trained, evaluation, out, page)


def _settings(
    named: str,
    pretrained: Model | None,
    method: str,
    grids: Mapping[Literal["tiles", "regions"], str],
    seed: int | None,
) -> TrainConfig:
    from oddframe.errors import UsageError
    from oddframe.training.config import TrainConfig, read_config
    from oddframe.training.config_files import find_config, with_grid, with_method
    from oddframe.training.pretrained import config_from_model

    if named:
        settings = read_config(find_config(named))
    else:
        settings = TrainConfig() if pretrained is None else config_from_model(pretrained)
    if method:
        settings = with_method(settings, method)
    if all(grids.values()):
        raise UsageError("--tiles and --regions: one of the two")
    for kind, text in grids.items():
        if text:
            settings = with_grid(settings, kind, text)
    return settings if seed is None else settings.with_recipe(seed=seed)


class _Told:
    """Draws what training tells: a bar over the videos, then one over the steps."""

    def __init__(self, bar: Bar, quiet: bool):
        self._bar = bar
        self._quiet = quiet
        self._videos = bar.add_task("features", total=None, note=LOADING_NOTE)
        self._steps = bar.add_task("training", total=None, note="", visible=False)

    def videos(self, done: int, total: int, name: str) -> None:
        """``done`` of ``total`` videos have features."""
        self._bar.update(self._videos, completed=done, total=total, note=printable(name)[-24:])

    def steps(self, done: int, total: int, loss: Loss) -> None:
        """``done`` of ``total`` optimiser steps are taken."""
        text = f"loss {loss.total.item():.3g}"  # The log has every term.
        self._bar.update(self._steps, completed=done, total=total, note=text, visible=True)

    def say(self, line: str) -> None:
        """Something that the user should know."""
        print_note(printable(line), quiet=self._quiet)


def _print_json(trained: TrainedModel, out: Path, page: Path) -> None:
    from dataclasses import asdict

    from oddframe._utils.files import json_text

    model = trained.model
    answer = {
        "model": str(out),
        "report": str(page),
        "knows": model.detects,
        "threshold": model.profiles["best"].rule.threshold,
        "metrics": dict(model.metrics),
        "chosen": None if trained.search is None else asdict(trained.search.chosen),
        "seeds": model.card.get("seeds"),
        "warnings": list(trained.warnings),
    }
    print_answer(json_text(answer, indent=2))


def _show(trained: TrainedModel, evaluation: Evaluation | None, out: Path, page: Path) -> None:
    from oddframe.outputs.pages.evaluation_summary import key_figures, summary_sentence
    from oddframe.outputs.pages.training_page import FIGURE_NAMES

    model = trained.model
    rule = model.profiles["best"].rule
    print_answer(f"{out}: finds {printable(model.detects)}; threshold {rule.threshold:.3f}")
    if evaluation is not None:
        groups = len(model.card["held_out_groups"])
        print_answer(
            f"On {len(evaluation.videos)} videos of {groups} groups that it was not trained on:"
        )
        print_answer(f"  {summary_sentence(evaluation)}")
        for name, value, about in key_figures(evaluation):
            print_answer(f"  {name:<26} {value:>10}  {about}".rstrip())
        for name in ("frame_auc", "frame_ap"):
            if name in model.metrics:
                print_answer(f"  {FIGURE_NAMES[name]:<26} {model.metrics[name]:>10.3f}")
    spread = model.card.get("seeds", {}).get("mean_and_deviation", {})
    for name, (mean, deviation) in spread.items():
        if name in FIGURE_NAMES:
            about = f"± {deviation:.3f} over {len(trained.seeds)} seeds"
            print_answer(f"  {FIGURE_NAMES[name]:<26} {mean:>10.3f}  {about}")
    print_answer(f"Look at it: {page}")
    print_answer(f"Use it: oddframe score VIDEO --model {out}")
