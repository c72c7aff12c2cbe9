"""What a stream loses against the whole video: windows of the head, and snippets of look-ahead.

    python benchmarks/stream.py --data DATA --store FOLDER

``DATA`` holds ``shanghaitech_tracks`` and ``ur_fall``; features of the latter are kept in the store
``FOLDER``. UR-DMU and ``oddframe`` see other snippets through attention; methods that score each
snippet alone lose nothing. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from oddframe.datasets.registry import open_dataset
from oddframe.methods.scorer import ModelNetwork
from oddframe.metrics import LabelledScores, frame_metrics
from oddframe.research.clips import BenchmarkClip, ClipSource
from oddframe.timeline import FloatArray, ScoreTrack
from oddframe.training.config import TrainConfig, read_config
from oddframe.training.configure import shipped_config
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.loop import fit

WINDOWS = (16, 64)
LOOK_AHEADS = (0, 2, 8)
FOLDS = 5
# Every so many test videos of the tracks: a stream scores each snippet with its whole window.
TEST_STEP = 4
_BATCH = 64
METHODS = ("ur_dmu", "oddframe")


def stream_scores(
    network: ModelNetwork, array: NDArray[np.float32], window: int, ahead: int
) -> FloatArray:
    """(T,) scores of features (1, T, D) as a stream gives them; see ``oddframe.stream``."""
    length = array.shape[1]
    found = np.empty(length)
    for seen in range(1 + ahead, min(window, length) + 1):  # The window is not full yet.
        found[seen - 1 - ahead] = network.score_views(array[:, :seen])[-1 - ahead]
    if length > window:
        windows = sliding_window_view(array[0], window, axis=0).swapaxes(1, 2)
        with torch.inference_mode():
            parts = torch.from_numpy(windows.copy()).split(_BATCH)
            rows = torch.cat([network(part) for part in parts]).numpy()
        found[window - 1 - ahead : length - ahead] = rows[:, -1 - ahead]
    if ahead:  # The end of the stream makes all scores final.
        last = network.score_views(array[:, -window:])
        found[-ahead:] = last[-ahead:]
    return found


def parts(
    clips: Sequence[BenchmarkClip], split: Sequence[str] | None
) -> list[tuple[list[BenchmarkClip], list[BenchmarkClip]]]:
    """Training and test clips: of the published split, or of folds by group."""
    if split is not None:
        pairs = list(zip(clips, split, strict=True))
        train, test = ([c for c, each in pairs if each == part] for part in ("train", "test"))
        return [(train, test[::TEST_STEP])]
    groups = sorted({clip.group for clip in clips})
    fold = dict(zip(groups, np.random.default_rng(0).permutation(len(groups)) % FOLDS, strict=True))
    return [
        (
            [clip for clip in clips if fold[clip.group] != number],
            [clip for clip in clips if fold[clip.group] == number],
        )
        for number in range(FOLDS)
    ]


def figures(
    config: TrainConfig, divided: list[tuple[list[BenchmarkClip], list[BenchmarkClip]]]
) -> dict[tuple[int, int] | None, tuple[float, float]]:
    """Mean AUC and AP by (window, look-ahead); None: of the whole video."""
    settings = [None, *((w, a) for w in WINDOWS for a in LOOK_AHEADS if a < w)]
    found: dict[tuple[int, int] | None, list[tuple[float, float]]] = {each: [] for each in settings}
    for seed, (train, test) in enumerate(divided):
        views = [(np.asarray(clip.array[0], np.float32), clip.abnormal) for clip in train]
        videos = [TrainingVideo((view,), abnormal=abnormal) for view, abnormal in views]
        network = fit(videos, config.with_recipe(seed=seed)).network
        for setting, each in found.items():
            scored = []
            for clip in test:
                array = np.asarray(clip.array, np.float32)
                if setting is None:
                    scores = network.score_views(array)
                else:
                    scores = stream_scores(network, array, *setting)
                scored.append(
                    LabelledScores.from_track(ScoreTrack(scores, clip.timebase), clip.labels)
                )
            metrics = frame_metrics(scored)
            each.append((metrics.auc, metrics.ap))
    return {key: tuple(100 * np.mean(each, axis=0)) for key, each in found.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="where the data sets lie")
    parser.add_argument("--store", type=Path, required=True, help="where features are kept")
    given = parser.parse_args()
    print("| data set | method | window | look-ahead | AUC | AP |")
    print("| --- | --- | ---: | ---: | ---: | ---: |", flush=True)
    for name in ("shanghaitech_tracks", "ur_fall"):
        dataset = open_dataset(f"{name}:{given.data / name}")
        config = read_config(shipped_config(name))
        clips = ClipSource(dataset, config, given.store, "cpu").load(1, lambda *_: None)[0]
        split = [v.part for v in dataset.videos] if name == "shanghaitech_tracks" else None
        for method in METHODS:
            chosen = config.method.model_copy(update={"name": method, "config": {}})
            own = (
                config
                if method == config.method.name
                else config.model_copy(update={"method": chosen})
            )
            for setting, (auc, ap) in figures(own, parts(clips, split)).items():
                window, ahead = setting or ("whole video", "")
                print(
                    f"| {name} | {method} | {window} | {ahead} | {auc:.1f} | {ap:.1f} |", flush=True
                )


if __name__ == "__main__":
    main()
