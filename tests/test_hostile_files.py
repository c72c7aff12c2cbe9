"""Files with invalid claims are refused with one line, quickly and without much memory."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from oddframe._utils.files import file_sha256
from oddframe._utils.parsing import parse_json
from oddframe.backbones.visual.onnx import OnnxSpec
from oddframe.backbones.weights import read_state_dict
from oddframe.datasets.published.lists import read_frame_labels
from oddframe.datasets.read import read_rows, survey_path
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.features.formats.feature_file import (
    read_any_features,
    read_feature_header,
    read_features,
    write_features,
)
from oddframe.features.store.store import content_hash
from oddframe.methods.registry import get_method, method_names
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.modelfile import load_model, save_model
from oddframe.outputs.score_files import read_score_file
from oddframe.training.config import parse_config, read_config
from oddframe.training.import_checkpoint import read_published_checkpoint
from oddframe.training.run_files import load_checkpoint
from oddframe.video.decoding.probe import probe
from oddframe.video.mask import read_mask
from oddframe.video.snippets.preprocessing import (
    Preprocessing,
    check_crops,
    with_regions,
    with_tiles,
)
from tests.conftest import ROOT
from tests.test_modelfile import made_features, made_model

# Far less than any of these files claims, far more than refusing it takes.
_MOST_BYTES = 64 * 2**20
_MANY = settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_HUGE = (10**9, 2**63, 10**400, -1, 0)

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from(_HUGE)
    | st.floats()
    | st.sampled_from(["", "\0", "\x1b[2J", "9" * 400, "i3d", "x" * 300, "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)


@contextmanager
def little_memory() -> Iterator[None]:
    """Fails if Python and NumPy allocate more than 64 MiB in the block."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < _MOST_BYTES
    finally:
        tracemalloc.stop()


def check_read_or_refused(read: Callable[[], object]) -> None:
    """Checks that ``read`` succeeds or raises a one-line error, with little memory."""
    refusal: OddframeError | None = None
    with little_memory():
        try:
            read()
        except OddframeError as error:
            refusal = error
    if refusal is not None:
        assert len(str(refusal).splitlines()) == 1
        assert refusal.exit_code in (2, 3)


def header_of(path: Path) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """(tensors, oddframe's header, remaining bytes) of a safetensors file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    about = json.loads(data[8 : 8 + length])
    return about, json.loads(about.pop("__metadata__")["oddframe"]), data[8 + length :]


def write_header(path: Path, tensors: Any, header: str, rest: bytes) -> Path:
    about = json.dumps({"__metadata__": {"oddframe": header}, **tensors}).encode()
    path.write_bytes(len(about).to_bytes(8, "little") + about + rest)
    return path


def json_paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values in JSON, containers included."""
    if above:
        yield above
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from json_paths(inner, (*above, key))


