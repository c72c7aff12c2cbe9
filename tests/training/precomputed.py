"""Data sets of ready-made features, so that whole training runs take a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.training.config import TrainConfig
from tests.training.planted import planted, small_config

SEARCHED = {"lr": [1, 3], "steps": [1], "folds": 2}


def ready_made(folder: Path, n: int = 12, *, abnormal: bool = True, seed: int = 1) -> Dataset:
    """``n`` normal and, if wished, as many abnormal videos; one of either in each group."""
    folder.mkdir(parents=True, exist_ok=True)
    videos, _ = planted(n, n if abnormal else 0, seed)
    made = []
    for i, video in enumerate(videos):
        path = folder / f"v{i:02}.npy"
        np.save(path, video.views[0])
        label = "fight" if video.abnormal else "normal"
        made.append(LabelledVideo(path, video.abnormal, label, f"g{i % n:02}"))
    return Dataset("ready", tuple(made))


def linear(**sections: Any) -> TrainConfig:
    """The linear method in twelve steps, with a grid of two settings."""
    return small_config(**{"method": "linear", "search": SEARCHED, **sections})


class ProgressLog:
    """A progress callback and a message callback that record their calls."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.videos: list[tuple[int, int | None, str]] = []
        self.steps: list[tuple[int, int | None, str]] = []

    def __call__(self, done: int, total: int | None, text: str, /) -> None:
        """Record a video or a step."""
        calls = self.steps if text.startswith("training: ") else self.videos
        calls.append((done, total, text))

    def message(self, line: str) -> None:
        """Record a line."""
        self.lines.append(line)

    def has_line(self, part: str) -> bool:
        """Whether some line contains ``part``."""
        return any(part in line for line in self.lines)
