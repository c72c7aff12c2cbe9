"""NumPy runs the head of a model file as PyTorch does, and refuses what no head is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from oddframe.errors import InputError, UsageError
from oddframe.events import EventRule
from oddframe.features.formats.feature_file import METADATA_KEY
from oddframe.features.presets import imported_spec
from oddframe.methods import head_graph
from oddframe.methods.head import NumpyHead
from oddframe.methods.head_graph import erf
from oddframe.methods.registry import get_method, method_names
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.modelfile import Model, Profile, load_model, save_model, torch_network

# They read grey frames, tens of thousands of numbers a snippet, and are run by PyTorch alone.
FRAMES = ("hasan", "lu")
METHODS = [name for name in method_names() if name not in FRAMES]
DIM = 24


def a_model(method: str, **settings: Any) -> Model:
    """A model with random weights that make its scores differ."""
    torch.manual_seed(0)
    found = get_method(method)
    dim = 1152 if found.reads_sound else DIM
    config = found.Config(**settings)
    head = ModelNetwork(Standardise.identity(dim), found.network(dim, config)).eval()
    head.temperature.fill_(1.7)
    head.standardise.mean.normal_()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        if method == "normality":
            head.network.fit_snippets(torch.randn(700, dim))  # type: ignore[operator]
    rule = EventRule(threshold=0.5, release=0.4)
    spec = imported_spec(dim, 1)
    return Model("m", method, config, head, {"best": Profile(spec, rule)}, "what is odd")


def saved(model: Model, folder: Path, **options: bool) -> tuple[Model, Model]:
    """The model as PyTorch runs it, and as NumPy does."""
    save_model(model, folder / "m.safetensors", head=True, **options)
    plain = load_model(folder / "m.safetensors")
    light = load_model(folder / "m.safetensors", light=True)
    assert isinstance(plain.network, ModelNetwork)
    assert isinstance(light.network, NumpyHead)
    return plain, light


def some_features(length: int, dim: int, crops: int = 1) -> NDArray[np.float32]:
    rng = np.random.default_rng(length)
    return rng.normal(size=(crops, length, dim)).astype(np.float32)


def compare(plain: Model, light: Model, length: int, spacing: float = 1.0) -> None:
    x = some_features(length, plain.profiles["best"].spec.dim, 2 if length < 10 else 1)
    expected = plain.network.score_views(x, spacing)
    np.testing.assert_allclose(light.network.score_views(x, spacing), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_numpy_gives_the_scores_of_pytorch(method: str, tmp_path: Path) -> None:
    plain, light = saved(a_model(method), tmp_path)
    for length in (1, 7, 200):
        compare(plain, light, length)
    assert light.network.count_parameters() == plain.network.count_parameters()
    scores = light.network.score_views(some_features(200, plain.profiles["best"].spec.dim))
    assert scores.std() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_numpy_gives_the_scores_of_long_videos(method: str, tmp_path: Path) -> None:
    compare(*saved(a_model(method), tmp_path), 1777)


OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("ur_dmu", {"variant": "paper", "hidden": 32, "head_dim": 8}),
    ("ur_dmu", {"memory": "none", "hidden": 32, "shortcut": True, "deep_share": 0.25}),
    ("ur_dmu", {"memory": "normal", "uncertainty": False, "hidden": 32, "depth": 0}),
    ("oddframe", {"contextual": 2, "blur": 3.0}),
    ("oddframe", {"snippetwise": 0, "blur": 0.0}),
    ("pel4vad", {"smooth": "fixed"}),
    ("pel4vad", {"smooth": "none"}),
    ("normality", {"units": 1}),
    ("normality", {"units": 1000, "neighbours": 2000}),
]


@pytest.mark.parametrize(("method", "settings"), OTHERS)
def test_other_settings_are_the_same(method: str, settings: dict[str, Any], tmp_path: Path) -> None:
    plain, light = saved(a_model(method, **settings), tmp_path)
    for length, spacing in ((1, 1.0), (7, 5.0), (200, 0.25), (300, 1.0)):
        compare(plain, light, length, spacing)


@pytest.mark.parametrize("fp16", [False, True])
def test_corrections_half_precision_and_tiles_are_the_same(fp16: bool, tmp_path: Path) -> None:
    model = a_model("oddframe")
    assert isinstance(model.network, ModelNetwork)
    model.network.add_correction(torch.randn(DIM))
    plain, light = saved(model, tmp_path, fp16=fp16)
    compare(plain, light, 60)
    tiles = some_features(50, DIM, 4)
    expected = plain.network.score_tiles(tiles, 2.0)
    np.testing.assert_allclose(light.network.score_tiles(tiles, 2.0), expected, atol=1e-5)
    # A model that NumPy runs is saved as it was read, and can be trained on.
    save_model(replace(light, detects="x"), tmp_path / "again.safetensors")
    compare(plain, load_model(tmp_path / "again.safetensors", light=True), 60)
    compare(plain, replace(light, network=torch_network(light)), 60)


def test_memory_slots_are_the_same(tmp_path: Path) -> None:
    plain, light = saved(a_model("ur_dmu", hidden=32, head_dim=8, normal_slots=50), tmp_path)
    x = some_features(40, DIM, 2)
    expected, found = plain.network.memory_weights(x), light.network.memory_weights(x)
    assert expected is not None
    assert found is not None
    assert expected[1] == found[1] == 60
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    plain, light = saved(a_model("ur_dmu", hidden=32, head_dim=8, memory="anomaly"), tmp_path)
    assert plain.network.memory_weights(x) is light.network.memory_weights(x) is None


@pytest.mark.parametrize("name", ["fight", "fight_urdmu"])
def test_shipped_models_need_no_pytorch(name: str) -> None:
    plain, light = load_model(name), load_model(name, light=True)
    assert isinstance(light.network, NumpyHead)
    for length in (1, 200):
        compare(plain, light, length)


def test_a_file_without_a_head_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = changed(tmp_path, lambda header: header.pop("head"))
    assert isinstance(load_model(path, light=True).network, ModelNetwork)
    monkeypatch.setattr("oddframe.modelfile.has_torch", lambda: False)
    with pytest.raises(UsageError, match=r"needs PyTorch: pip install 'oddframe\[train\]'"):
        load_model(path, light=True)


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A file of the method ``gcn`` whose header was changed."""
    path = folder / "changed.safetensors"
    save_model(a_model("gcn"), path, head=True)
    with safe_open(path, "np") as file:
        header = json.loads(file.metadata()[METADATA_KEY])
    change(header)
    save_file(load_file(path), path, {METADATA_KEY: json.dumps(header)})
    return path


