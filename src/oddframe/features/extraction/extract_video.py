"""A video in, its features out: decoding on one thread, the backbones on the others.

The sound of a video -> one feature a snippet, its window ending where the snippet ends.

What is kept apart in a store: each backbone's features, whatever they are asked for with.

So picture and sound are made once, whether they are wanted together or alone.
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
from oddframe.video.snippets.reader import MultiSnippetReader
from oddframe.video.snippets.transforms import Preprocessing

_BATCH = 16
# Sound that ends so much before or after the picture is worth a word: encoders pad by less.
_MAX_MISMATCH_S = 0.5


def encode_sound(
    source: FrameSource, timebase: Timebase, ear: AudioEncoder
) -> tuple[NDArray[np.float32], str | None]:
    """Features (T, D) of a video's sound, and what a reader should know about it.

    Where there is no sound, or it ends before the picture, there is silence; what comes after the
    picture is not listened to. No window looks ahead of its snippet.

    Raises:
        InputError: the file cannot be opened.
    """
    heard = AudioExtent(False, 0.0)

    def windows() -> Iterator[Samples]:
        nonlocal heard
        ends_s = timebase.snippet_times()[:, 1]
        heard = yield from source.run(audio_windows, ear.rate, ends_s, ear.window)

    listened = windows()
    rows: list[NDArray[np.float32]] = []
    while batch := list(islice(listened, _BATCH)):
        rows.append(_encode_windows(np.stack(batch), ear))
    return np.concatenate(rows), _sound_note(heard, timebase)


def _encode_windows(windows: NDArray[np.float32], ear: AudioEncoder) -> NDArray[np.float32]:
    """(N, samples) -> (N, D); silence, of which there is often much, is worked out once."""
    quiet = ~windows.any(axis=1)
    chosen = np.flatnonzero(~quiet)
    if quiet.any():
        chosen = np.append(chosen, quiet.argmax())
    made: NDArray[np.float32] = ear.encode(windows[chosen])
    which = np.cumsum(~quiet) - 1
    which[quiet] = len(made) - 1
    return np.asarray(made[which])


def _sound_note(heard: AudioExtent, timebase: Timebase) -> str | None:
    if not heard.present:
        return "no sound: silence in its place"
    short_s = timebase.end_s - heard.end_s
    if short_s > _MAX_MISMATCH_S:
        return f"the sound ends {short_s:.1f} s before the picture: silence from there on"
    if short_s < -_MAX_MISMATCH_S:
        return "the sound goes on after the picture: the rest is not listened to"
    return None


# Called with (snippets done, snippets expected or None).
ProgressCallback = Callable[[int, int | None], None]


@dataclass(frozen=True)
class ExtractionTask:
    """Features that are wanted of a video.

    Attributes:
        spec: How the video is cut, and what looks at it.
        backbone: What ``spec`` asks for, loaded; its precision is taken, whatever ``spec`` said,
            and so is the mask of the extraction.
        partial: Where an unfinished extraction is kept, and taken up again. It holds what looks at
            the picture; sound is quickly listened to again.
        on_disk: Leave the features in the folder of ``partial`` until they are discarded there, so
            that memory does not grow with the video; not where something listens.
    """

    spec: FeatureSpec
    backbone: Backbone
    partial: PartialFeatures | None = None
    on_disk: bool = False


@dataclass(frozen=True)
class Extraction:
    """Features of one video.

    Attributes:
        features: (C, T, D) float32; on disk where the task said so.
        damaged_packets: Packets of the picture that gave none.
        notes: What a reader should know: that there was no sound, say.
        mended_frames: Frames that were decoded with errors and are used.
    """

    features: Features
    damaged_packets: int
    notes: tuple[str, ...] = ()
    mended_frames: int = 0


def backbone_spec(backbone: Backbone, preprocessing: Preprocessing) -> FeatureSpec:
    """The spec of what ``backbone`` makes of videos that are cut as ``how`` says."""
    return _spec(
        backbone.name,
        backbone.weights_sha256,
        backbone.dim,
        backbone.runtime.precision,
        preprocessing if backbone.visual_encoders else preprocessing.without_picture(),
    )


def make_spec(
    names: str,
    preprocessing: Preprocessing | None = None,
    precision: str = "float32",
    mask: str = "",
) -> FeatureSpec:
    """The spec of what backbones make, known before they are loaded.

    Args:
        names: Of the backbone, or of several: ``i3d+aisfx``.
        preprocessing: How videos are cut; None: as suits the first backbone.
        precision: What the networks that look compute in; those that listen: float32.
        mask: Digest of the mask over the picture; "": none.

    Raises:
        UsageError: no such backbone.
        InputError: its weights are the user's to get, and are not there.
    """
    kinds = get_backbones(names)
    preprocessing = preprocessing or kinds[0].preprocessing
    looks = any(not kind.is_audio for kind in kinds)
    return _spec(
        "+".join(kind.name for kind in kinds),
        "+".join(kind.sha256(kind.weights()) for kind in kinds),
        sum(kind.dim for kind in kinds),
        precision if looks else "float32",
        preprocessing if looks else preprocessing.without_picture(),
        mask if looks else "",
    )


def extract_video(
    source: FrameSource,
    spec: FeatureSpec,
    backbone: Backbone,
    *,
    mask: Mask | None = None,
    progress: ProgressCallback | None = None,
    partial: PartialFeatures | None = None,
) -> Extraction:
    """Features (C, T, D) of a video, float32; arguments and errors as of ``ExtractionTask``,
    ``extract_tasks``.

    Raises:
        UsageError: ``spec`` asks for another backbone than this one.
        InputError: the video cannot be decoded, or a feature is not finite.
    """
    tasks = [ExtractionTask(spec, backbone, partial)]
    (made,) = extract_tasks(source, tasks, mask=mask, progress=progress)
    return made


def extract_tasks(
    source: FrameSource,
    tasks: Sequence[ExtractionTask],
    *,
    mask: Mask | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[Extraction, ...]:
    """Several kinds of features of one video, which is decoded once for all of them.

    What the partial of a task holds from an earlier run on the same video and spec is taken from
    there, and what comes new is kept in it.

    Args:
        source: The video.
        tasks: What is wanted; those that cut the video alike share the snippets.
        mask: Parts of the picture to ignore.
        progress: Is told of every snippet.

    Raises:
        UsageError: a spec asks for another backbone than its task has.
        InputError: the video cannot be decoded, or a feature is not finite.
    """
    rows = [_TaskRunner(task, source, mask_digest(mask)) for task in tasks]
    hows = list(dict.fromkeys(each.preprocessing for each in rows))
    reading = MultiSnippetReader(source, hows, mask)
    expected = reading.expected_snippets
    for done, (which, snippet) in enumerate(reading, start=1):
        for each in rows:
            if each.preprocessing == hows[which]:
                each.add(snippet)
        if progress is not None:
            progress(done, expected and max(done, expected))
    times = dict(zip(hows, reading.timebases, strict=True))
    return tuple(each.finished(times[each.preprocessing], reading) for each in rows)


class _TaskRunner:
    """Features of one task, made as the snippets come."""

    def __init__(self, task: ExtractionTask, source: FrameSource, mask: str) -> None:
        backbone, self._partial, self._source = task.backbone, task.partial, source
        seen = mask if backbone.visual_encoders else ""
        self._spec = replace(task.spec, precision=backbone.runtime.precision, mask=seen)
        if differences := backbone_spec(backbone, task.spec).differences(self._spec):
            raise UsageError(f"these features need another backbone: {'; '.join(differences)}")
        self.preprocessing = self._spec.preprocessing
        self._backbone = backbone
        self._shape = (len(self._spec.crops), backbone.visual_dim)
        self._on_disk = task.on_disk and task.partial is not None and not backbone.audio_encoders
        self._made: list[NDArray[np.float32]] = [np.zeros((0, *self._shape), np.float32)]
        self._known = 0  # Snippets that an earlier run has looked at and that are still to come.
        if self._partial is not None and backbone.visual_encoders:
            self._known = self._partial.known(*self._shape)
            if not self._on_disk:
                self._made.append(self._partial.load(*self._shape))
        self._waiting: list[NDArray[np.uint8]] = []
        # A power of two: of an extraction that goes on at a whole chunk, all batches are those of
        # one that was never stopped, and so are their last digits.
        fit = max(1, backbone.batch_size // self._shape[0])
        self._at_once = 1 << (fit.bit_length() - 1)

    def add(self, snippet: NDArray[np.uint8]) -> None:
        """The next snippet (C, frames, h, w, 3)."""
        if self._known > 0:
            self._known -= 1
            return
        self._waiting.append(snippet)
        if len(self._waiting) >= self._at_once:
            self._run()

    def finished(self, time: Timebase, reading: MultiSnippetReader) -> Extraction:
        """All of it, now that the last snippet is there."""
        source = self._source
        if self._waiting:
            self._run()
        notes = [gap_note(time)] if time.gaps else []
        arrays: list[AnyFeatures] = [self._seen()] if self._backbone.visual_encoders else []
        for ear in self._backbone.audio_encoders:
            heard, note = encode_sound(source, time, ear)
            _check_finite(heard, source)
            arrays.append(np.repeat(heard[None], self._shape[0], axis=0))
            notes += [note] if note else []
        array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=2)
        features = Features(array, self._spec, time)
        told = tuple(dict.fromkeys(notes))
        return Extraction(features, reading.damaged_packets, told, reading.mended_frames)

    def _seen(self) -> NDArray[np.float32] | CropArray:
        """(C, T, D) of what looks at the picture; D is 0 where nothing does."""
        if self._on_disk and self._partial is not None:
            return self._partial.whole(*self._shape)
        made = np.concatenate(self._made)
        return np.ascontiguousarray(made.swapaxes(0, 1))

    def _run(self) -> None:
        stacked = np.concatenate(self._waiting)  # (snippets x crops, frames, height, width, 3)
        made = self._backbone(stacked)
        if len(made) != len(self._waiting) * self._shape[0]:  # OpenVINO, where memory is short.
            raise MemoryError
        made = made.reshape(len(self._waiting), *self._shape)
        self._waiting = []
        _check_finite(made, self._source)
        if not self._on_disk:
            self._made.append(made)
        if self._partial is not None:
            self._partial.add(made)


def gap_note(time: Timebase) -> str:
    """What to say of a video that has gaps in its time line."""
    starts, ends = time.gap_times.T
    first, longest = (timedelta(seconds=round(s)) for s in (starts[0], (ends - starts).max()))
    if len(starts) == 1:
        return f"its clock leaps by {longest} at {first}; no scores in between"
    return (
        f"its clock leaps {len(starts)} times, by up to {longest} and first at {first}; no scores "
        "in between"
    )


def _check_finite(features: NDArray[np.float32], source: FrameSource) -> None:
    if not is_finite(features):
        raise InputError(f"{source.name}: the backbone gave a feature that is not a number")


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


@dataclass(frozen=True)
class SpecTemplate:
    """What one backbone makes of a video.

    Attributes:
        backbone: Its name.
        preprocessing: How the video is cut.
        mask: Digest of the mask over the picture; "": none.
    """

    backbone: str
    preprocessing: Preprocessing
    mask: str = ""

    def spec(self, precision: str) -> FeatureSpec:
        """Its spec, where networks that look compute in ``precision``.

        Raises:
            UsageError: no such backbone.
            InputError: its weights are the user's to get, and are not there.
        """
        return make_spec(self.backbone, self.preprocessing, precision, self.mask)


def spec_templates(
    backbones: str, preprocessing: Preprocessing, mask: str = ""
) -> tuple[SpecTemplate, ...]:
    """The parts of ``i3d+aisfx``, in order; those that listen have no picture and no mask.

    Raises:
        UsageError: no such backbone.
    """
    sound = preprocessing.without_picture()
    named = zip(backbones.split("+"), get_backbones(backbones), strict=True)
    return tuple(
        SpecTemplate(name, sound) if kind.is_audio else SpecTemplate(name, preprocessing, mask)
        for name, kind in named
    )
