"""How well fights are found in recordings that nothing was learned from or chosen on.

    python benchmarks/new_recordings.py --data DATA --work FOLDER

``DATA`` holds ``surveillance_fight`` and ``footage``. Features of all clips are kept in ``FOLDER``,
so the command goes on where it was stopped, and prints tables in Markdown at the end.

Protocol: six folds by recording. In each, a logistic regression of the mean feature of a clip is
trained on five, its strength of regularisation chosen by folds of the training recordings, and so
is the threshold that finds 50 % or 70 % of the fights. Intervals resample recordings (and sources
of footage), since clips of one recording resemble each other. Nothing is chosen on test recordings.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from oddframe.backbones.base import Backbone
from oddframe.backbones.registry import get_backbones, load_backbone
from oddframe.datasets.published.video_files import read_surveillance_fight
from oddframe.research.new_recordings import (
    Figures,
    Material,
    Snippets,
    interval,
    resampled,
    run_regression,
    run_untrained,
)
from oddframe.timeline import Box
from oddframe.video.decoding.isolated import open_in_process
from oddframe.video.frame import Image
from oddframe.video.snippets import reader
from oddframe.video.snippets.motion import find_motion
from oddframe.video.snippets.preprocessing import Preprocessing, with_crops
from oddframe.video.snippets.reader import MultiSnippetReader

Floats = NDArray[np.float32]
Weights = NDArray[np.float64]
Drawn = dict[Any, Weights]
FIGHT, FOOTAGE = "surveillance_fight", "footage"
# Shares of fights that thresholds are given for.
FOUND = (0.5, 0.7)
# Kinetics-400's actions of one person against another: capoeira, drop kicking, headbutting, high
# kick, punching person (boxing), side kick, slapping, sword fighting, wrestling.
FIGHTING = (43, 105, 150, 152, 259, 302, 314, 345, 395)

# As the shipped model reads video, and the motion square beside the whole picture.
HOW = Preprocessing(
    resize=(224, 224), filter="bicubic", crops=("full", "motion"), stride=16, rate=25.0
)


def footage_kinds(folder: Path) -> dict[str, str]:
    """Kind of each file of everyday video without fights, by its path in the folder."""
    with (folder / "clips.csv").open() as file:
        return {row["path"]: row["kind"] for row in csv.DictReader(file)}


def centred(frames: Sequence[Image]) -> Box:
    """The control: a square as large as the one that moves, in the middle of the picture."""
    left, top, right, bottom = find_motion(frames)
    across, down = (right - left) / 2, (bottom - top) / 2
    return 0.5 - across, 0.5 - down, 0.5 + across, 0.5 + down


def frame_difference(pictures: Image) -> float:
    """Mean absolute change between the frames (T, h, w, 3) of a snippet, in grey levels."""
    grey = _grey(pictures).astype(np.float32)
    return float(np.abs(np.diff(grey, axis=0)).mean())


def optical_flow(pictures: Image) -> float:
    """95th percentile of the length of Farneback's flow between the frames, in pixels a frame."""
    grey = _grey(pictures)
    lengths = [
        np.linalg.norm(cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0), axis=2)
        for a, b in zip(grey[:-1:2], grey[1::2], strict=False)
    ]
    return float(np.percentile(np.stack(lengths), 95))


def _grey(pictures: Image) -> Image:
    return np.stack([cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in pictures])


Found = dict[str, NDArray[Any]]


def measure_moving(path: Path, backbone: Backbone) -> Found:
    """Features of the whole picture, of the motion square and of the control, and baselines."""
    reading = MultiSnippetReader(open_in_process(path), [HOW])
    rows = [
        {
            "whole": backbone(whole[None])[0],
            "square": backbone(square[None])[0],
            "frame_difference": np.float32(frame_difference(whole)),
            "optical_flow": np.float32(optical_flow(whole)),
        }
        for _, (whole, square) in reading
    ]
    with patch.object(reader, "find_motion", centred):
        centre = [
            backbone(square[None])[0]
            for _, (_, square) in MultiSnippetReader(open_in_process(path), [HOW])
        ]
    (timebase,), (boxes,) = reading.timebases, reading.boxes
    assert boxes is not None
    about = {"times": timebase.snippet_times(), "boxes": boxes, "centre": np.stack(centre)}
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]} | about


