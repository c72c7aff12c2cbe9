"""Sibling files: the files of several backbones are found from any one of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from oddframe.errors import InputError
from oddframe.features.extraction.file_layout import common_path, sibling_files, write_feature_files
from oddframe.features.formats.feature_file import read_features, write_features
from oddframe.features.spec import join_features
from oddframe.features.store.store import FeatureStore
from tests.features.test_join import HOW, features

PICTURE, SOUND = features("eye", 6, HOW), features("ear", 3, HOW.without_picture())
WANTED = join_features([PICTURE, SOUND]).spec
ONE, TWO = "0f" * 32, "0e" * 32


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path / "store")
    for each in (PICTURE, SOUND):
        store.put(ONE, each)
    return store


def test_siblings_are_found_from_any_file(store: FeatureStore) -> None:
    both = tuple(store.path(ONE, each.spec) for each in (PICTURE, SOUND))
    for file in both:
        assert sibling_files(file, WANTED) == both
    assert len({common_path(file, WANTED) for file in both}) == 1
    assert sibling_files(both[0], PICTURE.spec) == both[:1]
    assert common_path(both[0], PICTURE.spec) == both[0]


def test_only_matching_files_are_siblings(store: FeatureStore) -> None:
    denser = replace(HOW, stride=8)
    wider = replace(HOW, filter="bicubic")
    for how in (denser, denser.without_picture(), wider):
        store.put(ONE, features("ear" if not how.has_picture else "eye", 6, how))
    store.put(ONE, features("other", 3, HOW.without_picture()))
    other = features("ear", 3, HOW.without_picture())
    store.put(ONE, replace(other, spec=replace(other.spec, weights_sha256="others")))
    store.put(TWO, SOUND)
    for file in store.root.glob("??/*.safetensors"):
        if file.name.startswith(TWO):
            with pytest.raises(InputError, match="beside them are none of eye that go with"):
                sibling_files(file, WANTED)
            continue
        specs = [read_features(found).spec for found in sibling_files(file, WANTED)]
        if (given := read_features(file).spec).backbone == "other":
            assert specs == [given]
            continue
        assert [spec.backbone for spec in specs] == ["eye", "ear"]
        assert given in specs
        assert specs[0].preprocessing.without_picture() == specs[1].preprocessing
        if given.weights_sha256 != "others":
            assert specs[1].weights_sha256 == SOUND.spec.weights_sha256
        if given == SOUND.spec:
            assert specs[0] == PICTURE.spec  # Not the picture by another filter.


def test_siblings_of_files_named_after_videos(tmp_path: Path) -> None:
    for name in ("a", "a__b"):
        for each in (PICTURE, SOUND):
            write_feature_files(each, [f"{name}__{each.spec.backbone}.safetensors"], tmp_path)
    write_features(tmp_path / "c.safetensors", join_features([PICTURE, SOUND]))
    assert sibling_files(tmp_path / "a__ear.safetensors", WANTED) == (
        tmp_path / "a__eye.safetensors",
        tmp_path / "a__ear.safetensors",
    )
    assert sibling_files(tmp_path / "a__b__eye.safetensors", WANTED)[1].name.startswith("a__b__")
    assert sibling_files(tmp_path / "c.safetensors", WANTED) == (tmp_path / "c.safetensors",)
    (tmp_path / "a__eye.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="features of ear alone"):
        sibling_files(tmp_path / "a__ear.safetensors", WANTED)
