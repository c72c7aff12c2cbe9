"""When something happens in the test videos of a data set that is published as lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oddframe.datasets.frame_labels import read_frame_labels
from oddframe.datasets.labelled import Truth
from oddframe.errors import InputError
from oddframe.files import is_file, read_bytes

# Bytes of a list of videos.
MOST_LIST = 64 * 2**20
LABELS = "test_frame_labels.json"


@dataclass(frozen=True)
class Annotated:
    """What an annotation says of one test video.

    Attributes:
        intervals: Half-open, in frames from 0, as they are written: an end may lie past the video.
        frames: Of the video, where the annotation says so.
    """

    intervals: tuple[tuple[int, int], ...]
    frames: int | None = None


@dataclass(frozen=True)
class Truths:
    """Frame labels of the test videos by name, and what was put right while they were read.

    Attributes:
        truths: When something odd happens; empty for a normal video.
        frames: How many frames are labelled; only videos for which it is known.
        notes: A line each.
    """

    truths: Mapping[str, Truth]
    frames: Mapping[str, int]
    notes: tuple[str, ...] = ()


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, without blanks around them.

    Raises:
        InputError: it cannot be read.
    """
    try:
        lines = read_bytes(path, MOST_LIST).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8 ({error})") from None
    return [line.strip() for line in lines if line.strip()]


def read_annotation(
    path: Path, parse: Callable[[list[str]], tuple[str, Annotated]], looks_like: str
) -> dict[str, Annotated] | None:
    """What an annotation says, by the videos' names; None where there is no such file.

    Args:
        path: The file, a line a video, fields apart by blanks.
        parse: Fields -> name and what is said; raises ValueError where they are none.
        looks_like: A line as it should be.

    Raises:
        InputError: a line cannot be understood, or a video stands there twice.
    """
    if not is_file(path):
        return None
    found: dict[str, Annotated] = {}
    for number, line in enumerate(read_lines(path), start=1):
        try:
            name, said = parse(line.split())
        except ValueError:
            raise InputError(
                f"{path}: line {number} is no annotation; it looks like {looks_like}"
            ) from None
        if name in found:
            raise InputError(f"{path}: line {number}: {name} stands there twice")
        found[name] = said
    return found


def truths_of(
    root: Path, names: Sequence[str], annotation: Path, annotated: Mapping[str, Annotated] | None
) -> Truths:
    """Frame labels of the test videos ``names``.

    ``test_frame_labels.json`` counts 16 frames a snippet and goes first; without it the annotation
    says when something happens. Where both are there they must agree, cut at the last frame.

    Args:
        root: Folder of the lists.
        names: The test videos.
        annotation: The annotation's file, to speak of it.
        annotated: What it says by name; None: it is not there.

    Raises:
        InputError: neither is there, a video lacks labels, or the two differ.
    """
    counted = read_frame_labels(root / LABELS) if is_file(root / LABELS) else None
    if counted is None and annotated is None:
        raise InputError(f"{root / LABELS}: no such file, and no {annotation.name} beside it")
    annotated = annotated or {}
    truths, frames = {}, {}
    for name in names:
        if counted is not None and name not in counted:
            raise InputError(f"{root / LABELS}: no labels of {name}, which the test list names")
        said = annotated.get(name, Annotated(()))
        if counted is None:
            truths[name] = Truth(_cut(said.intervals, said.frames))
            if said.frames is not None:
                frames[name] = said.frames
            continue
        truths[name], frames[name] = counted[name].truth, counted[name].frames
        if name in annotated and _cut(said.intervals, frames[name]) != truths[name].intervals:
            raise InputError(
                f"{annotation}: {name} has intervals {said.intervals}, but {LABELS} has "
                f"{truths[name].intervals}"
            )
    return Truths(truths, frames, _past_the_end(annotated, frames))


def _cut(intervals: Iterable[tuple[int, int]], end: int | None) -> tuple[tuple[int, int], ...]:
    if end is None:
        return tuple(intervals)
    return tuple((start, min(stop, end)) for start, stop in intervals if start < end)


def _past_the_end(annotated: Mapping[str, Annotated], frames: Mapping[str, int]) -> tuple[str, ...]:
    past, what = [], "frame"
    for name, said in annotated.items():
        if said.frames is None:
            what = "whole snippet"
        last = frames.get(name) if said.frames is None else said.frames
        past += [(name, stop - last) for _, stop in said.intervals if last and stop > last]
    if not past:
        return ()
    name, by = past[0]
    more = " ..." if past[1:] else ""
    return (
        f"{len(past)} annotated intervals end past the last {what}, "
        f"by up to {max(n for _, n in past)} frames: clipped ({name} by {by}{more})",
    )
