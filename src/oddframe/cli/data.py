"""``oddframe data``: describe and check data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import print_answer, print_json, printable, progress_bar
from oddframe.errors import InputError, UsageError

if TYPE_CHECKING:
    from oddframe.datasets.precomputed import FeatureFindings

DATA_EXAMPLE = (
    "Example: oddframe data check clips/    or: oddframe data info ped2 --data /data/ped2    or: "
    "oddframe data check ucf_crime --data /data/lists --features /data/ucf"
)

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=DATA_EXAMPLE)

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder, a CSV, or a published data set: NAME:DIR, or NAME with --data.",
    ),
]


@data_app.command("info", epilog=DATA_EXAMPLE)
def data_info(
    name: Data,
    data: opt.DataIfNamedOption = None,
    as_json: opt.JsonOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Print what a data set contains: videos, classes, groups, labelled frames."""
    from oddframe.datasets.check import summarize_dataset
    from oddframe.datasets.registry import find_published_dataset, survey_dataset

    text = _dataset_text(name, data)
    published = find_published_dataset(text)
    summary = summarize_dataset(survey_dataset(text), published[0] if published else None)
    if as_json:
        print_json(summary)
        return
    for key, value in summary.items():
        for line in value if key == "beware" else [value]:
            text = ", ".join(map(str, line)) if isinstance(line, list) else str(line)
            if line not in (0, "", []) or key == "abnormal":
                print_answer(f"{key.replace('_', ' '):<18} {printable(text)}")


@data_app.command("check", epilog=DATA_EXAMPLE)
def data_check(
    name: Data,
    data: opt.DataIfNamedOption = None,
    features: Annotated[
        Path | None, opt.optional(help="Folder of published feature files (.npy).")
    ] = None,
    sound: opt.SoundOption = None,
    dim: Annotated[
        int | None, opt.optional(min=1, max=1_000_000, help="Dimension of features [as published].")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Check only headers, not for NaN.")
    ] = False,
    most: Annotated[
        int, typer.Option(min=0, help="Number of files to name for each kind of fault.")
    ] = 3,
    store: opt.StoreOption = opt.STORE_DEFAULT,
    memory: opt.MemoryOption = None,
    patience: opt.PatienceOption = opt.DEFAULT_PATIENCE_S,
    as_json: opt.JsonOption = False,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Find what is missing or wrong in a data set before training. Exits with 3 if something is.

    With --features: check the feature files of a published data set for missing and truncated
    files, wrong shapes, dimensions and numbers of crops, NaN, and audio features that do not fit.
    --json lists them all.
    """
    from oddframe.datasets.check import check_dataset
    from oddframe.datasets.precomputed import check_features
    from oddframe.datasets.registry import survey_dataset
    from oddframe.features.store.store import FeatureStore

    if features is None and (sound is not None or dim is not None or quick):
        raise UsageError("--sound, --dim and --quick are about feature files: say --features DIR")
    survey = survey_dataset(_dataset_text(name, data))
    if features is not None:
        dataset = survey.require_valid()
        with progress_bar(quiet=quiet) as progress:
            files = check_features(
                dataset, features, sound, dim=dim, contents=not quick, progress=progress
            )
        if as_json:
            print_json(files.to_dict())
        else:
            _print_feature_findings(files, most)
        if files.faults:
            raise typer.Exit(InputError.exit_code)
        return
    with progress_bar(quiet=quiet) as progress:
        findings = check_dataset(survey, progress, FeatureStore(Path(store)))
    problems, warnings = list(findings.problems), list(findings.warnings)
    if as_json:
        print_json({"problems": problems, "warnings": warnings, "hours": findings.hours})
    else:
        for word, lines in (("WRONG  ", problems), ("WARNING", warnings)):
            for line in lines:
                print_answer(f"{word}  {printable(line)}")
        verdict = f"{len(problems)} wrong" if problems else "nothing wrong"
        print_answer(f"{len(survey.dataset)} videos, {findings.hours:.2f} hours: {verdict}")
    if problems:
        raise typer.Exit(InputError.exit_code)


def _print_feature_findings(found: FeatureFindings, most: int) -> None:
    from oddframe.datasets.precomputed import FAULT_DESCRIPTIONS

    for kind, faults in found.faults.items():
        print_answer(f"WRONG    {len(faults):>6}  {FAULT_DESCRIPTIONS[kind]}")
    if found.unlisted:
        print_answer(f"WARNING  {found.unlisted:>6}  .npy files that no list asks for")
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


def _dataset_text(name: str, data: Path | None) -> str:
    return name if data is None else f"{name}:{data}"
