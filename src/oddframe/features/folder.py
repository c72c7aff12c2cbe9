"""A folder of published feature files, searched once: files by name, wherever in it they lie."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from oddframe.errors import InputError
from oddframe.features.layout import Layout
from oddframe.features.published import Fault, NpyFiles
from oddframe.files import is_dir

# What stands behind a video's name in published files of all its crops, and of its sound.
_STACKS = ("", "_i3d")
_SOUNDS = ("__vggish", "")


@dataclass(frozen=True)
class FeatureFolder:
    """A folder of ``.npy`` files.

    Attributes:
        root: The folder.
        files: Paths by file name; two where two folders below have a file of that name.
    """

    root: Path
    files: Mapping[str, tuple[Path, ...]]

    @classmethod
    def scan(cls, root: Path) -> FeatureFolder:
        """Look through ``root`` and all folders below it.

        Raises:
            InputError: there is no such folder, or it cannot be listed.
        """
        if not is_dir(root):
            raise InputError(f"{root}: no such folder of features")
        found: dict[str, tuple[Path, ...]] = {}

        def broken(error: OSError) -> None:
            raise InputError(f"{error.filename}: cannot be listed ({error.strerror})") from None

        for folder, folders, files in os.walk(root, onerror=broken, followlinks=True):
            folders.sort()
            for file in sorted(files):
                if file.endswith(".npy"):
                    found[file] = (*found.get(file, ()), Path(folder, file))
        return cls(root, found)

    def of(
        self,
        name: str,
        layout: Layout,
        *,
        sound: FeatureFolder | None = None,
        dim: int | None = None,
    ) -> tuple[NpyFiles | None, list[Fault]]:
        """The files of a video's features, and what is not as it should be among their names.

        Where a crop or the sound is missing or lies in two folders there are no features, but
        faults; where nothing of the video lies here, one fault, of its name without an ending.

        Args:
            name: As the lists of the data set have it.
            layout: Of the data set.
            sound: Where features of the sound lie; None: they are not wanted.
            dim: The length that is asked for; None: any.
        """
        wanted = [f"{name}__{crop}.npy" for crop in range(layout.crops)]
        stacks = [f"{name}{ending}.npy" for ending in _STACKS]
        if not any(file in self.files for file in wanted):
            stack = next((file for file in stacks if file in self.files), None)
            if stack is None:
                about = "no features of this video: neither of each crop nor of all in one file"
                return None, [Fault("absent", self.root / name, about)]
            wanted = [stack]
        faults: list[Fault] = []
        files = [self._one(file, faults) for file in wanted]
        heard = None
        if sound is not None:
            ending = next((e for e in _SOUNDS if f"{name}{e}.npy" in sound.files), _SOUNDS[0])
            heard = sound._one(f"{name}{ending}.npy", faults)
        there = NpyFiles(tuple(path for path in files if path is not None), layout, heard, dim)
        if not faults:
            return there, []
        # One crop of ten must not pass for a file of all crops.
        return None, [*faults, *(there.look().faults if len(there.files) > 1 else ())]

    def unlisted(self, names: Iterable[str], layout: Layout) -> int:
        """How many of these files are none of the videos ``names``: of no crop, all, or sound."""
        endings = [f"__{crop}" for crop in range(layout.crops)] + [*_STACKS, *_SOUNDS]
        listed = {f"{name}{ending}.npy" for name in names for ending in endings}
        return sum(file not in listed for file in self.files)

    def _one(self, file: str, faults: list[Fault]) -> Path | None:
        paths = self.files.get(file, ())
        if not paths:
            faults.append(Fault("missing", self.root / file, "no such feature file"))
        elif len(paths) > 1:
            also = f"lies in {paths[1].parent} as well; leave one of them"
            faults.append(Fault("twice", paths[0], also))
        return paths[0] if len(paths) == 1 else None
