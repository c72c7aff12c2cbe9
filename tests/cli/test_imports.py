"""``oddframe import``, and training and evaluation with what it imports."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from oddframe.detector import Detector
from oddframe.methods.mil.urdmu_network import UrDmuConfig, UrDmuNetwork
from oddframe.modelfile import load_model
from tests.cli.conftest import Answer
from tests.datasets.generated import Generated, GeneratorOptions, made_up

Run = Callable[..., Answer]
SMALL = {
    "method": {
        "name": "ur_dmu",
        "config": {"hidden": 16, "heads": 2, "head_dim": 8, "depth": 1, "classifier_hidden": 8},
    },
    "recipe": {"steps": 3, "normal_bags": 4, "abnormal_bags": 4, "segments": 6},
    "calibration": {"share": 0.5},
}


@pytest.fixture
def xd(shared_data: Path, tmp_path: Path) -> Generated:
    return made_up(
        "xd_violence", shared_data, tmp_path / "made", GeneratorOptions(scale=0.05, videos=3)
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


def test_imported_features_can_be_trained_and_evaluated_on(
    oddframe: Run, xd: Generated, config: Path, tmp_path: Path
) -> None:
    store, model = tmp_path / "store", tmp_path / "xd.safetensors"
    words = ("import", "features", xd.features, "--dataset", "xd_violence", "--data", xd.lists)
    done = oddframe(*words, "--sound", xd.sound, "--store", store)
    assert done.code == 0
    assert "xd_violence as i3d+vggish, 5 crops of length 1152: 12 videos imported" in done.out
    assert "--features i3d+vggish" in done.out.splitlines()[-1]
    again = json.loads(oddframe(*words, "--sound", xd.sound, "--store", store, "--json").out)
    assert (again["new"], again["kept"], again["dim"]) == (0, 12, 1152)

    trained = oddframe("train", xd.data, "--config", config, "--out", model, "--store", store)
    assert trained.code == 0, trained.err
    spec = load_model(model).profiles["best"].spec
    assert (spec.backbone, spec.dim) == ("imported:i3d+vggish", 1152)
    assert list((store / "segments").rglob("*-6.npy"))

    figures = oddframe("evaluate", model, xd.data, "--store", store, "--json")
    assert figures.code == 0, figures.err
    in_place = oddframe(
        "evaluate", model, xd.data, "--features", xd.features, "--sound", xd.sound, "--json"
    )
    assert json.loads(figures.out) == json.loads(in_place.out)


def test_a_model_with_another_spec_is_refused(
    oddframe: Run, xd: Generated, config: Path, tmp_path: Path, clip: Path
) -> None:
    model = tmp_path / "xd.safetensors"
    here = ("--features", xd.features, "--store", tmp_path / "store")
    assert oddframe("train", xd.data, *here, "--config", config, "--out", model).code == 0
    silent = oddframe("evaluate", model, xd.data, *here, "--sound", xd.sound)
    assert silent.code == 3
    (line,) = [line for line in silent.err.splitlines() if line.startswith("oddframe:")]
    assert "backbone: imported:i3d, not imported:i3d+vggish" in line
    foreign = oddframe("evaluate", "fight", xd.data, *here)
    assert "backbone: i3d, not imported:i3d" in foreign.err
    video = oddframe("score", clip, "--model", model)
    assert video.code == 2
    (line,) = video.err.splitlines()
    assert "imported:i3d) and cannot score videos" in line


def test_failed_videos_are_listed_at_the_end(oddframe: Run, xd: Generated, tmp_path: Path) -> None:
    file = next(xd.features.rglob("*__2.npy"))
    np.save(file, np.tile(np.load(file), 2))
    words = ("import", "features", xd.features, "--dataset", "xd_violence", "--data", xd.lists)
    answer = oddframe(*words, "--store", tmp_path / "store")
    assert answer.code == 3
    assert "I3D-ResNet-50" in answer.err
    assert "11 videos imported" in answer.out
    assert "1 failed" in answer.out


def test_missing_features_are_a_usage_error(oddframe: Run, xd: Generated, tmp_path: Path) -> None:
    answer = oddframe("train", xd.data, "--store", tmp_path, "--out", tmp_path / "m.safetensors")
    assert answer.code == 2
    assert "oddframe import features DIR --dataset xd_violence" in answer.err
    answer = oddframe("import", "features", xd.features, "--dataset", "ufc", "--data", xd.lists)
    assert answer.code == 2
    assert "ucf_crime" in answer.err


def published(path: Path, dim: int = 1024) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state = UrDmuNetwork(dim, UrDmuConfig()).state_dict()
    torch.save(state, path)
    return dict(state)


def test_a_published_checkpoint_becomes_a_model(
    oddframe: Run, xd: Generated, tmp_path: Path
) -> None:
    state = published(tmp_path / "ucf.pkl")
    out = tmp_path / "ucf.safetensors"
    answer = oddframe("import", "checkpoint", tmp_path / "ucf.pkl", "--out", out)
    assert answer.code == 0
    assert "reads imported:i3d, features of length 1024" in answer.out
    model = load_model(out)
    ours = model.network.network.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in state.items())
    assert model.card["imported_from"]["file"] == "ucf.pkl"
    found = oddframe("evaluate", out, xd.data, "--features", xd.features, "--json")
    assert found.code == 0, found.err


def test_a_published_checkpoint_can_read_videos(oddframe: Run, tmp_path: Path) -> None:
    published(tmp_path / "ucf.pkl")
    out = tmp_path / "ucf.safetensors"
    words = ("import", "checkpoint", tmp_path / "ucf.pkl", "--out", out, "--reads", "i3d")
    assert oddframe(*words, "--json", "--detects", "crime").code == 0
    detector = Detector.load(out)
    assert (detector.spec.backbone, detector.spec.filter) == ("i3d", "lanczos")
    assert detector.model.detects == "crime"
    assert detector.backbone.dim == 1024
    published(tmp_path / "xd.pkl", dim=1152)
    words = ("import", "checkpoint", tmp_path / "xd.pkl", "--out", out, "--reads", "i3d")
    assert oddframe(*words).code == 2


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("unpickled",)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "no such file"),
        ("evil", "nothing else is unpickled"),
        ("cut", "cut.pkl: "),
        ("keys", "none of the 1 tensors"),
        ("one", "encoder_mu.0.bias is missing"),
    ],
)
def test_a_wrong_file_gives_one_line(name: str, said: str, oddframe: Run, tmp_path: Path) -> None:
    file, out = tmp_path / f"{name}.pkl", tmp_path / "x.safetensors"
    state = published(tmp_path / "whole.pkl")
    match name:
        case "evil":
            file.write_bytes(pickle.dumps(Evil(), protocol=2))
        case "cut":
            file.write_bytes((tmp_path / "whole.pkl").read_bytes()[:-5000])
        case "keys":
            torch.save({"conv.weight": torch.zeros(3)}, file)
        case "one":
            del state["encoder_mu.0.bias"]
            torch.save(state, file)
    answer = oddframe("import", "checkpoint", file, "--out", out)
    assert answer.code == 3
    (line,) = answer.err.splitlines()
    assert said in line
    assert "unpickled\n" not in answer.out
    assert not out.exists()


def test_the_model_file_must_have_its_suffix(oddframe: Run, tmp_path: Path) -> None:
    published(tmp_path / "a.pkl")
    out = tmp_path / "a.bin"
    assert oddframe("import", "checkpoint", tmp_path / "a.pkl", "--out", out).code == 2
