"""Clips of published data sets with their bags cut once: a step reads only what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from oddframe.experiments.splice import Clip
from oddframe.features.lazy import CropArray
from oddframe.training.config import TrainConfig
from oddframe.training.gather import Gathered, training_video
from oddframe.training.segmented import Tell, pre_segmented


def with_bags(
    clips: Sequence[Clip],
    found: Sequence[Gathered],
    config: TrainConfig,
    root: Path,
    tell: Tell | None = None,
) -> tuple[Clip, ...]:
    """The clips; those that are trained on and lie on disk have their bags, kept in the store.

    Args:
        clips: Of the videos.
        found: Their features, in the same order.
        config: Whose segments are cut.
        root: Of the store.
        tell: Called with (videos done, videos in all, what is done).

    Raises:
        InputError: features cannot be read.
        OddframeError: bags cannot be written.
    """
    views = tuple(config.training_views().values())
    trained = [
        i
        for i, each in enumerate(found)
        if each.video.part != "test"
        and all(isinstance(each.features[view].array, CropArray) for view in views)
    ]
    seen = [[found[i].features[view] for view in views] for i in trained]
    videos = [
        training_video(features, clips[i].abnormal)
        for i, features in zip(trained, seen, strict=True)
    ]
    digests = [found[i].sha256 for i in trained]
    n = config.full_recipe().segments
    cut = pre_segmented(videos, seen, digests, n, root, tell or _silent)
    bags = {i: video.bags for i, video in zip(trained, cut, strict=True)}
    return tuple(replace(clip, bags=bags.get(i)) for i, clip in enumerate(clips))


def _silent(done: int, total: int, what: str) -> None:
    """Nothing."""
