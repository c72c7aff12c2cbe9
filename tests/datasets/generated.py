"""A few megabytes of generated features with the names of a real data set."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from oddframe.datasets.registry import open_dataset

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from make_generated_features import GeneratorOptions, generate

__all__ = ["Generated", "GeneratorOptions", "made_up"]


@dataclass(frozen=True)
class Generated:
    """The folder with generated features of a data set."""

    name: str
    root: Path

    @property
    def lists(self) -> Path:
        """Folder of the lists and labels."""
        return self.root / "lists"

    @property
    def features(self) -> Path:
        """Folder of the visual features."""
        return self.root / "features"

    @property
    def sound(self) -> Path:
        """Folder of the audio features."""
        return self.root / "sound"

    @property
    def data(self) -> str:
        """The data set on the command line."""
        return f"{self.name}:{self.lists}"

    def file(self, video: str, crop: int = 0) -> Path:
        """The file of a crop."""
        (found,) = self.features.rglob(f"{video}__{crop}.npy")
        return found


def made_up(name: str, shared_data: Path, root: Path, wanted: GeneratorOptions) -> Generated:
    """Generate features of the data set ``name`` below ``root``."""
    generate(open_dataset(f"{name}:{shared_data / name}"), root, wanted)
    return Generated(name, root)
