"""Names of output files: safe, readable, one for each input."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

# What some file system or shell cannot bear: separators, wildcards, control characters, bytes that
# are no text (Python hands those on as surrogates).
_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f\ud800-\udfff]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# File names end at 255 bytes; an ending such as ".annotated.mp4" has to fit as well.
_LONGEST = 180


def safe_name(name: str) -> str:
    """A file name that every file system takes: no separator, no leading dash or dot, not empty."""
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip(" ").rstrip(".")
    if name.startswith(("-", ".")):
        name = "_" + name[1:]
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    if len(name.encode()) > _LONGEST:
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = name.encode()[: _LONGEST - 9].decode(errors="ignore") + "-" + mark
    return name or "video"


def stems(paths: Sequence[Path], taken: Sequence[str] = ()) -> list[str]:
    """A name without ending for each input, all different, also where case does not count.

    None is one of ``taken``, which are lower-case.

    An input keeps its own name as long as no other has it. Those that share one are told apart by
    their endings (``a_mp4``, ``a_mkv``), else by as many folders above as it takes (``cam1_a``,
    ``cam2_a``), else by number. The same paths always give the same names.
    """
    names = [safe_name(path.name if _is_folder(path) else path.stem) for path in paths]
    deepest = max((len(path.parts) for path in paths), default=1)
    ways = [(0, True), *((depth, ending) for depth in range(1, deepest) for ending in (0, 1))]
    result = list(names)
    for group in _groups([name.casefold() for name in names]):
        most = 1  # The shortest way that tells the most apart.
        for folders, ending in ways:
            told = [_longer(paths[i], names[i], folders, bool(ending)) for i in group]
            if (apart := len({name.casefold() for name in told})) > most:
                most = apart
                for i, name in zip(group, told, strict=True):
                    result[i] = name
    return _numbered(result, taken)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # Such as a name that no file can have.
        return False


def _longer(path: Path, name: str, folders: int, ending: bool) -> str:
    above = [part for part in path.parts[:-1] if part not in (path.anchor, ".", "..")]
    end = path.suffix.replace(".", "_") if ending else ""
    return safe_name("_".join([*(above[-folders:] if folders else []), name + end]))


def _groups(keys: Sequence[Hashable]) -> list[list[int]]:
    """Positions of equal keys, only where there are two or more."""
    found: defaultdict[Hashable, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        found[key].append(position)
    return [group for group in found.values() if len(group) > 1]


def _numbered(names: Sequence[str], reserved: Sequence[str]) -> list[str]:
    """Whatever still collides gets -2, -3 …; a name that was unique before keeps its form."""
    taken = {name.casefold() for name in names}
    seen = set(reserved)
    result = []
    for name in names:
        unique, number = name, 1
        while unique.casefold() in seen or (number > 1 and unique.casefold() in taken):
            number += 1
            unique = f"{name}-{number}"
        seen.add(unique.casefold())
        result.append(unique)
    return result
