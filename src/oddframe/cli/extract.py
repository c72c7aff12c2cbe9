"""``oddframe extract``: compute the features of videos; see ``oddframe.extract``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddframe.backbones.registry import DEFAULT_BACKBONE, backbone_names
from oddframe.cli import options as opt
from oddframe.cli.console import (
    message_printer,
    print_answer,
    print_json,
    print_note,
    printable,
    progress_bar,
)
from oddframe.errors import UsageError
from oddframe.outputs.text import damage_notes, format_duration

if TYPE_CHECKING:
    from oddframe.features.extract import ExtractionSummary
    from oddframe.features.extraction.worker import ExtractionResult

DEFAULT_FEATURE_FOLDER = Path("oddframe-features")


class FileFormatName(StrEnum):
    npy, safetensors = "npy", "safetensors"


class CropOrderName(StrEnum):
    published, extractor = "published", "extractor"


def extract_command(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Videos, folders, globs, or folders of frames."),
    ],
    backbone: Annotated[
        str | None,
        opt.feature_option(
            help=f"Backbone: {', '.join(backbone_names())}, several as i3d+aisfx, or the YAML file "
            f"of an ONNX backbone [the preset's, else {DEFAULT_BACKBONE}].",
            autocompletion=opt.complete_backbones,
        ),
    ] = None,
    model: Annotated[
        str | None,
        opt.feature_option(
            "--model",
            "-m",
            help="Extract what this model reads: a shipped model's name, or a model file.",
            autocompletion=opt.complete_models,
        ),
    ] = None,
    profile: opt.ProfileOption = opt.ProfileChoice.best,
    mask: Annotated[
        Path | None, opt.feature_option(help="A picture, black where all videos are to be ignored.")
    ] = None,
    preset: Annotated[
        str | None,
        opt.feature_option(
            help="Cut videos as a published data set: ucf-crime or xd-violence "
            "[the backbone's default]."
        ),
    ] = None,
    views: opt.ViewsOption = None,
    crop_order: Annotated[
        CropOrderName | None,
        opt.feature_option(
            help="Order of five or ten crops: as in published files, or as the authors' "
            "extractor writes them."
        ),
    ] = None,
    tiles: opt.TilesOption = "",
    regions: opt.RegionsOption = "",
    squares: opt.SquaresOption = None,
    crops: Annotated[
        str,
        opt.optional(
            metavar="NAME,...",
            help="Crops by name, in order: full, motion (the square with most of the motion), "
            "center ...",
        ),
    ] = "",
    stride: Annotated[
        int | None,
        opt.feature_option(min=1, max=1_000_000, help="Frames from one snippet to the next."),
    ] = None,
    rate: Annotated[
        float | None,
        opt.feature_option(
            min=0.1, max=1000, help="Frames a second to which videos are resampled."
        ),
    ] = None,
    jpeg_quality: Annotated[
        int | None,
        opt.feature_option(
            min=0,
            max=100,
            help="Compress frames as JPEG first, as the authors' extractor does (95); 0: do not.",
        ),
    ] = None,
    store: opt.StoreOption = opt.STORE_DEFAULT,
    out: Annotated[
        str | None,
        opt.optional(
            help="Folder for files that are named after the videos "
            f"[{DEFAULT_FEATURE_FOLDER} if only --format is given]."
        ),
    ] = None,
    files: Annotated[
        FileFormatName | None,
        opt.optional(
            "--format",
            "-f",
            help="Format of those files: npy, one file a crop as published, or safetensors [npy].",
        ),
    ] = None,
    device: opt.DeviceOption = opt.Device.auto,
    engine: opt.EngineOption = opt.Engine.auto,
    precision: opt.PrecisionOption = opt.Precision.auto,
    jobs: Annotated[
        int | None,
        opt.running_option(
            "--jobs",
            "-j",
            min=1,
            max=100_000,
            help="Videos at the same time [1; on a cluster one for each graphics card or core].",
            show_default=False,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        opt.running_option(
            metavar="ADDRESS",
            help="Work on many machines with Ray: local, HOST:PORT on a machine of the cluster, "
            "ray://HOST:PORT from outside. PATH, --store and --out may then be s3://...",
            show_default=False,
        ),
    ] = None,
    memory: opt.MemoryOption = None,
    patience: opt.PatienceOption = opt.DEFAULT_PATIENCE_S,
    fresh: opt.FreshOption = False,
    as_json: opt.JsonOption = False,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Compute the features of videos and keep them in a feature store.

    The store finds features by the content of the video and by how they were made. Its
    manifest.jsonl lists what became of each video. Features that exist are not computed again: the
    same command resumes where it was stopped.
    """
    from oddframe.detector import Detector
    from oddframe.features.extract import extract

    def show_result(result: ExtractionResult, seconds_left: float | None) -> None:
        line = _format_result(result, seconds_left)
        print_note(line, quiet=(quiet or as_json) and not result.exit_code)

    spec = None
    if model is not None:
        spec = Detector.load(model, profile.value).spec
    elif profile is not opt.ProfileChoice.best:
        raise UsageError("--profile fast needs a model: name it with --model")
    with progress_bar(quiet=quiet) as progress:
        summary = extract(
            paths,
            backbone,
            spec=spec,
            preset=preset,
            views=views,
            tiles=tiles,
            regions=regions,
            squares=squares,
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
            progress=progress,
            on_result=show_result,
            message=message_printer(quiet=quiet),
        )
    if as_json:
        videos = list(map(asdict, summary.entries))
        print_json({"schema": 1, "store": summary.store, "videos": videos})
    else:
        print_answer(_format_summary(summary))
    raise typer.Exit(summary.exit_code)


def _format_result(result: ExtractionResult, seconds_left: float | None) -> str:
    """The line about a finished video."""
    first = result.entries[0]
    name = printable(first.video)
    if first.reason:
        return f"FAILED {name}: {printable(first.reason)}"
    line = f"{name}: {first.snippets} snippets of {first.frames} frames"
    if first.seconds:  # Unknown if a machine died before it could report.
        line += f", {first.frames / first.seconds:.0f} frames/s"
    if seconds_left is not None:
        line += f", {format_duration(seconds_left)} left"
    notes = damage_notes(first.damaged_packets, first.mended_frames, Path(first.video))
    notes += [text for entry in result.entries for text in entry.notes]
    return f"{line}  [{'; '.join(dict.fromkeys(notes))}]" if notes else line


def _format_summary(summary: ExtractionSummary) -> str:
    from oddframe.features.store.manifest import MANIFEST_NAME

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
