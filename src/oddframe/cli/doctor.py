"""``oddframe doctor``: what is installed, what runs, what is missing and how to install it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import typer

from oddframe._utils.version import VERSION
from oddframe.cli import options as opt
from oddframe.cli.console import print_answer, print_json
from oddframe.errors import INSTALL_TORCH, OddframeError, has_torch

# Optional packages, and the extra of oddframe that installs each.
EXTRAS = {
    "ray": "ray",
    "pyarrow": "parquet",
    "tensorboard": "tensorboard",
    "onnxscript": "onnx",
    "paho-mqtt": "mqtt",
}


@dataclass(frozen=True)
class Diagnosis:
    """Result of one check."""

    ok: bool
    found: str
    advice: str = ""  # What to do if it is not ok.
    needed: bool = True  # To score a video.


def doctor(as_json: opt.JsonOption = False, debug: opt.DebugOption = False) -> None:
    """Say what is installed, which device and engine run, and what is missing."""
    results: dict[str, Diagnosis] = {}
    width = max(map(len, _CHECKS))
    # Printed one by one: importing OpenVINO takes a second.
    for name, check in _CHECKS.items():
        try:
            result = check()
        except Exception as error:  # A broken installation may raise anything.
            found = f"{type(error).__name__}: {error}"
            result = Diagnosis(False, found, "reinstall oddframe")
        results[name] = result
        if not as_json:
            mark = "ok" if result.ok else ("MISSING" if result.needed else "absent")
            print_answer(f"{mark:<8}{name:<{width}}  {result.found}")
            if not result.ok and result.advice:
                print_answer(f"{'':<8}{'':<{width}}  -> {result.advice}")
    good = all(result.ok for result in results.values() if result.needed)
    if as_json:
        checks = [{"name": name, **asdict(result)} for name, result in results.items()]
        print_json({"ok": good, "checks": checks})
    if not good:
        raise typer.Exit(1)


def _python() -> Diagnosis:
    found = f"{platform.python_version()}, oddframe {VERSION}"
    advice = "oddframe needs Python 3.11 or newer"
    return Diagnosis(sys.version_info >= (3, 11), found, advice)


def _machine() -> Diagnosis:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Diagnosis(True, f"{platform.system()} {platform.machine()}, {cores} cores")


def _decoding() -> Diagnosis:
    import av

    encoder = "with" if "libx264" in av.codecs_available else "without"
    found = f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}, {encoder} H.264 encoder"
    return Diagnosis("h264" in av.codecs_available, found, "pip install --upgrade av")


def _torch() -> Diagnosis:
    from oddframe.backbones.engines import has_cuda

    if not has_torch():
        advice = f"{INSTALL_TORCH}, to train"
        return Diagnosis(False, "not installed (optional)", advice, needed=False)
    if not has_cuda():
        return Diagnosis(True, f"{version('torch')}, no CUDA device", needed=False)
    import torch

    return Diagnosis(True, f"{torch.__version__}, {torch.cuda.get_device_name(0)}", needed=False)


def _openvino() -> Diagnosis:
    from oddframe.backbones.engines import cpu_has_bfloat16, has_openvino

    if not has_openvino():
        advice = "pip install openvino makes the CPU about twice as fast"
        return Diagnosis(False, "not installed", advice, needed=False)
    native = "native bfloat16" if cpu_has_bfloat16() else "no native bfloat16"
    return Diagnosis(True, f"{version('openvino')}, {native}", needed=False)


def _runtime() -> Diagnosis:
    from oddframe.backbones.engines import choose_runtime

    return Diagnosis(True, str(choose_runtime()))


def _backbone() -> Diagnosis:
    from oddframe.backbones.registry import DEFAULT_BACKBONE, get_backbones
    from oddframe.backbones.weights import read_arrays

    (spec,) = get_backbones(DEFAULT_BACKBONE)
    weights = spec.find_weights()
    read_arrays(weights, spec.name)
    found = f"{spec.name} ({spec.title}), {weights.stat().st_size / 1e6:.0f} MB"
    return Diagnosis(True, found)


def _other_backbones() -> Diagnosis:
    from oddframe.backbones.registry import DEFAULT_BACKBONE, known_backbones
    from oddframe.backbones.weights import weights_dir

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
        return Diagnosis(False, str(error), "repair or remove this file", needed=False)
    found = f"{', '.join(ready)} ready"
    if missing:
        found += f"; {', '.join(missing)}: weights not in {weights_dir()} (optional)"
    return Diagnosis(True, found, needed=False)


def _models() -> Diagnosis:
    from oddframe.modelfile import load_model, shipped_models

    names = shipped_models()
    found = (
        ", ".join(f"{name} ({load_model(name, light=True).detects})" for name in names) or "none"
    )
    advice = "reinstall oddframe: its shipped models are missing"
    return Diagnosis(bool(names), found, advice)


def _extra(name: str) -> Diagnosis:
    try:
        return Diagnosis(True, version(name), needed=False)
    except PackageNotFoundError:
        advice = f"pip install 'oddframe[{EXTRAS[name]}]'"
        return Diagnosis(False, "not installed (optional)", advice, needed=False)


_CHECKS: dict[str, Callable[[], Diagnosis]] = {
    "python": _python,
    "machine": _machine,
    "decoding": _decoding,
    "torch": _torch,
    "openvino": _openvino,
    "runs on": _runtime,
    "backbone": _backbone,
    "others": _other_backbones,
    "models": _models,
    **{name: partial(_extra, name) for name in EXTRAS},
}
