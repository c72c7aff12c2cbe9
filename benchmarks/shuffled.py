"""What a method learns from shuffled labels where abnormal snippets are rare in the features.

    python benchmarks/shuffled.py

Generated bags of six tiles, ten for training and eighteen for testing as in Ped2. In abnormal bags
one tile is shifted for six snippets, by a number of standard deviations, in one direction for all
bags. Linear top-k MIL is trained on labels that are independent of the true ones.
"""

from __future__ import annotations

import numpy as np
import torch
from control_rows import method_trainer, random_labels
from numpy.typing import NDArray

from oddframe.metrics import roc_auc
from oddframe.research.reproduce.tables import linear_baseline
from oddframe.timeline import FloatArray
from oddframe.training.config import read_config
from oddframe.training.configure import shipped_config
from oddframe.training.data.samplers import TrainingVideo

TILES, SNIPPETS, DIM, LENGTH = 6, 16, 256, 6
SHIFTS = (0.0, 0.4, 0.8, 1.5, 3.0)
DRAWS = 20


def video(
    rng: np.random.Generator, direction: FloatArray, shift: float, abnormal: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(TILES, SNIPPETS, DIM) features, (SNIPPETS,) which snippets are abnormal."""
    x = rng.normal(size=(TILES, SNIPPETS, DIM))
    abnormal_snippets = np.zeros(SNIPPETS, bool)
    if abnormal:
        start, tile = rng.integers(SNIPPETS - LENGTH + 1), rng.integers(TILES)
        abnormal_snippets[start : start + LENGTH] = True
        x[tile, start : start + LENGTH] += shift * (direction + 0.5 * rng.normal(size=DIM))
    return x.astype(np.float32), abnormal_snippets


def draw(seed: int, shift: float) -> float:
    """AUC on test videos of one training on shuffled labels."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=DIM)
    training = [(video(rng, direction, shift, i >= 4)[0], i >= 4) for i in range(10)]
    test = [video(rng, direction, shift, i >= 6) for i in range(18)]
    bags = [TrainingVideo((x.reshape(-1, DIM),), abnormal, TILES) for x, abnormal in training]
    config = linear_baseline(read_config(shipped_config("ped2"))).with_recipe(steps=100)
    scorer = random_labels(method_trainer(config))(bags, seed)
    scores = np.concatenate([scorer(x) for x, _ in test])
    return roc_auc(np.concatenate([abnormal_snippets for _, abnormal_snippets in test]), scores)


def main() -> None:
    """Print a row for each shift."""
    torch.set_num_threads(1)
    print("| shift, deviations | AUC, labels shuffled |\n| ---: | ---: |")
    for shift in SHIFTS:
        found = np.array([draw(seed, shift) for seed in range(DRAWS)])
        print(f"| {shift} | {100 * found.mean():.1f} ± {100 * found.std():.1f} |", flush=True)


if __name__ == "__main__":
    main()
