"""Time the evaluation of UCF-Crime's test set: 290 videos, ten crops each, from features to
metrics.

    python benchmarks/evaluation.py LISTS [--up-to 200] [--threads 2]

Features are generated (``tools/make_generated_features.py``), with the names, lengths and labels of
the published lists: 1,109,680 frames, 69,355 whole snippets and their ten crops, 1.4 GB in half
precision. The network has the published size and random weights, so only its cost is meaningful.
It is compared with a plain reference on the videos of at most ``--up-to`` snippets: the reference
reads a crop's whole file, keeps T x T attention and mask in memory, scores every frame, and
computes the metrics by scikit-learn. Each runs in a process of its own; memory is the peak of that
process, PyTorch included. Both must give the same metrics.
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
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from oddframe.datasets.labelled import Dataset
from oddframe.datasets.precomputed import attach_features, load_precomputed_features
from oddframe.datasets.registry import open_dataset
from oddframe.features.store.store import FeatureStore
from oddframe.methods.mil.urdmu_network import UrDmuConfig, UrDmuNetwork
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.clips import make_clip
from oddframe.research.fold_training import make_test_videos, network_scorer, score_part
from oddframe.research.protocol import TrainTestPart

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from make_generated_features import GeneratorOptions, generate  # noqa: E402

DIM = 1024
FIGURES = ("auc", "ap", "ap_trapezoid")


def network() -> ModelNetwork:
    """UR-DMU at its published size; always the same weights."""
    torch.manual_seed(0)
    return ModelNetwork(Standardise.identity(DIM), UrDmuNetwork(DIM, UrDmuConfig())).eval()


def evaluate_ours(dataset: Dataset) -> list[float]:
    """The metrics, as ``oddframe reproduce`` computes them."""
    clips = tuple(make_clip(video, load_precomputed_features(video)) for video in dataset.videos)
    part, protocol = TrainTestPart(0, 0, (), clips), BENCHMARKS["ucf_crime"].protocol
    scorer = network_scorer(network(), tiled=False)
    frames = score_part(part, make_test_videos(part, protocol), scorer, protocol).frames
    return [getattr(frames, name) for name in FIGURES]


def evaluate_plain(dataset: Dataset) -> list[float]:
    """The metrics of the plain reference."""
    model = network().network
    for block in model.selfatt.layers:
        block[0].fn.__class__ = DenseAttention
    scores, labels = [], []
    for video in dataset.videos:
        features = load_precomputed_features(video)
        crops = [torch.from_numpy(np.array(crop, np.float32))[None] for crop in features.array]
        with torch.inference_mode():
            each = [model(crop).scores[0].double().numpy() for crop in crops]
        scores.append(np.repeat(np.mean(each, axis=0), 16))
        labels.append(video.truth.frame_labels(features.timebase)[: len(scores[-1])])
    odd, seen = np.concatenate(labels), np.concatenate(scores)
    precision, recall, _ = precision_recall_curve(odd, seen)
    return [roc_auc_score(odd, seen), average_precision_score(odd, seen), auc(recall, precision)]


def measure(lists: Path, features: Path, up_to: int | None, threads: int, *, dense: bool) -> None:
    """Print time and memory of one of the two, as JSON."""
    torch.set_num_threads(threads)
    dataset = open_test_videos(lists, features, up_to)
    start, cpu = time.perf_counter(), time.process_time()
    figures = evaluate_plain(dataset) if dense else evaluate_ours(dataset)
    answer = {
        "videos": len(dataset.videos),
        "frames": sum(video.frames for video in dataset.videos),
        "seconds": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": peak_mb(),
        "figures": figures,
    }
    print(json.dumps(answer))


def peak_mb() -> float:
    """Peak memory of this process; ``getrusage`` would count its parent's, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def open_test_videos(lists: Path, features: Path, up_to: int | None) -> Dataset:
    """The test videos of at most so many snippets, with their features."""
    test = open_dataset(f"ucf_crime:{lists}").select_part("test")
    most = 16 * up_to if up_to else max(video.frames for video in test.videos)
    test = test.subset([i for i, video in enumerate(test.videos) if video.frames <= most])
    return attach_features(test, FeatureStore(features / "none"), str(features), None)


def run_measure(
    args: argparse.Namespace, features: Path, up_to: int | None, *, dense: bool
) -> dict:
    """Run ``measure`` in a separate process."""
    command = [sys.executable, __file__, str(args.lists), "--measure", str(features)]
    command += ["--threads", str(args.threads), "--up-to", str(up_to or 0)] + ["--dense"] * dense
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)


def print_row(name: str, row: dict) -> None:
    """Print a row at once."""
    cells = f"{row['seconds']:.0f} | {row['cpu_s']:.0f} | {row['peak_mb']:,.0f}"
    print(f"| {name} | {row['videos']} | {row['frames']:,} | {cells} |", flush=True)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lists", type=Path, help="folder of the published lists of UCF-Crime")
    parser.add_argument("--up-to", type=int, default=200, help="snippets, of the reference")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dense", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.lists, args.measure, args.up_to, args.threads, dense=args.dense)
        return
    with tempfile.TemporaryDirectory() as folder:
        test = open_dataset(f"ucf_crime:{args.lists}").select_part("test")
        generate(test, Path(folder), GeneratorOptions(half=True))
        features = Path(folder) / "features"
        print("| test videos, ten crops | videos | frames | s | CPU s | peak MB |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
        some = f"up to {args.up_to} snippets"
        print_row(some, same := run_measure(args, features, args.up_to, dense=False))
        print_row(
            f"{some}, plain reference",
            reference := run_measure(args, features, args.up_to, dense=True),
        )
        print_row("all", run_measure(args, features, None, dense=False))
    gap = max(abs(a - b) for a, b in zip(same["figures"], reference["figures"], strict=True))
    assert gap < 1e-4, f"the reference's figures differ by {gap}"
    ratios = " / ".join(f"{reference[key] / same[key]:.2f}" for key in ("cpu_s", "peak_mb"))
    print(f"reference / ours, CPU and MB: {ratios}; figures differ by at most {gap:.1e}")


if __name__ == "__main__":
    main()
