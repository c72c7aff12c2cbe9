"""``oddframe features``: what a store holds, whether it is whole, how two differ, and out again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oddframe.cli.console import bar_progress, print_answer, print_note, printable, progress_bar
from oddframe.cli.options import DEFAULT_STORE, DebugOption, JsonOption, QuietOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from oddframe.features.spec import Features
    from oddframe.features.store.collection import Difference
    from oddframe.features.store.index import Index, SpecSummary

EXAMPLE = (
    "Example: oddframe features ls    or: oddframe features diff .oddframe/features published/"
)
_MOST = 20

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXAMPLE)


class ExportFormat(StrEnum):
    npy = "npy"
    safetensors = "safetensors"
    parquet = "parquet"


StoreArgument = Annotated[Path, typer.Argument(metavar="[STORE]", help="A store of features.")]
SpecOption = Annotated[
    str | None,
    typer.Option(help="Of this kind: the start of a hash that ls shows.", show_default=False),
]


@app.command("ls", epilog=EXAMPLE)
def list_features(
    store: StoreArgument = DEFAULT_STORE,
    spec: SpecOption = None,
    videos: Annotated[bool, typer.Option("--videos", help="Each video, of one kind.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Say which kinds of features a store holds, or of which videos."""
    import json

    from oddframe.features.store.collection import choose_spec
    from oddframe.features.store.index import open_index
    from oddframe.features.store.manifest import read_video_names

    index = open_index(store)
    specs = [each for each in index.specs() if each.hash.startswith(spec or "")]
    if videos:
        names = read_video_names(store)
        for entry in index.all(choose_spec(store, specs, spec).hash):
            path = names.get(entry.content)
            if as_json:
                about = {"sha256": entry.content, "snippets": entry.snippets}
                more = {"file": str(entry.file), "video": None if path is None else str(path)}
                print_answer(json.dumps({**about, **more}))
            else:
                name = "?" if path is None else printable(str(path))
                print_answer(f"{entry.content[:16]}  {entry.snippets:>7} snippets  {name}")
        return
    if as_json:
        kinds = [
            {
                "hash": each.hash,
                "videos": each.videos,
                "snippets": each.snippets,
                "bytes": each.bytes,
                "spec": each.spec.to_dict(),
            }
            for each in specs
        ]
        print_answer(json.dumps(kinds, indent=2))
        return
    for each in specs:
        how = each.spec
        read = f"{how.precision}, mask {how.mask}" if how.mask else how.precision
        size = f"{each.bytes / 1e6:.1f} MB"
        rate = "" if how.rate is None else f" at {how.rate:g} a second"
        print_answer(
            f"{each.hash}  {how.backbone}, {len(how.crops)} crops, every {how.stride} "
            f"frames{rate}, {read}: {each.videos} videos, {each.snippets} snippets, {size}"
        )
    if not specs:
        print_answer("nothing")


@app.command("check", epilog=EXAMPLE)
def check_store(
    store: StoreArgument = DEFAULT_STORE,
    spec: SpecOption = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="Only so many, drawn at random.", show_default=False),
    ] = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Read the feature files of a store and name each that is damaged."""
    from itertools import chain

    from oddframe.errors import InputError
    from oddframe.features.store.collection import choose_spec
    from oddframe.features.store.index import open_index
    from oddframe.features.store.store import read_features

    index = open_index(store)
    index.verify()
    specs = index.specs()
    if spec is not None:
        specs = [choose_spec(store, specs, spec)]
    total = sum(each.videos for each in specs)
    if sample is None or sample >= total:
        files = [e.file for e in chain.from_iterable(index.all(each.hash) for each in specs)]
    else:
        files = _drawn(index, specs, sample)
    # What the index does not know although it lies there is damaged, too.
    lost = {p.relative_to(store) for p in store.glob("[0-9a-f][0-9a-f]/*.safetensors")}
    whole = len(files) == total and spec is None
    every = [*files, *(sorted(lost - set(files)) if whole else ())]
    damaged = []
    with progress_bar(quiet=quiet) as bar:
        update = bar_progress(bar, f"reading {len(every)} files")
        for done, file in enumerate(every, start=1):
            try:
                read_features(store / file)
            except InputError as error:
                damaged.append(str(error))
            update(done, len(every))
    for line in damaged:
        print_note(f"damaged: {printable(line)}")
    print_answer(
        f"{len(every)} of {max(total, len(every))} feature files read, {len(damaged)} damaged"
    )
    if damaged:
        raise typer.Exit(InputError.exit_code)


def _drawn(index: Index, specs: list[SpecSummary], count: int) -> list[Path]:
    """``count`` different files, fewer than there are, each as likely as any other."""
    import random

    dice, drawn = random.Random(), set[Path]()
    while lacking := count - len(drawn):
        kinds = dice.choices(specs, [each.videos for each in specs], k=lacking)
        for each in specs:
            if wanted := kinds.count(each):
                drawn |= {entry.file for entry in index.draw(each.hash, wanted, dice)}
    return sorted(drawn)


@app.command("diff", epilog=EXAMPLE)
def compare_stores(
    a: Annotated[Path, typer.Argument(metavar="A", help="A store, or a folder of feature files.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    spec: Annotated[
        str | None,
        typer.Option(
            help="Of this kind: the start of a hash that ls shows; START:START for A and B.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Say how features of the same videos differ: a mean cosine and the largest difference each.

    Videos are told by their contents between two stores, and by name where published files
    (NAME__0.npy, NAME.npy) are involved. Of stores with several kinds, each kind that both have is
    compared, and beside published files each kind whose features are of their length.
    """
    import json
    from dataclasses import asdict

    from oddframe.errors import InputError
    from oddframe.features.store.collection import (
        compare_shared,
        find_shared,
        is_comparable,
        open_collection,
        specs_to_compare,
    )
    from oddframe.outputs.write import unique_stems

    answer: dict[str, list[Any]] = {"videos": [], "only_a": [], "only_b": [], "failed": []}
    pairs, compared = specs_to_compare(a, b, spec), 0
    for first, second in pairs:
        ours, theirs = (
            open_collection(a, first, unique_stems),
            open_collection(b, second, unique_stems),
        )
        found = find_shared(ours, theirs)
        kind = {"spec": first or second} if len(pairs) > 1 else {}
        if kind and not is_comparable(ours, theirs, found):
            continue
        compared += 1
        if not found.common:
            raise InputError(
                f"{a} and {b} have no video in common: {len(found.only_a)} and {len(found.only_b)} "
                f"others, such as {(found.only_a or ('none',))[0]} and "
                f"{(found.only_b or ('none',))[0]}"
            )
        if kind and not as_json:
            print_answer(f"{first or second}:")
        lines = []
        for each in compare_shared(ours, theirs, found):
            if isinstance(each, InputError):
                answer["failed"].append(str(each))
                print_note(f"left out: {printable(str(each))}")
                continue
            lines.append(each)
            answer["videos"].append({**asdict(each), **kind})
            if not as_json:
                _say_difference(each)
        if lines and not as_json:
            _sum_up(lines)
        for key, where, names in (("only_a", a, found.only_a), ("only_b", b, found.only_b)):
            answer[key] += [name for name in names if name not in answer[key]]
            if names and not as_json:
                shown = ", ".join(map(printable, names[:_MOST]))
                more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
                print_answer(f"only in {printable(str(where))}: {shown}{more}")
    if not compared:
        raise InputError(f"{a} and {b} have no video in common with features of one length")
    if as_json:
        print_answer(json.dumps({"schema": 1, **answer}, indent=2))
    if answer["failed"]:
        raise typer.Exit(InputError.exit_code)


