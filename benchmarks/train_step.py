"""One training step of UR-DMU at the paper's size: its time, its memory, and reading its batch.

    python benchmarks/train_step.py [--steps 3] [--bags 64] [--threads 2]

64 + 64 bags of 200 segments, D = 1024, drawn from feature files on disk (made for this, as long as
many of UCF-Crime's). Beside it stands a plain reference: the same network with the T x T attention
weights and the T x T local mask laid out in memory, the batch taken as a whole, its bags read and
brought to 200 segments anew in every step. Without chance (no dropout, no noise) the losses of two
steps must agree; the times are with it. Each runs in a process of its own; memory is the peak of
what the system gave that process, PyTorch included. ``x`` is the reference's figure over ours.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from network import DenseAttention

from oddframe.features.layout import imported_spec
from oddframe.features.lazy import CropArray
from oddframe.features.npy import mapped
from oddframe.features.spec import Features
from oddframe.timeline import Timebase
from oddframe.training.bags import Share, TrainingVideo, everything
from oddframe.training.config import parse_config
from oddframe.training.gather import training_video
from oddframe.training.segmented import pre_segmented
from oddframe.training.steps import Run

DIM, SEGMENTS = 1024, 200
# Snippets of the normal videos, and of the abnormal ones.
LENGTHS = np.geomspace(40, 2000, 64).astype(int)


def on_disk(path: Path) -> Features:
    """Features of one crop that stay in their file."""
    rows = mapped(path)
    array = CropArray((1, *rows.shape), rows.dtype, lambda _: mapped(path))
    time = Timebase(30.0, 16 * len(rows), 16, 16)
    return Features(array, imported_spec(DIM, 1), time)


def measure(folder: Path, plain: bool, steps: int, bags: int, threads: int) -> None:
    """Print seconds a step, those of reading in it, peak MB and the losses, as JSON."""
    torch.set_num_threads(threads)
    paths = sorted(folder.glob("*.npy"))
    features = [on_disk(path) for path in paths]
    videos = [training_video([f], i >= len(LENGTHS)) for i, f in enumerate(features)]
    if not plain:
        names = [path.stem for path in paths]
        videos = pre_segmented(
            videos, [[f] for f in features], names, SEGMENTS, folder / "bags", lambda *_: None
        )
    still = begun(videos, bags, plain, chance=False)
    losses = [float(term) for step in (1, 2) for term in still.step(step).terms.values()]
    del still
    run = begun(videos, bags, plain, chance=True)
    draw, reading = run.bags.draw, []

    def timed(share: Share = everything):
        start = time.process_time()
        batch = draw(share)
        reading.append(time.process_time() - start)
        return batch

    run.bags.draw = timed
    start = time.process_time()
    for step in range(1, steps + 1):
        run.step(step)
    answer = {
        "cpu_s": (time.process_time() - start) / steps,
        "read_s": sum(reading) / steps,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "losses": losses,
    }
    print(json.dumps(answer))


def begun(videos: list[TrainingVideo], bags: int, plain: bool, *, chance: bool) -> Run:
    """A training as published; with or without chance."""
    recipe = {"segments": SEGMENTS, "normal_bags": bags, "abnormal_bags": bags, "average": 0.0}
    settings = {"variant": "official"} if chance else {"variant": "official", "dropout": 0.0}
    method = {"name": "ur_dmu", "config": settings}
    config = parse_config({"method": method, "recipe": recipe, "standardise": False})
    torch.manual_seed(0)
    run = Run(videos, config, torch.device("cpu"), None)
    network = run.network.network
    if not chance:
        network.noise = torch.zeros_like
    if plain:
        run.parts = [torch.arange(2 * bags)]
        for block in network.selfatt.layers:
            block[0].fn.__class__ = DenseAttention
    return run


def measured(folder: Path, args: argparse.Namespace, plain: bool) -> dict:
    """``measure`` in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(folder), "--steps", str(args.steps)]
    command += ["--bags", str(args.bags), "--threads", str(args.threads)] + ["--plain"] * plain
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--bags", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, args.plain, args.steps, args.bags, args.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for i, length in enumerate(np.concatenate([LENGTHS, LENGTHS])):
            np.save(Path(folder, f"{i:03}.npy"), rng.random((length, DIM), dtype=np.float32))
        ours, plain = (measured(Path(folder), args, which) for which in (False, True))
    gap = max(abs(a / b - 1) for a, b in zip(ours["losses"], plain["losses"], strict=True))
    assert gap < 1e-3, f"the losses of the reference differ by {gap:.1e} of themselves"
    print(f"{args.bags} + {args.bags} bags of {SEGMENTS} x {DIM}, {args.threads} threads")
    row = "{:<10} {:>9} {:>12} {:>9} {:>9}"
    print(row.format("", "cpu s", "reading s", "reading", "peak MB"))
    for name, figures in {"ours": ours, "reference": plain}.items():
        share = f"{100 * figures['read_s'] / figures['cpu_s']:.1f} %"
        cpu, read = f"{figures['cpu_s']:.2f}", f"{figures['read_s']:.3f}"
        print(row.format(name, cpu, read, share, f"{figures['peak_mb']:.0f}"))
    x = [f"{plain[key] / ours[key]:.2f}" for key in ("cpu_s", "read_s", "peak_mb")]
    print(row.format("x", x[0], x[1], "", x[2]))
    print(f"losses differ by at most {gap:.1e} of themselves")


if __name__ == "__main__":
    main()
