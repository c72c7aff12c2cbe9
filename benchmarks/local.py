"""The benchmarks: a method, the linear baseline and the controls under one protocol.

    python benchmarks/local.py ped2 --data DATA/ped2 --config configs/ped2.yaml

Benchmarks: ped2, ur_fall, surveillance_fight, shanghaitech_tracks, ucf_crime, xd_violence. Training
sees video labels only. Figures are those of the last step: mean ± standard deviation over folds,
draws or seeds. With ``--validate`` everything happens inside the training parts: for choices, which
are never made on test videos.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from control_rows import make_rows, report, with_candidates

from oddframe._utils.files import write_text
from oddframe.datasets.registry import open_dataset
from oddframe.errors import OddframeError
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.clips import float32_extractor, load_benchmark_features, make_clips
from oddframe.research.fold_training import FoldResult
from oddframe.research.protocol import InnerFolds
from oddframe.training.config import read_config
from oddframe.training.configure import shipped_config


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--config", type=Path, help="default: the benchmark's")
    parser.add_argument(
        "--store", type=Path, default=Path(".oddframe/features"), help="feature store"
    )
    parser.add_argument("--profile", default="best", help="features that are scored: best or fast")
    parser.add_argument("--repeats", type=int, help="default: the benchmark's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, help="only so many rows, from the first")
    parser.add_argument("--jobs", type=int, default=1, help="videos decoded side by side")
    parser.add_argument(
        "--nested",
        action="store_true",
        help="choose the method's settings for each part, on folds of its training clips",
    )
    parser.add_argument("--validate", type=int, metavar="N", help="N folds inside training parts")
    parser.add_argument("--out", type=Path, help="Markdown file; printed in any case")
    return parser.parse_args()


def print_fold(name: str, result: FoldResult) -> None:
    """Print a line for a fold."""
    frames = result.frames
    figures = f"AUC {100 * frames.auc:.1f}, AUC_sub {100 * frames.auc_sub:.1f}"
    print(f"{name}: repeat {result.repeat}, fold {result.fold}: {figures}", file=sys.stderr)


def main() -> int:
    """Run the benchmark; the exit code."""
    args = arguments()
    start = time.monotonic()
    benchmark = BENCHMARKS[args.benchmark]
    try:
        config = read_config(args.config or shipped_config(benchmark.config))
        dataset = open_dataset(f"{args.benchmark}:{args.data}")
        found = load_benchmark_features(
            dataset, config, float32_extractor(args.store), jobs=args.jobs, profile=args.profile
        )
        clips = make_clips(found, config, args.profile)
        protocol = replace(benchmark.protocol_for(dataset), seed=args.seed)
        if args.repeats:
            protocol = replace(protocol, repeats=args.repeats)
        if args.validate:
            protocol = replace(protocol, split=InnerFolds(protocol.split, args.validate))
        rows = make_rows(dataset, clips, config, protocol, args.profile)
        if args.nested:
            rows = (with_candidates(rows[0], config, args.profile), *rows[1:])
        text = report(benchmark, rows[: args.rows], config, print_fold)
        if args.out:
            write_text(args.out, text)
    except OddframeError as error:
        print(f"local: {error}", file=sys.stderr)
        return error.exit_code
    print(text)
    print(f"{(time.monotonic() - start) / 60:.0f} minutes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
