"""Decodes one video and computes its features, of one or several backbones, in one pass.

A visual encoder gets snippets of the picture as they are decoded. An audio encoder gives one
feature a snippet, from a window of sound that ends where the snippet ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from oddframe.backbones.base import AudioEncoder, Backbone
from oddframe.backbones.registry import get_backbones
from oddframe.errors import InputError, UsageError
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.features.formats.npy import is_finite
from oddframe.features.lazy_array import AnyFeatures, CropArray
from oddframe.features.spec import Features, FeatureSpec
from oddframe.timeline import Timebase
from oddframe.video.audio import AudioExtent, Samples, audio_windows
from oddframe.video.frame import FrameSource
from oddframe.video.mask import Mask, mask_digest
from oddframe.video.snippets.preprocessing import Preprocessing
from oddframe.video.snippets.reader import MultiSnippetReader

# Called with (snippets done, snippets expected or None).
SnippetProgress = Callable[[int, int | None], None]

_AUDIO_BATCH = 16
# A sound track that ends so much before or after the picture gets a note: encoders pad by less.
_MAX_MISMATCH_S = 0.5


@dataclass(frozen=True)
class ExtractionTask:
    """One kind of features to compute from a video.

    Attributes:
        spec: The features. Its precision and mask are replaced by those of ``backbone`` and of the
            call.
        partial: Where visual features are saved while the extraction runs, so that it can be
            resumed. Audio features are quick to compute and are not saved.
        on_disk: Leave the features in the folder of ``partial`` until it is discarded, so that
            memory does not grow with the video. Ignored for a backbone with an audio encoder.
    """

    spec: FeatureSpec
    backbone: Backbone
    partial: PartialFeatures | None = None
    on_disk: bool = False


@dataclass(frozen=True)
class Extraction:
    """Features (C, T, D) float32 of one video, and what to tell the user about it."""

    features: Features
    damaged_packets: int  # Of the video stream; they could not be decoded.
    notes: tuple[str, ...] = ()  # Such as a missing sound track.
    mended_frames: int = 0  # Decoded with errors and used.


def extract_video(
    source: FrameSource,
    spec: FeatureSpec,
    backbone: Backbone,
    *,
    mask: Mask | None = None,
    progress: SnippetProgress | None = None,
    partial: PartialFeatures | None = None,
    heat: bool = False,
) -> Extraction:
    """Compute one kind of features (C, T, D), float32, of a video; see ``extract_tasks``."""
    tasks = [ExtractionTask(spec, backbone, partial)]
    (extraction,) = extract_tasks(source, tasks, mask=mask, progress=progress, heat=heat)
    return extraction


def extract_tasks(
    source: FrameSource,
    tasks: Sequence[ExtractionTask],
    *,
    mask: Mask | None = None,
    progress: SnippetProgress | None = None,
    heat: bool = False,
) -> tuple[Extraction, ...]:
    """Compute several kinds of features of one video, which is decoded once.

    Tasks with the same preprocessing share the snippets. Features that an earlier run saved in the
    ``partial`` of a task are not computed again. ``heat``: also find where something moves, which
    files of features do not hold. UsageError if a spec names another backbone than its task has;
    InputError if the video cannot be decoded, or a feature is not finite.
    """
    runners = [_TaskRunner(task, source, mask_digest(mask)) for task in tasks]
    preprocessings = list(dict.fromkeys(runner.preprocessing for runner in runners))
    reader = MultiSnippetReader(source, preprocessings, mask, heat)
    expected = reader.expected_snippets
    for done, (which, snippet) in enumerate(reader, start=1):
        for runner in runners:
            if runner.preprocessing == preprocessings[which]:
                runner.add(snippet)
        if progress is not None:
            progress(done, expected and max(done, expected))
    return tuple(r.finish(reader, preprocessings.index(r.preprocessing)) for r in runners)


class _TaskRunner:
    """Computes the features of one task as the snippets come."""

    def __init__(self, task: ExtractionTask, source: FrameSource, mask: str) -> None:
        backbone, self._partial, self._source = task.backbone, task.partial, source
        mask = mask if backbone.visual_encoders else ""
        self._spec = replace(task.spec, precision=backbone.runtime.precision, mask=mask)
        if differences := backbone_spec(backbone, task.spec).differences(self._spec):
            raise UsageError(f"these features need another backbone: {'; '.join(differences)}")
        self.preprocessing = self._spec.preprocessing
        self._backbone = backbone
        self._shape = (len(self._spec.crops), backbone.visual_dim)
        self._on_disk = task.on_disk and task.partial is not None and not backbone.audio_encoders
        self._computed: list[NDArray[np.float32]] = [np.zeros((0, *self._shape), np.float32)]
        self._skip = 0  # Snippets to come whose features an earlier run has computed.
        if self._partial is not None and backbone.visual_encoders:
            self._skip = self._partial.count_rows(*self._shape)
            if not self._on_disk:
                self._computed.append(self._partial.load(*self._shape))
        self._waiting: list[NDArray[np.uint8]] = []
        # A power of two divides a chunk of ``partial``: a resumed extraction then has the same
        # batches as one that was never stopped, and so the same last digits.
        fit = max(1, backbone.batch_size // self._shape[0])
        self._batch_size = 1 << (fit.bit_length() - 1)

    def add(self, snippet: NDArray[np.uint8]) -> None:
        """Take the next snippet (C, frames, h, w, 3)."""
        if self._skip > 0:
            self._skip -= 1
            return
        self._waiting.append(snippet)
        if len(self._waiting) >= self._batch_size:
            self._run_batch()

    def finish(self, reader: MultiSnippetReader, number: int) -> Extraction:
        """All features, after the last snippet; ``number`` of the reader's preprocessings."""
        if self._waiting:
            self._run_batch()
        timebase = reader.timebases[number]
        notes = [gap_note(timebase)] if timebase.gaps else []
        arrays: list[AnyFeatures] = [self._visual()] if self._backbone.visual_encoders else []
        for encoder in self._backbone.audio_encoders:
            audio, note = encode_sound(self._source, timebase, encoder)
            _check_finite(audio, self._source)
            arrays.append(np.repeat(audio[None], self._shape[0], axis=0))
            notes += [note] if note else []
        array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=2)
        return Extraction(
            Features(array, self._spec, timebase, reader.boxes[number], reader.heat[number]),
            self._source.damaged_packets,
            tuple(dict.fromkeys(notes)),
            self._source.mended_frames,
        )

    def _visual(self) -> NDArray[np.float32] | CropArray:
        """(C, T, D) of the visual encoders."""
        if self._on_disk and self._partial is not None:
            return self._partial.finish(*self._shape)
        return np.ascontiguousarray(np.concatenate(self._computed).swapaxes(0, 1))

    def _run_batch(self) -> None:
        stacked = np.concatenate(self._waiting)  # (snippets x crops, frames, height, width, 3)
        rows = self._backbone(stacked)
        if len(rows) != len(self._waiting) * self._shape[0]:  # OpenVINO when memory is short.
            raise MemoryError
        rows = rows.reshape(len(self._waiting), *self._shape)
        self._waiting = []
        _check_finite(rows, self._source)
        if not self._on_disk:
            self._computed.append(rows)
        if self._partial is not None:
            self._partial.add(rows)


