"""``oddframe export``: a model as ONNX or OpenVINO files; see ``oddframe.export``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import print_answer, print_json, printable, progress_bar


class Target(StrEnum):
    onnx, openvino = "onnx", "openvino"


def export_model_command(
    model: opt.ModelArgument,
    to: Annotated[Target, typer.Option(help="Format of the files.")] = Target.onnx,
    out: Annotated[Path | None, opt.optional(help="Folder for the files [MODEL-onnx].")] = None,
    profile: opt.ProfileOption = opt.ProfileChoice.best,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier export in the folder.")
    ] = False,
    as_json: opt.JsonOption = False,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Write a model as ONNX or OpenVINO files, for programs without oddframe.

    The backbone turns snippets into features, the head turns features into scores. README.md beside
    them says how snippets are made, and score.py scores a video with NumPy, PyAV, OpenCV and ONNX
    Runtime or OpenVINO.
    """
    from oddframe.exporting.export import export

    with progress_bar(quiet=quiet) as progress:
        done = export(model, to.value, out, profile=profile.value, force=force, progress=progress)
    if as_json:
        print_json(asdict(done))
        return
    print_answer(f"{printable(str(done.path))}: {', '.join(done.files)}")
    if done.note:
        print_answer(f"  no backbone: {printable(done.note)}")
    for what, difference in (
        ("features", done.backbone_difference),
        ("scores", done.head_difference),
    ):
        if difference is not None:
            print_answer(f"  {what}: at most {difference:.1g} from PyTorch's")
