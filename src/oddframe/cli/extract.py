"""``oddframe extract``: videos in, features out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from oddframe.cli.options import (
    DEFAULT_PATIENCE_S,
    DEFAULT_STORE,
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
    ProfileName,
    ProfileOption,
    QuietOption,
    RegionsOption,
    TilesOption,
    ViewsOption,
    complete_models,
)

EXAMPLE = (
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


def extract(
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
            help="What looks and listens: i3d, several as i3d+vggish, or the YAML of an ONNX file "
            "[the preset's, else i3d].",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="As this model reads them: a shipped model's name, or a model file.",
            show_default=False,
            autocompletion=complete_models,
        ),
    ] = None,
    profile: ProfileOption = ProfileName.best,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="A picture, black where to look away, for all videos.", show_default=False
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="As published: ucf-crime or xd-violence [as suits the backbone].",
            show_default=False,
        ),
    ] = None,
    views: ViewsOption = None,
    crop_order: Annotated[
        CropOrderName | None,
        typer.Option(
            help="Of five or ten crops: as in published files, or as the authors' extractor "
            "writes them.",
            show_default=False,
        ),
    ] = None,
    tiles: TilesOption = "",
    regions: RegionsOption = "",
    stride: Annotated[
        int | None,
        typer.Option(
            min=1, max=1_000_000, help="Frames from snippet to snippet.", show_default=False
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=1000,
            help="Frames a second that videos are brought to.",
            show_default=False,
        ),
    ] = None,
    jpeg_quality: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=100,
            help="Frames go through JPEG, as the authors' extractor does (95); 0: they do not.",
            show_default=False,
        ),
    ] = None,
    store: Annotated[
        str,
        typer.Option(help="Where features are kept; with --cluster also s3://..."),
    ] = str(DEFAULT_STORE),
    out: Annotated[
        str | None,
        typer.Option(
            help=f"Also files by the videos' names here [{DEFAULT_FEATURE_FOLDER} if only --format is given].",  # noqa: E501
            show_default=False,
        ),
    ] = None,
    files: Annotated[
        FileFormatName | None,
        typer.Option(
            "--format",
            "-f",
            help="Of these: npy, one file a crop as published, or safetensors [npy].",
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
            help="Videos at the same time [1; on a cluster one a graphics card, else a core].",
            show_default=False,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Work on many machines with Ray: local, HOST:PORT on a machine of the cluster, "
            "ray://HOST:PORT from outside.",
            show_default=False,
        ),
    ] = None,
    memory: MemoryOption = None,  # noqa: ARG001 - its callback sets the limit
    patience: PatienceOption = DEFAULT_PATIENCE_S,  # noqa: ARG001
    fresh: FreshOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Make features of videos, and say exactly what was made.

    They go into the store, found by what is in a video and how it was looked at; manifest.jsonl
    beside them says which video gave what, and why one gave nothing. What is there already is not
    made again: the same command goes on where it was stopped.
    """
    import re
    from dataclasses import replace

    from oddframe.cli.extract_run import Limits, run
    from oddframe.errors import UsageError
    from oddframe.features.extraction.extract_video import spec_templates
    from oddframe.features.extraction.worker import ExtractionRequest
    from oddframe.video.decoding.isolated import decoding_limits
    from oddframe.video.mask import mask_digest, read_mask

    if cluster is not None and not re.fullmatch(r"local|(ray://)?[^/\s]+:\d+", cluster):
        raise UsageError(f"--cluster {cluster}: local, HOST:PORT or ray://HOST:PORT")
    for text in (store, out or ""):
        if cluster is None and "://" in text:
            raise UsageError(f"{text}: only with --cluster, which may be 'local'")
    named, how = _what(backbone, model, profile, preset, views, crop_order, tiles, regions)
    given = {"stride": stride, "rate": rate, "jpeg_quality": jpeg_quality}
    how = replace(how, **{name: value for name, value in given.items() if value is not None})
    how.check()
    painted = None if mask is None else read_mask(mask)
    place = out or (str(DEFAULT_FEATURE_FOLDER) if files else None)
    wanted = ExtractionRequest(
        parts=spec_templates(named, how, mask_digest(painted)),
        device=device.value,
        engine=engine.value,
        precision=precision.value,
        store=Path(store),
        out=None if place is None else Path(place),
        format=(files or FileFormatName.npy).value,
        fresh=fresh,
        mask=painted,
    )
    decoding = decoding_limits()
    limits = Limits(jobs, decoding.memory_bytes, decoding.timeout_s)
    if cluster is None:
        raise typer.Exit(run(paths, wanted, limits, as_json=as_json, quiet=quiet))
    from oddframe.cli.extract_cluster import run_on_cluster

    raise typer.Exit(
        run_on_cluster(cluster, paths, wanted, store, place, limits, as_json=as_json, quiet=quiet)
    )


def _what(  # type: ignore[no-untyped-def]
    backbone: str | None,
    model: str | None,
    profile: ProfileName,
    preset: str | None,
    views: int | None,
    order: CropOrderName | None,
    tiles: str,
    regions: str,
):
    """(names of the backbones, ``Preprocessing``) that these options ask for."""
    from dataclasses import replace

    from oddframe.backbones.registry import get_backbones
    from oddframe.errors import UsageError
    from oddframe.features.presets import get_preset
    from oddframe.modelfile import load_model
    from oddframe.video.snippets.crops import (
        parse_grid,
        reorder_crops,
        with_regions,
        with_tiles,
        with_views,
    )

    if profile is not ProfileName.best and model is None:
        raise UsageError("--profile fast is a model's: name the model with --model")
    if model is not None:
        if backbone is not None or preset is not None:
            raise UsageError("--model says what looks and how: leave out --backbone and --preset")
        profiles = load_model(model).profiles
        if profile.value not in profiles:
            raise UsageError(f"--profile {profile.value}: {model} has {', '.join(profiles)}")
        spec = profiles[profile.value].spec
        if spec.imported:
            raise UsageError(f"--model {model}: it reads features that others made, none of videos")
        named, how = spec.backbone, spec.preprocessing
    elif preset is not None:
        found = get_preset(preset)
        named, how = backbone or found.backbone, found.preprocessing
    else:
        named = backbone or "i3d"
        how = get_backbones(named)[0].preprocessing
    given = {"--views": views, "--tiles": tiles or None, "--regions": regions or None}
    if len(words := [f"{name} {what}" for name, what in given.items() if what is not None]) > 1:
        raise UsageError(f"{' and '.join(words)}: one of them")
    if views is not None:
        if views not in (1, 5, 10):
            raise UsageError(f"--views {views}: choose 1, 5 or 10")
        how = with_views(how, views)  # type: ignore[arg-type]
    if tiles:
        how = with_tiles(how, *parse_grid(tiles))
    if regions:
        how = with_regions(how, *parse_grid(regions))
    if order is not None:
        how = replace(how, crops=reorder_crops(how.crops, order.value))
    return named, how
