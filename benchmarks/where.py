"""How well heat maps and boxes say where in the picture something is, beside baselines.

    python benchmarks/where.py --data DATA [--ped2-model MODEL] [--time]

``DATA`` holds ``boxes`` (drawn by hand), ``surveillance_fight`` and ``ped2``. Prints tables in
Markdown. With ``--ped2-model``, a model of ``squares``, also the heat inside the square that it
scores highest. ``--time`` measures only what the maps cost.

Pointing: the hottest place lies in a box. Inside: share of the heat inside the boxes. IoU: the
first box and a box drawn by hand overlap by at least 0.3. Candidates were compared on every second
recording of fights and on every second clip of Ped2 ("chosen on"); the others were not looked at
to choose. Intervals resample recordings (clips of Ped2): 95 %, 2,000 draws.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oddframe.detector import Detector
from oddframe.features.extraction.extract_video import extract_video
from oddframe.heatmap import find_boxes
from oddframe.outputs.text import TextTable
from oddframe.timeline import Box, ScoreTrack
from oddframe.video.decoding.isolated import open_in_process
from oddframe.video.frame import FrameTransform, Image
from oddframe.video.snippets.heat import HEAT_COLUMNS, HEAT_ROWS
from oddframe.video.snippets.motion import Changes, blur, find_changes, max_motion_pixels
from oddframe.video.snippets.preprocessing import Preprocessing
from oddframe.video.snippets.reader import MultiSnippetReader

Map = NDArray[np.float32]
# Frames before and after a boxed one from which baselines and candidates are computed.
REACH = 5
WHOLE = Preprocessing(resize=(224, 224), filter="bicubic", crops=("full",))
MOTION = replace(WHOLE, crops=("motion",))
PED2_SIZE = (360, 240)
TEST_CLIPS = Path(__file__).resolve().parent.parent / "tests" / "data"
DRAWS, OVERLAP = 2000, 0.3


@dataclass
class Picture:
    """A boxed frame, and the frames around it."""

    path: Path
    group: str  # Recording.
    frame: int
    boxes: list[Box]
    changes: Changes  # Of ``2 * REACH + 1`` frames around it.
    background: Map  # (h, w) difference from the median of the clip.
    tracks: dict[str, ScoreTrack]


def read_boxes(data: Path) -> dict[str, dict[tuple[Path, str], dict[int, list[Box]]]]:
    """Boxes that are sure, by data set, file and recording, frame."""
    found: dict[str, dict[tuple[Path, str], dict[int, list[Box]]]] = {"fights": {}, "Ped2": {}}
    unsure = set()
    for name in ("fight", "ped2"):
        with (data / "boxes" / f"{name}.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                corners = [float(row[key]) for key in ("x0", "y0", "x1", "y1")]
                if name == "fight":
                    key = data / "surveillance_fight" / row["path"], row["source"]
                else:
                    key = data / "ped2" / "testing" / f"{row['clip']}.mp4", row["clip"]
                    corners = [c / s for c, s in zip(corners, PED2_SIZE * 2, strict=True)]
                frames = found["fights" if name == "fight" else "Ped2"].setdefault(key, {})
                frames.setdefault(int(row["frame"]), []).append(tuple(corners))
                if row["sure"] != "true":
                    unsure.add((key[0], int(row["frame"])))
    for files in found.values():
        for (path, _), frames in files.items():
            for frame in [each for each in frames if (path, each) in unsure]:
                del frames[frame]
    return found


def read_pictures(files: dict[tuple[Path, str], dict[int, list[Box]]]) -> list[Picture]:
    pictures = []
    transform = FrameTransform(None, "bicubic", 0, max_motion_pixels(224))
    for (path, group), boxed in files.items():
        if not boxed:
            continue
        images: list[Image] = [f.image for (f,) in open_in_process(path).read([transform])]
        tracks = {}
        for name, how in (("whole", WHOLE), ("square", MOTION)):
            reader = MultiSnippetReader(open_in_process(path), [how], heat=True)
            snippets = sum(1 for _ in reader)
            scores = np.zeros(snippets)
            tracks[name] = ScoreTrack(
                scores, reader.timebases[0], None, reader.boxes[0], reader.heat[0]
            )
        grey = find_changes(images).grey
        median = np.median(grey, axis=0)
        for frame, boxes in boxed.items():
            near = slice(max(0, frame - REACH), frame + REACH + 1)
            background = np.abs(grey[near] - median).mean(axis=0)
            found = find_changes(images[near])
            pictures.append(Picture(path, group, frame, boxes, found, background, tracks))
    return pictures


def flow_of(changes: Changes, finest: int = 1) -> Map:
    """(T - 1, h, w, 2) relative to the median of the picture."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    dis.setFinestScale(finest)
    levels = changes.grey.astype(np.uint8)
    flow = np.stack([dis.calc(*pair, np.empty(0, np.float32)) for pair in pairwise(levels)])
    return flow - np.median(flow, axis=(1, 2), keepdims=True)


