"""Generate features for UCF-Crime or XD-Violence: real names, shapes and counts, random numbers.

    python tools/make_generated_features.py ucf_crime --lists DIR --out DIR --scale 0.02

The published features may not be passed on, so the way from lists to a table is tested on these.
Below ``--out`` are ``features/`` (a file per crop, or with ``--stack`` one per video), ``sound/``
for a data set with sound, and ``lists/``: the published lists, with frame labels that fit. At
``--scale 1`` a test video is as long as the real one, and its labels are the published ones; no
list gives the lengths of training videos, so each gets that of a random test video of its label.
In abnormal snippets an eighth of the dimensions is higher, enough for a method to learn. Equal
arguments give equal bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.published.lists import LABELS_FILE
from oddframe.datasets.registry import open_dataset
from oddframe.errors import OddframeError, UsageError

_LISTS = {
    "ucf_crime": ("UCF_Train.list", "UCF_Test.list"),
    "xd_violence": ("XD_Train.list", "XD_Test.list"),
}
_FRAMES = 16


@dataclass(frozen=True)
class GeneratorOptions:
    """Options of the command."""

    scale: float = 1.0
    videos: int | None = None
    dim: int = 1024
    stack: bool = False
    half: bool = False


def generate(dataset: Dataset, out: Path, options: GeneratorOptions) -> Path:
    """Write features, sound and lists below ``out``; returns the folder of the lists.

    Raises:
        UsageError: features of this data set are not published as lists and files.
    """
    if dataset.layout is None or dataset.name not in _LISTS:
        raise UsageError(f"{dataset.name}: it takes one of {', '.join(_LISTS)}")
    chosen = _first_videos(dataset, options.videos)
    lengths = _lengths(chosen, options.scale)
    for part in ("train", "test"):
        for kind in ("features", "sound", "lists"):
            (out / kind / ("" if kind == "lists" else part)).mkdir(parents=True, exist_ok=True)
    for video in chosen.videos:
        _write(video, lengths[video.path.stem], chosen, out, options)
    _write_lists(chosen, lengths, out / "lists")
    return out / "lists"


def _first_videos(dataset: Dataset, videos: int | None) -> Dataset:
    """The first ``videos`` of each label in each part; None: all."""
    kept: defaultdict[tuple[str, bool], list[int]] = defaultdict(list)
    for i, video in enumerate(dataset.videos):
        kept[video.part, video.abnormal].append(i)
    return dataset.subset(sorted(i for each in kept.values() for i in each[:videos]))


def _lengths(dataset: Dataset, scale: float) -> dict[str, int]:
    """Number of snippets of each video by name."""
    tested: defaultdict[bool, list[int]] = defaultdict(list)
    for video in dataset.videos:
        if video.frames:
            tested[video.abnormal].append(video.frames // _FRAMES)
    found = {}
    for video in dataset.videos:
        snippets = (video.frames or 0) // _FRAMES
        if not snippets:
            snippets = int(_rng(video, "length").choice(tested[video.abnormal]))
        found[video.path.stem] = max(1, round(scale * snippets))
    return found


def _write(
    video: LabelledVideo, rows: int, dataset: Dataset, out: Path, options: GeneratorOptions
) -> None:
    assert dataset.layout is not None
    name, crops = video.path.stem, dataset.layout.crops
    abnormal = _abnormal_snippets(video, rows)
    array = _features(video, crops, abnormal, options.dim)
    if options.half:
        array = array.astype(np.float16)
    folder = out / "features" / video.part
    if options.stack:
        np.save(folder / f"{name}.npy", array.swapaxes(0, 1))
    else:
        for crop, values in enumerate(array):
            np.save(folder / f"{name}__{crop}.npy", values)
    if dataset.layout.audio_dim:
        # Published sound has as many rows as the picture, or one fewer.
        fewer = int(_rng(video, "sound").integers(2)) if rows > 1 else 0
        sound = _features(video, 1, abnormal[: rows - fewer], dataset.layout.audio_dim)[0]
        np.save(out / "sound" / video.part / f"{name}__vggish.npy", sound)


def _abnormal_snippets(video: LabelledVideo, rows: int) -> NDArray[np.bool_]:
    """(rows,) which snippets are abnormal: as labelled; in training videos a random quarter."""
    abnormal = np.zeros(rows, dtype=bool)
    if video.truth is not None and video.frames:
        for start, stop in _scaled(video, rows):
            abnormal[int(start // _FRAMES) : int(-(-stop // _FRAMES))] = True
    elif video.abnormal:
        length = max(1, rows // 4)
        start = int(_rng(video, "event").integers(rows - length + 1))
        abnormal[start : start + length] = True
    return abnormal


def _features(
    video: LabelledVideo, crops: int, abnormal: NDArray[np.bool_], dim: int
) -> NDArray[np.float32]:
    """(crops, rows, dim), not negative, as after a ReLU."""
    rng = _rng(video, f"features {dim}")
    scene = rng.normal(size=(1, len(abnormal), dim))
    array = np.abs(scene + 0.3 * rng.normal(size=(crops, len(abnormal), dim)))
    array[:, abnormal, : max(1, dim // 8)] += 1.0
    return (0.3 * array).astype(np.float32)


def _scaled(video: LabelledVideo, rows: int) -> list[tuple[int, int]]:
    """The labelled intervals of a test video, scaled to a video of ``rows`` snippets."""
    assert video.truth is not None
    share = _FRAMES * rows / (video.frames or 1)
    found = []
    for start, stop in video.truth.intervals:
        first = min(int(start * share), _FRAMES * rows - 1)
        found.append((first, max(first + 1, round(stop * share))))
    return found


def _rng(video: LabelledVideo, what: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{what} {video.path.stem}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _write_lists(dataset: Dataset, lengths: Mapping[str, int], folder: Path) -> None:
    assert dataset.layout is not None
    labels: dict[str, Any] = {}
    for part, file in zip(("train", "test"), _LISTS[dataset.name], strict=True):
        videos = [video for video in dataset.videos if video.part == part]
        names = [video.path.stem for video in videos]
        lines = (f"{part}/{name}__{c}.npy\n" for name in names for c in range(dataset.layout.crops))
        (folder / file).write_text("".join(lines))
        for video in videos:
            if part == "test":
                rows = lengths[video.path.stem]
                about = {"frames": _FRAMES * rows, "anomalous": _scaled(video, rows)}
                labels[video.path.stem] = about
    (folder / LABELS_FILE).write_text(json.dumps(labels))


def main() -> int:
    """Generate the features; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", choices=tuple(_LISTS))
    parser.add_argument("--lists", type=Path, required=True, help="folder of the published lists")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the snippets")
    parser.add_argument("--videos", type=int, help="so many of each label in each part")
    parser.add_argument("--dim", type=int, default=1024, help="length of a feature")
    parser.add_argument("--stack", action="store_true", help="one file a video, (T, C, D)")
    parser.add_argument("--half", action="store_true", help="float16 instead of float32")
    args = parser.parse_args()
    options = GeneratorOptions(args.scale, args.videos, args.dim, args.stack, args.half)
    try:
        dataset = open_dataset(f"{args.dataset}:{args.lists}")
        print(f"lists: {generate(dataset, args.out, options)}; features: {args.out / 'features'}")
    except OddframeError as error:
        print(f"make_generated_features: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