def measure_frozen(path: Path, backbone: Backbone) -> Found:
    """Features of the middle frame of each snippet, repeated: the scene without its motion."""
    rows = []
    for _, snippet in MultiSnippetReader(open_in_process(path), [HOW]):
        middle = snippet[:, snippet.shape[1] // 2, None]
        rows.append(backbone(np.repeat(middle, snippet.shape[1], axis=1)))
    whole, square = np.stack(rows, axis=1)
    return {"whole_frozen": whole, "square_frozen": square}


PASSES = {"moving": measure_moving, "frozen": measure_frozen}


def extract_all(data: Path, work: Path, passes: Sequence[str]) -> None:
    """Measure the videos that have no measurement in ``work`` yet, and save them there."""
    backbone: Backbone | None = None
    for name in passes:
        for path, target in _files(data, work):
            done = target / f"{name}.npz"
            if done.exists():
                continue
            backbone = backbone or load_backbone("i3d", HOW, device="cpu", precision="float32")
            target.mkdir(parents=True, exist_ok=True)
            part = target / f"{name}.part.npz"
            np.savez(part, **PASSES[name](path, backbone))
            part.rename(done)
            print(done, flush=True)


def _files(data: Path, work: Path) -> Iterator[tuple[Path, Path]]:
    """Each video, and the folder of what is measured of it."""
    for video in read_surveillance_fight(data / FIGHT).videos:
        yield video.path, work / FIGHT / video.path.relative_to(data / FIGHT)
    for name in footage_kinds(data / FOOTAGE):
        yield data / FOOTAGE / name, work / FOOTAGE / name


@dataclass(frozen=True)
class Measured:
    """What was measured of some videos, snippet by snippet.

    Attributes:
        rows: By name; (T, D), or (T,) of a single number, for each video.
        hours: (N,) length of each video.
    """

    rows: dict[str, list[Floats]]
    hours: NDArray[np.float64]

    def of(self, *names: str) -> Snippets:
        """These features side by side; ``a-b`` is a less b."""
        return Snippets.join(
            [np.concatenate(parts, axis=1) for parts in zip(*map(self._part, names), strict=True)]
        )

    def _part(self, name: str) -> list[Floats]:
        first, *less = name.split("-")
        parts = [x.reshape(len(x), -1) for x in self.rows[first]]
        if not less:
            return parts
        return [a - b for a, b in zip(parts, self.rows[less[0]], strict=True)]


def read_measured(folders: Sequence[Path]) -> Measured:
    """From what ``extract_all`` kept."""
    rows: dict[str, list[Floats]] = {}
    for folder in folders:
        for file in folder.glob("*.npz"):
            with np.load(file) as found:
                for name in found.files:
                    rows.setdefault(name, []).append(found[name])
    hours = [(times[-1, 1] - times[0, 0]) / 3600 for times in rows["times"]]
    for name in ("whole", "square"):
        rows[f"{name}_logits"] = [action_logits(x) for x in rows[name]]
        rows[f"{name}_fighting"] = [fighting_logit(x) for x in rows[f"{name}_logits"]]
    return Measured(rows, np.array(hours))


@cache
def _logit_layer() -> tuple[Floats, Floats]:
    weights = load_file(get_backbones("i3d")[0].find_weights())
    matrix = weights["logits.weight"].astype(np.float32).reshape(400, -1)
    return matrix, weights["logits.bias"].astype(np.float32)


def action_logits(features: Floats) -> Floats:
    """(T, 1024) of I3D -> (T, 400) its logits of Kinetics' actions: its last layer is linear."""
    matrix, bias = _logit_layer()
    return np.asarray(features @ matrix.T + bias, np.float32)


def fighting_logit(logits: Floats) -> Floats:
    """(T, 400) -> (T,) log odds of the actions of ``FIGHTING``, by I3D alone."""
    x = logits.astype(np.float64)
    chosen = np.zeros(x.shape[1], bool)
    chosen[list(FIGHTING)] = True
    odds: Weights = np.logaddexp.reduce(x[:, chosen], axis=1) - np.logaddexp.reduce(
        x[:, ~chosen], axis=1
    )
    return odds.astype(np.float32)


# Rows of the tables: title, names of features side by side, whether they are learned from.
ROWS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("frame difference, not trained", ("frame_difference",), False),
    ("optical flow, 95th percentile, not trained", ("optical_flow",), False),
    ("the whole picture", ("whole",), True),
    ("the motion square", ("square",), True),
    ("*control*: a square of that size in the centre", ("centre",), True),
    ("whole and square", ("whole", "square"), True),
    ("*control*: a frozen picture, repeated", ("whole_frozen",), True),
    ("whole minus frozen", ("whole-whole_frozen",), True),
    ("square minus frozen", ("square-square_frozen",), True),
    (
        "whole, square, and each minus its frozen picture",
        ("whole", "square", "whole-whole_frozen", "square-square_frozen"),
        True,
    ),
    ("I3D's 400 logits of the whole", ("whole_logits",), True),
    ("I3D's 400 logits of the square", ("square_logits",), True),
    (
        "whole and square, features and logits",
        ("whole", "square", "whole_logits", "square_logits"),
        True,
    ),
    ("I3D's nine fighting actions in the whole, not trained", ("whole_fighting",), False),
    ("I3D's nine fighting actions in the square, not trained", ("square_fighting",), False),
)
# Differences that are given with an interval: title, and the titles of two rows.
PAIRS = (
    ("square minus whole", "the motion square", "the whole picture"),
    ("square minus the centre one of its size", "the motion square", ROWS[4][0]),
    ("both minus whole", "whole and square", "the whole picture"),
    ("both minus square", "whole and square", "the motion square"),
    ("whole minus frozen, minus whole", "whole minus frozen", "the whole picture"),
    ("square minus frozen, minus square", "square minus frozen", "the motion square"),
    ("all four minus both", ROWS[9][0], "whole and square"),
    ("square minus frame difference", "the motion square", ROWS[0][0]),
    ("square minus optical flow", "the motion square", ROWS[1][0]),
    ("both minus frame difference", "whole and square", ROWS[0][0]),
    ("both minus optical flow", "whole and square", ROWS[1][0]),
)


