"""Benchmarks of a method, the linear baseline and the controls under one protocol.

    python benchmarks/local.py ped2 --data DATA/ped2 --config configs/ped2.yaml

Benchmarks: ped2, ur_fall, surveillance_fight, shanghaitech_tracks, ucf_crime, xd_violence. Training
uses video labels only. Results are those of the last step: mean ± standard deviation over folds,
draws or seeds. ``--validate`` evaluates on folds inside the training parts instead: settings are
chosen there, never on test videos.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from oddframe._utils.files import write_text
from oddframe.datasets.registry import open_dataset
from oddframe.errors import OddframeError
from oddframe.research.benchmark_table import chosen_anew, report, rows
from oddframe.research.benchmarks import (
    BENCHMARKS,
    clips_from,
    extractor_of,
    gathered,
    protocol_of,
)
from oddframe.research.protocol import FoldResult
from oddframe.research.splits import Inner
from oddframe.training.config import read_config
from oddframe.training.config_files import shipped_config


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--config", type=Path, help="default: the benchmark's")
    parser.add_argument(
        "--store", type=Path, default=Path(".oddframe/features"), help="feature store"
    )
    parser.add_argument("--profile", default="best", help="profile for scoring: best or fast")
    parser.add_argument("--repeats", type=int, help="default: the benchmark's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, help="number of rows, from the first")
    parser.add_argument("--jobs", type=int, default=1, help="videos decoded in parallel")
    parser.add_argument(
        "--nested",
        action="store_true",
        help="choose the settings of the configured method in each part, on its training clips",
    )
    parser.add_argument("--validate", type=int, metavar="N", help="N folds inside training parts")
    parser.add_argument("--out", type=Path, help="Markdown file; the result is printed, too")
    return parser.parse_args()


def say(name: str, result: FoldResult) -> None:
    """Print a line for each fold."""
    frames = result.frames
    figures = f"AUC {100 * frames.auc:.1f}, AUC_sub {100 * frames.auc_sub:.1f}"
    print(f"{name}: repeat {result.repeat}, fold {result.fold}: {figures}", file=sys.stderr)


def main() -> int:
    """Run the benchmark; returns the exit code."""
    args = arguments()
    start = time.monotonic()
    benchmark = BENCHMARKS[args.benchmark]
    try:
        config = read_config(args.config or shipped_config(benchmark.config))
        dataset = open_dataset(f"{args.benchmark}:{args.data}")
        extractor = extractor_of(args.store)
        found = gathered(dataset, config, extractor, jobs=args.jobs, profile=args.profile)
        clips = clips_from(dataset, config, found, args.profile)
        protocol = replace(protocol_of(benchmark, dataset), seed=args.seed)
        if args.repeats:
            protocol = replace(protocol, repeats=args.repeats)
        if args.validate:
            protocol = replace(protocol, split=Inner(protocol.split, args.validate))
        table = rows(benchmark, dataset, clips, config, protocol, args.profile)
        if args.nested:
            table = (chosen_anew(table[0], config, args.profile), *table[1:])
        text = report(benchmark, table[: args.rows], config, say)
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
