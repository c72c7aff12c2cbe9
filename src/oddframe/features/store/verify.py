"""Reads the feature files of a store, all or a random sample, to find damaged ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from oddframe._utils.progress import ProgressCallback, ignore_progress
from oddframe.errors import InputError
from oddframe.features.formats.feature_file import read_features
from oddframe.features.store.index import Index, SpecSummary, choose_spec, open_index


@dataclass(frozen=True)
class StoreVerification:
    """What a verification found.

    Attributes:
        read: Number of files that were read.
        total: Number of files in the store, of the chosen spec.
        damaged: A message for each damaged file.
    """

    read: int
    total: int
    damaged: tuple[str, ...]


def verify_store(
    store: Path,
    spec: str | None = None,
    sample: int | None = None,
    progress: ProgressCallback = ignore_progress,
) -> StoreVerification:
    """Read the feature files of a store and list those that are damaged.

    Args:
        store: The store.
        spec: Start of the hash of a spec, to read its files only; None: read all.
        sample: Read so many files, drawn at random; None: read all.
        progress: Called with (files read, files to read).

    Raises:
        InputError: there is no such store.
        UsageError: no spec or several specs match ``spec``.
    """
    index = open_index(store)
    index.verify()
    specs = index.specs()
    if spec is not None:
        specs = [choose_spec(store, specs, spec)]
    total = sum(each.videos for each in specs)
    if sample is None or sample >= total:
        files = [e.file for e in chain.from_iterable(index.all(each.hash) for each in specs)]
        if spec is None:  # A file that the index does not know is damaged, too.
            on_disk = {p.relative_to(store) for p in store.glob("[0-9a-f][0-9a-f]/*.safetensors")}
            files += sorted(on_disk - set(files))
    else:
        files = _draw_files(index, specs, sample)
    damaged = []
    for done, file in enumerate(files, start=1):
        try:
            read_features(store / file)
        except InputError as error:
            damaged.append(str(error))
        progress(done, len(files), f"reading {len(files)} files")
    return StoreVerification(len(files), max(total, len(files)), tuple(damaged))


def _draw_files(index: Index, specs: Sequence[SpecSummary], count: int) -> list[Path]:
    """``count`` different files, fewer than there are, each with the same probability."""
    rng, drawn = random.Random(), set[Path]()
    while missing := count - len(drawn):
        chosen = rng.choices(specs, [each.videos for each in specs], k=missing)
        for each in specs:
            if number := chosen.count(each):
                drawn |= {entry.file for entry in index.draw(each.hash, number, rng)}
    return sorted(drawn)
