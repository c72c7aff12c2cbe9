"""``oddframe.train``, ``evaluate`` and ``calibrate``: their examples, interruption, and errors."""

from __future__ import annotations

import doctest
import logging
import shutil
from pathlib import Path

import pytest

import oddframe
from oddframe.api import train
from oddframe.datasets.read import read_dataset
from oddframe.errors import InputError, UsageError
from oddframe.modelfile import load_model
from tests.conftest import ROOT
from tests.training.precomputed import ProgressLog, linear, ready_made

DATA = ROOT / "tests" / "data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``clips/normal`` and ``clips/fight``; features are stored in it."""
    folder = tmp_path_factory.mktemp("api")
    for label, name in (("normal", "nofi079.mp4"), ("fight", "fi150.mp4")):
        (folder / "clips" / label).mkdir(parents=True)
        shutil.copy(DATA / name, folder / "clips" / label)
    return folder


@pytest.mark.parametrize("name", ["train", "evaluate", "calibrate"])
def test_the_example_in_the_docstring(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    function = getattr(oddframe, name)
    (example,) = doctest.DocTestFinder().find(function, name, globs={})
    assert example.examples
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
    assert results.failed == 0


def test_training_writes_a_model_and_a_report(tmp_path: Path) -> None:
    data, out, log = ready_made(tmp_path / "data"), tmp_path / "m.safetensors", ProgressLog()
    result = oddframe.train(
        data, out, config=linear(), store=tmp_path, progress=log, message=log.message
    )
    assert (result.path, result.report) == (out, tmp_path / "m.report.html")
    assert "oddframe.train(" in result.report.read_text()
    assert load_model(out).sha256 == result.model.sha256
    assert result.evaluation is not None
    assert len(result.evaluation.videos) == result.model.card["held_out_videos"]
    assert [step[:2] for step in log.steps] == [(i, 12) for i in range(1, 13)]
    stages = list(dict.fromkeys(text.partition(":")[0] for _, _, text in log.videos))
    assert stages == ["reading", "comparing scenes", "features"]


def test_arguments_change_the_configuration(tmp_path: Path) -> None:
    data = ready_made(tmp_path / "data")
    result = oddframe.train(
        data,
        tmp_path / "m.safetensors",
        config={"recipe": {"steps": 3, "segments": 8}},
        method="linear",
        validation=["g00", "g01"],
        seed=7,
        store=tmp_path,
    )
    assert result.model.method == "linear"
    assert result.model.card["held_out_groups"] == ["g00", "g01"]
    assert result.config.recipe.seed == 7
    with pytest.raises(UsageError, match=r"share from 0 to 0\.5"):
        oddframe.train(data, tmp_path / "n.safetensors", validation=0.9, store=tmp_path)


def test_ctrl_c_leaves_a_state_that_the_same_call_resumes(tmp_path: Path) -> None:
    data, config = ready_made(tmp_path / "data"), linear(recipe={"steps": 130})
    out, whole = tmp_path / "m.safetensors", tmp_path / "whole.safetensors"

    class Interrupt(ProgressLog):
        def __call__(self, done: int, total: int | None, text: str, /) -> None:
            super().__call__(done, total, text)
            if text.startswith("training") and done == 120:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        oddframe.train(data, out, config=config, store=tmp_path, progress=Interrupt())
    assert not out.exists()
    log = ProgressLog()
    oddframe.train(data, out, config=config, store=tmp_path, progress=log)
    assert [step[0] for step in log.steps] == list(range(101, 131)), "from the checkpoint on"
    oddframe.train(data, whole, config=config, store=tmp_path)
    weights = [load_model(path).network.state_dict() for path in (out, whole)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_warnings_are_logged_by_default(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = ready_made(tmp_path / "data", 2)
    with caplog.at_level(logging.INFO, logger="oddframe"):
        train(data, tmp_path / "m.safetensors", config=linear(), store=tmp_path)
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert any("groups are too few" in line for line in warned)


def test_an_evaluation_says_what_failed(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "clips", tmp_path / "clips")
    (tmp_path / "clips" / "normal" / "broken.mp4").write_bytes(b"no video")
    dataset, lines = read_dataset(tmp_path / "clips"), list[str]()
    evaluation = oddframe.evaluate("fight", dataset, store=folder / "store", message=lines.append)
    assert (evaluation.model, evaluation.data) == ("fight", "clips")
    (failed,) = evaluation.failed
    assert "broken.mp4" in failed
    assert f"left out: {failed}" in lines
    assert "1 of 3 videos could not be scored." in evaluation.warnings
    with pytest.raises(InputError, match="no such"):
        oddframe.evaluate("fight", tmp_path / "none")


def test_a_calibrated_model_is_written_where_it_is_asked_for(folder: Path, tmp_path: Path) -> None:
    out, videos = tmp_path / "mine.safetensors", [folder / "clips" / "normal"]
    result = oddframe.calibrate(
        "fight",
        videos,
        false_alarms_per_hour=5000,
        by_camera=True,
        out=out,
        store=folder / "store",
    )
    model = load_model(out)
    assert model.profiles["best"].rule.threshold == result.threshold.value
    assert list(result.cameras) == ["normal"]
    assert model.card["calibration_best"]["cameras"].keys() == result.cameras.keys()
    with pytest.raises(UsageError, match="safetensors"):
        oddframe.calibrate("fight", videos, false_alarms_per_hour=1, out=tmp_path / "m.pt")
