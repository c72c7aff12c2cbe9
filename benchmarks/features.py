"""Time how features of UCF-Crime's size come to the network, beside the step that takes them.

    python benchmarks/features.py LISTS [--videos 20] [--step]

Features are made up (``tools/make_generated_features.py``): real names, lengths and crops, for the
first ``--videos`` of either label in either part. A step takes 64 + 64 bags of 200 x 1024. Its bags
are drawn from a file a crop, from the store, and from bags that were cut beforehand; then all
headers of the data set's 19,000 files are checked. With ``--step`` one step of UR-DMU itself.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

from oddframe.datasets.attach_features import attach_features
from oddframe.datasets.labelled import Dataset
from oddframe.datasets.precomputed import load_precomputed_features, video_digest
from oddframe.datasets.published.feature_files import check_features, import_features
from oddframe.datasets.registry import open_dataset
from oddframe.features.store.store import FeatureStore
from oddframe.training.config import read_config
from oddframe.training.data.features import training_video
from oddframe.training.data.samplers import TrainingVideo, make_bag_sampler, with_cut_bags
from oddframe.training.step import TrainingRun

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from make_generated_features import Wanted, generate  # noqa: E402

CONFIG = read_config(ROOT / "configs" / "urdmu_published.yaml")
DRAWN = 20


def videos_of(dataset: Dataset, store: FeatureStore, *, cut: bool) -> list[TrainingVideo]:
    """The training videos as training sees them."""
    seen = [[load_precomputed_features(video)] for video in dataset.videos]
    videos = [
        training_video(each, video.abnormal)
        for each, video in zip(seen, dataset.videos, strict=True)
    ]
    if not cut:
        return videos
    digests = [video_digest(video) for video in dataset.videos]
    return with_cut_bags(videos, seen, digests, CONFIG.recipe.segments, store.root, lambda *_: None)


def draw_ms(videos: list[TrainingVideo]) -> float:
    """Milliseconds for the bags of one step; what is drawn is in the page cache."""
    bags = make_bag_sampler(videos, CONFIG.bags, CONFIG.full_recipe(), seed=0)
    for _ in range(DRAWN):
        bags.draw()
    began = time.perf_counter()
    for _ in range(DRAWN):
        bags.draw()
    return 1000 * (time.perf_counter() - began) / DRAWN


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lists", type=Path, help="folder of the published lists of UCF-Crime")
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--step", action="store_true", help="also a step of UR-DMU")
    args = parser.parse_args()
    listed = open_dataset(f"ucf_crime:{args.lists}")
    with tempfile.TemporaryDirectory() as folder:
        out, store = Path(folder), FeatureStore(Path(folder) / "store")
        lists = generate(listed, out / "some", Wanted(videos=args.videos))
        some = open_dataset(f"ucf_crime:{lists}")
        began = time.perf_counter()
        imported = import_features(some, out / "some" / "features", store)
        import_s = time.perf_counter() - began
        in_place = attach_features(some, store, out / "some" / "features").select_part("train")
        kept = attach_features(some, store).select_part("train")
        print("| | |\n| --- | ---: |")
        for name, dataset, cut in (
            ("a file a crop", in_place, False),
            ("the store", kept, False),
            ("bags cut beforehand", kept, True),
        ):
            took = draw_ms(videos_of(dataset, store, cut=cut))
            print(f"| bags of a step, from {name} | {took:.0f} ms |")
        size = sum(path.stat().st_size for path in store.root.rglob("*.safetensors")) / 1e6
        print(f"| import, {imported.new} videos, {size:.0f} MB | {import_s:.1f} s |")
        generate(listed, out / "all", Wanted(scale=0.001, half=True))
        began = time.perf_counter()
        every = open_dataset(f"ucf_crime:{out / 'all' / 'lists'}")
        found = check_features(every, out / "all" / "features", contents=False)
        print(f"| headers of {found.files} files | {time.perf_counter() - began:.1f} s |")
        if args.step:
            run = TrainingRun(videos_of(kept, store, cut=True), CONFIG, torch.device("cpu"), None)
            run.step(1)
            began = time.perf_counter()
            run.step(2)
            print(f"| a step of UR-DMU | {1000 * (time.perf_counter() - began):.0f} ms |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"| most memory | {peak:.1f} GB |")


if __name__ == "__main__":
    main()
