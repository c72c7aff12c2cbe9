"""``oddframe extract``: compute the features of videos; see ``oddframe.extract``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddframe.backbones.registry import DEFAULT_BACKBONE, backbone_names
from oddframe.cli.console import (
    print_answer,
    print_note,
    printable,
    progress_bar,
    stage_bars,
)
from oddframe.cli.options import (
    DEFAULT_PATIENCE_S,
    FEATURES_PANEL,
    RUNNING_PANEL,
    STORE_DEFAULT,
    DebugOption,
    Device,
    DeviceOption,
    Engine,
    EngineOption,
    FreshOption,
    JsonOption,
    MemoryOption,
    PatienceOption,
    Precision,
    PrecisionOption,
    ProfileChoice,
    ProfileOption,
    QuietOption,
    RegionsOption,
    TilesOption,
    ViewsOption,
    complete_backbones,
    complete_models,
)
from oddframe.errors import UsageError

if TYPE_CHECKING:
    from oddframe.features.extract import ExtractionSummary
    from oddframe.features.extraction.worker import ExtractionResult
    from oddframe.features.spec import FeatureSpec

EXTRACT_EXAMPLE = (
    "Example: oddframe extract recordings/ --jobs 2    or: "
    "oddframe extract videos/ --preset ucf-crime --format npy --out features"
)
DEFAULT_FEATURE_FOLDER = Path("oddframe-features")


class FileFormatName(StrEnum):
    npy = "npy"
    safetensors = "safetensors"


class CropOrderName(StrEnum):
    published = "published"
    extractor = "extractor"


def extract_command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Videos, folders, globs, or folders of frames; with --cluster also s3://...",
        ),
    ],
    backbone: Annotated[
        str | None,
        typer.Option(
            help=f"Backbone: {', '.join(backbone_names())}, several as i3d+aisfx, or the YAML file "
            f"of an ONNX backbone [the preset's, else {DEFAULT_BACKBONE}].",
            show_default=False,
            autocompletion=complete_backbones,
            rich_help_panel=FEATURES_PANEL,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Extract what this model reads: a shipped model's name, or a model file.",
            show_default=False,
            rich_help_panel=FEATURES_PANEL,
            autocompletion=complete_models,
        ),
    ] = None,
    profile: ProfileOption = ProfileChoice.best,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="A picture, black where all videos are to be ignored.",
            show_default=False,
            rich_help_panel=FEATURES_PANEL,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Cut videos as a published data set: ucf-crime or xd-violence "
            "[the backbone's default].",
            show_default=False,
            rich_help_panel=FEATURES_PANEL,
        ),
    ] = None,
    views: ViewsOption = None,
    crop_order: Annotated[
        CropOrderName | None,
        typer.Option(
            help="Order of five or ten crops: as in published files, or as the authors' "
            "extractor writes them.",
            show_default=False,
            rich_help_panel=FEATURES_PANEL,
        ),
    ] = None,
    tiles: TilesOption = "",
    regions: RegionsOption = "",
    crops: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="Crops by name, in order: full, motion (the square with most of the motion), "
            "center ...",
            show_default=False,
        ),
    ] = "",
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            help="Frames from one snippet to the next.",
            show_default=False,
            rich_help_panel=FEATURES_PANEL,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=1000,
            help="Frames a second to which videos are resampled.",
            show_default=False,
            rich_help_panel=FEATURES_PANEL,
        ),
    ] = None,
    jpeg_quality: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=100,
            help="Compress frames as JPEG first, as the authors' extractor does (95); 0: do not.",
            show_default=False,
            rich_help_panel=FEATURES_PANEL,
        ),
    ] = None,
    store: Annotated[
        str,
        typer.Option(help="The feature store; with --cluster also s3://..."),
    ] = str(STORE_DEFAULT),
    out: Annotated[
        str | None,
        typer.Option(
            help="Folder for files that are named after the videos "
            f"[{DEFAULT_FEATURE_FOLDER} if only --format is given].",
            show_default=False,
        ),
    ] = None,
    files: Annotated[
        FileFormatName | None,
        typer.Option(
            "--format",
            "-f",
            help="Format of those files: npy, one file a crop as published, or safetensors [npy].",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = Device.auto,
    engine: EngineOption = Engine.auto,
    precision: PrecisionOption = Precision.auto,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            max=100_000,
            help="Videos at the same time [1; on a cluster one for each graphics card or core].",
            show_default=False,
            rich_help_panel=RUNNING_PANEL,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Work on many machines with Ray: local, HOST:PORT on a machine of the cluster, "
            "ray://HOST:PORT from outside.",
            show_default=False,
            rich_help_panel=RUNNING_PANEL,
        ),
    ] = None,
    memory: MemoryOption = None,  # noqa: ARG001 - its callback sets the limit
    patience: PatienceOption = DEFAULT_PATIENCE_S,  # noqa: ARG001
    fresh: FreshOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Compute the features of videos and keep them in a feature store.

    The store finds features by the content of the video and by how they were made. Its
    manifest.jsonl lists what became of each video. Features that exist are not computed again: the
    same command resumes where it was stopped.
    """
    import json
    from dataclasses import asdict

    from oddframe.features.extract import extract

    def show_result(result: ExtractionResult, seconds_left: float | None) -> None:
        line = _format_result(result, seconds_left)
        print_note(line, quiet=(quiet or as_json) and not result.exit_code)

    spec = None
    if model is not None:
        spec = _model_spec(model, profile, backbone, preset)
    elif profile is not ProfileChoice.best:
        raise UsageError("--profile fast needs a model: name it with --model")
    with progress_bar(quiet=quiet) as bar:
        summary = extract(
            paths,
            backbone,
            spec=spec,
            preset=preset,
            views=views,
            tiles=tiles,
            regions=regions,
            crops=crops,
            crop_order=None if crop_order is None else crop_order.value,
            stride=stride,
            rate=rate,
            jpeg_quality=jpeg_quality,
            mask=mask,
            store=store,
            out=out or (DEFAULT_FEATURE_FOLDER if files else None),
            format=(files or FileFormatName.npy).value,
            device=device.value,
            engine=engine.value,
            precision=precision.value,
            jobs=jobs,
            cluster=cluster,
            fresh=fresh,
            progress=stage_bars(bar),
            on_result=show_result,
            message=lambda line: print_note(printable(line), quiet=quiet),
        )
    if as_json:
        videos = [asdict(entry) for entry in summary.entries]
        answer = {"schema": 1, "store": summary.store, "videos": videos}
        print_answer(json.dumps(answer, indent=2))
    else:
        print_answer(_format_summary(summary))
    raise typer.Exit(summary.exit_code)


