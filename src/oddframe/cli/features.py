"""``oddframe features``: list, check, compare and export the features in a store."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import print_answer, print_json, print_note, printable, progress_bar
from oddframe.errors import InputError

FEATURES_EXAMPLE = (
    "Example: oddframe features ls    or: oddframe features diff .oddframe/features published/"
)
_MAX_NAMES = 20

features_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=FEATURES_EXAMPLE)


class ExportFormatName(StrEnum):
    npy, safetensors, parquet = "npy", "safetensors", "parquet"


StoreArgument = Annotated[Path, typer.Argument(metavar="[STORE]", help="A feature store.")]
SpecOption = Annotated[
    str | None,
    opt.optional(
        help="Which kind of features: the start of a hash that ls shows. diff takes START:START, "
        "too, for A and B."
    ),
]


@features_app.command("ls", epilog=FEATURES_EXAMPLE)
def list_command(
    store: StoreArgument = Path(opt.STORE_DEFAULT),
    spec: SpecOption = None,
    videos: Annotated[
        bool, typer.Option("--videos", help="List the videos of one kind of features.")
    ] = False,
    as_json: opt.JsonOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """List the kinds of features in a store, or the videos of one kind."""
    from oddframe.features.store.index import choose_spec, open_index
    from oddframe.features.store.manifest import read_video_names

    index = open_index(store)
    specs = [each for each in index.specs() if each.hash.startswith(spec or "")]
    if videos:
        names = read_video_names(store)
        for entry in index.all(choose_spec(store, specs, spec).hash):
            path = names.get(entry.content)
            name = None if path is None else str(path)
            if as_json:
                answer = {"sha256": entry.content, "snippets": entry.snippets}
                answer |= {"file": str(entry.file), "video": name}
                print_answer(json.dumps(answer))
            else:
                shown = printable(name or "?")
                print_answer(f"{entry.content[:16]}  {entry.snippets:>7} snippets  {shown}")
        return
    if as_json:
        print_json(
            [
                {"hash": each.hash, "videos": each.videos, "snippets": each.snippets}
                | {"bytes": each.bytes, "spec": each.spec.to_dict()}
                for each in specs
            ]
        )
        return
    for each in specs:
        kind = each.spec
        precision = f"{kind.precision}, mask {kind.mask}" if kind.mask else kind.precision
        rate = "" if kind.rate is None else f" at {kind.rate:g} a second"
        print_answer(
            f"{each.hash}  {kind.backbone}, {len(kind.crops)} crops, every {kind.stride} "
            f"frames{rate}, {precision}: {each.videos} videos, {each.snippets} snippets, "
            f"{each.bytes / 1e6:.1f} MB"
        )
    if not specs:
        print_answer("nothing")


@features_app.command("check", epilog=FEATURES_EXAMPLE)
def check_command(
    store: StoreArgument = Path(opt.STORE_DEFAULT),
    spec: SpecOption = None,
    sample: Annotated[
        int | None, opt.optional(min=1, help="Read only so many files, drawn at random.")
    ] = None,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Read the feature files of a store and name each damaged one."""
    from oddframe.features.store.store import verify_store

    with progress_bar(quiet=quiet) as progress:
        found = verify_store(store, spec, sample, progress)
    for line in found.damaged:
        print_note(f"damaged: {printable(line)}")
    print_answer(f"{found.read} of {found.total} feature files read, {len(found.damaged)} damaged")
    if found.damaged:
        raise typer.Exit(InputError.exit_code)


@features_app.command("diff", epilog=FEATURES_EXAMPLE)
def diff_command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A store, or a folder of feature files.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    spec: SpecOption = None,
    as_json: opt.JsonOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Compare the features of the same videos: mean cosine and largest difference of each.

    Videos are matched by their contents between two stores, and by name if one is a folder of files
    (NAME__0.npy, NAME.npy). Of stores with several kinds of features, each kind that both have is
    compared; with a folder of files, each kind of the same dimension.
    """
    from oddframe.features.store.compare import compare_features_in

    answer: dict[str, list[Any]] = {"videos": [], "only_a": [], "only_b": [], "failed": []}
    for comparison in compare_features_in(a, b, spec):
        kind = {} if comparison.spec is None else {"spec": comparison.spec}
        if kind and not as_json:
            print_answer(f"{comparison.spec}:")
        differences = []
        for each in comparison.differences:
            if isinstance(each, InputError):
                answer["failed"].append(str(each))
                print_note(f"left out: {printable(str(each))}")
                continue
            differences.append(each)
            answer["videos"].append({**asdict(each), **kind})
            if not as_json:
                more = f"  [{each.note}]" if each.note else ""
                print_answer(
                    f"{printable(each.name)}: cosine {each.cosine:.6f} (least "
                    f"{each.least_cosine:.6f}), largest difference {each.largest:.3g}{more}"
                )
        if differences and not as_json:
            same = sum(not each.largest and not each.note for each in differences)
            mean = sum(each.cosine for each in differences) / len(differences)
            print_answer(
                f"{len(differences)} videos in both, {same} of them the same; mean cosine "
                f"{mean:.6f}, largest difference {max(each.largest for each in differences):.3g}"
            )
        only = (("only_a", a, comparison.only_a), ("only_b", b, comparison.only_b))
        for key, folder, names in only:
            answer[key] += [name for name in names if name not in answer[key]]
            if names and not as_json:
                shown = ", ".join(map(printable, names[:_MAX_NAMES]))
                more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
                print_answer(f"only in {printable(str(folder))}: {shown}{more}")
    if as_json:
        print_json({"schema": 1, **answer})
    if answer["failed"]:
        raise typer.Exit(InputError.exit_code)


@features_app.command("export", epilog=FEATURES_EXAMPLE)
def export_command(
    store: StoreArgument = Path(opt.STORE_DEFAULT),
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("oddframe-features"),
    spec: SpecOption = None,
    files: Annotated[
        ExportFormatName,
        typer.Option(
            "--format",
            "-f",
            help="npy: one file a crop, as published; safetensors: one a video; parquet: one a "
            "video, a row a snippet.",
        ),
    ] = ExportFormatName.npy,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Write the features of a store as files that are named after the videos.

    A video that the store's manifest does not name is named by the sha256 of its content. Damaged
    files are skipped, and so are videos whose name is in use by a file with other contents.
    """
    from oddframe.features.export import export_features

    with progress_bar(quiet=quiet) as progress:
        done = export_features(store, out, spec, files.value, progress)
    for line in done.failed:
        print_note(f"left out: {printable(line)}")
    print_answer(f"{done.videos} videos, {done.files} files in {printable(str(out))}")
    if done.failed:
        raise typer.Exit(InputError.exit_code)
