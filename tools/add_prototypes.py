"""Give the shipped model ``fight`` its prototypes: the training clips that its events name.

    python tools/list_fight_videos.py DATA fight_videos.csv
    oddframe train fight_videos.csv --config fight --store STORE --out fight.safetensors
    python tools/add_prototypes.py fight.safetensors fight_videos.csv STORE DATA/surveillance_fight

Weights and card stay as they are. Only clips in the last folder, whose licence is MIT, get
pictures: ``oddframe train --pictures`` would take them of all videos.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from oddframe.datasets.read import read_dataset
from oddframe.features.store.store import FeatureStore
from oddframe.modelfile import load_model, save_model
from oddframe.training.config import read_config
from oddframe.training.configure import shipped_config
from oddframe.training.data.features import Extractor, FeatureRequest, load_features
from oddframe.training.data.splits import drop_groups
from oddframe.training.prototype_bank import make_bank


def main() -> None:
    """Load, choose, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="the model file, which is written again")
    parser.add_argument("videos", type=Path, help="the table of its training videos")
    parser.add_argument("store", type=Path, help="the feature store of its training")
    parser.add_argument("pictures", type=Path, help="the folder whose videos get pictures")
    given = parser.parse_args()
    model, config = load_model(given.model), read_config(shipped_config("fight"))
    dataset = drop_groups(read_dataset(given.videos), config.leave_out)
    extractor = Extractor(FeatureStore(given.store), "cpu", "auto", "float32")
    sections = tuple(config.training_views().values())
    requests = [FeatureRequest(video, sections) for video in dataset.videos]
    videos, failed = load_features(requests, extractor)
    if failed:
        raise SystemExit(next(iter(failed.values())))
    folder = given.pictures.resolve()
    bank = make_bank(model, config, videos, pictures_of=lambda path: folder in path.parents)
    assert bank is not None
    save_model(replace(model, prototypes=bank), given.model, fp16=config.fp16)
    odd = sum(each.abnormal for each in bank.prototypes)
    print(f"{given.model}: {odd} abnormal and {len(bank.prototypes) - odd} normal prototypes")


if __name__ == "__main__":
    main()
