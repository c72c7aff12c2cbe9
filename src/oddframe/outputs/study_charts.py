"""Charts of a study as SVG inside HTML: they stretch with the page, their letters do not."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from oddframe.experiments.evaluation import Evaluation, VideoFigures
from oddframe.outputs.clock import clock
from oddframe.outputs.series import steps
from oddframe.outputs.study_data import LearningCurve
from oddframe.timeline import FloatArray

# Units of a drawing; the page stretches it to its own width and height.
_WIDE, _HIGH = 1000.0, 100.0
_BINS = 20
_MOST_STEPS = 500
_MOST_POINTS = 300
# Colours of lines in ``study.css``.
_COLOURS = 9


def score_chart(video: VideoFigures) -> str:
    """The score over time, with threshold, events and what really happens."""
    base = video.track.timebase
    start, duration = base.start_s, max(base.duration_s, 1e-9)
    curve = steps(video, _MOST_STEPS)
    times, _, high = curve.outline()
    spans = [
        _box(kind, (a - start) / duration, (b - start) / duration, top, tall)
        for kind, top, tall, intervals in (
            ("truth", 0, _HIGH, video.truth or ()),
            ("mark", 0, 5, [(event.start_s, event.end_s) for event in video.events]),
        )
        for a, b in intervals
    ]
    line = _points((times - start) / duration, high)
    body = "".join(spans) + _level(video.rule.threshold)
    body += f'<polygon class="under" points="0,{_HIGH:g} {line} {_WIDE:g},{_HIGH:g}"/>'
    body += f'<polyline class="line" points="{line}"/>'
    hours = base.end_s >= 3600
    ends = (clock(start, hours=hours), clock(base.end_s, 1 if base.end_s < 60 else 0, hours=hours))
    return _chart(body, f"Score of {video.video.path.name} over time", ("1", "0"), ends)


def distribution(evaluation: Evaluation) -> str:
    """Histograms of the videos' scores, abnormal ones upward and normal ones downward."""
    edges = np.linspace(0, 1, _BINS + 1)
    counts = {
        kind: np.histogram(
            np.clip([v.score for v in evaluation.videos if v.video.abnormal == kind], 0, 1), edges
        )[0]
        for kind in (True, False)
    }
    most = max(1, *(int(c.max()) for c in counts.values()))
    half = _HIGH / 2
    body = ""
    for kind, each in counts.items():
        for left, right, count in zip(edges[:-1], edges[1:], each, strict=True):
            if count:
                tall = half * 0.94 * count / most
                top = half - tall if kind else half
                bar = _box("abnormal" if kind else "normal", left + 0.003, right - 0.003, top, tall)
                about = f"{count} {'abnormal' if kind else 'normal'}, {left:.2f} to {right:.2f}"
                body += bar.replace("/>", f"><title>{about}</title></rect>")
    body += f'<path class="axis" d="M0 {half:g}H{_WIDE:g}"/>'
    for at in sorted({v.rule.threshold for v in evaluation.videos}):
        body += f'<path class="threshold" d="M{min(at, 1.0) * _WIDE:.1f} 0V{_HIGH:g}"/>'
    keys = "".join(f'<li><i class="k-{name}"></i>{name}</li>' for name in ("abnormal", "normal"))
    about = "How many videos have which highest score"
    chart = _chart(body, about, (str(most), str(most)), ("0", "score 1"))
    return f'<ul class="legend">{keys}</ul>{chart}'


def learning_charts(curves: Sequence[LearningCurve]) -> str:
    """A small chart a loss term, a line a training."""
    terms = list(dict.fromkeys(term for curve in curves for term in curve.terms))
    return "".join(f"<figure>{_term(curves, term)}</figure>" for term in terms)


def learning_legend(curves: Sequence[LearningCurve]) -> str:
    """Which colour is which training; nothing where there is only one."""
    if len(curves) < 2:
        return ""
    items = (
        f'<li><i class="k-line c{i % _COLOURS}"></i>{escape(curve.name)}</li>'
        for i, curve in enumerate(curves)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _term(curves: Sequence[LearningCurve], term: str) -> str:
    lines = [
        (
            i % _COLOURS,
            *_thinned(np.asarray(curve.steps, float), np.asarray(curve.terms[term], float)),
        )
        for i, curve in enumerate(curves)
        if len(curve.terms.get(term, ()))
    ]
    lines = [(i, x[np.isfinite(y)], y[np.isfinite(y)]) for i, x, y in lines]
    lines = [each for each in lines if len(each[1])]
    if not lines:
        return ""
    low = min(0.0, *(float(y.min()) for _, _, y in lines))
    high = max(float(y.max()) for _, _, y in lines)
    last = max(float(x[-1]) for _, x, _ in lines)
    drawn = "".join(
        f'<polyline class="line c{i % _COLOURS}" '
        f'points="{_points(x / max(last, 1), (y - low) / max(high - low, 1e-12))}"/>'
        for i, x, y in lines
    )
    ends = ("0", f"step {last:,.0f}")
    chart = _chart(drawn, f"{term} over the steps", (f"{high:.3g}", f"{low:.3g}"), ends)
    return f"<figcaption>{escape(term)}</figcaption>{chart}"


def _thinned(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means of neighbours where there are more points than a small chart can show."""
    if len(x) <= _MOST_POINTS:
        return x, y
    parts = np.array_split(np.arange(len(x)), _MOST_POINTS)
    return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])


def _chart(
    body: str,
    about: str,
    levels: tuple[str, str],
    ends: tuple[str, str],
) -> str:
    top, bottom = (escape(text) for text in levels)
    return (
        f'<div class="chart"><div class="levels"><span>{top}</span><span>{bottom}</span></div>'
        f'<div class="plot"><svg viewBox="0 0 {_WIDE:g} {_HIGH:g}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(about)}">{body}</svg></div>'
        f'<div class="ends"><span>{escape(ends[0])}</span><span>{escape(ends[1])}</span>'
        "</div></div>"
    )


def _box(kind: str, left: float, right: float, top: float, tall: float) -> str:
    # Never thinner than a hair: an event of seconds has to be seen in a video of hours.
    wide = max((right - left) * _WIDE, 1.5)
    return (
        f'<rect class="{kind}" x="{left * _WIDE:.2f}" y="{top:.2f}" '
        f'width="{wide:.2f}" height="{tall:.2f}"/>'
    )


def _level(value: float) -> str:
    y = (1 - min(max(value, 0.0), 1.0)) * _HIGH
    return f'<path class="threshold" d="M0 {y:.2f}H{_WIDE:g}"/>'


def _points(x: FloatArray, y: FloatArray) -> str:
    """Points from shares of width and height, the latter from below."""
    pairs = zip(x * _WIDE, (1 - np.clip(y, 0, 1)) * _HIGH, strict=True)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs)
