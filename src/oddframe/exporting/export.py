"""Write a model's networks as ONNX or OpenVINO files, for programs without oddframe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from oddframe._utils.files import json_text, make_folder, scratch_folder, translate_os_errors
from oddframe._utils.progress import ProgressCallback, ignore_progress
from oddframe._utils.version import VERSION
from oddframe.backbones.registry import get_backbones
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.events import EventRule
from oddframe.exporting import standalone
from oddframe.exporting.graphs import (
    BACKBONE_INPUT,
    CHECKED_LENGTHS,
    HEAD_INPUT,
    SUFFIXES,
    ExportTarget,
    backbone_network,
    check_target,
    head_network,
    largest_difference,
    write_graph,
)
from oddframe.features.spec import FeatureSpec
from oddframe.modelfile import Model, load_model
from oddframe.video.snippets import motion
from oddframe.video.snippets.motion import SQUARE_SIDES
from oddframe.video.snippets.preprocessing import has_motion, region_grid

# Largest difference of scores, and of features relative to the largest one, that is accepted.
_MAX_DIFFERENCE = 1e-4
# Imports of oddframe in modules that are copied, and what replaces them there.
_REPLACED = {
    "from oddframe.video.snippets.motion import": "from motion import",
    "from oddframe.timeline import Box\n": "",
    "from oddframe.video.frame import Image\n": "",
    "Floats = NDArray[np.float32]\n": "Floats = NDArray[np.float32]\nImage = NDArray[np.uint8]\n",
    "WHOLE: Box =": "Box = tuple[float, float, float, float]\nWHOLE: Box =",
}
_NAMES = (
    *("README.md", "model.json", "score.py", "motion.py"),
    *("backbone.onnx", "backbone.xml", "backbone.bin", "head.onnx", "head.xml", "head.bin"),
)
_RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}
_EXAMPLE = """\
```python
from score import score_file

times, scores = score_file("clip.mp4")
for (start, end), score in zip(times, scores):
    print(f"{start:.2f} to {end:.2f} s: {score:.4f}")
```
"""


@dataclass(frozen=True)
class ExportedModel:
    """What ``export`` wrote.

    Attributes:
        path: The folder.
        files: Names of its files.
        backbone_difference: Largest difference between the features of the file and of PyTorch, for
            random snippets; None: not compared, because there is no file, or nothing that runs it.
        head_difference: The same for the scores, of 1, 7, 200 and 1,777 snippets.
        note: Why there is no backbone; "": there is one.
    """

    path: Path
    files: tuple[str, ...]
    backbone_difference: float | None
    head_difference: float | None
    note: str = ""


def export(
    model: str | Path | Model,
    to: ExportTarget | str = "onnx",
    out: str | Path | None = None,
    *,
    profile: str = "best",
    force: bool = False,
    progress: ProgressCallback = ignore_progress,
) -> ExportedModel:
    """Write a model's backbone and head as ONNX or OpenVINO files, with a page that explains them.

    ``backbone`` turns snippets (N, frames, height, width, 3) uint8 RGB into features (N, D)
    float32, ``head`` features (C crops, T snippets, D) float32 into scores (T,) float32; N, C and T
    are any. ``README.md`` says how snippets are made, ``score.py`` does it. Both files are compared
    with PyTorch where ONNX Runtime or OpenVINO is installed.

    Args:
        model: Name of a shipped model, path of a model file, or a loaded model
            (``Detector.model``).
        to: ``onnx`` or ``openvino``.
        out: Folder for the files; None: ``MODEL-onnx``.
        profile: ``best``, or ``fast`` if the model has it.
        force: Replace an earlier export in the folder.
        progress: Called with (steps done, steps, what is being done).

    Raises:
        UsageError: there is no such model, profile or target, the folder is not empty, a package is
            missing, or the model is of a method that reads grey pictures.
        InputError: the model file cannot be used.
        OddframeError: a file gives other numbers than PyTorch.

    Examples:
        >>> import oddframe
        >>> done = oddframe.export("fight", "openvino", "fight-openvino")  # doctest: +SKIP
        >>> done.files  # doctest: +SKIP
        ('README.md', 'backbone.bin', 'backbone.xml', 'head.bin', 'head.xml', 'model.json', ...)
    """
    check_target(to)
    target: ExportTarget = "onnx" if to == "onnx" else "openvino"
    loaded = model if isinstance(model, Model) else load_model(model)
    if profile not in loaded.profiles:
        names = ", ".join(loaded.profiles)
        raise UsageError(f"the model {loaded.name!r} has no profile {profile!r}; it has: {names}")
    folder = Path(f"{loaded.name}-{to}" if out is None else out)
    _check_folder(folder, force)
    with scratch_folder(folder.absolute().parent) as scratch:
        differences, note = _write_networks(loaded, profile, target, scratch, progress)
        _write_texts(loaded, profile, target, note, scratch)
        files = tuple(sorted(path.name for path in scratch.iterdir()))
        _move(scratch, folder, files)
    return ExportedModel(folder, files, *differences, note)


def _check_folder(folder: Path, force: bool) -> None:
    with translate_os_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file: name another folder with --out")
        if not force and folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty: name another folder, or give --force")


def _write_networks(
    model: Model, profile: str, to: ExportTarget, folder: Path, progress: ProgressCallback
) -> tuple[tuple[float | None, float | None], str]:
    spec, rng = model.profiles[profile].spec, np.random.default_rng(0)
    head = head_network(model, profile)  # Refuses first.
    backbone, difference = backbone_network(spec), None
    note = "" if backbone is not None else _why_no_backbone(spec)
    if backbone is not None:
        _check_weights(model, spec)
        progress(0, 4, "writing the backbone")
        path = folder / f"backbone{SUFFIXES[to]}"
        width, height = spec.crop_size
        shape = (2, spec.snippet_frames, height, width, 3)
        snippets = rng.integers(0, 256, shape, dtype=np.uint8)
        write_graph(backbone, torch.from_numpy(snippets), 1, BACKBONE_INPUT, path, to)
        progress(1, 4, "checking the backbone")
        difference = largest_difference(backbone, path, [snippets[:1], snippets])
        _refuse(path, difference)
    progress(2, 4, "writing the head")
    path = folder / f"head{SUFFIXES[to]}"
    crops = len(spec.crops)
    example = torch.from_numpy(rng.normal(size=(2, 9, spec.dim)).astype(np.float32))
    write_graph(head, example, 2, HEAD_INPUT, path, to)
    progress(3, 4, "checking the head")
    lengths = CHECKED_LENGTHS if spec.tiles is None else CHECKED_LENGTHS[:3]
    mean, std = head.network.standardise.mean.numpy(), head.network.standardise.std.numpy()
    rows = [rng.normal(size=(crops, each, spec.dim)) * std + mean for each in lengths]
    of_head = largest_difference(head, path, [each.astype(np.float32) for each in rows])
    _refuse(path, of_head)
    progress(4, 4, "checking the head")
    return (difference, of_head), note


def _refuse(path: Path, difference: float | None) -> None:
    if difference is not None and not difference <= _MAX_DIFFERENCE:
        raise OddframeError(
            f"{path.name} is not written: its numbers differ by {difference:.2g} from PyTorch's; "
            "try the other one of --to onnx and --to openvino"
        )


def _why_no_backbone(spec: FeatureSpec) -> str:
    if spec.imported or not spec.has_picture:
        return f"the features ({spec.backbone}) are not made from pictures by oddframe"
    return f"of the backbones, only i3d is exported, not {spec.backbone}"


def _check_weights(model: Model, spec: FeatureSpec) -> None:
    (backbone,) = get_backbones(spec.backbone)
    here = backbone.hash_weights()
    if spec.weights_sha256 != here:
        raise InputError(
            f"the model {model.name!r} was trained with other weights of {spec.backbone} than the "
            f"installed ones (sha256 {spec.weights_sha256[:12]}, not {here[:12]})"
        )


def _write_texts(model: Model, profile: str, to: ExportTarget, note: str, folder: Path) -> None:
    spec, rule = model.profiles[profile].spec, model.profiles[profile].rule
    facts: dict[str, Any] = {
        "schema": 1,
        "oddframe": VERSION,
        "model": {"name": model.name, "sha256": model.sha256, "method": model.method},
        "detects": model.detects,
        "profile": profile,
        "backbone": None if note else f"backbone{SUFFIXES[to]}",
        "head": f"head{SUFFIXES[to]}",
        "preprocessing": asdict(spec.preprocessing),
        "features": spec.to_dict(),
        "rule": asdict(rule),
    }
    (folder / "model.json").write_text(json_text(facts, indent=2) + "\n", encoding="utf-8")
    if not note:
        for module, name in ((standalone, "score.py"), (motion, "motion.py")):
            (folder / name).write_text(_copied(Path(str(module.__file__))), encoding="utf-8")
    text = _readme_text(model, profile, to, note)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _copied(source: Path) -> str:
    """A module of oddframe as a file that imports nothing of it."""
    text = source.read_text(encoding="utf-8")
    for old, new in _REPLACED.items():
        text = text.replace(old, new)
    return f"# Part of oddframe {VERSION}, MIT licence, copyright The oddframe developers.\n{text}"


def _move(scratch: Path, folder: Path, files: Sequence[str]) -> None:
    """Move the finished files into ``folder``, ``model.json`` last; remove an earlier export."""
    make_folder(folder)
    with translate_os_errors(folder):
        (folder / "model.json").unlink(missing_ok=True)
        for name in sorted(files, key=lambda each: each == "model.json"):
            (scratch / name).replace(folder / name)
        for name in set(_NAMES) - set(files):
            (folder / name).unlink(missing_ok=True)


def _readme_text(model: Model, profile: str, to: ExportTarget, note: str) -> str:
    """``README.md``; ``note`` says why there is no backbone, "" if there is one."""
    spec, rule = model.profiles[profile].spec, model.profiles[profile].rule
    ending, runtime = SUFFIXES[to], _RUNTIMES[to]
    lines = [
        f"# {model.name}, exported by oddframe {VERSION}",
        "",
        f"Detects: {model.detects}. Method `{model.method}`, profile `{profile}`; sha256 of the "
        f"model file {model.sha256 or 'unknown'}.",
        "",
    ]
    if not note:
        width, height = spec.crop_size
        rows = "N R" if region_grid(spec.crops) else "N"
        lines += [
            f"- **`backbone{ending}`**: `snippets` (N, {spec.snippet_frames}, {height}, {width}, "
            f"3) uint8, RGB from 0 to 255, to features ({rows}, {spec.dim}) float32, for any N. "
            "It scales pixels to [-1, 1] itself."
            + (" R regions of a snippet follow one another." if rows == "N R" else ""),
        ]
    lines += [
        f"- **`head{ending}`**: `features` (C, T, {spec.dim}) float32, C crops of T snippets, to "
        f"scores (T,) float32 in [0, 1], for any T of a whole video.{_merging(spec)}",
        f"- **Snippets**: {_sampling(spec)}",
        f"- **Times**: {_times(spec)}",
    ]
    if spec.has_picture:
        lines += [f"- **Pictures**: {_pictures(spec)}"]
    lines += [
        f"- **Events**: {_events(rule)}",
        f"- **Features** come from {_origin(spec)}",
        "- `model.json` has all of this for programs.",
        "",
    ]
    if note:
        return "\n".join([*lines, f"There is no backbone here: {note}.", ""])
    lines += [
        f"With `pip install numpy av opencv-python-headless {runtime}`, in this folder:",
        "",
    ]
    return "\n".join(lines) + "\n" + _EXAMPLE


def _merging(spec: FeatureSpec) -> str:
    if spec.tiles is not None:
        return (
            " The crops are parts of the picture, and a score is the highest of them; give at most "
            "2,048 snippets at once."
        )
    return " A score is the mean of the crops." if len(spec.crops) > 1 else ""


def _sampling(spec: FeatureSpec) -> str:
    ticks = "frames of the video"
    if spec.rate is not None:
        ticks = f"ticks of {spec.rate:g} a second; a tick has the frame that is shown then"
    return (
        f"{spec.snippet_frames} {ticks}. Snippet i begins at frame or tick {spec.stride} i; the "
        "last frame is repeated where the video ends first."
    )


def _times(spec: FeatureSpec) -> str:
    covered = max(spec.stride, spec.snippet_frames)
    if spec.rate is None:
        return f"snippet i covers frames {spec.stride} i to {spec.stride} i + {covered}."
    return (
        f"snippet i covers {spec.step_s(spec.rate):g} i to {spec.step_s(spec.rate):g} i + "
        f"{covered / spec.rate:g} s from the first frame on. Cut recordings with gaps at the gaps."
    )


def _pictures(spec: FeatureSpec) -> str:
    width, height = spec.resize
    how = {"bicubic": "FFmpeg's bicubic filter (PyAV)", "lanczos": "Pillow's Lanczos filter"}
    parts = []
    if spec.jpeg_quality:
        parts.append(f"each frame is saved as JPEG of quality {spec.jpeg_quality} and read again")
    if has_motion(spec.crops):
        sides = ", ".join(f"{share:.0%}" for share in SQUARE_SIDES)
        parts.append(
            "the motion square: the smallest square with 60 % of what changes in a snippet, with a "
            f"side of {sides} of the short side, cut and scaled to {spec.crop_size[0]} pixels "
            "(`motion.py` has it exactly)"
        )
    if not all(name.startswith(("motion", "square")) for name in spec.crops):
        parts.append(f"frames are resized to {width}x{height} by {how[spec.filter]}")
    names = ", ".join(spec.crops[:10])
    more = f" and {len(spec.crops) - 10} more" if len(spec.crops) > 10 else ""
    size = "x".join(map(str, spec.crop_size))
    return f"{'; '.join(parts)}. Crops of {size}, in this order: {names}{more}."


def _events(rule: EventRule) -> str:
    smooth = f", averaged over {rule.smooth_s:g} s," if rule.smooth_s else ""
    short = f", those shorter than {rule.min_duration_s:g} s are none"
    return (
        f"one begins where the scores of frames{smooth} reach {rule.threshold:g}, and lasts while "
        f"they are at least {rule.release:g}; those less than {rule.merge_gap_s:g} s apart are one"
        f"{short if rule.min_duration_s else ''}."
    )


def _origin(spec: FeatureSpec) -> str:
    sha256 = spec.weights_sha256 or "unknown"
    licence = ""
    if not spec.imported:
        known = [each.license for each in get_backbones(spec.backbone)]
        licence = f", licence {' and '.join(each or 'not known' for each in known)}"
    return f"`{spec.backbone}`, weights of sha256 {sha256}{licence}."
