"""Write the table of the videos that the shipped model ``fight`` is trained on.

    python tools/list_fight_videos.py DATA fight_videos.csv

``DATA`` holds ``surveillance_fight``, and ``footage``: everyday video without fights. Of the
footage only files whose licence allows training are listed (``may_train``).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path


def list_videos(data: Path) -> list[tuple[Path, str, str]]:
    """Path, label and recording of each video."""
    fights, footage = data / "surveillance_fight", data / "footage"
    rows = [
        (fights / row["path"], row["label"], row["source"]) for row in _read(fights / "clips.csv")
    ]
    rows += [
        (footage / row["path"], "normal", footage_source(row["path"]))
        for row in _read(footage / "clips.csv")
        if row["may_train"] == "yes"
    ]
    return rows


def _read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def footage_source(name: str) -> str:
    """The collection that a file of footage is from: the names of its files begin alike."""
    return Path(name).stem.split("_")[0]


def main() -> None:
    """List and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="where the data sets lie")
    parser.add_argument("out", type=Path, help="the table, *.csv")
    given = parser.parse_args()
    rows = list_videos(given.data.resolve())
    with given.out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "group"))
        writer.writerows(rows)
    print(f"{given.out}: {len(rows)} videos")


if __name__ == "__main__":
    main()
