"""Time opening a store and drawing from it, by how much it holds.

    python benchmarks/store.py [--entries 10000 100000 1000000] [--folder DIR]

Entries are links to a few small feature files under made-up names, indexed as they are made.
``list`` is the first opening after that, which lists every folder; ``open`` and ``draw`` are what a
training run does at its start and for each batch: 64 entries, drawn evenly, and the rows of 32
snippets of each read from disk. ``anew`` makes the index of up to 10,000 entries from nothing and
reads every header. All but ``anew`` and ``list`` are means of 20.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.imports import StoredFeatures
from oddframe.features.store.index import STORE_INDEX, Index, IndexEntry, open_index
from oddframe.features.store.store import FeatureStore, write_features

SPEC = FeatureSpec(backbone="i3d", weights_sha256="ab", dim=64)
SNIPPETS, BATCH, REPEATED = 40, 64, 20
_MOST_ANEW = 10_000


def fill(root: Path, entries: int) -> None:
    """A store of ``entries`` entries; a file system may link a file only so often."""
    dice = random.Random(0)
    rng = np.random.default_rng(0)
    time_of = SPEC.timebase(25.0, 16 * SNIPPETS)
    sources: dict[str, Path] = {}
    for number in range(entries):
        content = f"{number % 256:02x}{dice.getrandbits(248):062x}"
        path = root / content[:2] / f"{content}-{SPEC.hash()}.safetensors"
        if content[:2] not in sources:
            array = rng.normal(size=(1, SNIPPETS, SPEC.dim)).astype(np.float32)
            write_features(path, Features(array, SPEC, time_of))
            sources[content[:2]] = path
        else:
            os.link(sources[content[:2]], path)
    for shard in root.iterdir():
        os.utime(shard, (1e9, 1e9))  # Long ago: what was read once is not read again.


def draw(root: Path) -> list[IndexEntry]:
    """The entries of a batch, and some rows of each."""
    drawn = Index(root).draw(SPEC.hash(), BATCH, random.Random())
    for entry in drawn:
        np.array(StoredFeatures(root / entry.file).open().array[0][:32])
    return drawn


def milliseconds(call: Callable[[], object], times: int = REPEATED) -> float:
    """Mean of some calls."""
    began = time.perf_counter()
    for _ in range(times):
        call()
    return 1000 * (time.perf_counter() - began) / times


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where to make the stores [a temporary one]")
    args = parser.parse_args()
    print(
        "| entries | anew, s | list, s | open, ms | draw 64, ms | find one, ms | put one, ms |"
        " index, bytes an entry |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for entries in args.entries:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            root = Path(folder)
            fill(root, entries)
            print(row(root, entries), flush=True)


def row(root: Path, entries: int) -> str:
    """What is measured of a store, as a row of the table."""
    anew = "-"
    if entries <= _MOST_ANEW:
        anew = f"{milliseconds(lambda: open_index(root), 1) / 1000:.1f}"
    else:
        Index(root).add(names(root), SPEC)
    began = milliseconds(lambda: open_index(root), 1) / 1000
    listed = "-" if entries <= _MOST_ANEW else f"{began:.1f}"  # There it was part of ``anew``.
    index = Index(root)
    opened = milliseconds(lambda: open_index(root))
    draw(root)
    drawn = milliseconds(lambda: draw(root))
    (one,) = index.draw(SPEC.hash(), 1, random.Random(1))
    found = milliseconds(lambda: index.find(one.content))
    array = np.zeros((1, SNIPPETS, SPEC.dim), np.float32)
    features = Features(array, SPEC, SPEC.timebase(25.0, 16 * SNIPPETS))
    store = FeatureStore(root)
    size = (root / STORE_INDEX).stat().st_size / entries
    put = milliseconds(lambda: store.put(f"{random.getrandbits(256):064x}", features))
    return (
        f"| {entries:,} | {anew} | {listed} | {opened:.1f} | {drawn:.1f} | {found:.2f} | "
        f"{put:.1f} | {size:.0f} |"
    )


def names(root: Path) -> Iterator[IndexEntry]:
    """The entries that lie in the folders."""
    for path in root.glob("??/*.safetensors"):
        content, spec = path.stem.split("-")
        yield IndexEntry(content, spec, SNIPPETS, SPEC.dim * SNIPPETS * 4)


if __name__ == "__main__":
    main()
