"""A video in, its features out: decoding on one thread, the backbone on the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from oddframe.backbones.registry import Backbone
from oddframe.errors import InputError, UsageError
from oddframe.features.partial import Partial
from oddframe.features.spec import Features, FeatureSpec
from oddframe.video.mask import Mask
from oddframe.video.preprocessing import Preprocessing
from oddframe.video.snippets import SnippetReader
from oddframe.video.source import FrameSource

# Called with (snippets done, snippets expected or None).
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Extraction:
    """Features of one video, and how many of its packets could not be decoded."""

    features: Features
    damaged_packets: int


def spec_for(backbone: Backbone, how: Preprocessing) -> FeatureSpec:
    """The spec of what ``backbone`` makes of videos that are cut as ``how`` says."""
    return FeatureSpec(
        **{name: getattr(how, name) for name in Preprocessing.__dataclass_fields__},
        backbone=backbone.name,
        weights_sha256=backbone.weights_sha256,
        dim=backbone.dim,
        precision=backbone.choice.precision,
    )


def extract(
    source: FrameSource,
    spec: FeatureSpec,
    backbone: Backbone,
    *,
    mask: Mask | None = None,
    progress: Progress | None = None,
    partial: Partial | None = None,
) -> Extraction:
    """Features (C, T, D) of a video, float32.

    The spec's ``precision`` is that of the backbone, whatever it said. What ``partial`` holds from
    an earlier run on the same video and spec is taken from there, and what comes new is kept in it.

    Raises:
        UsageError: ``spec`` asks for another backbone than this one.
        InputError: the video cannot be decoded, or a feature is not finite.
    """
    made = replace(spec, precision=backbone.choice.precision)
    if differences := spec_for(backbone, spec).differences(made):
        raise UsageError(f"these features need another backbone: {'; '.join(differences)}")
    reader = SnippetReader(source, spec, mask)
    crops = len(spec.crops)
    known = partial.load(crops, backbone.dim) if partial else np.zeros((0, crops, backbone.dim))
    rows: list[NDArray[np.float32]] = [known.astype(np.float32)]
    done = len(known)
    for batch in _batched(islice(reader, done, None), max(1, backbone.batch // crops)):
        stacked = np.concatenate(batch)  # (snippets x crops, frames, height, width, 3)
        features = backbone(stacked).reshape(len(batch), crops, backbone.dim)
        rows.append(features)
        done += len(batch)
        if partial is not None:
            partial.add(features)
        if progress is not None:
            progress(done, reader.expected_snippets)
    array = np.ascontiguousarray(np.concatenate(rows).swapaxes(0, 1))
    if not np.isfinite(array).all():
        raise InputError(f"{source.name}: the backbone gave a feature that is not a number")
    return Extraction(Features(array, made, reader.timebase), reader.damaged_packets)


def _batched(items: Iterable[NDArray[np.uint8]], size: int) -> Iterator[list[NDArray[np.uint8]]]:
    batch: list[NDArray[np.uint8]] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
