"""``oddframe train``: labelled videos in, one model file out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddframe.cli.console import note, progress_bar, say
from oddframe.cli.options import (
    DebugOption,
    Device,
    DeviceOption,
    Engine,
    EngineOption,
    JobsOption,
    JsonOption,
    QuietOption,
)

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from oddframe.modelfile import Model

EXAMPLE = "Example: oddframe train clips/ --out my_model.safetensors"


def train(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder with normal/ and one or more others, or a CSV path,label[,group].",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The model file.")] = Path("model.safetensors"),
    config: Annotated[
        Path | None, typer.Option(help="A YAML file, see configs/.", show_default=False)
    ] = None,
    store: Annotated[
        Path, typer.Option(help="Where features are kept, so that a second run starts at once.")
    ] = Path(".oddframe/features"),
    seed: Annotated[
        int | None, typer.Option(min=0, help="Instead of the configuration's.", show_default=False)
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew instead of going on where it was stopped.")
    ] = False,
    device: DeviceOption = Device.auto,
    engine: EngineOption = Engine.auto,
    jobs: JobsOption = 1,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Train a detector on videos of which only the label as a whole is known.

    Features are extracted first and kept. Some groups (recordings, cameras) are held out: on them
    the threshold is set and the figures are measured. Stopped, the same command goes on.
    """
    from oddframe.datasets.read import read_dataset
    from oddframe.features.store import FeatureStore
    from oddframe.training.config import TrainConfig, read_config
    from oddframe.training.run import train as run

    settings = read_config(config) if config else TrainConfig()
    if seed is not None:
        recipe = settings.recipe.model_copy(update={"seed": seed})
        settings = settings.model_copy(update={"recipe": recipe})
    dataset = read_dataset(data)
    with progress_bar(quiet=quiet) as bar:
        trained = run(
            dataset,
            settings,
            out,
            store=FeatureStore(store),
            device=device.value,
            engine=engine.value,
            jobs=jobs,
            progress=_Told(bar, quiet),
            resume=not fresh,
        )
    _show(trained.model, out, as_json=as_json)


class _Told:
    """Draws what training tells: a bar over the videos, then one over the steps."""

    def __init__(self, bar: Bar, quiet: bool):
        self._bar = bar
        self._quiet = quiet
        self._videos = bar.add_task("features", total=None, note="")
        self._steps = bar.add_task("training", total=None, note="", visible=False)

    def videos(self, done: int, total: int, name: str) -> None:
        """``done`` of ``total`` videos have features."""
        self._bar.update(self._videos, completed=done, total=total, note=name[-24:])

    def steps(self, done: int, total: int, loss: float) -> None:
        """``done`` of ``total`` optimiser steps are taken."""
        text = f"loss {loss:.4f}"
        self._bar.update(self._steps, completed=done, total=total, note=text, visible=True)

    def say(self, line: str) -> None:
        """Something that the user should know."""
        note(line, quiet=self._quiet)


def _show(model: Model, out: Path, *, as_json: bool) -> None:
    import json

    rule = model.profiles["best"].rule
    if as_json:
        answer = {"model": str(out), "knows": model.knows, "threshold": rule.threshold}
        say(json.dumps({**answer, "metrics": dict(model.metrics)}, indent=2))
        return
    say(f"{out}: finds {model.knows}; threshold {rule.threshold:.3f}")
    for name, value in model.metrics.items():
        say(f"  {name:<28} {value:.3f}")
    say(f"Use it: oddframe score VIDEO --model {out}")
