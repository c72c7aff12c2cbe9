"""Final trainings: seeds, pretrained models, one-class training, full disks."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oddframe._utils.files import write_bytes
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.errors import OddframeError, UsageError
from oddframe.features.formats.published import NpyFiles
from oddframe.features.presets import PublishedLayout
from oddframe.features.store.store import FeatureStore
from oddframe.modelfile import Model, load_model
from oddframe.training.config import MethodSection
from oddframe.training.run_files import RunFiles
from oddframe.training.search import Budget
from oddframe.training.train import TrainedModel, run_training
from tests.training.precomputed import ProgressLog, linear, ready_made


def trained(tmp_path: Path, log: ProgressLog | None = None, **kwargs: Any) -> TrainedModel:
    log = log or ProgressLog()
    return run_training(
        kwargs.pop("data", None) or ready_made(tmp_path / "data"),
        kwargs.pop("config", linear()),
        kwargs.pop("out", tmp_path / "m.safetensors"),
        store=FeatureStore(tmp_path / "store"),
        progress=log,
        message=log.message,
        **kwargs,
    )


def test_the_best_of_several_seeds_is_kept(tmp_path: Path) -> None:
    config = linear(method="ur_dmu", recipe={"steps": 3})  # Three steps differ from seed to seed.
    found = trained(tmp_path, seeds=3, config=config)
    assert [run.seed for run in found.seeds] == [2022, 2023, 2024]
    (kept,) = [run for run in found.seeds if run.kept]
    figures = [run.validation for run in found.seeds]
    assert all(value is not None and 0 <= value <= 1 for value in figures)
    assert kept.validation == max(value for value in figures if value is not None)
    assert kept.validation > min(value for value in figures if value is not None)
    assert kept.seed != 2022
    assert found.model.metrics == kept.metrics
    card = found.model.card
    assert card["configuration"]["recipe"]["seed"] == kept.seed
    assert set(card["seeds"]["mean_and_deviation"]) == set(found.model.metrics)
    assert not set(card["validation_groups"]) & set(card["held_out_groups"])
    seen = card["training_videos"]["normal"]
    assert seen + len(card["validation_groups"]) + len(card["held_out_groups"]) == 12
    assert found.log.name == f"m.seed-{kept.seed}.log.jsonl"
    assert len(found.log.read_text().splitlines()) == 3
    json.dumps(dict(card), allow_nan=False)


class Stop(ProgressLog):
    """Stops in the third training of twelve steps."""

    def __call__(self, done: int, total: int | None, text: str, /) -> None:
        """Remember, or stop."""
        super().__call__(done, total, text)
        if len(self.steps) == 30:
            raise KeyboardInterrupt


def stopped_in_the_third(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(folder, Stop(), seeds=3)


def test_finished_seeds_are_not_trained_again(tmp_path: Path) -> None:
    stopped_in_the_third(tmp_path)
    log = ProgressLog()
    again = trained(tmp_path, log, seeds=3)
    assert len(log.steps) == 12, "of three trainings two were finished"
    whole = trained(tmp_path / "whole", seeds=3)
    assert again.seeds == whole.seeds
    assert again.model.sha256 == whole.model.sha256


def published(folder: Path) -> Dataset:
    """Features as they are published, large enough that their ends are not all of them."""
    rng, videos = np.random.default_rng(0), []
    folder.mkdir()
    for i in range(24):
        files = tuple(folder / f"v{i:02}__{crop}.npy" for crop in range(5))
        for file in files:
            np.save(file, rng.normal(i % 2, 1.0, (120, 24)).astype(np.float32))
        made = NpyFiles(files, PublishedLayout(crops=5, fps=25.0, dim=24))
        label = ("normal", "fight")[i % 2]
        videos.append(LabelledVideo(files[0], i % 2 == 1, label, f"g{i // 2:02}", precomputed=made))
    return Dataset("published", tuple(videos))


def test_changed_features_repeat_seeds_and_trials(tmp_path: Path) -> None:
    class Interrupted(ProgressLog):
        chosen_at = 10_000

        def __call__(self, done: int, total: int | None, text: str, /) -> None:
            super().__call__(done, total, text)
            if len(self.steps) > self.chosen_at + 15:  # In the second seed.
                raise KeyboardInterrupt

        def message(self, line: str) -> None:
            super().message(line)
            if line.startswith("chosen"):
                self.chosen_at = len(self.steps)

    data = published(tmp_path / "data")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, Interrupted(), data=data, budget=Budget(600), seeds=2)
    left = {path.name for path in (tmp_path / "m.training").iterdir()}
    assert {"seed-2022.safetensors", "trials.jsonl"} <= left
    for video in data.videos:
        view = np.load(video.path)
        view[60, :] += 3.0
        np.save(video.path, view)
    log = ProgressLog()
    found = trained(tmp_path, log, data=data, budget=Budget(600), seeds=2)
    assert log.has_line("trials of other settings or features")
    assert log.has_line("2022.safetensors: trained with another configuration, on other features")
    fresh = trained(
        tmp_path, data=data, out=tmp_path / "n.safetensors", budget=Budget(600), seeds=2
    )
    assert [run.metrics for run in found.seeds] == [run.metrics for run in fresh.seeds]
    assert "features_digest" not in found.model.card
    weights = [one.network.state_dict() for one in (found.model, fresh.model)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_without_resume_finished_seeds_are_trained_again(tmp_path: Path) -> None:
    stopped_in_the_third(tmp_path)
    log = ProgressLog()
    trained(tmp_path, log, seeds=3, resume=False)
    assert len(log.steps) == 36


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return trained(tmp_path / "start").model


def test_training_starts_from_a_pretrained_model(tmp_path: Path, model: Model) -> None:
    config = linear(recipe={"steps": 1, "lr": 1e-9}, correction="never")
    tuned = trained(tmp_path, pretrained=model, config=config).model
    assert tuned.card["started_from"] == {"name": "m", "sha256": model.sha256}
    for name, tensor in tuned.network.state_dict().items():
        expected = model.network.state_dict()[name]
        assert (tensor - expected).abs().max() < 1e-3, name
    fresh = trained(tmp_path / "fresh", config=config).model
    assert any(
        (tensor - model.network.state_dict()[name]).abs().max() > 1e-3
        for name, tensor in fresh.network.state_dict().items()
    )


def test_other_held_out_videos_repeat_a_finished_seed(tmp_path: Path) -> None:
    data = published(tmp_path / "data")
    groups = trained(tmp_path, data=data).model.card["held_out_groups"]
    out = tmp_path / "n.safetensors"
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, Stop(), data=data, out=out, seeds=3)
    for video in data.videos:
        if video.group in groups:
            np.save(video.path, np.load(video.path) + 1.0)
    log = ProgressLog()
    found = trained(tmp_path, log, data=data, out=out, seeds=3)
    assert log.has_line("2022.safetensors: trained with another configuration, on other features")
    assert found.model.card["held_out_groups"] == groups


def test_a_model_of_another_method_or_other_features_is_refused(
    tmp_path: Path, model: Model
) -> None:
    with pytest.raises(UsageError, match="method: linear, not ur_dmu"):
        trained(tmp_path, pretrained=model, config=linear(method="ur_dmu"))
    other = linear().chosen_method()[1].model_dump()
    name = next(key for key, value in other.items() if isinstance(value, int))
    config = linear()
    changed = config.method.model_copy(update={"config": {name: other[name] + 1}})
    with pytest.raises(UsageError, match=f"{name}: "):
        trained(tmp_path, pretrained=model, config=config.model_copy(update={"method": changed}))
    fight = load_model("fight_urdmu")
    method = {"name": fight.method, "config": fight.config.model_dump(mode="json")}
    section = config.method.model_validate(method)
    with pytest.raises(UsageError, match=f"dim: {fight.profiles['best'].spec.dim}, not 24"):
        trained(tmp_path, pretrained=fight, config=config.model_copy(update={"method": section}))
    assert not (tmp_path / "m.safetensors").exists()


def test_a_method_without_steps_is_corrected_with_any_number_of_videos(tmp_path: Path) -> None:
    config = linear().model_copy(update={"method": MethodSection(name="logistic")})
    first = trained(tmp_path, config=config, out=tmp_path / "one.safetensors").model
    log = ProgressLog()
    again = trained(tmp_path, log, pretrained=first, config=config).model
    assert len(again.card["corrections"]) == 1
    assert log.has_line("stays as it is, with a small correction")
    assert not log.has_line("correction: never")
    torch.testing.assert_close(
        again.network.network.state_dict(), first.network.network.state_dict()
    )


def test_normal_videos_alone_train_a_one_class_model(tmp_path: Path) -> None:
    log = ProgressLog()
    data = ready_made(tmp_path / "data", abnormal=False)
    found = trained(tmp_path, log, data=data, seeds=2)
    assert found.model.method == "normality"
    assert found.model.detects == "what is unusual"
    assert log.has_line("only normal videos to learn from")
    assert log.has_line("add videos in which something happens")
    assert not set(found.model.metrics) & {"video_auc"}
    assert 0 < found.model.profiles["best"].rule.threshold <= 1
    assert len(found.held_out) in (2, 3), "a fifth of twelve groups"
    assert found.seeds == ()


def test_one_class_training_refuses_a_pretrained_model(tmp_path: Path, model: Model) -> None:
    data = ready_made(tmp_path / "data", abnormal=False)
    with pytest.raises(UsageError, match="cannot start from a model"):
        trained(tmp_path, data=data, pretrained=model)


def test_metrics_that_are_too_good_give_a_warning(tmp_path: Path) -> None:
    first = trained(tmp_path, out=tmp_path / "one.safetensors").model
    log = ProgressLog()
    again = trained(tmp_path, log, pretrained=first, seeds=2)
    assert again.model.card["held_out_groups"] == first.card["held_out_groups"]
    assert log.has_line("chosen on: their figures are too good")
    assert not log.has_line("held-out videos")
    log = ProgressLog()
    other = sorted({f"g{i:02}" for i in range(12)} - set(first.card["held_out_groups"]))
    trained(tmp_path, log, pretrained=first, config=linear(calibration={"groups": other[:2]}))
    assert log.has_line("has learned from 4 of 4 held-out videos or others of their groups")
    assert not log.has_line("chosen on")
    # The same videos under another name are known by their contents.
    log = ProgressLog()
    moved = replace(ready_made(tmp_path / "moved"), name="moved")
    trained(
        tmp_path,
        log,
        data=moved,
        pretrained=first,
        config=linear(calibration={"groups": other[:2]}),
    )
    assert log.has_line("has learned from 4 of 4 held-out videos")
    # Other videos under the same name, in groups of the same names, are not.
    log = ProgressLog()
    other_videos = ready_made(tmp_path / "others", seed=2)
    assert (other_videos.name, other_videos.groups) == (first.card["data"], moved.groups)
    trained(
        tmp_path,
        log,
        data=other_videos,
        pretrained=first,
        config=linear(calibration={"groups": other[:2]}),
    )
    assert not log.has_line("has learned from")


def test_a_second_training_of_the_same_file_is_refused(tmp_path: Path) -> None:
    with (
        RunFiles(tmp_path / "m.safetensors").locked(),
        pytest.raises(OddframeError, match="another training is at work there") as error,
    ):
        trained(tmp_path)
    assert "\n" not in str(error.value)
    trained(tmp_path, out=tmp_path / "n.safetensors")


def test_a_full_disk_is_one_error_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = linear(recipe={"steps": 250})
    writes = []
    whole = write_bytes

    def full(path: Path, data: bytes) -> None:
        writes.append(path)
        if len(writes) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(path, data)

    monkeypatch.setattr("oddframe.training.run_files.write_bytes", full)
    with pytest.raises(OddframeError, match="no space left on device") as error:
        trained(tmp_path, config=config)
    assert "\n" not in str(error.value)
    assert "free some space" in str(error.value)
    monkeypatch.undo()
    log = ProgressLog()
    found = trained(tmp_path, log, config=config)
    assert len(log.steps) == 150, "from the checkpoint at step 100 on"
    assert found.model.sha256 == trained(tmp_path / "whole", config=config).model.sha256


def test_a_log_on_a_full_disk_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("oddframe.training.loop.open_step_log", full)
    with pytest.raises(OddframeError, match=r"m\.log\.jsonl: cannot be written \(no space left"):
        trained(tmp_path)


def test_few_normal_videos_do_not_give_constant_alarms(tmp_path: Path) -> None:
    log = ProgressLog()
    found = trained(tmp_path, log, data=ready_made(tmp_path / "data", 3, abnormal=False))
    assert log.has_line("too few groups (3)")
    assert found.model.profiles["best"].rule.threshold == 0.5
    assert "not yet remembered" in found.model.card["threshold_best"]["on"]
