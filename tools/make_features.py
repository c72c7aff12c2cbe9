"""Extract the features of the local benchmarks into the store, so that tests find them there.

    python tools/make_features.py DATA

DATA is a folder with one folder for each data set: ped2, ur_fall, surveillance_fight. Features that
are in the store already are not extracted again, so an interrupted run can go on. The features of a
data set are those of its configuration; a data set of precomputed features is only read.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from oddframe.datasets.registry import open_dataset
from oddframe.errors import OddframeError
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.clips import float32_extractor
from oddframe.training.config import read_config
from oddframe.training.data.features import FeatureRequest, load_features

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def print_progress(done: int, total: int | None, name: str) -> None:
    """Print which video of how many is done, on one line that overwrites itself."""
    print(f"\r  {done}/{total} {name:<40.40}", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Extract missing features; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with a folder for each data set")
    parser.add_argument("--store", type=Path, default=Path(".oddframe/features"))
    args = parser.parse_args()
    extractor = float32_extractor(args.store)
    found = [name for name in BENCHMARKS if (args.data / name).is_dir()]
    if not found:
        print(f"{args.data}: none of {', '.join(BENCHMARKS)} in it", file=sys.stderr)
        return 2
    failures = 0
    for name in found:
        start = time.monotonic()
        try:
            dataset = open_dataset(f"{name}:{args.data / name}")
            config = read_config(CONFIGS / f"{BENCHMARKS[name].config}.yaml")
            if not any(video.path.exists() for video in dataset.videos):
                print(f"{name}: lists, and none of the {len(dataset.videos)} videos: left out")
                continue
            sections = (*config.profiles().values(), *config.training_views().values())
            requests = [FeatureRequest(video, sections) for video in dataset.videos]
            loaded, failed = load_features(requests, extractor, 1, print_progress)
        except OddframeError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return error.exit_code
        minutes = (time.monotonic() - start) / 60
        print(f"\r{name}: {len(loaded)} videos in {minutes:.1f} minutes{' ' * 40}")
        for reason in failed.values():
            print(f"  failed: {reason}", file=sys.stderr)
        failures += len(failed)
    return 3 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