def with_value(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = new
    return copy


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(made_model(), path)
    return path


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("features") / "features.safetensors"
    write_features(path, made_features(replace(made_model().profiles["best"].spec, rate=25.0)))
    return path


@_MANY
@given(data=st.data())
def test_any_value_in_a_model_header(model: Path, tmp_path: Path, data: st.DataObject) -> None:
    tensors, header, rest = header_of(model)
    place = data.draw(st.sampled_from(list(json_paths(header))))
    changed = with_value(header, place, data.draw(anything))
    path = write_header(tmp_path / "m.safetensors", tensors, json.dumps(changed), rest)
    check_read_or_refused(lambda: load_model(path))


@_MANY
@given(data=st.data())
def test_any_value_in_the_header_of_a_feature_file(
    features: Path, tmp_path: Path, data: st.DataObject
) -> None:
    tensors, header, rest = header_of(features)
    # The numbers of frames and snippets are tested elsewhere.
    free = [place for place in json_paths(header) if place[:2] not in (("timebase", "n_frames"),)]
    changed = with_value(header, data.draw(st.sampled_from(free)), data.draw(anything))
    path = write_header(tmp_path / "f.safetensors", tensors, json.dumps(changed), rest)
    check_read_or_refused(lambda: read_feature_header(path))
    check_read_or_refused(lambda: read_features(path))


@pytest.mark.parametrize("kind", ["model", "features"])
@_MANY
@given(data=st.data())
def test_any_value_in_the_tensor_entries(
    kind: str, model: Path, features: Path, tmp_path: Path, data: st.DataObject
) -> None:
    tensors, header, rest = header_of(model if kind == "model" else features)
    place = data.draw(st.sampled_from(list(json_paths(tensors))))
    changed = with_value(tensors, place, data.draw(anything))
    path = write_header(tmp_path / "t.safetensors", changed, json.dumps(header), rest)
    check_read_or_refused(lambda: load_model(path) if kind == "model" else read_features(path))


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "header",
    [
        DEEP,
        '{"kind": "oddframe model", "card": ' + DEEP + "}",
        '{"kind": 1, "kind": "oddframe model"}',
        '{"kind": "oddframe model", "format": Infinity}',
        '{"kind": "oddframe model", "format": 1' + "0" * 5000 + "}",
        "{}",
        "null",
        "",
    ],
)
def test_an_invalid_header(header: str, model: Path, features: Path, tmp_path: Path) -> None:
    for file, read in ((model, load_model), (features, read_features)):
        tensors, _, rest = header_of(file)
        path = write_header(tmp_path / file.name, tensors, header, rest)
        with little_memory(), pytest.raises(InputError) as error:
            read(path)
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("length", [2**63, 2**40, 20 * 2**20])
def test_a_header_as_long_as_a_sparse_file(length: int, tmp_path: Path) -> None:
    path = tmp_path / "sparse.safetensors"
    with path.open("wb") as file:
        file.write(length.to_bytes(8, "little") + b"{")
        file.truncate(2**41)  # Sparse, takes no space.
    for read in (load_model, read_features, read_feature_header):
        with little_memory(), pytest.raises(InputError):
            read(path)


def test_bytes_behind_the_last_tensor(model: Path, features: Path, tmp_path: Path) -> None:
    for file, read in ((model, load_model), (features, read_features)):
        path = tmp_path / file.name
        shutil.copy(file, path)
        with path.open("ab") as longer:
            longer.truncate(2**41)
        with little_memory(), pytest.raises(InputError, match="not all that is in the file"):
            read(path)


