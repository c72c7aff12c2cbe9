"""``oddframe doctor``: what is installed, what runs, what is missing and how to install it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import print_answer, print_json

# Optional packages, and the extra of oddframe that installs each.
EXTRAS = {"ray": "ray", "pyarrow": "parquet", "tensorboard": "tensorboard"}


@dataclass(frozen=True)
class Diagnosis:
    """Result of one check.

    Attributes:
        name: What was checked.
        ok: Whether it is as it should be.
        found: What was found.
        advice: What to do if it is not ok.
        needed: Whether scoring a video needs it.
    """

    name: str
    ok: bool
    found: str
    advice: str = ""
    needed: bool = True


def doctor(as_json: opt.JsonOption = False, debug: opt.DebugOption = False) -> None:
    """Say what is installed, which device and engine run, and what is missing."""
    results = []
    width = max(len(name) for name, _ in _CHECKS)
    for result in run_checks():  # Printed one by one: importing torch and OpenVINO takes seconds.
        results.append(result)
        if not as_json:
            mark = "ok" if result.ok else ("MISSING" if result.needed else "absent")
            print_answer(f"{mark:<8}{result.name:<{width}}  {result.found}")
            if not result.ok and result.advice:
                print_answer(f"{'':<8}{'':<{width}}  -> {result.advice}")
    good = all(result.ok for result in results if result.needed)
    if as_json:
        print_json({"ok": good, "checks": [asdict(each) for each in results]})
    if not good:
        raise typer.Exit(1)


def run_checks() -> Iterator[Diagnosis]:
    """Check everything that scoring a video uses, in the order of use."""
    return (_run_check(name, check) for name, check in _CHECKS)


def _run_check(name: str, check: Callable[[], Diagnosis]) -> Diagnosis:
    try:
        return check()
    except Exception as error:  # A broken installation may raise anything.
        return Diagnosis(name, False, f"{type(error).__name__}: {error}", "reinstall oddframe")


def _python() -> Diagnosis:
    from oddframe._utils.version import VERSION

    ok = sys.version_info >= (3, 11)
    found = f"{platform.python_version()}, oddframe {VERSION}"
    return Diagnosis("python", ok, found, "oddframe needs Python 3.11 or newer")


def _machine() -> Diagnosis:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Diagnosis("machine", True, f"{platform.system()} {platform.machine()}, {cores} cores")


def _decoding() -> Diagnosis:
    import av

    encoder = "with" if "libx264" in av.codecs_available else "without"
    found = f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}, {encoder} H.264 encoder"
    return Diagnosis("decoding", "h264" in av.codecs_available, found, "pip install --upgrade av")


def _torch() -> Diagnosis:
    import torch

    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device"
    return Diagnosis("torch", True, f"{torch.__version__}, {cuda}")


def _openvino() -> Diagnosis:
    from oddframe.backbones.engines import cpu_has_bfloat16, has_openvino

    if not has_openvino():
        advice = "pip install openvino makes the CPU about twice as fast"
        return Diagnosis("openvino", False, "not installed", advice, needed=False)
    native = "native bfloat16" if cpu_has_bfloat16() else "no native bfloat16"
    return Diagnosis("openvino", True, f"{version('openvino')}, {native}", needed=False)


def _runtime() -> Diagnosis:
    from oddframe.backbones.engines import choose_runtime

    return Diagnosis("runs on", True, str(choose_runtime()))


def _backbone() -> Diagnosis:
    from oddframe.backbones.registry import DEFAULT_BACKBONE, get_backbones
    from oddframe.backbones.weights import read_state_dict

    (spec,) = get_backbones(DEFAULT_BACKBONE)
    weights = spec.find_weights()
    read_state_dict(weights, spec.name)
    found = f"{spec.name} ({spec.title}), {weights.stat().st_size / 1e6:.0f} MB"
    return Diagnosis("backbone", True, found)


def _other_backbones() -> Diagnosis:
    from oddframe.backbones.registry import DEFAULT_BACKBONE, known_backbones
    from oddframe.backbones.weights import weights_dir
    from oddframe.errors import OddframeError

    ready, missing = [], []
    try:
        for spec in known_backbones():
            if spec.name == DEFAULT_BACKBONE:
                continue
            try:
                spec.hash_weights()
                ready.append(spec.name)
            except OddframeError:
                missing.append(spec.name)
    except OddframeError as error:
        return Diagnosis("others", False, str(error), "repair or remove this file", needed=False)
    found = f"{', '.join(ready)} ready"
    if missing:
        found += f"; {', '.join(missing)}: weights not in {weights_dir()} (optional)"
    return Diagnosis("others", True, found, needed=False)


def _models() -> Diagnosis:
    from oddframe.modelfile import load_model, shipped_models

    names = shipped_models()
    found = ", ".join(f"{name} ({load_model(name).detects})" for name in names) or "none"
    return Diagnosis(
        "models", bool(names), found, "reinstall oddframe: its shipped models are missing"
    )


def _cache() -> Diagnosis:
    from oddframe._utils.files import cache_dir

    folder = cache_dir()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    advice = "set ODDFRAME_CACHE to a writable folder; otherwise each start takes seconds longer"
    kept = len(list(folder.glob("*.xml"))) if folder.is_dir() else 0
    found = f"{folder}, {kept} converted networks" if writable else f"{folder} cannot be written"
    return Diagnosis("cache", writable, found, advice, needed=False)


def _extra(name: str) -> Diagnosis:
    try:
        return Diagnosis(name, True, version(name), needed=False)
    except PackageNotFoundError:
        advice = f"pip install 'oddframe[{EXTRAS[name]}]'"
        return Diagnosis(name, False, "not installed (optional)", advice, needed=False)


_CHECKS: list[tuple[str, Callable[[], Diagnosis]]] = [
    ("python", _python),
    ("machine", _machine),
    ("decoding", _decoding),
    ("torch", _torch),
    ("openvino", _openvino),
    ("runs on", _runtime),
    ("backbone", _backbone),
    ("others", _other_backbones),
    ("models", _models),
    ("cache", _cache),
    *((name, partial(_extra, name)) for name in EXTRAS),
]
