"""The table and the configuration of labels in time that the pages show."""

from __future__ import annotations

import re
from pathlib import Path

from oddframe.datasets.labelled import GroundTruth, TimeLabels
from oddframe.datasets.read import read_dataset
from oddframe.methods.base import CLICK_WEIGHT
from oddframe.training.config import ClickSection, read_config

DOCS = Path(__file__).parents[2] / "docs"


def block(page: str, kind: str) -> str:
    found = re.search(
        rf"^```{kind}\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE
    )
    assert found is not None
    return found[1]


def test_the_table_of_times_is_read(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(block("data.md", "csv"))
    for name in ("monday", "brawl", "garage"):
        (tmp_path / f"{name}.mp4").touch()
    monday, brawl, garage = read_dataset(tmp_path / "list.csv").videos
    assert monday.time_labels == TimeLabels((), (312,))
    assert (brawl.time_labels, brawl.truth) == (TimeLabels((12.5, 47), (65,)), None)
    assert garage.truth == GroundTruth(((10, 16), (40, 52.5)), "seconds")


def test_the_configuration_has_the_defaults_and_events(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(block("train.md", "yaml"))
    found = read_config(tmp_path / "own.yaml").clicks
    assert found == ClickSection(weight=CLICK_WEIGHT, events=True)