def measure(data: Path, work: Path, passes: Sequence[str], repeats: int, draws: int) -> None:
    """Print the tables of what ``passes`` measured."""
    dataset = read_surveillance_fight(data / FIGHT)
    kinds = list(footage_kinds(data / FOOTAGE).values())
    targets = [target for _, target in _files(data, work)]
    clips, footage = (
        read_measured(part) for part in (targets[: len(dataset)], targets[len(dataset) :])
    )
    material = Material(dataset, footage.hours)
    figures: dict[str, Figures] = {}
    for title, names, trained in ROWS:
        if "frozen" not in passes and any("frozen" in name for name in names):
            continue
        run = run_regression if trained else run_untrained
        outcome = run(clips.of(*names), footage.of(*names), material, repeats)
        figures[title] = Figures(outcome, material)
        print(f"{title}: ridges {sorted(set(outcome.ridges))}", file=sys.stderr, flush=True)
    statistics: dict[Any, Callable[[Weights, Weights], float]] = {
        **{("auc", title): partial(_auc, each) for title, each in figures.items()},
        **{
            (rate, title): partial(each.alarms_per_hour, rate)
            for title, each in figures.items()
            for rate in FOUND
        },
    }
    drawn = resampled(statistics, material, draws)
    print(
        f"{len(dataset)} clips of {len(dataset.groups)} recordings, {repeats} cuts into folds; "
        f"{len(kinds)} files of footage, {60 * footage.hours.sum():.1f} minutes.\n"
    )
    _print_figures(figures, drawn)
    _print_chosen(figures)
    _print_pairs(drawn)
    _print_kinds(figures, kinds, footage.hours)


def _auc(figures: Figures, weights: Weights, _files: Weights) -> float:
    return 100 * figures.auc(weights)


