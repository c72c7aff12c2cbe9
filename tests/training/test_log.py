"""TensorBoard shows the terms of the log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oddframe.errors import UsageError
from oddframe.features.store.store import FeatureStore
from oddframe.training import run_files as board
from oddframe.training.train import run_training
from tests.training.precomputed import linear, ready_made


def test_tensorboard_gets_every_term_of_the_log(tmp_path: Path) -> None:
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    dataset = ready_made(tmp_path / "features")
    store = FeatureStore(tmp_path / "store")
    out, folder = tmp_path / "model.safetensors", tmp_path / "board"
    trained = run_training(dataset, linear(), out, store=store, tensorboard=folder)
    lines = [json.loads(line) for line in trained.log.read_text().splitlines()]
    shown = loading.EventAccumulator(str(folder / "training"))
    shown.Reload()
    for name, key in {"loss/total": "loss", "loss/cls": "cls"}.items():
        points = [(each.step, each.value) for each in shown.Scalars(name)]
        assert points == [(line["step"], pytest.approx(line[key])) for line in lines]
    assert len(lines) == 12


def test_missing_tensorboard_is_reported_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "find_spec", lambda _: None)
    dataset = ready_made(tmp_path / "features")
    store = FeatureStore(tmp_path / "store")
    with pytest.raises(UsageError, match="pip install"):
        run_training(
            dataset, linear(), tmp_path / "m.safetensors", store=store, tensorboard=tmp_path / "b"
        )
    assert not (tmp_path / "m.safetensors").exists()
