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

from oddframe.backbones.base import Backbone, Ear
from oddframe.backbones.registry import find_kinds
from oddframe.errors import InputError, UsageError
from oddframe.features.extraction.partial import Partial
from oddframe.features.formats.npy import is_finite
from oddframe.features.lazy_array import AnyFeatures, CropArray
from oddframe.features.spec import Features, FeatureSpec
from oddframe.timeline import Timebase
from oddframe.video.frame import FrameSource
from oddframe.video.mask import Mask, mask_digest
from oddframe.video.snippets.reader import OnePass
from oddframe.video.snippets.transforms import Preprocessing
from oddframe.video.sound import Heard, Samples, sound_windows

_BATCH = 16
# Sound that ends so much before or after the picture is worth a word: encoders pad by less.
_TOLD_S = 0.5


def listen(
    source: FrameSource, timebase: Timebase, ear: Ear
) -> tuple[NDArray[np.float32], str | None]:
    """Features (T, D) of a video's sound, and what a reader should know about it.

    Where there is no sound, or it ends before the picture, there is silence; what comes after the
    picture is not listened to. No window looks ahead of its snippet.

    Raises:
        InputError: the file cannot be opened.
    """
    heard = Heard(False, 0.0)

    def windows() -> Iterator[Samples]:
        nonlocal heard
        ends_s = timebase.snippet_times()[:, 1]
        heard = yield from source.run(sound_windows, ear.rate, ends_s, ear.window)

    listened = windows()
    rows: list[NDArray[np.float32]] = []
    while batch := list(islice(listened, _BATCH)):
        rows.append(_features(np.stack(batch), ear))
    return np.concatenate(rows), _told(heard, timebase)


def _features(windows: NDArray[np.float32], ear: Ear) -> NDArray[np.float32]:
    """(N, samples) -> (N, D); silence, of which there is often much, is worked out once."""
    quiet = ~windows.any(axis=1)
    chosen = np.flatnonzero(~quiet)
    if quiet.any():
        chosen = np.append(chosen, quiet.argmax())
    made: NDArray[np.float32] = ear.hear(windows[chosen])
    which = np.cumsum(~quiet) - 1
    which[quiet] = len(made) - 1
    return np.asarray(made[which])


def _told(heard: Heard, timebase: Timebase) -> str | None:
    if not heard.there:
        return "no sound: silence in its place"
    short_s = timebase.end_s - heard.end_s
    if short_s > _TOLD_S:
        return f"the sound ends {short_s:.1f} s before the picture: silence from there on"
    if short_s < -_TOLD_S:
        return "the sound goes on after the picture: the rest is not listened to"
    return None


# Called with (snippets done, snippets expected or None).
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Task:
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
    partial: Partial | None = None
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


def spec_for(backbone: Backbone, how: Preprocessing) -> FeatureSpec:
    """The spec of what ``backbone`` makes of videos that are cut as ``how`` says."""
    return _spec(
        backbone.name,
        backbone.weights_sha256,
        backbone.dim,
        backbone.choice.precision,
        how if backbone.eyes else how.without_picture(),
    )


