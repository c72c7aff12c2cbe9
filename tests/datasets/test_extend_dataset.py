"""The data set in docs/extend.md is a data set that works."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from oddframe.datasets import published, registry
from oddframe.errors import InputError
from tests.cli.conftest import Answer
from tests.cli.conftest import oddframe as oddframe  # The fixture that runs a command line.
from tests.conftest import extend_section

PAGE = extend_section("A data set")
MODULE, LINE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LABELS = """file,camera,class,events,part
a.mp4,gate,normal,,train
b.mp4,yard,fight,0.5-1.2,test
"""


@pytest.fixture
def data(tmp_path: Path, clip: Path, normal_clip: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the data set, after the module and the line were added."""
    code, root = tmp_path / "code", tmp_path / "two_cameras"
    code.mkdir()
    (code / "two_cameras.py").write_text(MODULE)
    monkeypatch.setattr(published, "__path__", [*published.__path__, str(code)])
    for name, target in ast.literal_eval(f"{{{LINE}}}").items():
        monkeypatch.setitem(registry._PUBLISHED, name, target)
    (root / "videos").mkdir(parents=True)
    shutil.copy(normal_clip, root / "videos" / "a.mp4")
    shutil.copy(clip, root / "videos" / "b.mp4")
    (root / "labels.csv").write_text(LABELS)
    return root


def test_the_example_has_at_most_forty_lines() -> None:
    assert len(MODULE.splitlines()) + len(LINE.splitlines()) <= 40


def test_the_data_set_is_read_by_name(data: Path) -> None:
    assert registry.dataset_names()[-1] == "two_cameras"
    dataset = registry.open_dataset(f"two_cameras:{data}")
    about = registry.get_published_dataset("two_cameras")
    assert (len(dataset), int(dataset.abnormal.sum())) == (about.videos, about.abnormal)
    assert dataset.groups == ("gate", "yard")
    (fight,) = dataset.select_part("test").videos
    assert fight.truth is not None
    assert fight.truth.intervals == ((0.5, 1.2),)
    (data / "labels.csv").write_text("file,camera\n")
    with pytest.raises(InputError, match="no column class and events and part"):
        registry.open_dataset(f"two_cameras:{data}")


def test_the_command_line_knows_it(oddframe: Callable[..., Answer], data: Path) -> None:
    answer = oddframe("data", "info", "two_cameras", "--data", data, "--json")
    assert answer.code == 0
    assert json.loads(answer.out)["title"] == "Two Cameras"
    checked = oddframe("data", "check", f"two_cameras:{data}", "--store", data.parent / "store")
    assert checked.code == 0, checked.out
    assert "2 videos" in checked.out