def _check_finite(features: NDArray[np.float32], source: FrameSource) -> None:
    if not is_finite(features):
        raise InputError(f"{source.name}: the backbone gave a feature that is not a number")


def gap_note(timebase: Timebase) -> str:
    """A note on the gaps in a video's time stamps."""
    starts, ends = timebase.gap_times.T
    first, longest = (timedelta(seconds=round(s)) for s in (starts[0], (ends - starts).max()))
    if len(starts) == 1:
        return f"its time stamps jump by {longest} at {first}; no scores in between"
    return (
        f"its time stamps jump {len(starts)} times, by up to {longest} and first at {first}; "
        "no scores in between"
    )


def encode_sound(
    source: FrameSource, timebase: Timebase, encoder: AudioEncoder
) -> tuple[NDArray[np.float32], str | None]:
    """Features (T, D) of a video's sound, and a note if sound and picture differ in length.

    Each window ends with its snippet. Missing sound counts as silence; sound after the last frame
    is not read.
    """
    extent = AudioExtent(False, 0.0)

    def windows() -> Iterator[Samples]:
        nonlocal extent
        ends_s = timebase.snippet_times()[:, 1]
        extent = yield from source.run(audio_windows, encoder.rate, ends_s, encoder.window)

    remaining = windows()
    rows: list[NDArray[np.float32]] = []
    while batch := list(islice(remaining, _AUDIO_BATCH)):
        rows.append(_encode_windows(np.stack(batch), encoder))
    return np.concatenate(rows), _sound_note(extent, timebase)


