"""Boxes around what is hot in a heat map (``ScoreTrack.heatmap``)."""

from __future__ import annotations

import cv2
import numpy as np

from oddframe.timeline import Box, FloatArray

MAX_BOXES = 3
# Share of the highest heat from which a place is in a box: half of what a small object's blur is.
_LEAST_HEAT = 0.5
# Cells are divided by this along each side, so that boxes are finer than cells.
_FINER = 4


def find_boxes(heatmap: FloatArray) -> tuple[Box, ...]:
    """Rectangles around connected places with at least half of the highest heat.

    At most three, in the order of their highest heat; none if nothing is hot. ``heatmap``: (rows,
    columns).
    """
    highest = float(heatmap.max(initial=0.0))
    if highest <= 0:
        return ()
    rows, columns = (_FINER * n for n in heatmap.shape)
    fine = cv2.resize(heatmap, (columns, rows), interpolation=cv2.INTER_LINEAR)
    hot = (fine >= _LEAST_HEAT * highest).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hot, connectivity=4)
    cells = heatmap.repeat(_FINER, axis=0).repeat(_FINER, axis=1)
    peaks = [float(cells[labels == label].max()) for label in range(1, count)]
    found: list[Box] = []
    for number in sorted(range(len(peaks)), key=lambda i: -peaks[i])[:MAX_BOXES]:
        x, y, width, height = (int(n) for n in stats[number + 1, :4])
        if found and min(width, height) < _FINER:  # Smaller than a cell.
            continue
        box = x / columns, y / rows, (x + width) / columns, (y + height) / rows
        found.append((round(box[0], 4), round(box[1], 4), round(box[2], 4), round(box[3], 4)))
    return tuple(found)


def to_rows(heatmap: FloatArray) -> tuple[tuple[float, ...], ...]:
    """A heat map (rows, columns) as rows of numbers with two digits."""
    return tuple(tuple(row) for row in np.round(heatmap, 2).tolist())
