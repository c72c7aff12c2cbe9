"""Time a training step of UR-DMU at the published size, its memory, and the reading of its batch.

    python benchmarks/train_step.py [--steps 3] [--bags 64] [--threads 2] [--device cuda]

64 + 64 bags of 200 segments, D = 1024, are drawn from generated feature files, as long as many of
UCF-Crime's. The step is compared with a plain reference: the same network with T x T attention
weights and local mask in memory, the batch computed as a whole, its bags read and averaged to 200
segments in every step. Without noise and dropout the losses of two steps must agree; the times are
with them. Each runs in a process of its own; memory is the peak of that process, PyTorch included.
``x`` is the reference's value over ours.

With ``--device cuda`` times are wall clock with the card's work done, and memory is the peak that
PyTorch took of the card. A third row has ours with fused attention, whose gradients are not
reproducible.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from network import DenseAttention, processor_name

from oddframe._utils.determinism import deterministic, reproducible
from oddframe.features.formats.npy import map_npy
from oddframe.features.lazy_array import CropArray
from oddframe.features.presets import imported_spec
from oddframe.features.spec import Features
from oddframe.timeline import Timebase
from oddframe.training import step as training_steps
from oddframe.training.config import parse_config
from oddframe.training.data.features import training_video
from oddframe.training.data.samplers import TrainingVideo, with_cut_bags
from oddframe.training.step import TrainingRun

DIM, SEGMENTS = 1024, 200
# Snippets of the normal videos, and of the abnormal ones.
LENGTHS = np.geomspace(40, 2000, 64).astype(int)


def on_disk(path: Path) -> Features:
    """Memory-mapped features of one crop."""
    rows = map_npy(path)
    array = CropArray((1, *rows.shape), rows.dtype, lambda _: map_npy(path))
    time = Timebase(30.0, 16 * len(rows), 16, 16)
    return Features(array, imported_spec(DIM, 1), time)


def measure(
    folder: Path, plain: bool, steps: int, bags: int, threads: int, device: str, fused: bool
) -> None:
    """Print seconds of a step, those of reading in it, peak MB and the losses, as JSON."""
    torch.set_num_threads(threads)
    paths = sorted(folder.glob("*.npy"))
    features = [on_disk(path) for path in paths]
    videos = [training_video([f], i >= len(LENGTHS)) for i, f in enumerate(features)]
    if not plain:
        names = [path.stem for path in paths]
        videos = with_cut_bags(
            videos, [[f] for f in features], names, SEGMENTS, folder / "bags", lambda *_: None
        )
    if fused:
        training_steps.deterministic_attention = lambda _: nullcontext()
    clock = time.process_time if device == "cpu" else time.perf_counter
    quiet = make_run(videos, bags, plain, device, with_noise=False)
    losses = [float(term) for step in (1, 2) for term in quiet.step(step).terms.values()]
    del quiet
    run = make_run(videos, bags, plain, device, with_noise=True)
    draw, reading = run.sampler.draw, []

    def timed():
        start = clock()
        batch = draw()
        reading.append(clock() - start)
        return batch

    run.sampler.draw = timed
    if device == "cuda":
        run.step(1)
        reading.clear()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    start = clock()
    for step in range(1, steps + 1):
        run.step(step)
    if device == "cuda":
        torch.cuda.synchronize()
    answer = {
        "cpu_s": (clock() - start) / steps,
        "read_s": sum(reading) / steps,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "losses": losses,
    }
    if device == "cuda":
        answer["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps(answer))


def make_run(
    videos: list[TrainingVideo], bags: int, plain: bool, device: str, *, with_noise: bool
) -> TrainingRun:
    """A training run with the published recipe; with or without noise and dropout."""
    recipe = {"segments": SEGMENTS, "normal_bags": bags, "abnormal_bags": bags, "average": 0.0}
    settings = {"variant": "official"} if with_noise else {"variant": "official", "dropout": 0.0}
    method = {"name": "ur_dmu", "config": settings}
    config = parse_config({"method": method, "recipe": recipe, "standardise": False})
    torch.manual_seed(0)
    run = TrainingRun(videos, config, torch.device(device), None)
    network = run.network.network
    if not with_noise:
        network.noise = torch.zeros_like
    if plain:
        run.microbatches = [torch.arange(2 * bags)]
        for block in network.selfatt.layers:
            block[0].fn.__class__ = DenseAttention
    return run


def run_measure(folder: Path, args: argparse.Namespace, plain: bool, fused: bool = False) -> dict:
    """Run ``measure`` in a separate process."""
    command = [sys.executable, __file__, "--measure", str(folder), "--steps", str(args.steps)]
    command += ["--bags", str(args.bags), "--threads", str(args.threads)] + ["--plain"] * plain
    command += ["--device", args.device] + ["--fused"] * fused
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--bags", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--fused", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        given = args.steps, args.bags, args.threads, args.device, args.fused
        device = torch.device(args.device)
        with deterministic() if args.plain else reproducible(device, 0):
            measure(args.measure, args.plain, *given)
        return
    cuda = args.device == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for i, length in enumerate(np.concatenate([LENGTHS, LENGTHS])):
            np.save(Path(folder, f"{i:03}.npy"), rng.random((length, DIM), dtype=np.float32))
        ours, plain = (run_measure(Path(folder), args, which) for which in (False, True))
        fused = run_measure(Path(folder), args, False, fused=True) if cuda else None
    gap = max(abs(a / b - 1) for a, b in zip(ours["losses"], plain["losses"], strict=True))
    assert gap < 1e-3, f"the losses of the reference differ by {gap:.1e} of themselves"
    print(
        f"{args.bags} + {args.bags} bags of {SEGMENTS} x {DIM}, {args.threads} threads, "
        f"{processor_name(args.device)}"
    )
    row = "{:<10} {:>9} {:>12} {:>9} {:>9}"
    print(row.format("", "s" if cuda else "cpu s", "reading s", "reading", "peak MB"))
    rows = {"ours": ours, "reference": plain} | ({"fused": fused} if fused else {})
    for name, figures in rows.items():
        share = f"{100 * figures['read_s'] / figures['cpu_s']:.1f} %"
        cpu, read = f"{figures['cpu_s']:.3f}", f"{figures['read_s']:.3f}"
        print(row.format(name, cpu, read, share, f"{figures['peak_mb']:.0f}"))
    x = [f"{plain[key] / ours[key]:.2f}" for key in ("cpu_s", "read_s", "peak_mb")]
    print(row.format("x", x[0], x[1], "", x[2]))
    print(f"losses differ by at most {gap:.1e} of themselves")


if __name__ == "__main__":
    main()
