"""Surveillance Fight in five folds by recording: spliced videos, single clips, controls.

    python benchmarks/fight_folds.py --data DATA/surveillance_fight --out benchmarks/fight_folds.md

Trains by ``configs/fight.yaml`` on four folds with video labels only, tests on the fifth. Figures
are those of the last step: mean ± standard deviation over folds and repeats.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from oddframe.datasets.surveillance_fight import surveillance_fight
from oddframe.errors import OddframeError
from oddframe.experiments.fight import gathered_clips, report, rows
from oddframe.experiments.protocol import FoldResult, Protocol
from oddframe.features.store import FeatureStore
from oddframe.files import write_bytes
from oddframe.training.config import read_config
from oddframe.training.gather import Extractor

ROOT = Path(__file__).resolve().parent.parent


def arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with clips.csv")
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "fight.yaml")
    parser.add_argument(
        "--store", type=Path, default=Path(".oddframe/features"), help="feature store"
    )
    parser.add_argument("--profile", default="best", help="what scoring reads: best or fast")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=None, help="only the first so many rows")
    parser.add_argument("--jobs", type=int, default=1, help="videos decoded side by side")
    parser.add_argument("--out", type=Path, help="Markdown file; printed in any case")
    return parser.parse_args()


def say(name: str, result: FoldResult) -> None:
    """One line a fold."""
    auc = 100 * result.frames.auc
    print(f"{name}: repeat {result.repeat}, fold {result.fold}: AUC {auc:.1f}", file=sys.stderr)


def main() -> int:
    """Run all of it; the exit code."""
    args = arguments()
    start = time.monotonic()
    try:
        config = read_config(args.config)
        dataset = surveillance_fight(args.data)
        extractor = Extractor(FeatureStore(args.store), "auto", "auto")
        clips = gathered_clips(dataset, config, extractor, jobs=args.jobs, profile=args.profile)
        table = rows(dataset, clips, config, Protocol(repeats=args.repeats, seed=args.seed))
        text = report(table[: args.rows], config, say)
        if args.out:
            write_bytes(args.out, text.encode())
    except OddframeError as error:
        print(f"fight_folds: {error}", file=sys.stderr)
        return error.exit_code
    print(text)
    print(f"{(time.monotonic() - start) / 60:.0f} minutes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
