"""``oddframe info``: describe a video, a feature file or a model."""

from __future__ import annotations

import os
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from oddframe._utils.files import exists, open_regular_file
from oddframe.cli import options as opt
from oddframe.cli.console import print_answer, print_json, printable
from oddframe.errors import InputError
from oddframe.outputs.text import format_count, format_duration

# Items of a list that are shown: a model card lists every training video.
_MAX_ITEMS = 12
# Widths of the summary: of a label, and of a line.
_LABEL, _WIDTH = 14, 100
_FIGURES = {
    "video_auc": "AUC of whole videos: how often an abnormal one scores above a normal one",
    "video_accuracy": "share of whole videos that are right at the threshold",
    "frame_auc": "AUC of frames, with videos joined to longer ones",
    "frame_ap": "AP of frames, likewise",
}


def info(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A video, a feature file, or a model.")
    ],
    memory: opt.MemoryOption = None,
    patience: opt.PatienceOption = opt.DEFAULT_PATIENCE_S,
    as_json: opt.JsonOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Describe a video, a feature file or a model.

    For a model first a summary: what it detects, what it was trained on, its metrics and what its
    threshold means; then everything in its file.
    """
    facts = _describe(file)
    if as_json:
        print_json(facts)
        return
    if facts["kind"] == "model":
        for line in _model_summary(facts):
            print_answer(printable(line))
        print_answer()
        print_answer("Everything in the file:")
    for key in ("duration_s", "gap_s"):
        if seconds := facts.get(key):
            facts[key] = f"{seconds:.2f} ({format_duration(seconds)})"
    _print_facts(facts)


def _describe(file: str) -> dict[str, Any]:
    """Facts about a file as JSON types; ``kind`` is ``video``, ``features`` or ``model``."""
    from oddframe.modelfile import shipped_models

    path = Path(file)
    if path.suffix == ".npy":
        return _features(file)
    if path.suffix == ".safetensors" and exists(path):
        return _features(file) if _holds_features(path) else _model(file)
    if path.suffix == ".safetensors":
        raise InputError(f"{file}: no such file")
    if not exists(path) and file in shipped_models():
        return _model(file)
    from oddframe.video.decoding.probe import probe

    return {"kind": "video", **asdict(probe(path)), "path": str(path)}


def _model(file: str) -> dict[str, Any]:
    from oddframe.modelfile import load_model

    model = load_model(file, light=True)
    profiles = {
        name: {"rule": asdict(profile.rule), "spec": profile.spec.to_dict()}
        for name, profile in model.profiles.items()
    }
    return {
        "kind": "model",
        "file": file,
        "name": model.name,
        "finds": model.detects,
        "method": model.method,
        "parameters": model.network.count_parameters(),
        "metrics": dict(model.metrics),
        "card": dict(model.card),
        "training_data": model.training_data,
        "oddframe": model.version,
        "sha256": model.sha256,
        "config": model.config.model_dump(mode="json"),
        "profiles": profiles,
    }


def _model_summary(facts: dict[str, Any]) -> list[str]:
    sections = {
        "detects": [facts["finds"]],
        "trained on": _training_data(facts),
        "metrics": _metrics(facts),
        "threshold": _threshold(facts),
        "profiles": _profiles(facts),
        "limits": [facts["card"].get("limits", "")],
        "usage": [f"oddframe score VIDEO --model {facts['file']}"],
    }
    wrapper = textwrap.TextWrapper(_WIDTH - _LABEL, break_long_words=False, break_on_hyphens=False)
    lines = []
    for label, texts in sections.items():
        for text in texts:
            # Rows of the table keep their columns, and the command can be copied.
            unbroken = "  " in text or label == "usage"
            for line in [text] if unbroken else wrapper.wrap(text):
                lines.append(f"{label:<{_LABEL}}{line}")
                label = ""
    return lines


def _training_data(facts: dict[str, Any]) -> list[str]:
    card = facts["card"]
    if "imported_from" in card:
        return [f"a published checkpoint, {card['imported_from']['file']}"]
    count = card.get("training_videos")
    if not count:
        return ["not stated in the file"]
    text = f"{count['abnormal']} abnormal and {count['normal']} normal videos"
    if started := card.get("started_from"):
        how = "a correction of" if card.get("corrections") else "starting from"
        text += f", {how} the model '{started['name']}'"
    return [f"{text} (data set '{card['data']}', method {facts['method']})"]


def _metrics(facts: dict[str, Any]) -> list[str]:
    card, metrics = facts["card"], facts["metrics"]
    names = [name for name in _FIGURES if name in metrics]
    if not names:
        return [f"not measured; oddframe evaluate {facts['file']} DATA measures them"]
    groups = format_count(len(card.get("held_out_groups", ())), "group")
    profiles = {"best": "", **({"fast": "fast_"} if f"fast_{names[0]}" in metrics else {})}
    columns = "  ".join(f"{name:>5}" for name in profiles)
    videos = format_count(card.get("held_out_videos", 0), "video")
    lines = [
        f"on {videos} of {groups} (recordings, cameras) that it was not trained on:",
        f"{columns}  profile",
    ]
    for name in names:
        values = (metrics.get(prefix + name) for prefix in profiles.values())
        cells = "  ".join(f"{'-' if value is None else f'{value:.3f}':>5}" for value in values)
        lines.append(f"{cells}  {_FIGURES[name]}")
    return lines


def _threshold(facts: dict[str, Any]) -> list[str]:
    rule, card = facts["profiles"]["best"]["rule"], facts["card"]
    mean = f", its mean over {rule['smooth_s']:g} s," if rule["smooth_s"] else ""
    lines = [
        f"{rule['threshold']:.3g}: an event begins where the score (0 to 1){mean} reaches it, and "
        f"ends where it falls below {rule['release']:.3g}",
        _threshold_origin(card),
    ]
    if mask := _mask(facts, "best"):
        lines.append(mask)
    if cameras := card.get("thresholds", {}).get("best"):
        lines.append(f"cameras with their own threshold: {_format_value(cameras)}")
    lines.append(
        "score --threshold takes another one: a higher one gives fewer events and fewer false "
        "alarms; oddframe calibrate sets it by the false alarms on your cameras"
    )
    return lines


def _mask(facts: dict[str, Any], profile: str) -> str:
    """The masks that the thresholds of a profile were set with; "": none."""
    if by_camera := facts["card"].get("masks", {}).get(profile):
        masks = ", ".join(f"{camera} {digest or 'none'}" for camera, digest in by_camera.items())
        return f"set with a mask for each camera: {masks}"
    mask = facts["profiles"][profile]["spec"].get("mask", "")
    return f"set with the mask {mask}: use the same with --mask" if mask else ""


def _threshold_origin(card: dict[str, Any]) -> str:
    """How the threshold of ``best`` was set."""
    from oddframe.outputs.pages.evaluation_text import format_hours, format_rate

    if calibrated := card.get("calibration_best"):
        low, high = calibrated["per_hour_95"]
        video = (
            f"{format_hours(calibrated['hours'])} of normal video: "
            f"{format_count(calibrated['false_alarms'], 'false alarm')}, with 95 % confidence "
            f"{format_rate(low)} to {format_rate(high)} an hour"
        )
        if calibrated.get("kept"):
            return f"unchanged: too little video to lower it; calibrated on {video}"
        return f"calibrated on {video}"
    fixed = card.get("configuration", {}).get("events", {}).get("threshold")
    if fixed is not None:
        return "fixed by the training configuration"
    found = card.get("threshold_best", {})
    if "normal_minutes" not in found:
        return f"set on {found['on']}" if "on" in found else "not set on video"
    minutes = f"{found['normal_minutes']:.1f} minutes of normal video ({found['on']})"
    origins = {
        "videos": f"set so that most held-out videos are right; {minutes} are too little to "
        "measure a rate of false alarms",
        "model": f"the threshold of the model that training started from; {minutes} are too "
        "little for a new one",
        "half": f"{minutes} are too little to set it by a rate of false alarms",
    }
    return origins.get(
        found.get("set_by", ""), f"set on {minutes}: {found['false_alarms']} false alarms in it"
    )


def _profiles(facts: dict[str, Any]) -> list[str]:
    lines = [f"best, the default: {_coverage(facts['profiles']['best']['spec'])}"]
    if fast := facts["profiles"].get("fast"):
        lines.append(
            f"fast: {_coverage(fast['spec'])}; it is faster, and misses more short events; its "
            f"threshold is {fast['rule']['threshold']:.3g}"
        )
        if mask := _mask(facts, "fast"):
            lines[-1] += f", {mask}"
    return lines


def _coverage(spec: dict[str, Any]) -> str:
    stride, snippet, rate = spec["stride"], spec["snippet_frames"], spec["rate"]
    if stride <= snippet:
        return "reads all frames"
    every = f"{stride / rate:.3g} s" if rate else f"{stride} frames"
    return f"reads {snippet} frames every {every}"


def _features(file: str) -> dict[str, Any]:
    from oddframe.features.formats.feature_file import read_any_features

    features = read_any_features(Path(file))
    crops, snippets, dim = features.array.shape
    about = {"kind": "features", "file": file, "crops": crops, "snippets": snippets, "dim": dim}
    about["type"] = str(features.array.dtype)
    if file.endswith(".npy"):  # It has no metadata about the video or the backbone.
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
    from oddframe._utils.parsing import read_tensor_header
    from oddframe.features.formats.feature_file import FILE_KIND, METADATA_KEY

    with open_regular_file(path) as file:
        try:
            _, metadata = read_tensor_header(file, os.fstat(file.fileno()).st_size)
        except (OSError, ValueError):  # ``load_model`` reports what is wrong.
            return False
    return f'"{FILE_KIND}"' in metadata.get(METADATA_KEY, "")


def _print_facts(facts: dict[str, Any], indent: str = "") -> None:
    width = max(len(key) for key in facts)
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            print_answer(f"{indent}{printable(key)}")
            _print_facts(value, indent + "  ")
        elif isinstance(value, list | tuple) and any(isinstance(each, dict) for each in value):
            print_answer(f"{indent}{printable(key)}")
            for each in value:
                print_answer(f"{indent}  {printable(_format_value(each))}")
        else:
            print_answer(f"{indent}{printable(key):<{width}}  {printable(_format_value(value))}")


def _format_value(value: Any) -> str:
    """JSON types as one line: ``seed 7, kept yes``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_format_value(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        more = len(value) - _MAX_ITEMS
        rest = f" and {more} more (all of them with --json)" if more > 0 else ""
        return (", ".join(map(_format_value, value[:_MAX_ITEMS])) or "none") + rest
    return "none" if value is None else str(value)
