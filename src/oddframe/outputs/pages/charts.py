"""Charts of the pages: what ``charts.html`` draws as SVG, in units of the drawing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from oddframe._utils.files import describe_read_error
from oddframe.errors import InputError
from oddframe.evaluation.evaluate import Evaluation, VideoMetrics
from oddframe.outputs.drawing import step_curve
from oddframe.outputs.text import format_clock
from oddframe.timeline import FloatArray

# Units of a drawing; the page stretches it to its own width and height.
_WIDTH, _HEIGHT = 1000.0, 100.0
# A bar is never narrower: an event of seconds has to be seen in a video of hours.
_MIN_BAR_WIDTH = 1.5
_BINS = 20
_MAX_STEPS = 500
_MAX_POINTS = 300
# Colours of lines in ``cards.css``, from c0 on; ``charts.html`` counts them, too.
_COLOURS = 9


class Bar(NamedTuple):
    """A rectangle; ``kind`` is its CSS class."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str = ""


class ChartLine(NamedTuple):
    """A line through ``points``, or the area that it encloses; ``kind`` is its CSS class."""

    kind: str
    points: str  # Of a path: its commands.
    filled: bool = False


@dataclass(frozen=True)
class Chart:
    """One chart: bars below paths below lines."""

    about: str  # For those who cannot see it.
    levels: tuple[str, str]  # Labels at the upper and the lower end of the vertical axis.
    ends: tuple[str, str]  # Labels at the left and the right end of the horizontal axis.
    bars: Sequence[Bar] = ()
    paths: Sequence[ChartLine] = ()
    lines: Sequence[ChartLine] = ()
    width: int = int(_WIDTH)
    height: int = int(_HEIGHT)


@dataclass(frozen=True)
class LearningCurve:
    """Loss terms of one training."""

    name: str  # Which training: ``seed 2022``.
    steps: Sequence[int]
    terms: Mapping[str, Sequence[float]]  # A value for each step; ``loss`` is the total.

    @classmethod
    def read(cls, log: Path, name: str) -> LearningCurve:
        """Read the log of a training: JSON lines, one for each step."""
        try:
            rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
            steps = [int(row["step"]) for row in rows]
            terms = [term for term in (rows[0] if rows else ()) if term != "step"]
            return cls(name, steps, {term: [float(row[term]) for row in rows] for term in terms})
        except OSError as error:
            raise InputError(f"{log}: {describe_read_error(error)}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{log}: not the log of a training ({error!r})") from None


def score_chart(video: VideoMetrics) -> Chart:
    """The score over time, with threshold, events and true intervals."""
    base = video.track.timebase
    start, duration = base.start_s, max(base.duration_s, 1e-9)
    times, _, high = step_curve(video, _MAX_STEPS).outline()
    bars = [
        _bar(kind, (a - start) / duration, (b - start) / duration, 0, height)
        for kind, height, intervals in (
            ("truth", _HEIGHT, video.truth or ()),
            ("mark", 5, [(event.start_s, event.end_s) for event in video.events]),
        )
        for a, b in intervals
    ]
    points = _points((times - start) / duration, high)
    y = (1 - min(max(video.rule.threshold, 0.0), 1.0)) * _HEIGHT
    hours = base.end_s >= 3600
    end = format_clock(base.end_s, 1 if base.end_s < 60 else 0, hours=hours)
    return Chart(
        f"Score of {video.video.path.name} over time",
        ("1", "0"),
        (format_clock(start, hours=hours), end),
        bars,
        [ChartLine("threshold", f"M0 {y:.2f}H{_WIDTH:g}")],
        [
            ChartLine("under", f"0,{_HEIGHT:g} {points} {_WIDTH:g},{_HEIGHT:g}", filled=True),
            ChartLine("line", points),
        ],
    )


def score_histogram(evaluation: Evaluation) -> Chart:
    """Histograms of the videos' scores, abnormal videos upward and normal ones downward."""
    edges = np.linspace(0, 1, _BINS + 1)
    counts = {
        abnormal: np.histogram(
            np.clip([v.score for v in evaluation.videos if v.video.abnormal == abnormal], 0, 1),
            edges,
        )[0]
        for abnormal in (True, False)
    }
    highest = max(1, *(int(count.max()) for count in counts.values()))
    half = _HEIGHT / 2
    bars = []
    for abnormal, found in counts.items():
        kind = "abnormal" if abnormal else "normal"
        for left, right, count in zip(edges[:-1], edges[1:], found, strict=True):
            if count:
                height = half * 0.94 * count / highest
                top = half - height if abnormal else half
                title = f"{count} {kind}, {left:.2f} to {right:.2f}"
                bars.append(_bar(kind, left + 0.003, right - 0.003, top, height, title))
    paths = [ChartLine("axis", f"M0 {half:g}H{_WIDTH:g}")]
    xs = sorted({v.rule.threshold for v in evaluation.videos})
    paths += [ChartLine("threshold", f"M{min(x, 1.0) * _WIDTH:.1f} 0V{_HEIGHT:g}") for x in xs]
    about = "How many videos have which highest score"
    return Chart(about, (str(highest), str(highest)), ("0", "score 1"), bars, paths)


def term_charts(curves: Sequence[LearningCurve]) -> list[tuple[str, Chart | None]]:
    """A small chart for each loss term, with a line for each training; None: nothing to draw."""
    terms = dict.fromkeys(term for curve in curves for term in curve.terms)
    return [(term, _term_chart(curves, term)) for term in terms]


def _term_chart(curves: Sequence[LearningCurve], term: str) -> Chart | None:
    lines = []
    for i, curve in enumerate(curves):
        steps = np.asarray(curve.steps, float)
        values = np.asarray(curve.terms.get(term, ()), float)
        if len(values):
            steps, values = _thinned(steps, values)
            finite = np.isfinite(values)
            lines.append((i % _COLOURS, steps[finite], values[finite]))
    lines = [line for line in lines if len(line[1])]
    if not lines:
        return None
    low = min(0.0, *(float(values.min()) for _, _, values in lines))
    high = max(float(values.max()) for _, _, values in lines)
    last = max(float(steps[-1]) for _, steps, _ in lines)
    height = max(high - low, 1e-12)
    drawn = [
        ChartLine(f"line c{colour}", _points(steps / max(last, 1), (values - low) / height))
        for colour, steps, values in lines
    ]
    ends = ("0", f"step {last:,.0f}")
    return Chart(f"{term} over the steps", (f"{high:.3g}", f"{low:.3g}"), ends, lines=drawn)


def _thinned(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means of neighbours where there are more points than a small chart can show."""
    if len(x) <= _MAX_POINTS:
        return x, y
    parts = np.array_split(np.arange(len(x)), _MAX_POINTS)
    return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])


def _bar(kind: str, left: float, right: float, top: float, height: float, title: str = "") -> Bar:
    """A bar between shares of the width; top and height in units of the drawing."""
    width = max((right - left) * _WIDTH, _MIN_BAR_WIDTH)
    return Bar(kind, left * _WIDTH, top, width, height, title)


def _points(x: FloatArray, y: FloatArray) -> str:
    """Points from shares of width and height, the latter from below."""
    pairs = zip(x * _WIDTH, (1 - np.clip(y, 0, 1)) * _HEIGHT, strict=True)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs)
