"""The tables of benchmarks/local.py, on files of real clips with generated features."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import control_rows as controls
from benchmarks.control_rows import (
    LINEAR,
    Row,
    make_rows,
    method_trainer,
    report,
    run_protocol,
    with_candidates,
)
from oddframe.backbones import engines
from oddframe.datasets.labelled import Dataset
from oddframe.datasets.precomputed import attach_features
from oddframe.datasets.published.video_files import read_surveillance_fight
from oddframe.datasets.registry import open_dataset
from oddframe.errors import InputError
from oddframe.features.store.store import FeatureStore
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.clips import BenchmarkClip, float32_extractor, load_benchmark_features
from oddframe.research.protocol import BenchmarkProtocol, Folds, SpliceRule
from oddframe.research.reproduce.tables import linear_baseline
from oddframe.timeline import Timebase
from oddframe.training.config import SearchSection, TrainConfig, parse_config, read_config
from oddframe.training.configure import shipped_config
from oddframe.training.data.features import Extractor
from oddframe.training.data.samplers import TrainingVideo
from tests.datasets.generated import GeneratorOptions, made_up

TINY = {"hidden": 8, "heads": 2, "head_dim": 4, "anomaly_slots": 16, "normal_slots": 16}
SPLICES = SpliceRule((4, 6), (1, 2), 5, 5)


def tiny(mode: str, steps: int = 10) -> TrainConfig:
    return parse_config(
        {
            "method": {"config": TINY},
            "recipe": {
                "steps": steps,
                "lr": 0.01,
                "normal_bags": 4,
                "abnormal_bags": 4,
                "segments": 8,
            },
            "bags": {"mode": mode, "clips": [4, 6], "abnormal": [1, 2]},
        }
    )


def fight_clips(root: Path) -> tuple[BenchmarkClip, ...]:
    rng = np.random.default_rng(0)
    clips = []
    for video in read_surveillance_fight(root).videos:
        array = rng.normal(size=(1, 3, 5)).astype(np.float32)
        array[..., 0] += 3 * video.abnormal
        base = Timebase(25.0, 48)
        clips.append(BenchmarkClip(str(video.path), array, base, video.abnormal, video.group))
    return tuple(clips)


@pytest.mark.parametrize("mode", ["video", "joined"])
def test_a_configuration_is_a_trainer(clips, mode):
    protocol = BenchmarkProtocol(Folds(2), 1, "spliced", SPLICES, SPLICES)
    protocol = protocol.with_clips_as_bags() if mode == "joined" else protocol
    results = run_protocol(clips, method_trainer(tiny(mode, 40)), protocol)
    assert np.mean([result.frames.auc for result in results]) > 0.8


def test_crops_are_views_in_training_and_averaged_in_scoring(clips):
    bags = [TrainingVideo((clip.array[0], clip.array[0] * 0.9), clip.abnormal) for clip in clips]
    scorer = method_trainer(tiny("video"))(bags, 0)
    array = clips[0].array
    both = np.concatenate([array, array[:, ::-1]])
    expected = (scorer(array) + scorer(array[:, ::-1])) / 2
    np.testing.assert_allclose(scorer(both), expected, atol=1e-6)


def test_scores_of_fast_are_smoothed_over_the_same_time_as_those_of_best(clips):
    """Snippets of ``fast`` are five times as far apart, too far to be averaged."""
    bags = [TrainingVideo((clip.array[0],), clip.abnormal) for clip in clips]

    def scores(profile: str, blur: float) -> np.ndarray:
        small = {"hidden": 8, "heads": 2, "head_dim": 4, "blur": blur}
        config = tiny("video").model_dump() | {"fast": {"stride": 80}}
        config = parse_config(config | {"method": {"name": "oddframe", "config": small}})
        protocol, nothing = BENCHMARKS["ur_fall"].protocol, Dataset("made", ())
        (ours, *_) = make_rows(nothing, clips, config, protocol, profile)
        return ours.trainer(bags, 0)(clips[0].array)

    rough = scores("best", 0.0)
    np.testing.assert_allclose(scores("fast", 0.7), rough, atol=1e-4)
    assert np.abs(scores("best", 0.7) - rough).max() > 1e-3


def test_settings_are_chosen_for_each_part(clips):
    grid = {"lr": [1, 1e-6], "steps": [1], "folds": 2}
    config = tiny("video", 3).model_copy(update={"search": SearchSection(**grid)})
    benchmark = replace(
        BENCHMARKS["surveillance_fight"],
        protocol=BenchmarkProtocol(Folds(2), 1, "clips", SPLICES, SPLICES),
    )
    row = Row("UR-DMU", method_trainer(config), clips, benchmark.protocol)
    text = report(benchmark, [with_candidates(row, config)], config)
    assert "UR-DMU: chosen in each part on 2 folds: learning rate" in text
    assert len(re.findall(r"learning rate [^,]+, 3 steps, [^:]+: [12]", text)) in (1, 2)


def test_the_baseline_is_linear_on_the_same_bags():
    config = tiny("joined").model_copy(update={"standardise": False})
    linear = linear_baseline(config)
    assert linear.chosen_method()[0].name == "linear"
    assert linear.standardise
    assert linear.full_recipe().segments == 8
    assert linear.full_recipe().lr == 2e-3
    assert linear.bags == config.bags


def test_file_properties_tell_the_classes_apart(shared_data):
    root = shared_data / "surveillance_fight"
    clips = fight_clips(root)
    blind = controls.file_property_clips(read_surveillance_fight(root), clips)
    assert len({clip.array[0, 0].tobytes() for clip in blind}) > 50
    sound = np.array([clip.array[0, 0, 4] for clip in blind])
    abnormal = np.array([clip.abnormal for clip in blind])
    assert ((sound == 0) & abnormal).sum() == 8
    assert ((sound == 0) & ~abnormal).sum() == 35
    results = run_protocol(
        blind, controls.logistic_regression, BenchmarkProtocol(repeats=1, train_on="clips")
    )
    assert 0.5 < np.mean([result.frames.auc for result in results]) < 0.9


@pytest.mark.slow
def test_a_table_has_all_rows_and_differences(shared_data):
    root = shared_data / "surveillance_fight"
    dataset, clips = read_surveillance_fight(root), fight_clips(root)
    protocol = BenchmarkProtocol(Folds(2), 1, "spliced", SPLICES, SPLICES)
    config = tiny("joined")
    few = {"normal_videos": 2, "abnormal_videos": 2}
    protocol = replace(protocol, test_videos=replace(SPLICES, **few))
    benchmark = BENCHMARKS["surveillance_fight"]
    table = make_rows(dataset, clips, config, protocol)
    text = report(benchmark, table, config)
    for row in table:
        assert f"| {row.name} | " in text
    assert f"minus {LINEAR}" in text
    assert replace(protocol, train_on="clips") == table[0].protocol


def test_benchmarks_use_the_same_features_on_every_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "cpu_has_bfloat16", lambda: True)
    assert Extractor(FeatureStore(tmp_path), "cpu", "auto").precision == "bfloat16"
    assert float32_extractor(tmp_path, "cpu").precision == "float32"


def test_one_video_without_features_is_named_and_the_others_are_counted(
    shared_data: Path, tmp_path: Path
) -> None:
    made = made_up(
        "ucf_crime", shared_data, tmp_path, GeneratorOptions(scale=0.01, videos=2, dim=16)
    )
    for path in sorted(made.features.rglob("*__0.npy"))[1:]:
        path.unlink()
    dataset = attach_features(
        open_dataset(made.data), FeatureStore(tmp_path / "store"), made.features
    )
    config = read_config(shipped_config("urdmu_published"))
    with pytest.raises(InputError, match="other videos likewise: oddframe data check names all"):
        load_benchmark_features(dataset, config, float32_extractor(tmp_path / "store"))
