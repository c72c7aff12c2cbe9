"""``oddframe features``: list, check, compare and export."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oddframe.features.formats.feature_file import read_features
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.manifest import ManifestEntry, append_entries
from oddframe.features.store.store import FeatureStore
from tests.cli.conftest import Answer
from tests.features.test_index import ONE, OTHER, TWO
from tests.features.test_store import SPEC, some_features

Run = Callable[..., Answer]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path / "store")
    for content, video in ((ONE, "cam1/x.mp4"), (TWO, "cam2/x.mp4")):
        store.put(content, some_features())
        entry = ManifestEntry(video=video, sha256=content, spec=SPEC.hash())
        append_entries(store.root, [entry])
    return store


def test_ls_lists_kinds_and_videos(oddframe: Run, store: FeatureStore) -> None:
    store.put(ONE, some_features(OTHER))
    answer = oddframe("features", "ls", store.root)
    assert "i3d, 2 crops, every 16 frames, float32: 2 videos, 10 snippets" in answer.out
    assert answer.out.count("\n") == 2
    kinds = json.loads(oddframe("features", "ls", store.root, "--json").out)
    assert {kind["hash"]: kind["videos"] for kind in kinds} == {SPEC.hash(): 2, OTHER.hash(): 1}
    several = oddframe("features", "ls", store.root, "--videos")
    assert (several.code, "choose one with --spec" in several.err) == (2, True)
    videos = oddframe("features", "ls", store.root, "--videos", "--spec", SPEC.hash()[:4]).out
    assert "cam1/x.mp4" in videos
    assert "cam2/x.mp4" in videos


def test_check_names_damaged_files(oddframe: Run, store: FeatureStore, tmp_path: Path) -> None:
    assert "2 of 2 feature files read, 0 damaged" in oddframe("features", "check", store.root).out
    path = store.path(TWO, SPEC)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    answer = oddframe("features", "check", store.root)
    assert answer.code == 3
    assert path.name in answer.err
    answer = oddframe("features", "export", store.root, "--out", tmp_path / "out")
    assert (answer.code, path.name in answer.err) == (3, True)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "cam1_x__0.npy", "cam1_x__1.npy"
    }  # fmt: skip
    answer = oddframe("features", "diff", store.root, store.root)
    assert (answer.code, "left out" in answer.err) == (3, True)
    assert "1 videos in both" in answer.out
    path.write_bytes(data[:100])
    assert oddframe("features", "check", store.root).code == 3
    path.unlink()
    assert oddframe("features", "check", store.root, "--sample", "5").code == 0


def test_export_in_the_published_layout(oddframe: Run, store: FeatureStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert oddframe("features", "export", store.root, "--out", out).code == 0
    names = ["cam1_x__0.npy", "cam1_x__1.npy", "cam2_x__0.npy", "cam2_x__1.npy"]
    assert sorted(path.name for path in out.iterdir()) == names
    array = some_features().array
    np.testing.assert_array_equal(np.load(out / "cam2_x__1.npy"), array[1])
    oddframe("features", "export", store.root, "--out", out, "--format", "safetensors")
    np.testing.assert_array_equal(read_features(out / "cam1_x.safetensors").array, array)

    same = oddframe("features", "diff", store.root, out).out
    assert "2 videos in both, 2 of them the same" in same


@pytest.mark.parametrize("form", ["npy", "safetensors", "parquet"])
def test_export_does_not_replace_other_files(
    oddframe: Run, store: FeatureStore, tmp_path: Path, form: str
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out"
    words = ("features", "export", store.root, "--out", out, "--format", form)
    assert oddframe(*words).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert oddframe(*words).code == 0  # What it has written itself is no hindrance.
    theirs = sorted(before)[-1]
    (out / theirs).write_bytes(b"somebody's")
    answer = oddframe(*words)
    assert answer.code == 3
    assert f"left out: {out}: {theirs} exists and has other contents" in answer.err
    assert answer.out.startswith("1 videos, ")
    after = {path.name: path.read_bytes() for path in out.iterdir()}
    assert after == before | {theirs: b"somebody's"}


def test_export_as_tables(
    oddframe: Run, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    out, features = tmp_path / "out", some_features()
    half = Features(features.array.astype(np.float16), SPEC, features.timebase)
    store.put(TWO, half)
    answer = oddframe("features", "export", store.root, "--out", out, "--format", "parquet")
    assert "2 videos, 2 files" in answer.out
    for stem, made in (("cam1_x", features), ("cam2_x", half)):
        table = pq.read_table(out / f"{stem}.parquet")
        about = table.schema.metadata
        assert FeatureSpec.from_dict(json.loads(about[b"oddframe.spec"])) == SPEC
        assert about[b"oddframe.spec_hash"].decode() == SPEC.hash()
        column = table["feature"].combine_chunks()
        read = column.values.to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
        assert read.dtype == made.array.dtype
        np.testing.assert_array_equal(read.reshape(made.array.shape), made.array)
        crops, snippets, _ = made.array.shape
        rows = table.to_pydict()
        assert rows["crop"] == [c for c in range(crops) for _ in range(snippets)]
        assert rows["snippet"] == list(range(snippets)) * crops
        times = np.tile(made.timebase.snippet_times(), (crops, 1))
        np.testing.assert_array_equal(np.stack([rows["start_s"], rows["end_s"]], 1), times)
        assert set(rows["video"]) == {f"{stem.replace('_', '/')}.mp4"}
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = oddframe("features", "export", store.root, "--out", out, "--format", "parquet")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "pip install 'oddframe[parquet]'" in answer.err


def test_diff_of_two_stores(oddframe: Run, store: FeatureStore, tmp_path: Path) -> None:
    other, features = FeatureStore(tmp_path / "other"), some_features()
    array = features.array.copy()
    array[1, 2] = -array[1, 2]
    array[0, 0, 0] += 0.5
    other.put(TWO, Features(array, SPEC, features.timebase))
    other.put("c0" * 32, features)
    answer = oddframe("features", "diff", store.root, other.root)
    (video,) = json.loads(oddframe("features", "diff", store.root, other.root, "--json").out)[
        "videos"
    ]
    assert (video["crops"], video["rows"]) == (2, 5)
    assert video["least_cosine"] == pytest.approx(-1)
    assert video["largest"] == pytest.approx(max(0.5, 2 * np.abs(array[1, 2]).max()))
    cosine = (array[0, 0] @ features.array[0, 0]) / np.linalg.norm(array[0, 0])
    cosine /= np.linalg.norm(features.array[0, 0])
    assert video["cosine"] == pytest.approx((8 - 1 + cosine) / 10, abs=1e-6)
    assert "cam2/x" not in answer.err
    assert "1 videos in both, 0 of them the same" in answer.out
    assert "only in" in answer.out


def test_diff_of_a_store_and_published_files(
    oddframe: Run, store: FeatureStore, tmp_path: Path
) -> None:
    published = tmp_path / "published"
    published.mkdir()
    array = some_features().array
    np.save(published / "cam1_x.npy", np.moveaxis(np.repeat(array, 5, axis=0), 0, 1)[:4])
    for crop in range(2):
        np.save(published / f"cam2_x__{crop}.npy", array[crop])
    answer = oddframe("features", "diff", published, store.root)
    assert "cam2_x: cosine 1.000000 (least 1.000000), largest difference 0\n" in answer.out
    assert "[10 and 2 crops, 4 and 5 rows]" in answer.out
    np.save(published / "cam2_x__0.npy", array[0, :, :3])
    np.save(published / "cam2_x__1.npy", array[1, :, :3])
    answer = oddframe("features", "diff", published, store.root)
    assert answer.code == 3
    assert "left out: cam2_x: features of length 3 and of 8" in answer.err
    assert "cam1_x: cosine" in answer.out, "the others are compared all the same"
    told = json.loads(oddframe("features", "diff", published, store.root, "--json").out)
    assert [len(told["videos"]), len(told["failed"])] == [1, 1]


def test_a_folder_that_is_no_store_is_an_error(oddframe: Run, tmp_path: Path) -> None:
    for words in (("ls", tmp_path / "no"), ("diff", tmp_path, tmp_path), ("check", tmp_path / "x")):
        answer = oddframe("features", *words)
        assert answer.code == 3
        assert answer.err.count("\n") == 1
    for words in (("export", tmp_path), ("ls", tmp_path, "--videos")):
        assert "no features in this store" in oddframe("features", *words).err


def test_diff_compares_the_kinds_that_both_stores_have(
    oddframe: Run, store: FeatureStore, tmp_path: Path
) -> None:
    other, theirs = FeatureStore(tmp_path / "other"), some_features(OTHER)
    for each in (store, other):
        each.put(ONE, theirs)
    other.put(ONE, some_features())
    both = oddframe("features", "diff", store.root, other.root)
    assert both.code == 0, both.err
    assert both.out.count("1 videos in both, 1 of them the same") == 2
    assert {f"{SPEC.hash()}:", f"{OTHER.hash()}:"} < set(both.out.splitlines())
    told = json.loads(oddframe("features", "diff", store.root, other.root, "--json").out)
    assert {video["spec"] for video in told["videos"]} == {SPEC.hash(), OTHER.hash()}
    assert told["only_a"] == [TWO]
    one = oddframe("features", "diff", store.root, other.root, "--spec", OTHER.hash()[:6])
    assert one.out.count("in both") == 1


def test_diff_of_published_files_and_several_kinds(
    oddframe: Run, store: FeatureStore, tmp_path: Path
) -> None:
    out = tmp_path / "published"
    assert oddframe("features", "export", store.root, "--out", out).code == 0
    features, alike = some_features(), replace(SPEC, jpeg_quality=95)
    for content in (ONE, TWO):
        store.put(content, replace(features, spec=alike))
    longer = replace(SPEC, dim=2 * SPEC.dim)
    store.put(ONE, replace(features, array=np.tile(features.array, 2), spec=longer))
    for words in ((store.root, out), (out, store.root)):
        answer = oddframe("features", "diff", *words)
        assert answer.code == 0, answer.err
        assert f"{SPEC.hash()}:" in answer.out
        assert f"{alike.hash()}:" in answer.out
        assert longer.hash() not in answer.out
    rest = tmp_path / "rest"
    rest.mkdir()
    np.save(rest / "other.npy", features.array[0])
    nothing = oddframe("features", "diff", store.root, rest)
    assert (nothing.code, "no video in common" in nothing.err) == (3, True)


def test_diff_of_two_named_kinds(oddframe: Run, store: FeatureStore, tmp_path: Path) -> None:
    single, kind = FeatureStore(tmp_path / "single"), SPEC.hash()
    single.put(ONE, some_features(OTHER))
    store.put(TWO, some_features(OTHER))
    # The other store has one kind alone: it is that which is meant.
    answer = oddframe("features", "diff", store.root, single.root, "--spec", kind)
    assert "1 videos in both" in answer.out
    words = ("features", "diff", store.root, store.root, "--spec", f"{kind}:{OTHER.hash()}")
    assert "1 videos in both" in oddframe(*words).out
    refused = oddframe("features", "diff", store.root, single.root, "--spec", "zz")
    assert (refused.code, "--spec zz is not one of them" in refused.err) == (2, True)


def test_check_draws_a_sample_from_all_kinds(oddframe: Run, store: FeatureStore) -> None:
    for number in range(8):
        store.put(f"{number:02x}" * 32, some_features(OTHER))
    for count in (1, 4, 9):
        answer = oddframe("features", "check", store.root, "--sample", count)
        assert f"{count} of 10 feature files read, 0 damaged" in answer.out
    assert "10 of 10 feature" in oddframe("features", "check", store.root, "--sample", 99).out
