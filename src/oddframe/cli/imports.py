"""``oddframe import``: convert published features and checkpoints to files of oddframe."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import print_answer, print_json, print_note, printable, progress_bar
from oddframe.errors import InputError, UsageError

IMPORT_EXAMPLE = (
    "Example: oddframe import features /data/ucf --dataset ucf_crime --data /data/lists    or: "
    "oddframe import checkpoint ucf_final.pkl --out ucf.safetensors"
)
_MAX_REASONS = 10  # With --json, all are printed.

import_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=IMPORT_EXAMPLE)


class ModelInput(StrEnum):
    imported, i3d = "imported", "i3d"


@import_app.command("features", epilog=IMPORT_EXAMPLE)
def features_command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder with feature files (.npy), also in folders below."
        ),
    ],
    dataset: Annotated[
        str, typer.Option(help="A data set with published features, such as ucf_crime.")
    ],
    data: opt.DataOption,
    sound: opt.SoundOption = None,
    fresh: opt.FreshOption = False,
    store: opt.StoreOption = opt.STORE_DEFAULT,
    as_json: opt.JsonOption = False,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Copy published features into the store, where train and evaluate find them.

    Reads a file for each crop (NAME__0.npy, ...), or for each video with shape (T, 10, D) or
    (10, T, D). What is in the store is not imported again, so a stopped import can be repeated.
    Videos that fail are listed at the end; they do not stop the others.
    """
    from oddframe.datasets.precomputed import import_features
    from oddframe.datasets.registry import open_dataset
    from oddframe.features.spec import IMPORTED
    from oddframe.features.store.store import FeatureStore

    opened = open_dataset(f"{dataset}:{data}")
    with progress_bar(quiet=quiet) as progress:
        done = import_features(
            opened, folder, FeatureStore(Path(store)), sound, fresh=fresh, progress=progress
        )
    kind, crops = done.spec.backbone.removeprefix(IMPORTED), len(done.spec.crops)
    if as_json:
        answer = {"kind": kind, "dim": done.spec.dim, "crops": crops}
        answer |= {"new": done.new, "kept": done.kept, "snippets": done.snippets}
        print_json(answer | {"failed": list(done.failed), "spec": done.spec.to_dict()})
    else:
        for line in done.failed[:_MAX_REASONS]:
            print_note(f"left out: {printable(line)}")
        if done.failed[_MAX_REASONS:]:
            print_note(f"left out: {len(done.failed) - _MAX_REASONS} more; --json names them all")
        print_answer(
            f"{opened.name} as {kind}, {crops} crops of length {done.spec.dim}: {done.new} videos "
            f"imported ({done.snippets} snippets), {done.kept} were there, {len(done.failed)} "
            "failed"
        )
        print_answer(
            f"Use it: oddframe train {opened.name}:{printable(str(data))} --features {kind}"
        )
    if done.failed:
        raise typer.Exit(InputError.exit_code)


@import_app.command("checkpoint", epilog=IMPORT_EXAMPLE)
def checkpoint_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A published checkpoint.")],
    out: Annotated[Path, typer.Option(help="The model file, *.safetensors.")],
    reads: Annotated[
        ModelInput,
        typer.Option(
            help="What the model reads: imported features, or (i3d) videos, whose features are "
            "close to those that it was trained on."
        ),
    ] = ModelInput.imported,
    detects: Annotated[str, opt.optional(help="What the model detects, in words.")] = "",
    as_json: opt.JsonOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Convert a published checkpoint (.pkl) of UR-DMU, RTFM or HL-Net to a model file.

    Only tensors are unpickled. The threshold is 0.5 until oddframe calibrate chooses one.
    """
    from oddframe.methods.registry import get_method
    from oddframe.modelfile import load_model, save_model
    from oddframe.training.import_checkpoint import published_model

    if out.suffix != ".safetensors":
        raise UsageError(f"{out}: a model file ends in .safetensors")
    save_model(published_model(file, out.stem, reads.value, detects), out, head=True)
    model = load_model(out)
    spec = model.profiles["best"].spec
    if as_json:
        answer = {"model": str(out), "method": model.method, "sha256": model.sha256}
        print_json(answer | {"reads": spec.to_dict()})
        return
    title, name = get_method(model.method).title, printable(str(out))
    print_answer(f"{name}: {title}, reads {spec.backbone}, features of length {spec.dim}")
    if spec.imported:
        print_answer(f"Use it: oddframe evaluate {name} ucf_crime:LISTS --features DIR")
        print_answer("For videos: the same command with --reads i3d")
    else:
        print_answer(f"Use it: oddframe score VIDEO --model {name}")
