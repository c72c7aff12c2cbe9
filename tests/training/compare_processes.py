"""Trains every shipped configuration in one process, then among those that ``torchrun`` started.

    torchrun --standalone --nproc-per-node 2 -m tests.training.compare_processes FILE

The features are few and short, and the networks narrow; steps, batches and all else that a training
goes by are the configuration's own, but for the length and the segments of the published ones.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from oddframe.training.config import TrainConfig, parse_config, read_config
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.distributed import joined_processes, run_worker
from oddframe.training.loop import fit, train_as_worker
from oddframe.training.step import FitResult
from tests.training.planted import planted

CONFIGS = Path(__file__).parents[2] / "configs"
STEPS = 25
# A batch of 64 + 64 bags of so many segments is taken in two parts.
LARGE = {"normal_bags": 64, "abnormal_bags": 64, "segments": 33}
WIDTHS: dict[str, Any] = {"hidden": 16, "heads": 2, "head_dim": 8}
DISTURBED = {"feature_noise": 0.1, "feature_dropout": 0.2, "clip_norm": 1.0, "average": 0.9}


def trainings() -> Iterator[tuple[str, TrainConfig, int]]:
    """Names, configurations and tiles of a picture."""
    done = []
    for path in sorted(CONFIGS.glob("*.yaml")):
        config = read_config(path)
        if config.chosen_method()[0].closed_form:
            continue  # There are no steps to share.
        method = config.method.model_copy(update={"config": config.method.config | WIDTHS})
        large = LARGE if config.recipe.segments == 200 else {}
        narrow = config.model_copy(update={"method": method}).with_recipe(steps=STEPS, **large)
        alike = narrow.with_recipe(lr=1.0)  # Configurations that differ in their rate are.
        same = alike.recipe, alike.method, alike.bags, alike.standardise
        # One that reads frames is trained by the first process alone, as ``normality`` is.
        if same in done or config.chosen_method()[0].backbones:
            continue
        done.append(same)
        tiles = config.features.tiles
        yield path.stem, narrow, 1 if tiles is None else tiles[0] * tiles[1]
    own = {"ur_dmu": WIDTHS | {"shortcut": True}, "oddframe": WIDTHS, "linear": {}}
    for name, settings in own.items():
        method = {"name": name, "config": settings}
        large = {"recipe": LARGE | DISTURBED | {"steps": 10}, "standardise": False}
        yield f"{name}, large batches", parse_config({"method": method, **large}), 1
        if name != "ur_dmu":  # It is what default.yaml has.
            yield name, parse_config({"method": method, "recipe": {"steps": STEPS}}), 1
    yield "normality", parse_config({"method": {"name": "normality"}}), 1


def weights(tiles: int, config: TrainConfig) -> tuple[str, FitResult]:
    """A digest of the weights."""
    videos, _ = planted(10, 10, seed=1, shortest=8)
    if tiles > 1:
        whole = [v.views[0][: len(v.views[0]) // tiles * tiles] for v in videos]
        pairs = zip(videos, whole, strict=True)
        videos = [TrainingVideo((view,), v.abnormal, tiles) for v, view in pairs]
    fitted = fit(videos, config)
    digest = hashlib.sha256()
    for name, tensor in fitted.network.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest(), fitted


def main(out: Path) -> None:
    """Write name -> digest by one process, digest by several, whether these shared the work."""
    torch.set_num_threads(1)
    each = list(trainings())
    with joined_processes() as ranks:
        if not ranks.is_first:
            run_worker(train_as_worker)
            return
        together = [weights(tiles, config) for _, config, tiles in each]
    found = {}
    for (name, config, tiles), (digest, fitted) in zip(each, together, strict=True):
        shared = not any("alone" in line for line in fitted.warnings)
        found[name] = [weights(tiles, config)[0], digest, shared]
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
