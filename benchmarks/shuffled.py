"""What shuffled labels teach where the abnormal snippets are rare ones.

    python benchmarks/shuffled.py

Generated bags of six tiles, ten to train on and eighteen to test on as in Ped2. In abnormal ones a
tile is shifted for six snippets, by so many deviations, all in one direction. Linear top-k MIL is
trained on labels that say nothing of the true ones.
"""

from __future__ import annotations

import numpy as np
import torch
from control_rows import method_trainer, random_labels
from numpy.typing import NDArray

from oddframe.metrics import roc_auc
from oddframe.research.fold_training import Bag
from oddframe.research.reproduce.tables import linear_baseline
from oddframe.timeline import FloatArray
from oddframe.training.config import read_config
from oddframe.training.config_files import shipped_config

TILES, SNIPPETS, DIM, ODD = 6, 16, 256, 6
SHIFTS = (0.0, 0.4, 0.8, 1.5, 3.0)
DRAWS = 20


def video(
    rng: np.random.Generator, direction: FloatArray, shift: float, abnormal: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(TILES, SNIPPETS, DIM) features, (SNIPPETS,) where it is odd."""
    x = rng.normal(size=(TILES, SNIPPETS, DIM))
    odd = np.zeros(SNIPPETS, bool)
    if abnormal:
        start, tile = rng.integers(SNIPPETS - ODD + 1), rng.integers(TILES)
        odd[start : start + ODD] = True
        x[tile, start : start + ODD] += shift * (direction + 0.5 * rng.normal(size=DIM))
    return x.astype(np.float32), odd


def draw(seed: int, shift: float) -> float:
    """AUC on test videos of one training on shuffled labels."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=DIM)
    training = [(video(rng, direction, shift, i >= 4)[0], i >= 4) for i in range(10)]
    test = [video(rng, direction, shift, i >= 6) for i in range(18)]
    bags = [Bag((x.reshape(-1, DIM),), abnormal, TILES) for x, abnormal in training]
    config = linear_baseline(read_config(shipped_config("ped2"))).with_recipe(steps=100)
    scorer = random_labels(method_trainer(config))(bags, seed)
    scores = np.concatenate([scorer(x) for x, _ in test])
    return roc_auc(np.concatenate([odd for _, odd in test]), scores)


def main() -> None:
    """A row for each shift."""
    torch.set_num_threads(1)
    print("| shift, deviations | AUC, labels shuffled |\n| ---: | ---: |")
    for shift in SHIFTS:
        found = np.array([draw(seed, shift) for seed in range(DRAWS)])
        print(f"| {shift} | {100 * found.mean():.1f} ± {100 * found.std():.1f} |", flush=True)


if __name__ == "__main__":
    main()
