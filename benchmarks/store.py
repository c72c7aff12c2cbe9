"""Measure how long it takes to open a store and to draw features from it, by its size.

    python benchmarks/store.py [--entries 10000 100000 1000000] [--folder DIR]

Entries are links to a few small feature files under random names, and are added to the index as
``FeatureStore.put`` would do. ``list`` is the first opening after that, which lists every folder.
``open`` and ``draw`` are what a training does at its start and for each batch: draw 64 entries and
read 32 rows of each from disk. ``anew`` builds the index of up to 10,000 entries from the headers
of all files. All figures but ``anew`` and ``list`` are means of 20 calls.
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

from oddframe.features.formats.feature_file import StoredFeatures, write_features
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.index import STORE_INDEX, Index, IndexEntry, open_index
from oddframe.features.store.store import FeatureStore

SPEC = FeatureSpec(backbone="i3d", weights_sha256="ab", dim=64)
SNIPPETS, BATCH, REPEATED = 40, 64, 20
_MAX_ANEW = 10_000


def fill(root: Path, entries: int) -> None:
    """Fill a store; one file for each folder, because file systems limit the links to a file."""
    random_bits = random.Random(0)
    rng = np.random.default_rng(0)
    timebase = SPEC.timebase(25.0, 16 * SNIPPETS)
    sources: dict[str, Path] = {}
    for number in range(entries):
        content = f"{number % 256:02x}{random_bits.getrandbits(248):062x}"
        path = root / content[:2] / f"{content}-{SPEC.hash()}.safetensors"
        if content[:2] not in sources:
            array = rng.normal(size=(1, SNIPPETS, SPEC.dim)).astype(np.float32)
            write_features(path, Features(array, SPEC, timebase))
            sources[content[:2]] = path
        else:
            os.link(sources[content[:2]], path)
    for shard in root.iterdir():
        os.utime(shard, (1e9, 1e9))  # Long ago, so that no folder is read twice.


def draw(root: Path) -> list[IndexEntry]:
    """Draw the entries of a batch, and read some rows of each."""
    drawn = Index(root).draw(SPEC.hash(), BATCH, random.Random())
    for entry in drawn:
        np.array(StoredFeatures(root / entry.file).open().array[0][:32])
    return drawn


def milliseconds(call: Callable[[], object], times: int = REPEATED) -> float:
    """Mean duration of some calls."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return 1000 * (time.perf_counter() - start) / times


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
    """Measure a store; returns a row of the table."""
    anew = "-"
    if entries <= _MAX_ANEW:
        anew = f"{milliseconds(lambda: open_index(root), 1) / 1000:.1f}"
    else:
        Index(root).add(list_entries(root), SPEC)
    first = milliseconds(lambda: open_index(root), 1) / 1000
    # In a small store it was part of ``anew``.
    listed = "-" if entries <= _MAX_ANEW else f"{first:.1f}"
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


def list_entries(root: Path) -> Iterator[IndexEntry]:
    """List the entries of a store."""
    for path in root.glob("??/*.safetensors"):
        content, spec = path.stem.split("-")
        yield IndexEntry(content, spec, SNIPPETS, SPEC.dim * SNIPPETS * 4)


if __name__ == "__main__":
    main()