def spec_of(
    names: str, how: Preprocessing | None = None, precision: str = "float32", mask: str = ""
) -> FeatureSpec:
    """The spec of what backbones make, known before they are loaded.

    Args:
        names: Of the backbone, or of several: ``i3d+aisfx``.
        how: How videos are cut; None: as suits the first backbone.
        precision: What the networks that look compute in; those that listen: float32.
        mask: Digest of the mask over the picture; "": none.

    Raises:
        UsageError: no such backbone.
        InputError: its weights are the user's to get, and are not there.
    """
    kinds = find_kinds(names)
    how = how or kinds[0].how
    looks = any(not kind.listens for kind in kinds)
    return _spec(
        "+".join(kind.name for kind in kinds),
        "+".join(kind.sha256(kind.weights()) for kind in kinds),
        sum(kind.dim for kind in kinds),
        precision if looks else "float32",
        how if looks else how.without_picture(),
        mask if looks else "",
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
    """Features (C, T, D) of a video, float32; arguments and errors as of ``Task``, ``extract_all``.

    Raises:
        UsageError: ``spec`` asks for another backbone than this one.
        InputError: the video cannot be decoded, or a feature is not finite.
    """
    tasks = [Task(spec, backbone, partial)]
    (made,) = extract_all(source, tasks, mask=mask, progress=progress)
    return made


def extract_all(
    source: FrameSource,
    tasks: Sequence[Task],
    *,
    mask: Mask | None = None,
    progress: Progress | None = None,
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
    rows = [_Rows(task, source, mask_digest(mask)) for task in tasks]
    hows = list(dict.fromkeys(each.how for each in rows))
    reading = OnePass(source, hows, mask)
    expected = reading.expected_snippets
    for done, (which, snippet) in enumerate(reading, start=1):
        for each in rows:
            if each.how == hows[which]:
                each.add(snippet)
        if progress is not None:
            progress(done, expected and max(done, expected))
    times = dict(zip(hows, reading.timebases, strict=True))
    return tuple(each.finished(times[each.how], reading) for each in rows)


class _Rows:
    """Features of one task, made as the snippets come."""

    def __init__(self, task: Task, source: FrameSource, mask: str) -> None:
        backbone, self._partial, self._source = task.backbone, task.partial, source
        seen = mask if backbone.eyes else ""
        self._spec = replace(task.spec, precision=backbone.choice.precision, mask=seen)
        if differences := spec_for(backbone, task.spec).differences(self._spec):
            raise UsageError(f"these features need another backbone: {'; '.join(differences)}")
        self.how = self._spec.how
        self._backbone = backbone
        self._shape = (len(self._spec.crops), backbone.seen_dim)
        self._on_disk = task.on_disk and task.partial is not None and not backbone.ears
        self._made: list[NDArray[np.float32]] = [np.zeros((0, *self._shape), np.float32)]
        self._known = 0  # Snippets that an earlier run has looked at and that are still to come.
        if self._partial is not None and backbone.eyes:
            self._known = self._partial.known(*self._shape)
            if not self._on_disk:
                self._made.append(self._partial.load(*self._shape))
        self._waiting: list[NDArray[np.uint8]] = []
        # A power of two: of an extraction that goes on at a whole chunk, all batches are those of
        # one that was never stopped, and so are their last digits.
        fit = max(1, backbone.batch // self._shape[0])
        self._at_once = 1 << (fit.bit_length() - 1)

    def add(self, snippet: NDArray[np.uint8]) -> None:
        """The next snippet (C, frames, h, w, 3)."""
        if self._known > 0:
            self._known -= 1
            return
        self._waiting.append(snippet)
        if len(self._waiting) >= self._at_once:
            self._run()

    def finished(self, time: Timebase, reading: OnePass) -> Extraction:
        """All of it, now that the last snippet is there."""
        source = self._source
        if self._waiting:
            self._run()
        notes = [gap_note(time)] if time.gaps else []
        arrays: list[AnyFeatures] = [self._seen()] if self._backbone.eyes else []
        for ear in self._backbone.ears:
            heard, note = listen(source, time, ear)
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
    name: str, sha256: str, dim: int, precision: str, how: Preprocessing, mask: str = ""
) -> FeatureSpec:
    return FeatureSpec(
        **{field: getattr(how, field) for field in Preprocessing.__dataclass_fields__},
        backbone=name,
        weights_sha256=sha256,
        dim=dim,
        precision=precision,
        mask=mask,
    )


@dataclass(frozen=True)
class Part:
    """What one backbone makes of a video.

    Attributes:
        backbone: Its name.
        how: How the video is cut.
        mask: Digest of the mask over the picture; "": none.
    """

    backbone: str
    how: Preprocessing
    mask: str = ""

    def spec(self, precision: str) -> FeatureSpec:
        """Its spec, where networks that look compute in ``precision``.

        Raises:
            UsageError: no such backbone.
            InputError: its weights are the user's to get, and are not there.
        """
        return spec_of(self.backbone, self.how, precision, self.mask)


def parts_of(backbones: str, how: Preprocessing, mask: str = "") -> tuple[Part, ...]:
    """The parts of ``i3d+aisfx``, in order; those that listen have no picture and no mask.

    Raises:
        UsageError: no such backbone.
    """
    sound = how.without_picture()
    named = zip(backbones.split("+"), find_kinds(backbones), strict=True)
    return tuple(
        Part(name, sound) if kind.listens else Part(name, how, mask) for name, kind in named
    )
