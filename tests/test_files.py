"""JSON of whatever figures are computed with."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from oddframe.files import json_text


def test_figures_of_numpy_are_plain_figures() -> None:
    data = {
        "enough": np.float64(3.0) >= 2.0,
        "hours": np.float32(0.5),
        "count": np.int64(3),
        "rows": np.arange(2),
        "nested": [{"kept": np.bool_(False)}, (1, 2.5), None, "é"],
        "file": Path("a/b"),
        np.int64(7): True,
    }
    assert json.loads(json_text(data)) == {
        "enough": True,
        "hours": 0.5,
        "count": 3,
        "rows": [0, 1],
        "nested": [{"kept": False}, [1, 2.5], None, "é"],
        "file": "a/b",
        "7": True,
    }
    assert json_text({"a": [1, {"b": "ü"}]}, indent=1) == json.dumps(
        {"a": [1, {"b": "ü"}]}, indent=1
    )


def test_what_is_no_number_is_null_or_as_python_writes_it() -> None:
    data = {"auc": math.nan, "hours": [np.float64(np.inf), np.array([1.0, -np.inf])]}
    assert json_text(data) == '{"auc": null, "hours": [null, [1.0, null]]}'
    assert json_text(data, nan_is_null=False) == (
        '{"auc": NaN, "hours": [Infinity, [1.0, -Infinity]]}'
    )


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(TypeError):
        json_text({"video": object()})
