"""``oddframe data``: what a data set holds, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oddframe.cli.console import bar_progress, print_answer, printable, progress_bar
from oddframe.cli.options import (
    DEFAULT_PATIENCE_S,
    DEFAULT_STORE,
    DataIfNamedOption,
    DebugOption,
    JsonOption,
    MemoryOption,
    PatienceOption,
    QuietOption,
    SoundOption,
    StoreOption,
)

if TYPE_CHECKING:
    from oddframe.datasets.labelled import Dataset, Survey
    from oddframe.datasets.published.feature_files import FeatureFindings

EXAMPLE = (
    "Example: oddframe data check clips/    or: oddframe data info ped2 --data /data/ped2    or: "
    "oddframe data check ucf_crime --data /data/lists --features /data/ucf"
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXAMPLE)

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="A folder, a CSV, or a published set: NAME:DIR, or NAME with --data."
    ),
]


@app.command("info", epilog=EXAMPLE)
def data_info(
    name: Data,
    data: DataIfNamedOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """What is there: videos, classes, groups, frames with a label of their own."""
    import json

    counts = {**_known(_named(name, data)), **_counts(_survey(name, data))}
    if as_json:
        print_answer(json.dumps(counts, indent=2))
        return
    for key, value in counts.items():
        lines = value if key == "beware" else [value]
        for line in lines:
            words = ", ".join(map(str, line)) if isinstance(line, list) else line
            if line not in (0, "", []) or key == "abnormal":
                print_answer(f"{key.replace('_', ' '):<18} {printable(str(words))}")


@app.command("check", epilog=EXAMPLE)
def data_check(
    name: Data,
    data: DataIfNamedOption = None,
    features: Annotated[
        Path | None,
        typer.Option(help="Folder of published feature files (.npy).", show_default=False),
    ] = None,
    sound: SoundOption = None,
    dim: Annotated[
        int | None,
        typer.Option(
            min=1, max=1_000_000, help="Length of a feature; else as published.", show_default=False
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Headers alone: does not look for NaN.")
    ] = False,
    most: Annotated[int, typer.Option(min=0, help="Files to name of each fault.")] = 3,
    store: StoreOption = DEFAULT_STORE,
    memory: MemoryOption = None,  # noqa: ARG001 - its callback sets the limit
    patience: PatienceOption = DEFAULT_PATIENCE_S,  # noqa: ARG001
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """What is missing or wrong, before anything starts. Exits with 3 if something is.

    With --features, the feature files of a published set: which are missing, cut off, of another
    shape, length or number of crops, not finite, or do not fit the sound. --json names them all.
    """
    import json

    from oddframe.datasets.published.feature_files import check_features
    from oddframe.datasets.quality.check import check_dataset as look
    from oddframe.datasets.quality.scene_grouping import find_scenes, same_scene_warnings
    from oddframe.errors import InputError, UsageError
    from oddframe.features.store.store import FeatureStore

    if features is None and (sound is not None or dim is not None or quick):
        raise UsageError("--sound, --dim and --quick are about feature files: say --features DIR")
    survey = _survey(name, data)
    if features is not None:
        listed = survey.require_valid()
        with progress_bar(quiet=quiet) as bar:
            told = bar_progress(bar, "feature files")
            files = check_features(
                listed, features, sound, dim=dim, contents=not quick, progress=told
            )
        if as_json:
            print_answer(json.dumps(_as_json(files), indent=2))
        else:
            _show(files, most)
        if files.faults:
            raise typer.Exit(InputError.exit_code)
        return
    with progress_bar(quiet=quiet) as bar:
        findings = look(survey, bar_progress(bar, "reading"))
        kept, looking = FeatureStore(store), bar_progress(bar, "looking for places")
        places = find_scenes(survey.dataset, looking, store=kept, hashes=findings.hashes)
    warnings = [*findings.warnings, *same_scene_warnings(survey.dataset, places)]
    if as_json:
        lines = {"problems": list(findings.problems), "warnings": warnings}
        print_answer(json.dumps({**lines, "hours": findings.hours}, indent=2))
    else:
        for line in findings.problems:
            print_answer(f"WRONG    {printable(line)}")
        for line in warnings:
            print_answer(f"BEWARE   {printable(line)}")
        verdict = f"{len(findings.problems)} wrong" if findings.problems else "nothing wrong"
        hours = f"{findings.hours:.2f} hours"
        print_answer(f"{len(survey.dataset)} videos, {hours}: {verdict}")
    if findings.problems:
        raise typer.Exit(InputError.exit_code)


def _as_json(found: FeatureFindings) -> dict[str, Any]:
    return {
        "videos": found.videos,
        "complete": found.complete,
        "files": found.files,
        "unlisted": found.unlisted,
        "shorter_sound": found.shorter_sound,
        "faults": {
            kind: [{"file": str(fault.path), "about": fault.about} for fault in faults]
            for kind, faults in found.faults.items()
        },
    }


def _show(found: FeatureFindings, most: int) -> None:
    from oddframe.datasets.published.feature_files import FAULT_DESCRIPTIONS

    for kind, faults in found.faults.items():
        print_answer(f"WRONG    {len(faults):>6}  {FAULT_DESCRIPTIONS[kind]}")
    if found.unlisted:
        print_answer(f"BEWARE   {found.unlisted:>6}  .npy files that no list asks for")
    for faults in found.faults.values():
        for fault in faults[:most]:
            print_answer(f"  {printable(str(fault))}")
        if most and len(faults) > most:
            print_answer(f"  ... and {len(faults) - most} more like it")
    if found.shorter_sound:
        print_answer(
            f"{found.shorter_sound} videos have a row of sound fewer than of the picture, as "
            "published: the picture's last row is left out"
        )
    verdict = "nothing wrong" if not found.faults else f"{found.videos - found.complete} not"
    print_answer(
        f"{found.complete} of {found.videos} videos are complete, {found.files} files: {verdict}"
    )


def _survey(name: str, data: Path | None) -> Survey:
    from oddframe.datasets.registry import survey_dataset

    return survey_dataset(_named(name, data))


def _named(name: str, data: Path | None) -> str:
    return name if data is None else f"{name}:{data}"


def _known(data: str) -> dict[str, str]:
    """What is known of a published set before a file of it is opened."""
    from oddframe.datasets.registry import find_published_dataset

    named = find_published_dataset(data)
    if named is None:
        return {}
    about = named[0]
    return {
        "title": about.title,
        "source": about.source,
        "a_group_is": about.group,
        "note": about.note,
    }


def _counts(survey: Survey) -> dict[str, Any]:
    from oddframe.timeline import Timebase
    from oddframe.video.frame import DEFAULT_FPS

    dataset = survey.dataset
    labelled = [video for video in dataset.videos if video.truth and video.frames]
    anomalous = sum(
        int(video.truth.frame_labels(Timebase(video.fps or DEFAULT_FPS, video.frames)).sum())
        for video in labelled
        if video.truth and video.frames
    )
    abnormal = int(dataset.abnormal.sum())
    parts = {part: sum(v.part == part for v in dataset.videos) for part in ("train", "test")}
    crops = dataset.layout.crops if dataset.layout else 0
    return {
        "name": dataset.name,
        "videos": len(dataset),
        "normal": len(dataset) - abnormal,
        "abnormal": abnormal,
        "classes": list(dataset.classes),
        "groups": len(dataset.groups),
        "split": [f"{n} {part}" for part, n in parts.items() if n],
        **{f"{part}_videos": _by_label(dataset, part) for part, n in parts.items() if n},
        "crop_files": [f"{n * crops} {part}" for part, n in parts.items() if n * crops],
        "labelled_videos": sum(video.truth is not None for video in dataset.videos),
        "labelled_frames": sum(video.frames or 0 for video in labelled),
        "anomalous_frames": anomalous,
        "problems": len(survey.problems),
        "beware": list(dataset.notes),
    }


def _by_label(dataset: Dataset, part: str) -> list[str]:
    abnormal = [video.abnormal for video in dataset.videos if video.part == part]
    return [f"{sum(abnormal)} abnormal", f"{len(abnormal) - sum(abnormal)} normal"]
