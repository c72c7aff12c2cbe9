"""Where the configurations lie that come with oddframe."""

from __future__ import annotations

from pathlib import Path

from oddframe.errors import UsageError

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_config(name: str) -> Path:
    """The YAML file of that name: ``ped2``, ``urdmu_published`` ...

    It lies in the package where that was installed, in ``configs/`` of the source tree where not.

    Raises:
        UsageError: there is none.
    """
    places = (_PACKAGE / "configs", _PACKAGE.parents[1] / "configs")
    for folder in places:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    known = sorted({path.stem for folder in places for path in folder.glob("*.yaml")})
    raise UsageError(f"no configuration is called {name}, only {', '.join(known) or 'none'}")