def with_nodes(*nodes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda header: header["head"].update(nodes=list(nodes), outputs=[len(nodes)])


GROWING = [["operator.mul", [{"node": i}, {"node": i}]] for i in range(1, 70)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_nodes(["system", ["ls"]]), "unknown operation 'system'"),
        (with_nodes(["relu", [{"node": 1}]]), "reads {'node': 1}, which is not there"),
        (with_nodes(["relu", [{"node": -1}]]), "reads {'node': -1}"),
        (with_nodes(["relu", [{"tensor": "other"}]]), "reads {'tensor': 'other'}"),
        (with_nodes(["relu", [[[[[1]]]]]]), "has an argument"),
        (with_nodes(["relu"]), "has an operation"),
        (with_nodes([7, []]), "unknown operation"),
        (lambda header: header["head"].update(outputs=[10_000]), "an output that no"),
        (lambda header: header["head"].update(nodes=[["relu", []]] * 5000), "nodes"),
        (lambda header: header["head"].update(more=1), "more"),
        (with_nodes(["relu", []]), "relu: "),
        (with_nodes(["relu", [{"node": 0}]]), r"logits of the shape \(1, 5, 24\)"),
        (with_nodes(["arange", [0, 10**12, 1, "float32"]]), "an array of the shape"),
        (with_nodes(["expand", [{"tensor": "temperature"}, [10**6, 10**6]]]), "shape"),
        (with_nodes(["pad", [{"node": 0}, [10**9, 0], "constant", 0]]), "an array of the shape"),
        (with_nodes(["sym_size", [{"node": 0}, 2]], *GROWING), "a size of"),
    ],
)
def test_a_graph_that_is_none_is_one_line(
    change: Callable[[dict[str, Any]], Any], said: str, tmp_path: Path
) -> None:
    path = changed(tmp_path, change)
    with pytest.raises(InputError, match=said) as error:
        load_model(path, light=True).network.score_views(some_features(5, DIM))
    assert "\n" not in str(error.value)


def test_operations_that_would_fill_the_memory_are_stopped(tmp_path: Path) -> None:
    big = [["expand", [{"node": 0}, [2000, 5, DIM]]]]
    many = [["add", [{"node": 1}, 1, 1]] for _ in range(20)]
    path = changed(
        tmp_path, with_nodes(*big, *many, ["cat", [[{"node": i} for i in range(2, 22)], 0]])
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head_graph, "_MAX_ALL_CELLS", 10**6)
        with pytest.raises(InputError, match="too much memory"):
            load_model(path, light=True).network.score_views(some_features(5, DIM))


def test_erf_is_exact() -> None:
    x = np.linspace(-8, 8, 4001)
    np.testing.assert_allclose(erf(x), torch.special.erf(torch.from_numpy(x)), atol=1e-9)


def test_each_operation_is_one_that_a_method_needs(tmp_path: Path) -> None:
    """No operation is there for nothing, because each can be named by any file."""
    used = set()
    for method, settings in [(name, {}) for name in METHODS] + OTHERS:
        save_model(a_model(method, **settings), tmp_path / "m.safetensors", head=True)
        with safe_open(tmp_path / "m.safetensors", "np") as file:
            used |= set(re.findall(r'\["([a-zA-Z_0-9.]+)", \[', file.metadata()[METADATA_KEY]))
    assert sorted(head_graph.OPERATIONS.keys() - used) == []
