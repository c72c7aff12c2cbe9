"""The registry gets, loads and lists backbones by name."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest

import oddframe
from oddframe.backbones import registry
from oddframe.backbones.registry import (
    DEFAULT_BACKBONE,
    backbone_names,
    get_backbones,
    known_backbones,
    load_backbone,
)
from oddframe.errors import InputError, UsageError
from oddframe.features.extraction.extract_video import make_spec
from oddframe.video.snippets.preprocessing import Preprocessing, with_regions
from tests.backbones.test_onnx import write

SMALL = Preprocessing(resize=(64, 48), crop_size=(64, 48), crops=("full",), filter="bicubic")


def test_features_of_several_backbones_are_concatenated() -> None:
    both = load_backbone("i3d+efficientnet_lite0+aisfx", SMALL, precision="float32")
    snippets = np.random.default_rng(0).integers(0, 256, (1, 16, 48, 64, 3), dtype=np.uint8)
    alone = [
        load_backbone(name, SMALL, precision="float32")(snippets)
        for name in ("i3d", "efficientnet_lite0")
    ]
    assert both.dims == (1024, 1280, 512)
    np.testing.assert_array_equal(both(snippets), np.concatenate(alone, axis=1))
    assert both.weights_sha256 == make_spec("i3d+efficientnet_lite0+aisfx").weights_sha256


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("i3d+i3d", "twice"),
        ("aisfx+i3d", r"come first: i3d\+aisfx"),
        ("i3d+vgish", "did you mean vggish"),
        ("something", "there are i3d"),
        ("", "no backbone is called"),
    ],
)
def test_wrong_names_are_refused(names: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        get_backbones(names)


def test_the_list_describes_every_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDFRAME_WEIGHTS", str(tmp_path))
    write(tmp_path, "NCHW")
    listed = {each.name: each for each in oddframe.list_backbones()}
    assert list(listed) == [spec.name for spec in known_backbones()]
    assert {"i3d", "i3d_flow", "efficientnet_lite0", "aisfx", "vggish"} < set(listed)
    assert next(iter(listed)) == DEFAULT_BACKBONE
    for info in listed.values():
        assert info.title
        assert info.dim > 0
        assert (info.window_s is None) == (info.reads == "picture")
        assert (info.window_frames is None) == (info.reads == "sound")
        assert bool(info.license) == (info.weights != "none") or info.name == "tiny"
    assert listed["vggish"].window_s == pytest.approx(0.975)
    assert listed["aisfx"].weights == "shipped"
    assert listed["efficientnet_lite0"].window_frames == 1
    assert (listed["grey_5x120x160"].window_frames, listed["grey_5x120x160"].weights) == (5, "none")
    tiny = listed["tiny"]
    assert (tiny.reads, tiny.dim, tiny.window_frames, tiny.weights) == ("picture", 3, 4, "user")


def test_specs_have_their_names_in_the_registry() -> None:
    for name in backbone_names():
        (spec,) = get_backbones(name)
        assert spec.name == name


def test_shipped_weights_are_there_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODDFRAME_WEIGHTS", str(tmp_path))
    for spec in known_backbones():
        if spec.weights_origin == "user":
            with pytest.raises(InputError, match="do not come with oddframe"):
                spec.find_weights()
        else:
            assert (spec.weights_origin == "shipped") == spec.find_weights().is_file()


def test_the_examples_in_the_docstrings_are_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODDFRAME_WEIGHTS", str(tmp_path))
    found = doctest.testmod(registry)
    assert found.attempted >= 3
    assert found.failed == 0


def test_backbones_without_regions_refuse_them() -> None:
    with pytest.raises(UsageError, match="efficientnet_lite0 has no features of regions"):
        load_backbone("i3d+efficientnet_lite0", with_regions(SMALL, 2, 2))