def _say_difference(each: Difference) -> None:
    more = f"  [{each.note}]" if each.note else ""
    print_answer(
        f"{printable(each.name)}: cosine {each.cosine:.6f} (least {each.min_cosine:.6f}), "
        f"largest difference {each.max_difference:.3g}{more}"
    )


def _sum_up(lines: list[Difference]) -> None:
    same = sum(not each.max_difference and not each.note for each in lines)
    mean = sum(each.cosine for each in lines) / len(lines)
    print_answer(
        f"{len(lines)} videos in both, {same} of them the same; mean cosine {mean:.6f}, largest "
        f"difference {max(each.max_difference for each in lines):.3g}"
    )


@app.command("export", epilog=EXAMPLE)
def export_features(
    store: StoreArgument = DEFAULT_STORE,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("oddframe-features"),
    spec: SpecOption = None,
    files: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            "-f",
            help="npy: one file a crop, as published; parquet: one a video, a row a snippet.",
        ),
    ] = ExportFormat.npy,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Write the features of a store as files by the names of their videos.

    A video that the store's manifest does not name goes by the sha256 of its content. A damaged
    file is left out, and so is a video under whose name files of something else are there.
    """
    from functools import partial

    from oddframe.errors import InputError
    from oddframe.features.extraction.file_layout import (
        FeatureFileFormat,
        output_names,
        refuse_unknown_files,
        write_feature_files,
    )
    from oddframe.features.store.collection import choose_spec
    from oddframe.features.store.imports import StoredFeatures
    from oddframe.features.store.index import open_index
    from oddframe.features.store.manifest import read_video_names
    from oddframe.outputs.write import unique_stems

    index = open_index(store)
    kind = choose_spec(store, index.specs(), spec)
    known = read_video_names(store)
    entries = list(index.all(kind.hash))
    paths = [known.get(entry.content, Path(entry.content)) for entry in entries]
    form: FeatureFileFormat = "safetensors" if files is ExportFormat.safetensors else "npy"
    written, failed = 0, list[str]()
    with progress_bar(quiet=quiet) as bar:
        update = bar_progress(bar, f"writing {len(entries)} videos")
        named = zip(entries, paths, unique_stems(paths), strict=True)
        for done, (entry, path, stem) in enumerate(named, start=1):
            update(done, len(entries))
            try:
                features = StoredFeatures(store / entry.file).open_checked()
                write: Callable[[Path], object]
                if files is ExportFormat.parquet:
                    names = [f"{stem}.parquet"]
                    write = partial(_table, name=names[0], features=features, video=str(path))
                else:
                    names = output_names(features.spec, stem, form, alone=True)
                    write = partial(write_feature_files, features, stem=stem, format=form)
                refuse_unknown_files(out, names, write)
            except InputError as error:
                failed.append(str(error))
                continue
            write(out)
            written += len(names)
    for line in failed:
        print_note(f"left out: {printable(line)}")
    print_answer(f"{len(entries) - len(failed)} videos, {written} files in {printable(str(out))}")
    if failed:
        raise typer.Exit(InputError.exit_code)


def _table(folder: Path, name: str, features: Features, video: str) -> None:
    from oddframe.features.store.parquet import write_parquet

    write_parquet(folder / name, features, video)
