"""Figures 1 and 4 of the paper for any methods and videos: curves, truth, key frames.

Key frames of a test video that was joined from clips, or is one.

Section 3.4 of the paper, looked at: lengths of latents, and which slots the memories use.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from oddframe._utils.files import exists, is_dir, write_bytes
from oddframe.errors import InputError
from oddframe.events import EventRule
from oddframe.features.formats.feature_file import is_feature_file
from oddframe.metrics import roc_auc
from oddframe.outputs.curve import (
    BLUE,
    CAPTION_HEIGHT,
    GREEN,
    GREY,
    INK,
    KEY_FRAME_HEIGHT,
    LEADER_HEIGHT,
    PINK,
    RED,
    PlotLayout,
    draw_key_frames,
    fit_label,
    style_axes,
)
from oddframe.outputs.drawing import RgbImage, step_curve
from oddframe.outputs.highlights import Highlight, KeyFrameCollector, select_highlights
from oddframe.research.reproduce.figures import Curves
from oddframe.research.reproduce.memory_analysis import Inside
from oddframe.research.splice import Spliced
from oddframe.timeline import Event, FloatArray, ScoreTrack
from oddframe.video.discover import VIDEO_SUFFIXES
from oddframe.video.source import open_source

_LONGEST = 480


def clip_frames(
    video: Spliced, moments: Sequence[Highlight], folder: Path | None = None
) -> dict[Highlight, RgbImage]:
    """The frame at each of these moments, where its clip can be read.

    Args:
        video: Clips whose names are paths.
        moments: In seconds of the joined video.
        folder: Where the videos lie of a data set of features, by the name of the features.
    """
    wanted: dict[int, list[tuple[float, Highlight]]] = defaultdict(list)
    starts = video.starts_s
    for moment in moments:
        number = int(np.searchsorted(starts, moment.time_s, side="right")) - 1
        number = min(max(number, 0), len(video.clips) - 1)
        clip = video.clips[number]
        inside = moment.time_s - starts[number] + clip.first_frame / clip.timebase.fps
        wanted[number].append((inside + float(clip.timebase.frame_times[0]), moment))
    shown: dict[Highlight, RgbImage] = {}
    for number, each in wanted.items():
        path = _file(Path(video.clips[number].name), folder)
        if path is not None:
            images = _images(path, [time for time, _ in each], video.clips[number].timebase.fps)
            shown |= {moment: images[time] for time, moment in each if time in images}
    return shown


def _file(path: Path, folder: Path | None) -> Path | None:
    if exists(path) and not is_feature_file(path):
        return path
    if folder is None:
        return None
    found = (folder / f"{path.stem}{suffix}" for suffix in ("", *sorted(VIDEO_SUFFIXES)))
    return next((each for each in found if exists(each)), None)


def _images(path: Path, seconds: Sequence[float], fps: float) -> dict[float, RgbImage]:
    catcher = KeyFrameCollector(seconds, _LONGEST)
    try:
        for frame in open_source(path, fps=fps if is_dir(path) else None).frames():
            if catcher.done:
                break
            catcher.add(frame)
    except InputError:  # A figure does without.
        catcher.close(complete=False)
        return catcher.images
    catcher.close()
    return catcher.images


# The paper's blue and orange first; green and red are those of the key frames.
COLOURS = (BLUE, "#e8850c", "#7d4fc4", "#12908e", "#8a6d3b", "#c2408c")
_DPI = 160
_WIDE, _NARROW = 8.98, 5.55  # Of a plot: one in a row, two.
_LEFT, _RIGHT, _PLOT, _FOOT, _HEAD, _LEGEND = 0.72, 0.30, 1.9, 0.66, 0.42, 0.45
_FRAMES = {1: 6, 2: 4}
_STEPS = 1500


@dataclass(frozen=True)
class _Shown:
    """What key frames are chosen by: the first method's curve, and what really happens."""

    track: ScoreTrack
    rule: EventRule
    events: tuple[Event, ...]
    truth: tuple[tuple[float, float], ...] | None


