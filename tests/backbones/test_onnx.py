"""A user's ONNX file is a backbone once a YAML file describes its input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oddframe.backbones import engines
from oddframe.backbones.registry import get_backbones, load_backbone
from oddframe.backbones.visual.onnx import OnnxSpec, onnx_data_files
from oddframe.errors import InputError, UsageError
from oddframe.features.extraction.extract_video import backbone_spec, extract_video, make_spec
from oddframe.training.config import parse_config
from oddframe.video.decoding.isolated import open_source
from oddframe.video.snippets.preprocessing import Preprocessing
from tests.backbones.onnx_made import external, write_biased, write_means, write_nested

SNIPPETS = np.random.default_rng(0).integers(0, 256, (3, 16, 8, 12, 3), dtype=np.uint8)
HOW = Preprocessing(resize=(12, 8), crop_size=(12, 8), crops=("full",), filter="bicubic")
TEXT = """\
name: tiny
model: tiny.onnx
dim: 3
input:
  axes: AXES
  frames: 4
  mean: [0.5, 0.4, 0.3]
  std: [0.2, 0.25, 0.5]
preprocessing:
  resize: [12, 8]
  crop_size: [12, 8]
  stride: 8
"""
# Axes of time, height and width; the network returns the mean over them.
AXES = {"NCHW": [2, 3], "NCTHW": [2, 3, 4], "NTCHW": [1, 3, 4], "NTHWC": [1, 2, 3]}


def write(folder: Path, axes: str, text: str = TEXT, batch: int | str = "n") -> Path:
    sizes = {"N": batch, "C": 3, "T": 4, "H": 8, "W": 12}
    write_means(folder / "tiny.onnx", [sizes[axis] for axis in axes], AXES[axes])
    path = folder / "tiny.yaml"
    path.write_text(text.replace("AXES", axes))
    return path


def normalised(snippets: np.ndarray) -> np.ndarray:
    seen = snippets[:, [2, 6, 10, 14]].astype(np.float64) / 255
    return (seen - [0.5, 0.4, 0.3]) / [0.2, 0.25, 0.5]


def expected(snippets: np.ndarray) -> np.ndarray:
    return normalised(snippets).mean(axis=(1, 2, 3))


@pytest.mark.parametrize("axes", list(AXES))
@pytest.mark.parametrize("batch", ["n", 1])
def test_every_order_of_axes_works(axes: str, batch: int | str, tmp_path: Path) -> None:
    backbone = load_backbone(str(write(tmp_path, axes, batch=batch)), precision="float32")
    assert (backbone.name, backbone.dim) == ("tiny", 3)
    np.testing.assert_allclose(backbone(SNIPPETS), expected(SNIPPETS), atol=1e-5)


def test_bgr_channels_and_another_output(tmp_path: Path) -> None:
    bgr = TEXT.replace("  frames: 4", "  frames: 4\n  channels: bgr")
    made = load_backbone(str(write(tmp_path, "NCTHW", bgr)), HOW, precision="float32")(SNIPPETS)
    swapped = expected(SNIPPETS[..., ::-1])
    np.testing.assert_allclose(made, swapped, atol=1e-5)
    other = TEXT.replace("  frames: 4", "  frames: 4\n  output: max")
    made = load_backbone(str(write(tmp_path, "NCTHW", other)), HOW, precision="float32")(SNIPPETS)
    np.testing.assert_allclose(made, normalised(SNIPPETS).max(axis=(1, 2, 3)), atol=1e-5)


def test_the_mean_over_other_axes_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path, "NCTHW")
    write_means(tmp_path / "tiny.onnx", ["n", 3, 4, 8, 12], [3])  # (N, 3, T, W) comes out.
    made = load_backbone(str(path), HOW, precision="float32")(SNIPPETS)
    np.testing.assert_allclose(made, expected(SNIPPETS), atol=1e-5)


def test_features_of_a_real_clip(clip: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "NTCHW")
    config = parse_config({"features": {"backbone": str(path)}})
    assert config.features.stride == 8, "the default preprocessing is that of the YAML"
    preprocessing = config.features.preprocessing()
    backbone = load_backbone(str(path), preprocessing)
    made = extract_video(
        open_source(clip), backbone_spec(backbone, preprocessing), backbone
    ).features
    assert made.array.shape == (1, made.timebase.n_snippets, 3)
    assert made.spec == make_spec(str(path), preprocessing, backbone.runtime.precision)
    assert made.spec.backbone == "tiny"


def test_it_is_found_by_name_in_the_weights_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODDFRAME_WEIGHTS", str(tmp_path))
    write(tmp_path, "NCHW")
    assert [spec.name for spec in get_backbones("i3d+tiny+aisfx")] == ["i3d", "tiny", "aisfx"]
    assert make_spec("i3d+tiny+aisfx").dim == 1024 + 3 + 512


def test_the_hash_covers_the_network_its_data_and_its_input(tmp_path: Path) -> None:
    def sha256() -> str:
        return OnnxSpec(tmp_path / "tiny.yaml").hash_weights()

    path = write(tmp_path, "NCHW")
    first = sha256()
    path.write_text(path.read_text().replace("stride: 8", "stride: 16"))
    assert sha256() == first, "the preprocessing is in the spec already"
    path.write_text(path.read_text().replace("0.25", "0.26"))
    other_input = sha256()
    (tmp_path / "tiny.onnx.data").write_bytes(b"weights that lie beside")
    assert len({first, other_input, sha256()}) == 3


def test_the_hash_covers_data_files_of_any_name(tmp_path: Path) -> None:
    path = write(tmp_path, "NCTHW")
    (tmp_path / "sub").mkdir()
    seen = set()
    for location, bias in (("w.bin", 0.0), ("w.bin", 1.0), ("sub/w.bin", 1.0), ("sub/w.bin", 2.0)):
        write_biased(tmp_path / "tiny.onnx", ["n", 3, 4, 8, 12], [2, 3, 4], location)
        (tmp_path / location).write_bytes(np.full(3, bias, np.float32).tobytes())
        seen.add(make_spec(str(path)).weights_sha256)
        made = load_backbone(str(path), HOW, precision="float32")(SNIPPETS)
        np.testing.assert_allclose(made, expected(SNIPPETS) + bias, atol=1e-5)
    assert len(seen) == 4
    (tmp_path / "other.bin").write_bytes(b"not of this network")
    assert make_spec(str(path)).weights_sha256 in seen


def test_data_files_of_nested_graphs_are_found(tmp_path: Path) -> None:
    path = write_nested(tmp_path / "n.onnx", external("c", "w.bin", 3))
    (tmp_path / "w.bin").write_bytes(bytes(12))
    assert onnx_data_files(path) == (tmp_path / "w.bin",)
    write_nested(path, external("c", "w.bin", 3)[:-2])
    assert onnx_data_files(path) == ()


@pytest.mark.parametrize(
    "location",
    [
        "../w.bin",
        "sub/../../w.bin",
        "/etc/passwd",
        "",
        ".",
        "..",
        "link",
        "C:/w",
        "..\\w",
        "a\0b",
        "x" * 300,
    ],
)
def test_weights_outside_the_networks_folder_are_refused(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "w.bin").write_bytes(bytes(12))
    (folder / "link").symlink_to(tmp_path / "w.bin")
    path = write(folder, "NCTHW")
    write_biased(folder / "tiny.onnx", ["n", 3, 4, 8, 12], [2, 3, 4], location)
    with pytest.raises(InputError) as error:
        make_spec(str(path))
    assert str(error.value).startswith(f"{folder / 'tiny.onnx'}: ")
    assert "\n" not in str(error.value)
    assert "in its folder" in str(error.value) or "is not there" in str(error.value)


def test_a_network_and_its_data_may_be_links_into_one_folder(tmp_path: Path) -> None:
    path = write(tmp_path, "NCTHW")
    (tmp_path / "blobs").mkdir()
    write_biased(tmp_path / "blobs" / "1", ["n", 3, 4, 8, 12], [2, 3, 4], "w.bin")
    (tmp_path / "blobs" / "2").write_bytes(bytes(12))
    (tmp_path / "tiny.onnx").unlink()
    (tmp_path / "tiny.onnx").symlink_to(tmp_path / "blobs" / "1")
    (tmp_path / "w.bin").symlink_to(tmp_path / "blobs" / "2")
    first = make_spec(str(path)).weights_sha256
    (tmp_path / "blobs" / "2").write_bytes(bytes(11) + b"1")
    assert make_spec(str(path)).weights_sha256 != first


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "NCTHW")
    whole = (tmp_path / "tiny.onnx").read_bytes()
    for damaged in (b"", b"<?xml version='1.0'?><net/>", whole[:-3], b"\xff" * 40, bytes(40)):
        (tmp_path / "tiny.onnx").write_bytes(damaged)
        with pytest.raises(InputError, match="OpenVINO cannot use it"):
            make_spec(str(path))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("frames: 4", "frame: 4", "line 6: unknown key 'input.frame'; did you mean 'frames'"),
        ("axes: NCHW", "axes: NHCW", "input.axes"),
        ("dim: 3", "dim: none", "line 3: dim"),
        ("name: tiny", "name: a+b", "name"),
        ("name: tiny", "name: [", "not YAML"),
        ("std: [0.2", "std: [0.0", "input.std"),
    ],
)
def test_a_wrong_yaml_is_refused_in_one_line(
    before: str, after: str, words: str, tmp_path: Path
) -> None:
    path = write(tmp_path, "NCHW")
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(UsageError) as error:
        get_backbones(str(path))
    assert words in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_each_mismatch_has_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "NCTHW")
    with pytest.raises(InputError, match="its input is"):
        load_backbone(str(path), Preprocessing())
    path.write_text(path.read_text().replace("dim: 3", "dim: 7"))
    with pytest.raises(UsageError, match="in which no single axis is the 7"):
        load_backbone(str(path), HOW)(SNIPPETS)
    path.write_text(path.read_text().replace("frames: 4", "frames: 20"))
    with pytest.raises(UsageError, match="20 frames"):
        load_backbone(str(path), HOW)
    write(tmp_path, "NCTHW", TEXT.replace("name: tiny", "name: i3d"))
    with pytest.raises(UsageError, match="is taken"):
        load_backbone(str(path), HOW)
    write(tmp_path, "NCTHW", TEXT.replace("  frames: 4", "  frames: 4\n  output: gone"))
    with pytest.raises(InputError, match="cannot use it"):
        load_backbone(str(path), HOW)
    write(tmp_path, "NCTHW")
    (tmp_path / "tiny.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match="cannot use it"):
        load_backbone(str(path), HOW)
    write(tmp_path, "NCTHW")
    monkeypatch.setattr(engines, "has_openvino", lambda: False)
    with pytest.raises(UsageError, match="pip install openvino"):
        load_backbone(str(path), HOW)
    (tmp_path / "tiny.onnx").unlink()
    with pytest.raises(InputError, match="is not there"):
        load_backbone(str(path), HOW)