def drawn(changes: Changes, most: float = 20.0) -> Map:
    """(T - 1, h, w) changes that are in the frames themselves, too, up to ``most`` levels."""
    raw = np.maximum(np.abs(np.diff(changes.grey, axis=0)) - 2, 0)
    return np.minimum(np.minimum(raw, changes.moved), most)


def speed(flow: Map) -> Map:
    return np.linalg.norm(flow, axis=-1).mean(axis=0)


def irregularity(flow: Map) -> Map:
    return flow.std(axis=0).sum(axis=-1)


def centre(_: Picture) -> Map:
    rows, columns = np.mgrid[-1:1:18j, -1:1:24j]
    return np.exp(-(rows**2 + columns**2) * 4).astype(np.float32)


def heat(name: str) -> Callable[[Picture], Map]:
    def get(picture: Picture) -> Map:
        track = picture.tracks[name]
        return track.heatmap(float(track.timebase.frame_times[picture.frame])).astype(np.float32)

    return get


def difference(picture: Picture) -> Map:
    return np.abs(np.diff(picture.changes.grey, axis=0)).mean(axis=0)


BASELINES: dict[str, Callable[[Picture], Map]] = {
    "centre of the picture": centre,
    "frame difference": difference,
    "frame difference, blurred": lambda p: blur(difference(p)),
    "optical flow": lambda p: speed(flow_of(p.changes)),
    "optical flow, blurred": lambda p: blur(speed(flow_of(p.changes))),
}
CANDIDATES: dict[str, Callable[[Picture], Map]] = {
    "change, stabilised": lambda p: blur(p.changes.moved.mean(axis=0)),
    "... up to 20 levels": lambda p: blur(np.minimum(p.changes.moved, 20).mean(axis=0)),
    "... root": lambda p: blur(np.sqrt(p.changes.moved).mean(axis=0)),
    "... that is in the frames, too": lambda p: blur(drawn(p.changes, 255).mean(axis=0)),
    "... both (A)": lambda p: blur(drawn(p.changes).mean(axis=0)),
    "difference from background": lambda p: blur(p.background),
    "A x difference from background": lambda p: blur(p.background * drawn(p.changes).mean(axis=0)),
    "A x speed": lambda p: blur(speed(flow_of(p.changes)) * drawn(p.changes).mean(axis=0)),
    "A x irregularity": lambda p: blur(
        irregularity(flow_of(p.changes)) * drawn(p.changes).mean(axis=0)
    ),
    "A x (speed + irregularity)": lambda p: blur(
        (speed(flow_of(p.changes)) + irregularity(flow_of(p.changes)))
        * drawn(p.changes).mean(axis=0)
    ),
    "... of coarser flow": lambda p: blur(
        (speed(flow_of(p.changes, 2)) + irregularity(flow_of(p.changes, 2)))
        * drawn(p.changes).mean(axis=0)
    ),
    "... of finer flow": lambda p: blur(
        (speed(flow_of(p.changes, 0)) + irregularity(flow_of(p.changes, 0)))
        * drawn(p.changes).mean(axis=0)
    ),
}


def evaluate(picture: Picture, hot: Map) -> tuple[float, float, float]:
    """Pointing, heat inside, IoU of the first box at least 0.3."""
    rows, columns = hot.shape
    y, x = (np.arange(n) + 0.5 for n in hot.shape)
    inside = np.zeros(hot.shape, bool)
    for left, top, right, bottom in picture.boxes:
        tall = (y / rows >= top) & (y / rows < bottom)
        inside |= tall[:, None] & (x / columns >= left) & (x / columns < right)
    top_row, top_column = np.unravel_index(int(hot.argmax()), hot.shape)
    point = (top_column + 0.5) / columns, (top_row + 0.5) / rows
    hit = any(a <= point[0] < c and b <= point[1] < d for a, b, c, d in picture.boxes)
    cells = cv2.resize(hot, (HEAT_COLUMNS, HEAT_ROWS), interpolation=cv2.INTER_AREA)
    first = find_boxes(cells.astype(np.float64))[:1]
    overlaps = [overlap(a, b) for a in first for b in picture.boxes]
    total = float(hot.sum())
    share = float(hot[inside].sum()) / total if total > 0 else 0.0
    return float(hit and total > 0), share, float(max(overlaps, default=0.0) >= OVERLAP)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return width * height / (areas - width * height)