def _model_spec(
    model: str, profile: ProfileChoice, backbone: str | None, preset: str | None
) -> FeatureSpec:
    """The features that a model reads."""
    from oddframe.modelfile import load_model

    if backbone is not None or preset is not None:
        raise UsageError(
            "--model sets backbone and preprocessing: leave out --backbone and --preset"
        )
    profiles = load_model(model).profiles
    if profile.value not in profiles:
        raise UsageError(f"--profile {profile.value}: {model} has {', '.join(profiles)}")
    spec = profiles[profile.value].spec
    if spec.imported:
        raise UsageError(
            f"--model {model}: it reads imported features, which cannot be extracted from videos"
        )
    return spec


def _format_result(result: ExtractionResult, seconds_left: float | None) -> str:
    """The line about a finished video."""
    from oddframe.cli.messages import damaged_packets_note, mended_frames_note
    from oddframe.outputs.text import format_duration

    first = result.entries[0]
    name = printable(first.video)
    if first.reason:
        return f"FAILED {name}: {printable(first.reason)}"
    line = f"{name}: {first.snippets} snippets of {first.frames} frames"
    if first.seconds:  # Unknown if a machine died before it could report.
        line += f", {first.frames / first.seconds:.0f} frames/s"
    if seconds_left is not None:
        line += f", {format_duration(seconds_left)} left"
    notes = []
    if first.damaged_packets:
        notes.append(damaged_packets_note(first.damaged_packets, Path(first.video)))
    if first.mended_frames:
        notes.append(mended_frames_note(first.mended_frames))
    notes += [text for entry in result.entries for text in entry.notes]
    return f"{line}  [{'; '.join(dict.fromkeys(notes))}]" if notes else line


def _format_summary(summary: ExtractionSummary) -> str:
    from oddframe.features.store.manifest import MANIFEST_NAME
    from oddframe.outputs.text import format_duration

    text = (
        f"{len(summary.extracted)} extracted, {len(summary.already_stored)} were there, "
        f"{len(summary.failed)} failed"
    )
    if summary.frames:
        text += (
            f"; {summary.frames} frames in {format_duration(summary.seconds)}, "
            f"{summary.frames / summary.seconds:.0f} frames/s"
        )
    store = printable(summary.store.rstrip("/"))
    return f"{text}; {store}/{MANIFEST_NAME} says what became of each"
