"""Names of output files: safe on every file system, readable, and different for each input."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

# What some file system or shell does not accept: separators, wildcards, control characters, and
# surrogates, which is how Python returns bytes that are not text.
_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f\ud800-\udfff]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# File names end at 255 bytes; an ending such as ".annotated.mp4" has to fit as well.
_MAX_BYTES = 180


def safe_file_name(name: str) -> str:
    """A name that every file system accepts: no separator, no leading dash or dot, not empty."""
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip(" ").rstrip(".")
    if name.startswith(("-", ".")):
        name = "_" + name[1:]
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    if len(name.encode()) > _MAX_BYTES:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = name.encode()[: _MAX_BYTES - 9].decode(errors="ignore") + "-" + digest
    return name or "video"


def unique_stems(paths: Sequence[Path], reserved: Sequence[str] = ()) -> list[str]:
    """A file name without ending for each path; all differ, also on systems that ignore case.

    A path keeps its own name if no other path has it. Paths with the same name get their endings
    (``a_mp4``, ``a_mkv``), or as many parent folders as needed (``cam1_a``, ``cam2_a``), or a
    number. The same paths always give the same names.

    Args:
        paths: Files or folders.
        reserved: Lower-case names that must not be used.
    """
    names = [safe_file_name(path.name if _is_folder(path) else path.stem) for path in paths]
    max_depth = max((len(path.parts) for path in paths), default=1)
    options = [(0, True), *((depth, ending) for depth in range(1, max_depth) for ending in (0, 1))]
    result = list(names)
    for group in _duplicates(names):
        best = 1  # The shortest names among those that distinguish the most paths.
        for folders, ending in options:
            longer = [_longer_name(paths[i], names[i], folders, bool(ending)) for i in group]
            if (distinct := len({name.casefold() for name in longer})) > best:
                best = distinct
                for i, name in zip(group, longer, strict=True):
                    result[i] = name
    return _numbered(result, reserved)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # Such as a name that no file can have.
        return False


def _longer_name(path: Path, name: str, folders: int, ending: bool) -> str:
    parents = [part for part in path.parts[:-1] if part not in (path.anchor, ".", "..")]
    suffix = path.suffix.replace(".", "_") if ending else ""
    return safe_file_name("_".join([*(parents[-folders:] if folders else []), name + suffix]))


def _duplicates(names: Sequence[str]) -> list[list[int]]:
    """Positions of names that occur more than once, ignoring case."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for position, name in enumerate(names):
        found[name.casefold()].append(position)
    return [group for group in found.values() if len(group) > 1]


def _numbered(names: Sequence[str], reserved: Sequence[str]) -> list[str]:
    """Names that still collide get -2, -3 …; a name that was unique before keeps its form."""
    taken = {name.casefold() for name in names}
    used = set(reserved)
    result = []
    for name in names:
        unique, number = name, 1
        while unique.casefold() in used or (number > 1 and unique.casefold() in taken):
            number += 1
            unique = f"{name}-{number}"
        used.add(unique.casefold())
        result.append(unique)
    return result
