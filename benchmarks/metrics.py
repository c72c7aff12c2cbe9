"""Times the metrics on 2.33 million frames, compared with scikit-learn, and the calibration.

    python benchmarks/metrics.py

XD-Violence's test set has 2,330,384 frames, 537,805 of them anomalous, in 145,649 snippets. Snippet
scores with weights give the same metrics as frame scores.
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


def best_time(function: Callable[[], object], repeats: int = 3) -> tuple[float, object]:
    """The shortest time of some repeats in seconds, and the result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = function()
        times.append(time.perf_counter() - start)
    return min(times), value


def main() -> None:
    """Print a Markdown table."""
    rng = np.random.default_rng(0)
    timebase = Timebase(24.0, 16 * SNIPPETS)
    anomalous = rng.random(SNIPPETS) < ANOMALOUS_SHARE
    track = ScoreTrack(1 / (1 + np.exp(-rng.normal(anomalous, 1.0))), timebase)
    labels, scores = np.repeat(anomalous, 16), track.to_frames()

    def scikit_learn() -> tuple[float, ...]:
        precision, recall, _ = precision_recall_curve(labels, scores)
        average = average_precision_score(labels, scores)
        return float(roc_auc_score(labels, scores)), float(average), float(auc(recall, precision))

    def ours(video: LabelledScores) -> Callable[[], tuple[float, ...]]:
        def run() -> tuple[float, ...]:
            metrics = frame_metrics([video])
            return metrics.auc, metrics.ap, metrics.ap_trapezoid

        return run

    their_time, expected = best_time(scikit_learn)
    frame_time, by_frame = best_time(ours(LabelledScores(labels, scores)))
    run_time, by_run = best_time(ours(LabelledScores.from_track(track, labels)))
    difference = max(
        np.abs(np.subtract(by_frame, expected)).max(), np.abs(np.subtract(by_run, expected)).max()
    )

    ten_hours = Timebase(25.0, 25 * 36_000)
    long_track = ScoreTrack(rng.random(ten_hours.n_snippets), ten_hours)
    rule = EventRule(smooth_s=1.0, min_duration_s=0.5)
    event_time, events = best_time(lambda: find_events(long_track, rule))
    calibration_time, _ = best_time(lambda: calibrate_threshold([long_track], 2, rule))

    print(f"| {2_330_384:,} frames: AUC, AP, trapezoid AP | seconds |")
    print("| --- | ---: |")
    print(f"| scikit-learn, frames | {their_time:.2f} |")
    print(f"| oddframe, frames (all six metrics) | {frame_time:.2f} |")
    print(f"| oddframe, snippets with weights | {run_time:.3f} |")
    print(f"| largest difference of a metric | {difference:.1e} |")
    print(f"| events of ten hours at 25 fps ({len(events)} found) | {event_time:.2f} |")
    print(f"| threshold for 2 false alarms an hour from ten hours | {calibration_time:.2f} |")


if __name__ == "__main__":
    main()