def interval(values: NDArray[np.float64], groups: Sequence[str]) -> str:
    """A mean in percent, with a 95 % interval over resampled groups."""
    rng = np.random.default_rng(0)
    names, group = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(group, values), np.bincount(group)
    chosen = rng.integers(0, len(names), (DRAWS, len(names)))
    means = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{100 * values.mean():.0f} ({100 * low:.0f} to {100 * high:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--ped2-model", type=Path)
    parser.add_argument("--time", action="store_true")
    args = parser.parse_args()
    if args.time:
        measure_time()
    if args.data is None:
        return
    sets = {name: read_pictures(files) for name, files in read_boxes(args.data).items()}
    methods = {
        **BASELINES,
        "oddframe, of the whole picture": heat("whole"),
        "oddframe, in the motion square": heat("square"),
    }
    if args.ped2_model is not None:
        detector = Detector.load(args.ped2_model, precision="float32")
        tracks = {path: detector.score(path) for path in {p.path for p in sets["Ped2"]}}
        for picture in sets["Ped2"]:
            picture.tracks["squares"] = tracks[picture.path]
    for name, pictures in sets.items():
        own = dict(methods)
        if name == "Ped2" and args.ped2_model is not None:
            own["oddframe, in the square of highest score"] = heat("squares")
        rows = []
        for method, get in own.items():
            values = np.array([evaluate(p, get(p)) for p in pictures])
            groups = [p.group for p in pictures]
            cells = [interval(values[:, i], groups) for i in range(3)]
            rows.append((method, *cells))
        heading = f"{name}, {len(pictures)} frames of {len({p.group for p in pictures})} recordings"
        print(f"\n{heading}\n")
        print(TextTable("", ("map", "pointing", "inside", "IoU >= 0.3"), tuple(rows)).markdown())
    print_candidates(sets)


def print_candidates(sets: dict[str, list[Picture]]) -> None:
    """What each candidate gave, on the half that it was chosen on, and on the other one."""
    halves = {}
    for name, pictures in sets.items():
        first = set(sorted({p.group for p in pictures})[::2])
        halves[f"{name}, chosen on"] = [p for p in pictures if p.group in first]
        halves[f"{name}, others"] = [p for p in pictures if p.group not in first]
    rows = []
    maps = {**CANDIDATES, "shipped: the last but two, halves of snippets": heat("whole")}
    for label, get in maps.items():
        cells = []
        for pictures in halves.values():
            values = np.array([evaluate(p, get(p)) for p in pictures]).mean(axis=0) * 100
            cells.append(" / ".join(f"{value:.0f}" for value in values))
        rows.append((label, *cells))
    print("\nPointing / inside / IoU\n")
    print(TextTable("", ("candidate", *halves), tuple(rows)).markdown())


def measure_time(rounds: int = 3) -> None:
    """Time of scoring with heat beside that without, in turn, in one process."""
    for model in ("fight", "fight_urdmu"):  # The motion square, the whole picture.
        detector = Detector.load(model, precision="float32")
        ratios: dict[str, list[float]] = {"wall": [], "processor": []}
        for number in range(rounds + 1):
            used = {}
            for heat_too in (False, True):
                wall, processor = time.perf_counter(), time.process_time()
                for name in ("fi150.mp4", "nofi079.mp4"):
                    # In this process, so that its processor time counts decoding, too.
                    source = open_in_process(TEST_CLIPS / name)
                    found = extract_video(source, detector.spec, detector.backbone, heat=heat_too)
                    detector.events(detector.score(found.features))
                used[heat_too] = time.perf_counter() - wall, time.process_time() - processor
            if number:  # The first round loads and converts networks.
                for i, key in enumerate(ratios):
                    ratios[key].append(used[True][i] / used[False][i])
        texts = [
            f"{key} {statistics.median(r):.3f} ({min(r):.3f} to {max(r):.3f})"
            for key, r in ratios.items()
        ]
        print(f"{model}: with heat beside without: {', '.join(texts)}", flush=True)


if __name__ == "__main__":
    main()
