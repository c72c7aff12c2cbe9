"""Thresholds of single cameras in a model card."""

from __future__ import annotations

from pathlib import Path

import pytest

from oddframe.cameras import camera_name, camera_rule, with_thresholds
from oddframe.events import EventRule

RULE = EventRule(threshold=0.5, release=0.25)


def test_the_camera_is_the_name_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert camera_name(Path("recordings/yard/monday.mp4")) == "yard"
    assert camera_name(Path("monday.mp4")) == tmp_path.name


def test_a_threshold_applies_to_its_camera_and_profile_only() -> None:
    card = with_thresholds({"data": "clips"}, "best", {"yard": 0.8})
    own = camera_rule(card, "best", RULE, Path("yard/a.mp4"))
    assert (own.threshold, own.release) == (0.8, pytest.approx(0.4))
    assert camera_rule(card, "best", RULE, Path("gate/a.mp4")) == RULE
    assert camera_rule(card, "fast", RULE, Path("yard/a.mp4")) == RULE
    assert camera_rule({}, "best", RULE, Path("yard/a.mp4")) == RULE


def test_thresholds_of_a_profile_are_replaced_together() -> None:
    card = with_thresholds({"data": "clips"}, "best", {"yard": 0.8, "gate": 0.7})
    card = with_thresholds(card, "fast", {"yard": 0.6})
    card = with_thresholds(card, "best", {"hall": 0.9})
    assert card == {
        "data": "clips",
        "thresholds": {"best": {"hall": 0.9}, "fast": {"yard": 0.6}},
    }
    assert with_thresholds(with_thresholds(card, "best", {}), "fast", {}) == {"data": "clips"}