def _encode_windows(windows: NDArray[np.float32], encoder: AudioEncoder) -> NDArray[np.float32]:
    """(N, samples) -> (N, D). Silent windows are common and are encoded only once."""
    silent = ~windows.any(axis=1)
    chosen = np.flatnonzero(~silent)
    if silent.any():
        chosen = np.append(chosen, silent.argmax())
    encoded: NDArray[np.float32] = encoder.encode(windows[chosen])
    index = np.cumsum(~silent) - 1
    index[silent] = len(encoded) - 1
    return np.asarray(encoded[index])


def _sound_note(extent: AudioExtent, timebase: Timebase) -> str | None:
    if not extent.present:
        return "no sound: silence in its place"
    missing_s = timebase.end_s - extent.end_s
    if missing_s > _MAX_MISMATCH_S:
        return f"the sound ends {missing_s:.1f} s before the picture: silence from there on"
    if missing_s < -_MAX_MISMATCH_S:
        return "the sound is longer than the picture: the rest is ignored"
    return None


@dataclass(frozen=True)
class SpecTemplate:
    """The spec of one backbone's features, before its weights and precision are known.

    A store keeps the features of each backbone apart, so that picture and sound are computed once
    whether they are asked for together (``i3d+aisfx``) or alone.
    """

    backbone: str
    preprocessing: Preprocessing
    mask: str = ""

    def spec(self, precision: str) -> FeatureSpec:
        """The spec, with visual encoders that compute in ``precision``; see ``make_spec``."""
        return make_spec(self.backbone, self.preprocessing, precision, self.mask)


def spec_templates(
    backbones: str, preprocessing: Preprocessing, mask: str = ""
) -> tuple[SpecTemplate, ...]:
    """One template for each backbone of ``i3d+aisfx``, in order."""
    audio = preprocessing.without_picture()
    named = zip(backbones.split("+"), get_backbones(backbones), strict=True)
    return tuple(
        SpecTemplate(name, audio) if spec.is_audio else SpecTemplate(name, preprocessing, mask)
        for name, spec in named
    )


def make_spec(
    names: str,
    preprocessing: Preprocessing | None = None,
    precision: str = "float32",
    mask: str = "",
) -> FeatureSpec:
    """The spec of backbones that are not loaded, one or several (``i3d+aisfx``).

    Default of ``preprocessing``: that of the first backbone. Audio encoders always compute in
    float32. InputError if the user has to download the weights first.
    """
    backbones = get_backbones(names)
    preprocessing = preprocessing or backbones[0].preprocessing
    visual = any(not backbone.is_audio for backbone in backbones)
    return _spec(
        "+".join(backbone.name for backbone in backbones),
        "+".join(backbone.hash_weights() for backbone in backbones),
        sum(backbone.dim for backbone in backbones),
        precision if visual else "float32",
        preprocessing if visual else preprocessing.without_picture(),
        mask if visual else "",
    )


def backbone_spec(backbone: Backbone, preprocessing: Preprocessing) -> FeatureSpec:
    """The spec of the features that a loaded backbone computes, without a mask."""
    return _spec(
        backbone.name,
        backbone.weights_sha256,
        backbone.dim,
        backbone.runtime.precision,
        preprocessing if backbone.visual_encoders else preprocessing.without_picture(),
    )


def _spec(
    name: str, sha256: str, dim: int, precision: str, preprocessing: Preprocessing, mask: str = ""
) -> FeatureSpec:
    return FeatureSpec(
        **{field: getattr(preprocessing, field) for field in Preprocessing.__dataclass_fields__},
        backbone=name,
        weights_sha256=sha256,
        dim=dim,
        precision=precision,
        mask=mask,
    )
