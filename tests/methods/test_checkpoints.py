"""Published checkpoints load unchanged; errors name the tensors that do not fit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from oddframe.errors import InputError
from oddframe.methods.mil.urdmu_network import UrDmuConfig, UrDmuNetwork
from oddframe.training.import_checkpoint import read_published_checkpoint


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return UrDmuNetwork(24, UrDmuConfig(anomaly_slots=50)).state_dict()


def write(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


@pytest.mark.parametrize("prefix", ["", "module."])
def test_loads_one_to_one(published: dict[str, Tensor], prefix: str, tmp_path: Path) -> None:
    path = write(tmp_path / "ucf.pkl", {prefix + k: v for k, v in published.items()})
    read = read_published_checkpoint(path)
    assert (read.dim, read.config.anomaly_slots, read.config.normal_slots) == (24, 50, 60)
    assert read.method == "ur_dmu"
    assert not read.network.training
    state = read.network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in published.items())


@pytest.mark.parametrize(("name", "file"), [("rtfm", "rtfm_A.json"), ("hl_net", "hlnet_A.json")])
def test_names_of_the_published_code_load_strictly(
    name: str, file: str, parity: Path, tmp_path: Path
) -> None:
    rows = json.loads((parity / file).read_text())["tensors"]
    state = {row["name"]: torch.full(row["shape"], 0.5) for row in rows}
    read = read_published_checkpoint(write(tmp_path / "published.pkl", state))
    assert read.method == name
    assert set(read.network.state_dict()) == set(state)
    scores = read.network(torch.rand(1, 3, read.dim)).scores
    assert scores.isfinite().all()


def test_errors_name_the_tensors_that_do_not_fit(
    published: dict[str, Tensor], tmp_path: Path
) -> None:
    state = dict(published)
    del state["encoder_var.0.bias"]
    state["extra"] = torch.zeros(1)
    state["encoder_mu.0.bias"] = torch.zeros(7)
    with pytest.raises(InputError) as error:
        read_published_checkpoint(write(tmp_path / "x.pkl", state))
    message = str(error.value)
    assert "encoder_var.0.bias is missing" in message
    assert "extra is unknown" in message
    assert "encoder_mu.0.bias is (7,), not (512,)" in message
    assert "\n" not in message


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("unpickled",)


def test_refuses_other_files(
    published: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write(tmp_path / "whole.pkl", published).read_bytes()
    evil = pickle.dumps(Evil(), protocol=2)
    bad = {"evil": evil, "empty": b"", "text": b"hello\n", "cut": whole[:-4000]}
    for name, content in bad.items():
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(content)
        with pytest.raises(InputError, match=name) as error:
            read_published_checkpoint(path)
        assert "\n" not in str(error.value)
    others = {"evil": write(tmp_path / "evil2.pkl", {"a": Evil()}), "missing": tmp_path / "no.pkl"}
    others["list"] = write(tmp_path / "list.pkl", [1, 2])
    others["other"] = write(tmp_path / "other.pkl", {"conv.weight": torch.zeros(3)})
    for path in others.values():
        with pytest.raises(InputError, match=path.name) as error:
            read_published_checkpoint(path)
        assert "\n" not in str(error.value)
    assert "unpickled" not in capsys.readouterr().out
