"""``oddframe info``: what a file is, be it a video, features or a model."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from oddframe.cli.console import printable, say
from oddframe.cli.options import DebugOption, JsonOption

# Items of a list that a person is shown: a model names every video that it has learned from.
_MOST = 12
EXAMPLE = "Example: oddframe info cam3.mp4    oddframe info fight"


def info(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A video, a feature file, or a model.")
    ],
    as_json: JsonOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Say what a video, a feature file or a model is."""
    facts = describe(file)
    if as_json:
        say(json.dumps(facts, indent=2))
    else:
        _show(facts)


def describe(file: str) -> dict[str, Any]:
    """Facts of a file as JSON types; ``kind`` is ``video``, ``features`` or ``model``.

    Raises:
        InputError: there is no such file, or it is none of the three.
    """
    from oddframe.files import exists
    from oddframe.modelfile import shipped_models

    path = Path(file)
    if path.suffix == ".npy":
        return _features(file)
    if path.suffix == ".safetensors" or (not exists(path) and file in shipped_models()):
        return _safetensors(file)
    return _video(path)


def _safetensors(file: str) -> dict[str, Any]:
    from oddframe.errors import InputError
    from oddframe.files import exists
    from oddframe.modelfile import load_model

    path = Path(file)
    if exists(path) and _holds_features(path):
        return _features(file)
    if path.suffix == ".safetensors" and not exists(path):
        raise InputError(f"{file}: no such file")
    model = load_model(file)
    profiles = {
        name: {"rule": asdict(profile.rule), "spec": profile.spec.to_dict()}
        for name, profile in model.profiles.items()
    }
    return {
        "kind": "model",
        "file": file,
        "name": model.name,
        "finds": model.knows,
        "method": model.method,
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "metrics": dict(model.metrics),
        "card": dict(model.card),
        "training_data": model.training_data,
        "oddframe": model.version,
        "sha256": model.sha256,
        "config": model.config.model_dump(mode="json"),
        "profiles": profiles,
    }


def _features(file: str) -> dict[str, Any]:
    from oddframe.features.arrays import features_of

    features = features_of(Path(file))
    crops, snippets, dim = features.array.shape
    about = {
        "kind": "features",
        "file": file,
        "crops": crops,
        "snippets": snippets,
        "dim": dim,
        "type": str(features.array.dtype),
    }
    if file.endswith(".npy"):  # It says nothing of the video, or of what looked at it.
        return about
    time = features.timebase
    return {
        **about,
        "duration_s": round(time.duration_s, 3),
        "frames": time.n_frames,
        "fps": round(time.fps, 3),
        "spec": features.spec.to_dict(),
        "spec_hash": features.spec.hash(),
    }


def _holds_features(path: Path) -> bool:
    from oddframe.features.header import HEADER, KIND
    from oddframe.files import opened
    from oddframe.headers import read_tensor_header

    with opened(path) as file:
        try:
            _, metadata = read_tensor_header(file, os.fstat(file.fileno()).st_size)
        except (OSError, ValueError):  # Reading it as a model says what is wrong.
            return False
    return f'"{KIND}"' in metadata.get(HEADER, "")


def _video(path: Path) -> dict[str, Any]:
    from oddframe.video.discover import probe

    found = asdict(probe(path))
    found["path"] = str(path)
    return {"kind": "video", **found}


def _show(facts: dict[str, Any], indent: str = "") -> None:
    width = max(len(key) for key in facts)
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            say(f"{indent}{printable(key)}")
            _show(value, indent + "  ")
        elif isinstance(value, list | tuple) and any(isinstance(each, dict) for each in value):
            say(f"{indent}{printable(key)}")
            for each in value:
                say(f"{indent}  {printable(_in_words(each))}")
        else:
            say(f"{indent}{printable(key):<{width}}  {printable(_in_words(value))}")


def _in_words(value: Any) -> str:
    """JSON types in one line: ``seed 7, kept yes``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        more = len(value) - _MOST
        rest = f" and {more} more (all of them with --json)" if more > 0 else ""
        return (", ".join(map(_in_words, value[:_MOST])) or "none") + rest
    return "none" if value is None else str(value)
