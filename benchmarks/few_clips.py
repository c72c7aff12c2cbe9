"""What a few clips of two new cameras change in a model that was trained on others.

    python benchmarks/few_clips.py --data DATA --work FOLDER

``DATA`` holds ``surveillance_fight``. Features of all clips are kept in the feature store
``FOLDER``, so the command goes on where it was stopped, and prints tables in Markdown at the end.

Protocol: two recordings that together have six fights and six normal clips are the new cameras. A
logistic regression of the mean feature of a clip (ridge 100) is trained on the clips of all others.
Then some clips of the two are drawn, and the model is corrected by them, as ``oddframe train``
does with ``--from``, or trained on. The AUC of the clips of the two that are left says what that
changed. Draws are repeated, and a pair's gain is the mean over its draws. Recordings are cut into
two halves at random, and pairs are of one half: the strength is chosen on the first.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.published.video_files import read_surveillance_fight
from oddframe.features.store.store import FeatureStore
from oddframe.methods.scorer import Standardise
from oddframe.metrics import roc_auc
from oddframe.training.config import read_config
from oddframe.training.configure import find_config
from oddframe.training.correction import STRENGTH, fit_correction
from oddframe.training.data.features import Extractor, FeatureCache, FeatureRequest

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
CROPS = {"whole picture": "full", "motion square": "motion"}
# Fights and normal clips that are drawn.
DRAWN = ((3, 3), (1, 1), (10, 10), (0, 3), (0, 10))
FEWEST, LEFT = 6, 3
RIDGE = 100.0
STRENGTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
# Training on until the drawn clips are learned: hardly any prior, and the intercept moves, too.
TRAINED_ON = "all weights"
ROOM = 0.95


@dataclass(frozen=True)
class Clips:
    """Clips with their features.

    Attributes:
        snippets: (T, D) of each clip.
        fight: (N,) whether it is a fight.
        group: (N,) its recording.
    """

    snippets: Sequence[Floats]
    fight: Flags
    group: NDArray[np.str_]


@dataclass(frozen=True)
class Gains:
    """What corrections changed; one row a draw.

    Attributes:
        pair: Number of the pair of recordings.
        before: AUC of the old model on the clips that are left, in [0, 1].
        gain: AUC less ``before``, in points.
        right: Share of clips on the right side of the threshold, less that of the old model, in
            points.
    """

    pair: NDArray[np.int64]
    before: Floats
    gain: Floats
    right: Floats

    @property
    def by_pair(self) -> Floats:
        """(P,) mean gain of each pair."""
        return np.array([self.gain[self.pair == each].mean() for each in np.unique(self.pair)])

    @property
    def with_room(self) -> Floats:
        """Of those pairs whose AUC was below ``ROOM``."""
        before = [self.before[self.pair == each].mean() for each in np.unique(self.pair)]
        return self.by_pair[np.array(before) < ROOM]


def read_clips(data: Path, work: Path, crop: str) -> Clips:
    """Features of all clips, as the shipped model is trained on, of this crop."""
    dataset = read_surveillance_fight(data / "surveillance_fight")
    section = read_config(find_config("fight")).training_views()["best"]
    section = section.model_copy(update={"crops": (crop,)})
    extractor = Extractor(FeatureStore(work), "cpu", "openvino", "float32")
    cache = FeatureCache(extractor, 2, message=partial(print, flush=True))
    cache.add([FeatureRequest(video, (section,)) for video in dataset.videos])
    videos = cache.get(dataset.videos)
    return Clips(
        [np.asarray(each.features[section].array[0], np.float64) for each in videos],
        np.array([each.video.abnormal for each in videos]),
        np.array([each.video.group for each in videos]),
    )


def find_pairs(clips: Clips, seed: int) -> list[list[tuple[str, str]]]:
    """The pairs of recordings of each half."""
    groups = np.unique(clips.group)
    order = np.random.default_rng(seed).permutation(groups)
    halves = [sorted(map(str, order[i::2])) for i in range(2)]
    return [
        [
            pair
            for pair in itertools.combinations(half, 2)
            if min(np.bincount(clips.fight[np.isin(clips.group, pair)], minlength=2)) >= FEWEST
        ]
        for half in halves
    ]


def old_model(clips: Clips, old: Flags) -> tuple[Floats, Floats]:
    """Standardised features (N, D) and logits (N,) of all clips by a model of the ``old`` ones."""
    scale = Standardise.fit([clips.snippets[i] for i in np.flatnonzero(old)])
    mean, std = scale.mean.numpy().astype(np.float64), scale.std.numpy().astype(np.float64)
    x = (np.stack([each.mean(axis=0) for each in clips.snippets]) - mean) / std
    # Scaled to mean square 1 over the clips, whose means vary less than snippets do.
    spread = np.maximum(x[old].std(axis=0), 1e-3)
    row = with_intercept(x / spread)
    weights = fit_correction(row[old], np.zeros(old.sum()), clips.fight[old], RIDGE)
    return x, row @ weights


def with_intercept(x: Floats) -> Floats:
    """(N, D + 1) with a column that is so large that the ridge does not hold it back."""
    return np.concatenate([x, np.full((len(x), 1), 100.0)], axis=1)


def corrected(
    x: Floats, logits: Floats, fight: Flags, drawn: NDArray[np.int64], how: float | str
) -> Floats:
    """(N,) logits after learning from the ``drawn`` clips."""
    if how == TRAINED_ON:
        x, how = with_intercept(x), 0.01
    ridge = float(how) * x.shape[1]
    return logits + x @ fit_correction(x[drawn], logits[drawn], fight[drawn], ridge)


def simulate(
    clips: Clips, pairs: Sequence[tuple[str, str]], draws: int, seed: int
) -> dict[tuple[tuple[int, int], float | str], Gains]:
    """The gains of each number of drawn clips and each way to learn from them."""
    rows: dict[tuple[tuple[int, int], float | str], list[tuple[float, ...]]] = {}
    for number, pair in enumerate(pairs):
        new = np.isin(clips.group, pair)
        x, logits = old_model(clips, ~new)
        x, logits, fight = x[new], logits[new], clips.fight[new]
        rng = np.random.default_rng([seed, number])
        for counts in DRAWN:
            if any(
                (fight == kind).sum() < n + LEFT for kind, n in zip((1, 0), counts, strict=True)
            ):
                continue
            hows: tuple[float | str, ...] = (STRENGTH, TRAINED_ON)
            if counts == DRAWN[0]:
                hows = (*STRENGTHS, TRAINED_ON)
            elif 0 in counts:
                hows = (STRENGTH,)
            for _ in range(draws):
                drawn = np.concatenate(
                    [
                        rng.choice(np.flatnonzero(fight == kind), n, replace=False)
                        for kind, n in zip((1, 0), counts, strict=True)
                    ]
                )
                left = np.setdiff1d(np.arange(len(fight)), drawn)
                before = roc_auc(fight[left], logits[left])
                right = ((logits > 0) == fight)[left].mean()
                for how in hows:
                    now = corrected(x, logits, fight, drawn, how)
                    gain = 100 * (roc_auc(fight[left], now[left]) - before)
                    better = 100 * (((now > 0) == fight)[left].mean() - right)
                    rows.setdefault((counts, how), []).append((number, before, gain, better))
    found = {}
    for key, values in rows.items():
        table = np.array(values)
        found[key] = Gains(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], table[:, 3])
    return found


HEADINGS = (
    "pairs",
    "AUC before",
    "mean gain",
    "median",
    f"median where the AUC was below {ROOM:.0%}".replace("%", " %"),
    "lowest",
    "pairs that gain",
    "that lose",
    "draws that lose over 2",
    "clips right",
)


def print_row(title: str, gains: Gains) -> None:
    """One row of a table."""
    pairs, room = gains.by_pair, gains.with_room
    cells = (
        f"{len(pairs)}",
        f"{100 * gains.before.mean():.1f}",
        f"{pairs.mean():+.2f}",
        f"{np.median(pairs):+.2f}",
        f"{np.median(room):+.2f} ({len(room)})" if len(room) else "-",
        f"{pairs.min():+.2f}",
        f"{100 * (pairs > 0).mean():.0f} %",
        f"{100 * (pairs < 0).mean():.0f} %",
        f"{100 * (gains.gain < -2).mean():.1f} %",
        f"{gains.right.mean():+.1f}",
    )
    print(f"| {title} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Extract, simulate, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="where the data set lies")
    parser.add_argument("--work", type=Path, required=True, help="where features are kept")
    parser.add_argument("--draws", type=int, default=40, help="draws of clips for each pair")
    parser.add_argument("--seed", type=int, default=1, help="of halves and draws")
    given = parser.parse_args()
    for title, crop in CROPS.items():
        clips = read_clips(given.data, given.work, crop)
        for half, pairs in zip("AB", find_pairs(clips, given.seed), strict=True):
            print(f"\n**{title}, half {half}**\n")
            print(f"| drawn, strength | {' | '.join(HEADINGS)} |")
            print(f"| --- |{' ---: |' * len(HEADINGS)}")
            for (counts, how), gains in simulate(clips, pairs, given.draws, given.seed).items():
                how = how if how == TRAINED_ON else f"{how:g}"
                print_row(f"{counts[0]} + {counts[1]}, {how}", gains)


if __name__ == "__main__":
    main()
