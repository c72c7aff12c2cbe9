"""Feature files: their header, and the errors of damaged ones."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from oddframe.errors import InputError, OddframeError
from oddframe.features.formats.feature_file import (
    checksum,
    read_feature_header,
    read_features,
    tensors_of,
    timebase_to_dict,
    write_features,
)
from oddframe.features.spec import Features
from oddframe.timeline import Timebase
from tests.features.test_store import SPEC, some_features


def test_the_header_of_a_plain_video_stays(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    write_features(path, some_features())
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["oddframe"])
    assert header["timebase"] == {
        "fps": 25.0,
        "n_frames": 70,
        "snippet_frames": 16,
        "stride": 16,
        "rate": None,
    }


@pytest.mark.parametrize("claim", [{}, {"stride": 2 * 10**8}, {"rate": 25.0, "fps": 1e9}])
def test_impossible_claims_are_refused_without_allocating_memory(
    tmp_path: Path, claim: dict[str, float]
) -> None:
    path, features = tmp_path / "f.safetensors", some_features()
    header = {
        "kind": "oddframe features",
        "schema": 1,
        "spec": SPEC.to_dict(),
        "timebase": timebase_to_dict(features.timebase) | {"n_frames": 10**9} | claim,
        "checksum": checksum(tensors_of(features)),
    }
    save_file(tensors_of(features), path, {"oddframe": json.dumps(header)})
    for read in (read_features, read_feature_header):
        tracemalloc.start()
        with pytest.raises(InputError, match=r"1000000000 frames|expected|less than") as refused:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "\n" not in str(refused.value)
        assert peak < 1e6


def test_float16_stays_float16(tmp_path: Path) -> None:
    features = some_features()
    half = Features(features.array.astype(np.float16), SPEC, features.timebase)
    write_features(tmp_path / "f.safetensors", half)
    assert read_features(tmp_path / "f.safetensors").array.dtype == np.float16


@pytest.mark.parametrize("problem", ["shape", "nan", "newer"])
def test_inconsistent_files_are_refused(
    tmp_path: Path, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, path = some_features(), tmp_path / "f.safetensors"
    if problem == "shape":  # As if they had been written with another timebase.
        object.__setattr__(features, "timebase", Timebase(25.0, 700))
        write_features(path, features)
    elif problem == "nan":
        monkeypatch.setattr(np, "isfinite", lambda x: np.ones_like(x, dtype=bool))
        features.array[0, 0, 0] = np.nan
        write_features(path, features)
        monkeypatch.undo()
    else:
        monkeypatch.setattr("oddframe.features.formats.feature_file.FILE_SCHEMA", 2)
        write_features(path, features)
        monkeypatch.undo()
    with pytest.raises(
        InputError,
        match={"shape": "44 snippets, and holds 5", "nan": "finite", "newer": "upgrade"}[problem],
    ):
        read_features(path)


def test_nan_is_never_written(tmp_path: Path) -> None:
    features = some_features()
    features.array[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        write_features(tmp_path / "f.safetensors", features)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such feature file"):
        read_features(tmp_path / "none.safetensors")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OddframeError, match="cannot be written"):
        write_features(tmp_path / "file" / "f.safetensors", some_features())
