"""What a model file says of how it came about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from oddframe.features.formats.feature_file import content_digest
from oddframe.features.spec import FeatureSpec
from oddframe.modelfile import Model, short_digest
from oddframe.training.config import TrainConfig
from oddframe.training.data.features import VideoFeatures
from oddframe.training.search import SearchResult


def training_data_digest(videos: Sequence[VideoFeatures]) -> str:
    """Of the videos' contents, labels and masks, in any order."""
    lines = sorted(f"{each.sha256} {each.video.label}{_mask_digests(each)}\n" for each in videos)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def training_features_digest(videos: Sequence[VideoFeatures], specs: Iterable[FeatureSpec]) -> str:
    """Of all that a training sees of videos, in any order: labels and features.

    Features that are made of a video go by its content, its mask and their spec; of those that came
    with a data set, all are read.

    Raises:
        InputError: features cannot be read.
    """
    lines = sorted(
        f"{_content_digest(each)} {each.video.label}{_mask_digests(each)}\n" for each in videos
    )
    lines += [f"{spec.hash()}\n" for spec in specs]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _content_digest(each: VideoFeatures) -> str:
    if each.video.precomputed is None:  # ``sha256`` is of the whole file.
        return each.sha256
    return content_digest(next(iter(each.features.values())).array)


def _mask_digests(each: VideoFeatures) -> str:
    """A blank and the digest of its mask; "" where it has none."""
    return "".join(sorted({f" {f.spec.mask}" for f in each.features.values() if f.spec.mask}))


def make_card(
    data: str,
    config: TrainConfig,
    training: Sequence[VideoFeatures],
    held_out: Sequence[VideoFeatures],
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """The card of a model, as JSON types.

    Args:
        data: Name of the data set.
        config: What was trained.
        training: What it was trained on.
        held_out: What it was measured on.
        failed: Why videos could not be read, by path.
    """
    # What these videos are called where places are not looked for.
    own = sorted({each.video.fallback_group for each in held_out} - {""})
    return {
        "data": data,
        "training_videos": {
            "normal": sum(not each.video.abnormal for each in training),
            "abnormal": sum(each.video.abnormal for each in training),
        },
        "learned_from": sorted({short_digest(each.sha256) for each in training}),
        "left_out_groups": list(config.leave_out),
        "held_out_groups": sorted({each.video.group for each in held_out}),
        **({"held_out_own_groups": own} if own else {}),
        "held_out_videos": len(held_out),
        # Names only: a model that is handed on should not tell where its maker keeps videos.
        "left_out": {Path(p).name: why.replace(p, Path(p).name) for p, why in failed.items()},
        "limits": config.limits,
        "configuration": config.model_dump(mode="json"),
    }


def pretrained_entry(pretrained: Model) -> dict[str, Any]:
    """Which model training went on from."""
    return {"started_from": {"name": pretrained.name, "sha256": pretrained.sha256}}


def search_entry(found: SearchResult) -> dict[str, Any]:
    """What was searched, and what each setting gave."""
    return {
        "search": {
            "figure": found.figure,
            "tried": [
                {**asdict(t.setting), "fold": t.fold + 1, "figure": t.figure} for t in found.trials
            ],
            "left_out": [
                {**asdict(each.setting), "fold": each.fold + 1, "reason": each.reason}
                for each in found.left_out
            ],
            "chosen": asdict(found.chosen),
        }
    }


def seeds_entry(figure: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Every seed's figures, and the mean and sample deviation of those on held-out videos."""
    return {
        "seeds": {
            "chosen_by": figure,
            "runs": [dict(run, metrics=dict(run["metrics"])) for run in runs],
            "mean_and_deviation": {
                name: list(values)
                for name, values in mean_and_deviation([r["metrics"] for r in runs]).items()
            },
        }
    }


def mean_and_deviation(metrics: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Mean and sample deviation of each figure over several trainings, at least two."""
    names = [name for name in metrics[0] if all(name in each for each in metrics)]
    values = {name: np.array([each[name] for each in metrics]) for name in names}
    return {name: (float(v.mean()), float(v.std(ddof=1))) for name, v in values.items()}
