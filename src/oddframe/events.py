"""Scores -> events: smoothing, hysteresis, gap closing, minimal length; thresholds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EventRule:
    """How a score curve becomes events.

    Attributes:
        threshold: An event starts where the smoothed score reaches this (onset).
        release: ... and lasts until it falls below this (offset); at most ``threshold``.
        smooth_s: Width in seconds of the moving average before thresholding; 0: none.
        min_duration_s: Shorter events are dropped.
        merge_gap_s: Events closer than this are one.
    """

    threshold: float = 0.5
    release: float = 0.4
    smooth_s: float = 0.0
    min_duration_s: float = 0.0
    merge_gap_s: float = 1.0
