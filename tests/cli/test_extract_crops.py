"""``oddframe extract --crops``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oddframe.features.formats.feature_file import open_features
from tests.cli.conftest import Answer


@pytest.mark.slow
def test_crops_by_name_are_kept_with_the_boxes_of_what_moves(
    oddframe: Callable[..., Answer], clip: Path, tmp_path: Path
) -> None:
    given = (clip, "--crops", "full,motion", "--rate", "10", "--store", tmp_path)
    answer = oddframe("extract", *given)
    assert answer.code == 0, answer.err
    (path,) = tmp_path.glob("??/*.safetensors")
    features = open_features(path, verify=True)
    assert features.spec.crops == ("full", "motion")
    assert features.boxes is not None
    assert features.array.shape[:2] == (2, len(features.boxes))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--crops", "motion", "--views", "5"), "one of them"),
        (("--crops", "moving"), "no crop is called moving"),
    ],
)
def test_crops_that_cannot_be_cut_are_refused(
    oddframe: Callable[..., Answer], clip: Path, options: tuple[str, ...], line: str
) -> None:
    answer = oddframe("extract", clip, *options)
    assert answer.code == 2
    assert line in answer.err