def test_a_mask_of_too_many_pixels(tmp_path: Path) -> None:
    Image.new("1", (20_000, 3_000), 1).save(tmp_path / "mask.png")
    with little_memory(), pytest.raises(InputError, match="40,000,000 pixels"):
        read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"hidden": 10**9}},
        {"config": {"depth": 10**9}},
        {"config": {"hidden": 60_000, "heads": 60_000, "head_dim": 60_000}},
        {"method": "lu", "config": {"sizes": [[10**9, 10**9]]}},
        {"method": "ibl", "config": {"blocks": 10**9}},
        {"method": "linear", "config": {}},
        {"profiles": {}},
    ],
)
def test_a_network_missing_from_the_file(
    changes: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    tensors, header, rest = header_of(model)
    path = write_header(tmp_path / "m.safetensors", tensors, json.dumps(header | changes), rest)
    with little_memory(), pytest.raises(InputError, match="damaged model file"):
        load_model(path)


@pytest.mark.parametrize("name", method_names())
def test_the_size_of_every_network_is_known_before_it_is_created(name: str) -> None:
    method = get_method(name)
    dim = {"hasan": 10 * 227 * 227, "lu": 5 * 120 * 160}.get(name, 1152)
    with torch.device("meta"):
        network = ModelNetwork(Standardise.identity(dim), method.network(dim, method.Config()))
    assert all(tensor.is_meta for tensor in network.state_dict().values())


BOMB = "a: &a [x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "line 1: no anchors"),
        ("a: &a [*a]\n", "no anchors"),
        ("a: " + DEEP, "16 deep"),
        ("features: " + "{a: " * 200 + "1" + "}" * 200, "16 deep"),
        ("# " + "x" * 300_000, "too large"),
        ("leave_out: [" + "a, " * 11_000 + "a]", "10,000 values"),
        ("recipe: {steps: 1, steps: 2}", "line 1: the key 'steps' is there twice"),
        ("recipe: {steps: 2001-99-99}", "not YAML"),
        ("recipe: {steps: " + "9" * 5000 + "}", "not YAML"),
        ("a: \0", "not YAML"),
        ('recipe: {seed: !!bool "x"}', "not YAML"),
        ('recipe: {seed: !!timestamp "x"}', "not YAML"),
        ('recipe: {seed: !!int "x"}', "not YAML"),
        ("recipe: {seed: !!python/object:os.system x}", "not YAML"),
        ("- a", "keys and values"),
        ("1: 2", "recipe|string"),
        ("recipe: {steps: 1000000000000}", "line 1: recipe.steps"),
        ("recipe: {normal_bags: 4096, segments: 65536}", "segments in all its bags"),
        ("recipe: {lr: .inf}", "finite"),
        ("recipe: {lr: .nan}", "recipe.lr"),
        ("bags: {clips: [1]}", "bags.clips"),
        ("bags: {clips: [1, 1000000000]}", "bags.clips"),
        ("search: {folds: 1000000000}", "search.folds"),
        ("method: {config: {depth: 1000000000}}", "method.config.depth"),
        ("method: {config: {hidden: 1000000000}}", "method.config.hidden"),
        ("features: {resize: [1000000000, 1000000000]}", "features.resize"),
        ("features: {resize: [16000, 16000], crop_size: [16000, 16000]}", "pixels"),
        ("features: {snippet_frames: 1000000000}", "features.snippet_frames"),
        ("features: {stride: 0}", "features.stride"),
        ("features: {rate: .inf}", "features.rate"),
        ("features: {rate: 1.0e-300}", "features.rate"),
        ("features: {jpeg_quality: 101}", "features.jpeg_quality"),
        ("features: {tiles: [1000000000, 1]}", "features.tiles"),
        ("features: {regions: [0, 1]}", "features.regions"),
        ("features: {crops: 5, crop_order: published}", "features.crops"),
        ("features: {crops: [[a]], crop_order: published}", "crops"),
        ('features: {crops: ["\\\\e[2J"]}', "features.crops"),
    ],
)
def test_a_configuration_beyond_its_limits(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with little_memory(), pytest.raises(UsageError, match=reason) as error:
        read_config(path)
    assert len(str(error.value).splitlines()) == 1


@_MANY
@given(data=st.data())
def test_any_value_in_a_configuration(data: st.DataObject) -> None:
    whole = {
        "features": {"resize": [64, 48], "crop_size": [64, 48], "crops": ["full"], "tiles": [1, 2]},
        "fast": {"stride": 80},
        "method": {"name": "ur_dmu", "config": {"hidden": 8, "loss_weights": {"cls": 1}}},
        "recipe": {"steps": 2, "lr": 0.1, "seed": 1},
        "bags": {"mode": "joined", "clips": [2, 3]},
        "events": {"threshold": 0.5},
        "leave_out": ["a"],
    }
    place = data.draw(st.sampled_from(list(json_paths(whole))))
    changed = with_value(
        whole, place, data.draw(anything.filter(lambda value: value != float("nan")))
    )
    check_read_or_refused(lambda: parse_config(changed))


def test_the_yaml_of_a_backbone_has_the_same_limits(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    for line in ("dim: 10000000000", "preprocessing: {snippet_frames: 1000000000}", "a: &a 1"):
        path.write_text(f"name: a\nmodel: a.onnx\ninput: {{axes: NCHW}}\ndim: 4\n{line}\n")
        with pytest.raises(UsageError, match=r"net\.yaml"):
            OnnxSpec(path)


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(resize=(10**9, 10**9)),
        Preprocessing(resize=(8000, 8000), crop_size=(10, 10)),
        Preprocessing(snippet_frames=10**9),
        Preprocessing(resize=(2000, 2000), snippet_frames=1000),
        Preprocessing(stride=10**12),
        Preprocessing(rate=float("inf")),
        Preprocessing(jpeg_quality=10**9),
        Preprocessing(crops=()),
        Preprocessing(crops=("region_0_0_of_999999999x999999999",)),
        with_tiles(Preprocessing(), 99, 99),
    ],
)
def test_snippets_beyond_the_limits(preprocessing: Preprocessing) -> None:
    with little_memory(), pytest.raises(UsageError):
        check_crops(preprocessing)


