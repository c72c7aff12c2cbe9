"""The example of docs/watch.md is a file that can be used."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oddframe.watch.cameras_file import CameraSection, announce_rule, read_cameras, time_zone
from oddframe.watch.sources import SCHEMES
from tests.conftest import ROOT

PAGE = (ROOT / "docs/watch.md").read_text()


def test_the_example_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YARD_PASSWORD", "x")
    path = tmp_path / "cameras.yaml"
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    path.write_text(found[1])
    sections = read_cameras(path)
    yard, door = sections.cameras["yard"], sections.cameras["door"]
    assert yard.source == "rtsp://viewer:x@10.0.0.3/stream1"
    assert door.model == str(tmp_path / "own.safetensors")
    rule = announce_rule(yard, time_zone(sections))
    # 17:30 in Berlin, a Tuesday in January, then 18:30.
    assert not rule.allows(datetime(2027, 1, 5, 16, 30, tzinfo=UTC), None)
    assert rule.allows(datetime(2027, 1, 5, 17, 30, tzinfo=UTC), None)
    assert not rule.allows(datetime(2026, 12, 22, 17, 30, tzinfo=UTC), None)  # Snoozed.


def test_the_page_names_all_keys_and_schemes() -> None:
    for name in CameraSection.model_fields:
        assert f"{name}:" in PAGE
    for scheme in SCHEMES:
        assert f"`{scheme}://`" in PAGE
