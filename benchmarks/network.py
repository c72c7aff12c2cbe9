"""Time and memory of UR-DMU's forward pass over one video, by its length.

    python benchmarks/network.py [--lengths 200 1000 5000 50000] [--threads 2]

Beside it stands a plain reference: the same network with the T x T attention weights and the
T x T local mask laid out in memory, up to the length where that still fits. Each measurement runs
in a process of its own; memory is the peak of what the system gave that process, PyTorch and the
features included. ``cpu s`` sums the processors' seconds, so it holds on a busy machine too;
``x`` columns are the reference's figure over ours.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor

from oddframe.methods.urdmu.attention import Attention
from oddframe.methods.urdmu.config import UrDmuConfig
from oddframe.methods.urdmu.network import UrDmuNetwork

DIM = 1024
LENGTHS = (200, 1000, 5000, 20000, 50000)
REFERENCE_UP_TO = 5000


class DenseAttention(Attention):
    """Global and local attention as two dense T x T matrices."""

    def forward(self, x: Tensor) -> Tensor:
        heads, width = self.config.heads, self.config.head_dim
        parts = self.to_qkv(x).chunk(4, dim=-1)
        q, k, v, v_local = (p.unflatten(-1, (heads, width)).transpose(1, 2) for p in parts)
        far = torch.softmax(q @ k.transpose(-1, -2) / width**0.5, dim=-1) @ v
        t = torch.arange(x.shape[1], dtype=x.dtype)
        mask = torch.exp(-(t[:, None] - t).abs() / torch.exp(torch.tensor(self.config.tau)))
        mask = (mask / mask.sum(0)).expand(x.shape[0], heads, -1, -1)
        y = torch.cat([far, mask @ v_local], dim=-1).transpose(1, 2).flatten(-2)
        return self.to_out(y)


def measure(length: int, dense: bool, threads: int) -> None:
    """Print seconds, processor seconds, peak MB and a few scores of one forward pass, as JSON."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = UrDmuNetwork(DIM, UrDmuConfig()).eval()
    if dense:
        for block in network.selfatt.layers:
            block[0].fn.__class__ = DenseAttention
    features = torch.rand(1, length, DIM)
    with torch.inference_mode():
        network(features[:, :64])
        seconds = cpu = float("inf")
        for _ in range(max(1, 3000 // length)):  # Short ones repeated: the best of several.
            start, cpu_start = time.perf_counter(), time.process_time()
            scores = network(features).scores
            seconds = min(seconds, time.perf_counter() - start)
            cpu = min(cpu, time.process_time() - cpu_start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    head = scores[0, :5].tolist()
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak, "scores": head}))


def measured(length: int, dense: bool, threads: int) -> dict:
    """``measure`` in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(length), "--threads", str(threads)]
    answer = subprocess.run(
        command + ["--dense"] * dense, check=True, capture_output=True, text=True
    )
    return json.loads(answer.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--dense", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, args.dense, args.threads)
        return

    print(
        f"UR-DMU, D = {DIM}, one video, float32, {args.threads} threads, torch {torch.__version__}"
    )
    row = "{:>7} {:>8} {:>8} {:>8} {:>9} {:>12} {:>9} {:>8} {:>8}"
    head = "T", "s", "cpu s", "MB", "dense s", "dense cpu s", "dense MB", "x cpu s", "x MB"
    print(row.format(*head))
    for length in args.lengths:
        ours = measured(length, False, args.threads)
        figures = [f"{ours['seconds']:.2f}", f"{ours['cpu']:.2f}", f"{ours['peak_mb']:.0f}"]
        if length <= REFERENCE_UP_TO:
            dense = measured(length, True, args.threads)
            gap = max(abs(a - b) for a, b in zip(ours["scores"], dense["scores"], strict=True))
            assert gap < 1e-5, f"the reference disagrees by {gap}"
            figures += [f"{dense['seconds']:.2f}", f"{dense['cpu']:.2f}"]
            figures += [f"{dense['peak_mb']:.0f}"]
            figures += [f"{dense[key] / ours[key]:.2f}" for key in ("cpu", "peak_mb")]
        else:
            figures += ["-"] * 5
        print(row.format(length, *figures), flush=True)


if __name__ == "__main__":
    main()