def _with_interval(values: Weights, digits: int) -> str:
    found = interval(values)
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _print_figures(figures: dict[str, Figures], drawn: Drawn) -> None:
    print("| features | clip AUC | alarms an hour, 50 % of fights found | 70 % found |")
    print("| --- | ---: | ---: | ---: |")
    for title in figures:
        cells = [_with_interval(drawn["auc", title], 1)]
        cells += [_with_interval(drawn[rate, title], 0) for rate in FOUND]
        print(f"| {title} | {' | '.join(cells)} |")


def _print_chosen(figures: dict[str, Figures]) -> None:
    print(
        "\n| threshold chosen in training recordings | to find | found | normal clips above it ",
        end="",
    )
    print("| alarms an hour |\n| --- | ---: | ---: | ---: | ---: |")
    for title, each in figures.items():
        for rate in FOUND:
            found, false, alarms = each.at_chosen_threshold(rate)
            print(f"| {title} | {rate:.0%} | {found:.0%} | {false:.0%} | {alarms:.0f} |")


def _print_pairs(drawn: Drawn) -> None:
    print("\n| difference, paired | clip AUC | alarms an hour at 50 % | at 70 % |")
    print("| --- | ---: | ---: | ---: |")
    for title, one, other in PAIRS:
        if ("auc", one) not in drawn:
            continue
        cells = [_with_interval(drawn["auc", one] - drawn["auc", other], 1)]
        cells += [_with_interval(drawn[rate, one] - drawn[rate, other], 0) for rate in FOUND]
        print(f"| {title} | {' | '.join(cells)} |")


def _print_kinds(figures: dict[str, Figures], kinds: Sequence[str], hours: Weights) -> None:
    names = sorted(set(kinds))
    print(f"\n| alarms an hour, 50 % of fights found | {' | '.join(names)} |")
    print(f"| --- |{' ---: |' * len(names)}")
    minutes = [60 * hours[np.array(kinds) == name].sum() for name in names]
    print(f"| minutes of footage | {' | '.join(f'{each:.1f}' for each in minutes)} |")
    everything = np.ones(int(next(iter(figures.values())).recordings))
    for title, each in figures.items():
        parts = [(np.array(kinds) == name).astype(np.float64) for name in names]
        rates = [each.alarms_per_hour(FOUND[0], everything, part) for part in parts]
        print(f"| {title} | {' | '.join(f'{rate:.0f}' for rate in rates)} |")


def print_cost(data: Path) -> None:
    """Processor time of a snippet in each way of looking, and of I3D itself."""
    backbone = load_backbone("i3d", HOW, device="cpu", precision="float32")
    videos = [video.path for video in read_surveillance_fight(data / FIGHT).videos[::20]]
    spent = dict.fromkeys(("full", "motion", "full,motion", "I3D"), 0.0)
    snippets = 0
    for path in videos:
        made: list[Image] = []
        for crops in ("full", "motion", "full,motion"):
            how = with_crops(HOW, crops)
            started = time.process_time()
            made = [snippet for _, snippet in MultiSnippetReader(open_in_process(path), [how])]
            spent[crops] += time.process_time() - started
        started = time.process_time()
        for snippet in made:
            backbone(snippet[:1])
        spent["I3D"] += time.process_time() - started
        snippets += len(made)
    print("\n| processor time of a snippet | ms | of I3D |\n| --- | ---: | ---: |")
    for name, seconds in spent.items():
        what = "I3D of one crop" if name == "I3D" else f"decoding and cutting `{name}`"
        print(f"| {what} | {1000 * seconds / snippets:.0f} | {seconds / spent['I3D']:.2f} |")


def main() -> None:
    """Extract, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="where the data sets lie")
    parser.add_argument("--work", type=Path, required=True, help="where features are kept")
    parser.add_argument("--repeats", type=int, default=10, help="cuts into folds")
    parser.add_argument("--draws", type=int, default=1000, help="resamples for the intervals")
    parser.add_argument("--frozen", action="store_true", help="measure frozen pictures, too")
    given = parser.parse_args()
    passes = list(PASSES) if given.frozen else ["moving"]
    extract_all(given.data, given.work, passes)
    measure(given.data, given.work, passes, given.repeats, given.draws)
    print_cost(given.data)


if __name__ == "__main__":
    main()
