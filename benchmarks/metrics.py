"""Time the metrics on 2.33 million frames, side by side with scikit-learn, and the calibration.

    python benchmarks/metrics.py

XD-Violence's test set has 2,330,384 frames, 537,805 of them anomalous, in 145,649 snippets. The
same figures come from snippet scores with weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from oddframe.events import EventRule, calibrate_threshold, find_events
from oddframe.metrics import LabelledScores, frame_metrics
from oddframe.timeline import ScoreTrack, Timebase

SNIPPETS = 145_649
ANOMALOUS_SHARE = 537_805 / 2_330_384


def timed(what: Callable[[], object], repeats: int = 3) -> tuple[float, object]:
    """Best of some repeats, in seconds, and what came out."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = what()
        times.append(time.perf_counter() - start)
    return min(times), value


def main() -> None:
    """Print a Markdown table."""
    rng = np.random.default_rng(0)
    timebase = Timebase(24.0, 16 * SNIPPETS)
    anomalous = rng.random(SNIPPETS) < ANOMALOUS_SHARE
    track = ScoreTrack(1 / (1 + np.exp(-rng.normal(anomalous, 1.0))), timebase)
    labels, scores = np.repeat(anomalous, 16), track.to_frames()

    def theirs() -> tuple[float, ...]:
        precision, recall, _ = precision_recall_curve(labels, scores)
        average = average_precision_score(labels, scores)
        return float(roc_auc_score(labels, scores)), float(average), float(auc(recall, precision))

    def ours(video: LabelledScores) -> Callable[[], tuple[float, ...]]:
        def run() -> tuple[float, ...]:
            figures = frame_metrics([video])
            return figures.auc, figures.ap, figures.ap_trapezoid

        return run

    their_time, expected = timed(theirs)
    frame_time, by_frame = timed(ours(LabelledScores(labels, scores)))
    run_time, by_run = timed(ours(LabelledScores.from_track(track, labels)))
    off = max(
        np.abs(np.subtract(by_frame, expected)).max(), np.abs(np.subtract(by_run, expected)).max()
    )

    ten_hours = Timebase(25.0, 25 * 36_000)
    long_track = ScoreTrack(rng.random(ten_hours.n_snippets), ten_hours)
    rule = EventRule(smooth_s=1.0, min_duration_s=0.5)
    event_time, events = timed(lambda: find_events(long_track, rule))
    calibration_time, _ = timed(lambda: calibrate_threshold([long_track], 2, rule))

    print(f"| {2_330_384:,} frames: AUC, AP, trapezoid AP | seconds |")
    print("| --- | ---: |")
    print(f"| scikit-learn, frames | {their_time:.2f} |")
    print(f"| ours, frames (all six figures) | {frame_time:.2f} |")
    print(f"| ours, snippets with weights | {run_time:.3f} |")
    print(f"| largest difference of a figure | {off:.1e} |")
    print(f"| events of ten hours at 25 fps ({len(events)} found) | {event_time:.2f} |")
    print(f"| threshold for 2 false alarms an hour from ten hours | {calibration_time:.2f} |")


if __name__ == "__main__":
    main()
