"""Which numbers of a feature are of the sound, by the names of the backbones that made them."""

from __future__ import annotations

from oddframe.backbones.registry import known_kinds
from oddframe.features.spec import IMPORTED


def sound_numbers(backbones: str) -> int:
    """How many numbers at the end of a feature are of the sound; 0: none.

    Args:
        backbones: As in a ``FeatureSpec``: ``i3d+aisfx``, ``imported:i3d+vggish``. Published
            features of unknown sound are ``imported:i3d+dim64``.
    """
    listening = {kind.name: kind.dim for kind in known_kinds() if kind.listens}
    names = backbones.removeprefix(IMPORTED).split("+")
    found = sum(listening.get(name, 0) for name in names)
    unknown = names[-1].removeprefix("dim")
    if not found and len(names) > 1 and backbones.startswith(IMPORTED) and unknown.isdecimal():
        return int(unknown)
    return found