@pytest.mark.parametrize("grid", [with_tiles, with_regions])
def test_a_grid_beyond_the_limits(grid: Callable[..., Preprocessing]) -> None:
    with little_memory(), pytest.raises(UsageError, match="99x99"):
        grid(Preprocessing(), 10**9, 10**9)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a\0b.mp4", "NUL"),
        ("x" * 300 + ".mp4", "more than 255 bytes"),
        ("é" * 200 + ".mp4", "more than 255 bytes"),
        ("/".join(["x" * 200] * 40), "more than 4095 bytes"),
    ],
)
def test_an_invalid_path_in_a_list(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"path,label\n{name},normal\n")
    found = survey_path(tmp_path / "list.csv")
    assert any("line 2" in problem and reason in problem for problem in found.problems)
    folder = tmp_path / "data"
    (folder / "normal").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "data" / "fi150.mp4", folder / "normal")
    (folder / "events.csv").write_text(f"path,events\n{name},0-1\n")
    assert any("line 2" in p and reason in p for p in survey_path(folder).problems)


@pytest.mark.parametrize(
    "entry", ['{"frames": 1000000000000, "anomalous": []}', '{"frames": NaN}', DEEP]
)
def test_frame_labels_beyond_the_limits(entry: str, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(f'{{"01": {entry}}}')
    with little_memory(), pytest.raises(InputError, match="not frame labels"):
        read_frame_labels(tmp_path / "labels.json")


def test_a_checkpoint_larger_than_its_file(tmp_path: Path) -> None:
    wide = tmp_path / "wide.pt"
    torch.save({"weight": torch.zeros(1).expand(10**9)}, wide)
    plain, packed = tmp_path / "plain.pt", tmp_path / "packed.pt"
    torch.save({"weight": torch.zeros(10**6)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
    assert list(read_state_dict(plain, "some")) == ["weight"]
    for path, reason in ((wide, "larger than its numbers"), (packed, "compressed")):
        with little_memory(), pytest.raises(InputError, match=reason):
            read_state_dict(path, "some")
        with little_memory(), pytest.raises(InputError, match=reason):
            read_published_checkpoint(path)


READERS: dict[str, Callable[[Path], object]] = {
    "model": load_model,
    "features": read_features,
    "header": read_feature_header,
    "array": lambda path: read_any_features(path.with_suffix(".npy")),
    "configuration": read_config,
    "backbone": OnnxSpec,
    "csv": lambda path: read_rows(path, ("path",)),
    "labels": read_frame_labels,
    "mask": read_mask,
    "checkpoint": load_checkpoint,
    "published": read_published_checkpoint,
    "weights": lambda path: read_state_dict(path, "some"),
    "scores": read_score_file,
    "hash": file_sha256,
    "content": content_hash,
    "video": probe,
}


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
@pytest.mark.parametrize("reader", READERS)
def test_only_regular_files_are_opened(
    reader: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # The path of a socket must be short.
    path = Path("it.npy" if reader == "array" else "it")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(OddframeError, match=r"it(\.npy)?: .*(pipe|socket|device|file)") as error:
        READERS[reader](path)
    assert error.value.exit_code in (2, 3)


def test_json_of_an_untrusted_file() -> None:
    assert parse_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    for text in (DEEP, "[" * 40 + "]" * 40, '{"a": 1, "a": 2}', "{", "9" * 5000):
        with pytest.raises(ValueError, match=r"."):
            parse_json(text)


def test_an_invalid_numpy_header(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((10, 32), np.float32))
    data = bytearray(path.read_bytes())
    data[14] = 0x7F
    data[data.find(b"shape") + 6] = ord("Y")
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.npy"):
        read_any_features(path)
