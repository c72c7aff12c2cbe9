"""Does the shipped model `fight` hold in poor pictures, and does it help to train on such copies?

    python benchmarks/conditions.py --data DATA --work FOLDER

Each clip, and each file of footage that may be learned from, is copied: dark, blurred, far away
(pasted small into its own first picture), at half and at twice the speed. Folds, footage and
figures are those of ``fight_model.py``, the shipped row; every model is tested on the originals and
on the copies of recordings that it never saw. Copies and features are kept in ``FOLDER``, so the
command goes on where it was stopped. Features of copies are in bfloat16 where the processor has it.
Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from fight_model import (
    VARIANTS,
    Copies,
    Figures,
    Material,
    Rows,
    load_material,
    print_row,
    run_variant,
    score_rows,
    trained_folds,
)

from oddframe._utils.files import atomic_write
from oddframe.datasets.labelled import LabelledVideo
from oddframe.features.store.store import FeatureStore
from oddframe.metrics import roc_auc
from oddframe.timeline import FloatArray
from oddframe.training.config import read_config
from oddframe.training.configure import shipped_config
from oddframe.training.data.features import Extractor, FeatureRequest, load_features
from oddframe.video.frame import Image

SHIPPED = next(variant for variant in VARIANTS if "shipped" in variant.title)
RIDGE = 100
DARK = 0.3
"""Share of the light that is left."""
BLUR = 0.012
"""Standard deviation of the blur, as a share of the picture's height."""
FAR = 0.4
"""Width of the pasted picture, as a share of the whole."""


@dataclass(frozen=True)
class Condition:
    """How a copy differs.

    Attributes:
        title: What it is called in the tables.
        change: Changes a frame (h, w, 3), given the first one and random numbers in [0, 1).
        speed: How fast it plays.
    """

    title: str
    change: Callable[[Image, Image, tuple[float, float]], Image] | None = None
    speed: float = 1.0


def darken(frame: Image, first: Image, place: tuple[float, float]) -> Image:  # noqa: ARG001
    return (frame * DARK).astype(np.uint8)


def blur(frame: Image, first: Image, place: tuple[float, float]) -> Image:  # noqa: ARG001
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), BLUR * len(frame)), dtype=np.uint8)


def move_away(frame: Image, first: Image, place: tuple[float, float]) -> Image:
    """The picture, small, somewhere in the first one of its clip."""
    height, width = frame.shape[:2]
    small = cv2.resize(frame, None, fx=FAR, fy=FAR, interpolation=cv2.INTER_AREA)
    top = int(place[0] * (height - len(small)))
    left = int(place[1] * (width - small.shape[1]))
    made = first.copy()
    made[top : top + len(small), left : left + small.shape[1]] = small
    return made


CONDITIONS: Mapping[str, Condition] = {
    "dark": Condition(f"dark, {DARK:.0%} of the light", darken),
    "blurred": Condition("blurred", blur),
    "far": Condition(f"far away, {FAR:.0%} of the size", move_away),
    "slow": Condition("half the speed", speed=0.5),
    "fast": Condition("twice the speed", speed=2.0),
}
TRAININGS: tuple[tuple[str, ...], ...] = (
    (),
    ("dark", "blurred"),
    ("far",),
    ("slow", "fast"),
    ("dark", "blurred", "far"),
    ("dark", "blurred", "far", "slow", "fast"),
)


def copy_video(source: Path, target: Path, condition: Condition, seed: int) -> None:
    """Write an altered copy as H.264 of good quality, without sound."""
    place = tuple(np.random.default_rng(seed).uniform(size=2))
    with av.open(str(source)) as reading, atomic_write(target) as part:
        stream = reading.streams.video[0]
        fps = float(stream.average_rate or 25)
        rate = Fraction(fps * condition.speed).limit_denominator(1001)
        first: Image | None = None
        with av.open(str(part), "w", format="mp4") as writing:
            made = writing.add_stream(
                "libx264", rate=rate, options={"crf": "16", "preset": "ultrafast"}
            )
            made.pix_fmt = "yuv420p"
            made.width, made.height = stream.width // 2 * 2, stream.height // 2 * 2
            for decoded in reading.decode(stream):
                frame = decoded.to_ndarray(format="rgb24")
                frame = frame[: made.height, : made.width]
                first = frame if first is None else first
                if condition.change is not None:
                    frame = condition.change(frame, first, place)  # type: ignore[arg-type]
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                writing.mux(made.encode(picture))
            writing.mux(made.encode())


