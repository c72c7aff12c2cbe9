"""The card of a model: the entries of a model file that say how the model was trained."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oddframe.features.formats.feature_file import content_digest
from oddframe.features.spec import FeatureSpec
from oddframe.modelfile import Model, short_digest
from oddframe.training.config import TrainConfig
from oddframe.training.data.features import VideoFeatures


def training_data_digest(videos: Sequence[VideoFeatures]) -> str:
    """Digest of the videos' contents, labels and masks, whatever their order."""
    lines = sorted(f"{each.sha256} {each.video.label}{_mask_digests(each)}\n" for each in videos)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def training_features_digest(videos: Sequence[VideoFeatures], specs: Iterable[FeatureSpec]) -> str:
    """Digest of labels and features of training videos, whatever their order.

    Extracted features are represented by the video's content, its mask and the specs. Features that
    came with a data set are read and digested.

    Raises:
        InputError: features cannot be read.
    """
    lines = sorted(
        f"{_content_digest(each)} {each.video.label}{_mask_digests(each)}\n" for each in videos
    )
    lines += [f"{spec.hash()}\n" for spec in specs]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _content_digest(each: VideoFeatures) -> str:
    if each.video.precomputed is None:  # ``sha256`` is a digest of the whole file.
        return each.sha256
    return content_digest(next(iter(each.features.values())).array)


def _mask_digests(each: VideoFeatures) -> str:
    """A space and the digest of the video's mask; "" where it has none."""
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
        config: The configuration of the training.
        training: Videos that it was trained on.
        held_out: Videos that it was measured on.
        failed: Why videos could not be read, by path.
    """
    # The groups that these videos have where they are not grouped by scene.
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
        # File names only: the card of a shared model should not show the folders of its author.
        "left_out": {Path(p).name: why.replace(p, Path(p).name) for p, why in failed.items()},
        "limits": config.limits,
        "configuration": config.model_dump(mode="json"),
    }


def pretrained_entry(pretrained: Model) -> dict[str, Any]:
    """The entry that names the model which training started from."""
    return {"started_from": {"name": pretrained.name, "sha256": pretrained.sha256}}


def seeds_entry(figure: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The entry with every seed's metrics, and their mean and sample deviation."""
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
    """Mean and sample deviation of each metric over at least two trainings."""
    names = [name for name in metrics[0] if all(name in each for each in metrics)]
    values = {name: np.array([each[name] for each in metrics]) for name in names}
    return {name: (float(v.mean()), float(v.std(ddof=1))) for name, v in values.items()}
