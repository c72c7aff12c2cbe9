"""The output format that the documentation writes is a working one."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import oddframe
from oddframe.cli.options import complete_formats
from oddframe.detector import VideoResult
from oddframe.errors import UsageError
from oddframe.outputs import registry
from oddframe.outputs.registry import OutputFormat, format_names, register_format
from oddframe.outputs.score_files import read_score_file
from oddframe.outputs.write import find_wrong_files
from tests.conftest import extend_section


@pytest.fixture
def srt(monkeypatch: pytest.MonkeyPatch) -> OutputFormat:
    """The documented format, in the registry."""
    section = extend_section("An output format")
    code, line = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)[:2]
    assert code.count("\n") <= 40
    monkeypatch.setattr(registry, "_FORMATS", dict(registry._FORMATS))
    new = eval(line, {"OutputFormat": OutputFormat})
    assert isinstance(new, OutputFormat)
    module = types.ModuleType(str(new.writer).partition(":")[0])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "srt.py", "exec"), module.__dict__)
    register_format(new)
    return new


def test_the_format_is_written_and_listed(
    srt: OutputFormat, make_result: Callable[..., VideoResult], tmp_path: Path
) -> None:
    result = make_result(1200, 25.0, [(5.0, 8.0), (30.0, 33.0)])
    oddframe.write(result, ["json", "srt"], tmp_path, "cam3")
    text = (tmp_path / "cam3.srt").read_text(encoding="utf-8")
    assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\nEvent 1, score 0\.\d\d\n\n2\n", text)
    found = read_score_file(tmp_path / "cam3.json")
    assert set(found.files) == {"cam3.srt"}
    (tmp_path / "cam3.srt").unlink()
    assert find_wrong_files(found, ["srt"], tmp_path, "cam3") == {"srt": "was missing"}


def test_the_command_line_offers_the_format(srt: OutputFormat) -> None:
    assert format_names()[-1] == "srt"
    assert complete_formats("json,s") == ["json,srt"]


def test_a_name_is_registered_once(srt: OutputFormat) -> None:
    with pytest.raises(UsageError, match="there is a format 'srt' already"):
        register_format(srt)