def make_copies(
    videos: Sequence[LabelledVideo], condition: Condition, folder: Path
) -> list[LabelledVideo]:
    """An altered copy of each video."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, video in enumerate(videos):
        target = folder / f"{number:03}.mp4"
        if not target.exists():
            copy_video(video.path, target, condition, number)
        made.append(replace(video, path=target))
        print(f"\r{folder.name} {number + 1} of {len(videos)}", end="", file=sys.stderr)
    return made


def load_copies(material: Material, condition: Condition, work: Path) -> Copies:
    """Make copies under one condition, and their features."""
    section = read_config(shipped_config("fight")).profiles()["best"]
    folder = work / condition.title.replace(" ", "_")
    extractor = Extractor(FeatureStore(work / "store"), "cpu", "auto", "auto")
    numbers = [i for i, each in enumerate(material.footage) if each.may_train]
    found = []
    for name, videos in (
        ("clips", material.dataset.videos),
        ("footage", [material.footage[i].video for i in numbers]),
    ):
        copied = make_copies(videos, condition, folder / name)
        loaded, failed = load_features(
            [FeatureRequest(video, (section,)) for video in copied],
            extractor,
            progress=lambda done, total, _: print(
                f"\r{condition.title}: {done} of {total}   ", end="", file=sys.stderr, flush=True
            ),
        )
        if failed:
            raise SystemExit(next(iter(failed.values())))
        rows = [each.features[section] for each in loaded]
        found.append([Rows(np.asarray(row.array, np.float32), row.timebase) for row in rows])
    return Copies(tuple(found[0]), dict(zip(numbers, found[1], strict=True)))


def clip_scores(
    material: Material, chosen: Sequence[Copies], tested: Sequence[Copies], repeats: int
) -> FloatArray:
    """(R, 1 + C, N) score of each clip and of its copies, by models that saw no copy of either."""
    config = settings(len(chosen))
    made = np.zeros((repeats, 1 + len(tested), len(material.clips)))
    everything = replace(material, copies=tuple(chosen))
    rows = [material.clips, *(each.training for each in tested)]
    for repeat in range(repeats):
        for _, test, network in trained_folds(replace(SHIPPED, config=config), everything, repeat):
            for column, each in enumerate(rows):
                for i in test:
                    made[repeat, column, i] = score_rows(network, each[i]).scores.mean()
    return made


def settings(copies: int) -> dict[str, object]:
    """The shipped settings; the ridge grows with the videos, over which the loss is a sum."""
    own = {"ridge": RIDGE * (1 + copies), "look_alikes": 3}
    return {"method": {"name": "logistic", "config": own}}


def main() -> None:
    """Copy, extract, train, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="where the data sets lie")
    parser.add_argument("--work", type=Path, required=True, help="where copies are kept")
    parser.add_argument("--repeats", type=int, default=2, help="ways to cut the folds")
    given = parser.parse_args()
    material = load_material(given.data, given.work / "store", SHIPPED)
    copies = {
        name: load_copies(material, condition, given.work) for name, condition in CONDITIONS.items()
    }
    rule = read_config(shipped_config("fight")).events.rule(0.5)
    scores = {}
    print("\n| trained on | clip AUC | spliced frames: AUC / AP ", end="")
    print("| alarms an hour, 50 % of fights found | 70 % found |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for names in TRAININGS:
        chosen = [copies[name] for name in names]
        title = f"originals and {', '.join(names)}" if names else "originals (shipped)"
        variant = replace(SHIPPED, title=title, config=settings(len(names)))
        found = run_variant(variant, replace(material, copies=tuple(chosen)), given.repeats)
        print_row(variant, found, Figures(found, material, rule))
        scores[title] = clip_scores(material, chosen, list(copies.values()), given.repeats)
    print_conditions(material, scores)


def print_conditions(material: Material, scores: Mapping[str, FloatArray]) -> None:
    """Clip AUC under each condition, and what training on copies changes, paired by recording."""
    fight = material.dataset.abnormal
    group = np.unique([video.group for video in material.dataset.videos], return_inverse=True)[1]
    rng = np.random.default_rng(0)
    n = int(group.max()) + 1
    draws = [np.bincount(rng.integers(n, size=n), minlength=n)[group] for _ in range(500)]

    def auc(rows: FloatArray, weights: FloatArray) -> float:
        return float(np.mean([100 * roc_auc(fight, row, weights) for row in rows]))

    titles = list(scores)
    print(f"\n| clip AUC on | {' | '.join(titles)} |\n| --- |{' ---: |' * len(titles)}")
    for column, title in enumerate(
        ["originals", *(condition.title for condition in CONDITIONS.values())]
    ):
        first = [auc(scores[titles[0]][:, column], each.astype(float)) for each in draws]
        cells = []
        for name, rows in scores.items():
            value = auc(rows[:, column], np.ones(len(fight)))
            drawn = np.array([auc(rows[:, column], each.astype(float)) for each in draws])
            shown = drawn if name == titles[0] else drawn - np.array(first)
            low, high = np.nanpercentile(shown, (2.5, 97.5))
            if name == titles[0]:
                cells.append(f"{value:.1f} ({low:.1f} to {high:.1f})")
            else:
                base = auc(scores[titles[0]][:, column], np.ones(len(fight)))
                cells.append(f"{value - base:+.1f} ({low:+.1f} to {high:+.1f})")
        print(f"| {title} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