def write_curves(
    shown: Sequence[Curves], png: Path, svg: Path, folder: Path | None = None
) -> list[str]:
    """Draw several methods over each video, truth shaded, key frames framed green and red.

    Key frames are taken at the middle of true intervals and at quiet instants far from each other.

    Args:
        shown: At least one video; the same methods over each.
        png: PNG file.
        svg: SVG file, its pictures inside.
        folder: Where videos lie of a data set of features.

    Returns:
        Names of the videos of which no frame could be had.

    Raises:
        OddframeError: a file cannot be written.
    """
    per_row = 1 if len(shown) == 1 else 2
    wide = _WIDE if per_row == 1 else _NARROW
    pictures = [_frames(each, _FRAMES[per_row], folder) for each in shown]
    above = KEY_FRAME_HEIGHT + CAPTION_HEIGHT + LEADER_HEIGHT if any(pictures) else 0.0
    row = _FOOT + _PLOT + above + _HEAD
    rows = -(-len(shown) // per_row)
    page = (per_row * (_LEFT + wide + _RIGHT), rows * row + _LEGEND)
    figure = Figure(figsize=page, dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for number, (each, frames) in enumerate(zip(shown, pictures, strict=True)):
        left = (number % per_row) * (_LEFT + wide + _RIGHT) + _LEFT
        foot = (rows - 1 - number // per_row) * row + _LEGEND + _FOOT
        place = PlotLayout(left, foot, wide, _PLOT, page)
        _panel(figure, place, each, frames, ticks=10 if per_row == 1 else 6)
    _legend(figure, list(shown[0].tracks), page)
    for path, kind in ((png, "png"), (svg, "svg")):
        save(figure, path, kind)
    return [each.name for each, frames in zip(shown, pictures, strict=True) if not frames]


def save(figure: Figure, path: Path, kind: str) -> None:
    """Write a figure; the same figure gives the same file.

    Raises:
        OddframeError: it cannot be written.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "oddframe"}):
        undated = {"Date": None} if kind == "svg" else {}
        figure.savefig(buffer, format=kind, metadata=undated)
    write_bytes(path, buffer.getvalue())


def _view(each: Curves) -> _Shown:
    return _Shown(next(iter(each.tracks.values())), EventRule(), (), each.video.truth)


def _frames(each: Curves, most: int, folder: Path | None) -> dict[Highlight, RgbImage]:
    return clip_frames(each.video, select_highlights(_view(each), most), folder)


def _panel(
    figure: Figure, place: PlotLayout, each: Curves, frames: dict[Highlight, RgbImage], ticks: int
) -> None:
    view = _view(each)
    axes = place.axes(figure)
    curve = step_curve(view, _STEPS)
    style_axes(axes, float(curve.edges[0]), float(curve.edges[-1]), ticks=ticks)
    for a, b in each.video.truth:
        axes.axvspan(a, b, facecolor=PINK, edgecolor="none", zorder=0)
    for number, track in reversed(list(enumerate(each.tracks.values()))):
        _line(axes, _Shown(track, view.rule, (), None), COLOURS[number % len(COLOURS)])
    roof = place.bottom + place.height
    if frames:
        draw_key_frames(
            figure, place, curve, sorted(frames.items(), key=lambda item: item[0].time_s)
        )
        roof += KEY_FRAME_HEIGHT + CAPTION_HEIGHT + LEADER_HEIGHT
    kind, colour = ("abnormal", RED) if each.video.abnormal else ("normal", GREEN)
    y = (roof + _HEAD / 2) / place.page_size[1]
    name = fit_label(each.name, 48)
    left, right = place.left / place.page_size[0], (place.left + place.width) / place.page_size[0]
    figure.text(
        left, y, name, fontsize=11.5, fontweight="bold", color=INK, va="center", parse_math=False
    )
    figure.text(right, y, kind, fontsize=10, color=colour, va="center", ha="right")


def _line(axes: Axes, shown: _Shown, colour: str) -> None:
    curve = step_curve(shown, _STEPS)
    times, low, high = curve.outline()
    if curve.is_exact:
        axes.plot(times, high, color=colour, linewidth=1.5, solid_joinstyle="round", zorder=3)
    else:
        axes.fill_between(times, low, high, color=colour, linewidth=0.7, zorder=3)


def _legend(figure: Figure, titles: Sequence[str], page_size: tuple[float, float]) -> None:
    lines: list[Line2D | Patch] = [
        Line2D([], [], color=COLOURS[i % len(COLOURS)], linewidth=2) for i in range(len(titles))
    ]
    figure.legend(
        [*lines, Patch(facecolor=PINK)],
        [*titles, "truth"],
        loc="lower center",
        bbox_to_anchor=(0.5, 0.06 / page_size[1]),
        ncols=len(titles) + 1,
        frameon=False,
        fontsize=10,
        labelcolor=INK,
        handlelength=1.8,
        columnspacing=2.2,
    )


_BINS = 40
_FEW = 12


def write_inside(inside: Inside, title: str, png: Path, svg: Path) -> None:
    """Draw histograms of the latents' lengths, and how much every slot of either memory answers.

    Args:
        inside: What was found in a network.
        title: Of the figure: which network, which data.
        png: PNG file.
        svg: SVG file.

    Raises:
        OddframeError: a file cannot be written.
    """
    figure = Figure(figsize=(11.5, 7.4), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12.5, fontweight="bold", color=INK)
    (snippets, videos), (anomaly, normal) = figure.subplots(2, 2)
    _lengths(snippets, inside.lengths, inside.odd, "snippets", _BINS)
    snippets.set_xlabel("length of the fused latent", color=INK)
    _lengths(videos, inside.video_lengths, inside.video_odd, "videos", _FEW)
    # Two latents: that of the anomaly memory's read-out in abnormal videos, that of the normal
    # memory's in normal ones.
    wish = f"L_dis wants {inside.margin:g} between"
    latents = "length of the latent: anomaly memory's in abnormal videos,"
    videos.set_xlabel(f"{latents}\nnormal memory's in normal ones ({wish})", color=INK)
    for axes, name in ((anomaly, "anomaly memory"), (normal, "normal memory")):
        _slots(axes, inside.usage[name], name)
    for path, kind in ((png, "png"), (svg, "svg")):
        save(figure, path, kind)


def summary(inside: Inside) -> str:
    """The figure in a line: does the length tell odd from normal?"""
    odd, calm = inside.lengths[inside.odd], inside.lengths[~inside.odd]
    if not len(odd) or not len(calm):
        return "only one kind of snippet in these videos"
    auc = roc_auc(inside.odd, inside.lengths)
    return (
        f"mean length of the fused latent: {odd.mean():.2f} in {len(odd)} odd snippets, "
        f"{calm.mean():.2f} in {len(calm)} normal ones; by the length alone AUC {100 * auc:.1f}"
    )


def _lengths(axes: Axes, lengths: FloatArray, odd: NDArray[np.bool_], of: str, n: int) -> None:
    edges = np.linspace(float(lengths.min()), float(lengths.max()) or 1.0, n + 1)
    for kind, colour, name in ((~odd, GREEN, "normal"), (odd, RED, "abnormal")):
        values = lengths[kind]
        if len(values):
            weights = np.full(len(values), 100 / len(values))
            label = f"{len(values)} {name} {of}"
            axes.hist(values, list(edges), weights=weights, color=colour, alpha=0.55, label=label)
            axes.axvline(float(values.mean()), color=colour, linewidth=1.6, linestyle=(0, (4, 2)))
    axes.set_ylabel(f"% of {of}", color=INK)
    axes.legend(frameon=False, fontsize=9.5, labelcolor=INK)
    _dress(axes)


def _slots(axes: Axes, usage: FloatArray, name: str) -> None:
    """Slots in the order of their difference: what answers odd snippets more stands left."""
    calm, odd = usage
    apart = np.nan_to_num(odd) - np.nan_to_num(calm)
    order = np.argsort(-apart)
    places = np.arange(len(order))
    axes.bar(places - 0.21, odd[order], 0.42, color=RED, alpha=0.8, label="abnormal snippets")
    axes.bar(places + 0.21, calm[order], 0.42, color=GREEN, alpha=0.8, label="normal snippets")
    axes.set_xlabel(f"slots of the {name}, by difference", color=INK)
    axes.set_ylabel("mean weight of a slot", color=INK)
    axes.set_ylim(0, 1.0)
    axes.legend(frameon=False, fontsize=9.5, labelcolor=INK, ncols=2)
    _dress(axes)


def _dress(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#aab2bd")
    axes.tick_params(colors=GREY, labelcolor=INK, labelsize=9.5)
    axes.grid(axis="y", color="#e6e9ed", linewidth=0.8)
    axes.set_axisbelow(True)
