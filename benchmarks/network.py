"""Time and memory of UR-DMU's forward pass over one video, by its length.

    python benchmarks/network.py [--lengths 200 1000 5000 50000] [--threads 2] [--device cuda]

It is compared with a dense reference: the same network with T x T attention weights and a T x T
local mask in memory, for lengths at which these fit. Each measurement runs in a process of its own;
memory is the peak resident size of that process, including PyTorch and the features. ``cpu s`` is
the processor time, which is also valid on a busy machine. The ``x`` columns are the reference's
figure divided by ours.

With ``--device cuda`` memory is the peak that PyTorch allocated on the GPU, and seconds are wall
time, measured after synchronisation.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from oddframe._utils.determinism import deterministic
from oddframe.methods.mil.urdmu_network import GlobalLocalAttention, UrDmuConfig, UrDmuNetwork

DIM = 1024
LENGTHS = (200, 1000, 5000, 20000, 50000)
REFERENCE_UP_TO = 5000


class DenseAttention(GlobalLocalAttention):
    """Global and local attention as two dense T x T matrices."""

    def forward(self, x: Tensor) -> Tensor:
        heads, width = self.config.heads, self.config.head_dim
        parts = self.to_qkv(x).chunk(4, dim=-1)
        q, k, v, v_local = (p.unflatten(-1, (heads, width)).transpose(1, 2) for p in parts)
        over_all = torch.softmax(q @ k.transpose(-1, -2) / width**0.5, dim=-1) @ v
        t = torch.arange(x.shape[1], dtype=x.dtype, device=x.device)
        mask = torch.exp(-(t[:, None] - t).abs() / math.exp(self.config.tau))
        mask = (mask / mask.sum(0)).expand(x.shape[0], heads, -1, -1)
        y = torch.cat([over_all, mask @ v_local], dim=-1).transpose(1, 2).flatten(-2)
        return self.to_out(y)


def processor_name(device: str) -> str:
    """Name of the CPU or GPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    cores = Path("/proc/cpuinfo")
    lines = cores.read_text().splitlines() if cores.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "cpu")


def measure(length: int, dense: bool, threads: int, device: str) -> None:
    """Print seconds, processor seconds, peak MB and a few scores of one forward pass, as JSON."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = UrDmuNetwork(DIM, UrDmuConfig()).eval()
    if dense:
        for block in network.selfatt.layers:
            block[0].fn.__class__ = DenseAttention
    network = network.to(device)
    features = torch.rand(1, length, DIM).to(device)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    with torch.inference_mode(), deterministic():
        network(features[:, :64])
        wait()
        seconds = cpu = float("inf")
        for _ in range(max(1, 3000 // length)):  # Short inputs: the best of several runs.
            start, cpu_start = time.perf_counter(), time.process_time()
            scores = network(features).scores
            wait()
            seconds = min(seconds, time.perf_counter() - start)
            cpu = min(cpu, time.process_time() - cpu_start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    head = scores[0, :5].tolist()
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak, "scores": head}))


def measure_in_process(length: int, dense: bool, threads: int, device: str) -> dict:
    """Run ``measure`` in a separate process."""
    command = [sys.executable, __file__, "--measure", str(length), "--threads", str(threads)]
    command += ["--device", device]
    answer = subprocess.run(
        command + ["--dense"] * dense, check=True, capture_output=True, text=True
    )
    return json.loads(answer.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--dense", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, args.dense, args.threads, args.device)
        return

    print(
        f"UR-DMU, D = {DIM}, one video, float32, {args.threads} threads, "
        f"torch {torch.__version__}, {processor_name(args.device)}"
    )
    row = "{:>7} {:>8} {:>8} {:>8} {:>9} {:>12} {:>9} {:>8} {:>8}"
    head = (
        "T",
        "s",
        "cpu s",
        "MB",
        "dense s",
        "dense cpu s",
        "dense MB",
        "x s" if args.device == "cuda" else "x cpu s",
        "x MB",
    )
    clock = "seconds" if args.device == "cuda" else "cpu"
    print(row.format(*head))
    for length in args.lengths:
        ours = measure_in_process(length, False, args.threads, args.device)
        figures = [f"{ours['seconds']:.4f}", f"{ours['cpu']:.2f}", f"{ours['peak_mb']:.0f}"]
        if length <= REFERENCE_UP_TO:
            dense = measure_in_process(length, True, args.threads, args.device)
            gap = max(abs(a - b) for a, b in zip(ours["scores"], dense["scores"], strict=True))
            assert gap < (1e-5 if args.device == "cpu" else 1e-4), (
                f"the reference disagrees by {gap}"
            )
            figures += [f"{dense['seconds']:.4f}", f"{dense['cpu']:.2f}"]
            figures += [f"{dense['peak_mb']:.0f}"]
            figures += [f"{dense[key] / ours[key]:.2f}" for key in (clock, "peak_mb")]
        else:
            figures += ["-"] * 5
        print(row.format(length, *figures), flush=True)


if __name__ == "__main__":
    main()
