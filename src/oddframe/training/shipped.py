"""The configurations that come with oddframe, by name."""

from __future__ import annotations

import difflib
from pathlib import Path

from oddframe.errors import UsageError
from oddframe.files import exists, is_file

_PACKAGE = Path(__file__).resolve().parents[1]
# In the package where that was installed, in the source tree where not.
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parents[1] / "configs")


def shipped_configs() -> dict[str, Path]:
    """The YAML files by their names: ``fight``, ``ped2``, ``urdmu_published`` ..."""
    found = [path for folder in _FOLDERS for path in sorted(folder.glob("*.yaml"))]
    return {path.stem: path for path in reversed(found)}


def shipped_config(name: str) -> Path:
    """The YAML file of that name.

    Raises:
        UsageError: there is none; the nearest name is suggested.
    """
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    near = difflib.get_close_matches(Path(name).stem.lower(), shipped, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    known = ", ".join(sorted(shipped)) or "none"
    raise UsageError(f"no configuration is called {name}, only {known}{meant}")


def find_config(name_or_path: str) -> Path:
    """The file of that path, else the shipped configuration of that name.

    Raises:
        UsageError: there is neither; the nearest name is suggested.
    """
    path = Path(name_or_path)
    if is_file(path) or (exists(path) and name_or_path not in shipped_configs()):
        return path
    return shipped_config(name_or_path)
