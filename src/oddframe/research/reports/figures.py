"""Figures of the paper, for any methods and videos.

Figures 1 and 4 show score curves, true intervals and key frames; figure 3 shows the norms of
UR-DMU's latents and which slots its memories use (section 3.4).
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from oddframe.outputs.drawing import (
    Highlight,
    KeyFrameCollector,
    RgbImage,
    select_highlights,
    step_curve,
)
from oddframe.research.reproduce.figures import ScoreCurves
from oddframe.research.reproduce.memory_analysis import MEMORIES, MemoryAnalysis
from oddframe.research.splicing import SplicedVideo
from oddframe.timeline import Event, FloatArray, ScoreTrack
from oddframe.video.decoding.isolated import open_source
from oddframe.video.discover import VIDEO_SUFFIXES

# The paper's blue and orange first; green and red are those of the key frames.
CURVE_COLOURS = (BLUE, "#e8850c", "#7d4fc4", "#12908e", "#8a6d3b", "#c2408c")
# Sizes in inches. Width of a plot: alone in its row, and one of two.
_WIDE, _NARROW = 8.98, 5.55
_LEFT, _RIGHT, _PLOT, _BELOW, _ABOVE, _LEGEND = 0.72, 0.30, 1.9, 0.66, 0.42, 0.45
# Key frames by the number of plots in a row, and their longest side in pixels.
_KEY_FRAMES = {1: 6, 2: 4}
_LONGEST_SIDE = 480
_KEY_FRAMES_HEIGHT = KEY_FRAME_HEIGHT + CAPTION_HEIGHT + LEADER_HEIGHT
_STEPS = 1500
# Bins of the histograms of snippets and of videos.
_SNIPPET_BINS, _VIDEO_BINS = 40, 12


def save_figure(figure: Figure, png: Path, svg: Path, **options: Any) -> None:
    """Write a figure as PNG and SVG; equal figures give equal files.

    Args:
        figure: The figure.
        png: PNG file.
        svg: SVG file.
        options: Further arguments of matplotlib's ``savefig``.

    Raises:
        OddframeError: a file cannot be written.
    """
    for path, kind in ((png, "png"), (svg, "svg")):
        buffer = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {}
        with matplotlib.rc_context({"svg.hashsalt": "oddframe"}):
            figure.savefig(buffer, format=kind, metadata=metadata, **options)
        write_bytes(path, buffer.getvalue())


@dataclass(frozen=True)
class _Shown:
    """A score track with rule, events and truth, as ``select_highlights`` and ``step_curve`` need
    them."""

    track: ScoreTrack
    rule: EventRule = EventRule()  # noqa: RUF009 - frozen
    events: tuple[Event, ...] = ()
    truth: tuple[tuple[float, float], ...] | None = None


def write_curves(
    shown: Sequence[ScoreCurves], png: Path, svg: Path, folder: Path | None = None
) -> list[str]:
    """Draw the curves of several methods over each video, with truth and key frames.

    True intervals are shaded. Key frames are taken at the middle of true intervals and at distant
    times of low scores, and framed in red and green.

    Args:
        shown: At least one video; the same methods over each.
        png: PNG file.
        svg: SVG file, with the key frames in it.
        folder: Folder of the videos of a data set of features.

    Returns:
        Names of the videos without any key frame.

    Raises:
        OddframeError: a file cannot be written.
    """
    per_row = 1 if len(shown) == 1 else 2
    width = _WIDE if per_row == 1 else _NARROW
    pictures = [_key_frames(each, _KEY_FRAMES[per_row], folder) for each in shown]
    row_height = _BELOW + _PLOT + _ABOVE + (_KEY_FRAMES_HEIGHT if any(pictures) else 0.0)
    rows = -(-len(shown) // per_row)
    page_size = (per_row * (_LEFT + width + _RIGHT), rows * row_height + _LEGEND)
    figure = Figure(figsize=page_size, dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    for number, (each, frames) in enumerate(zip(shown, pictures, strict=True)):
        left = (number % per_row) * (_LEFT + width + _RIGHT) + _LEFT
        bottom = (rows - 1 - number // per_row) * row_height + _LEGEND + _BELOW
        layout = PlotLayout(left, bottom, width, _PLOT, page_size)
        _draw_video(figure, layout, each, frames, ticks=10 if per_row == 1 else 6)
    _draw_legend(figure, list(shown[0].tracks), page_size)
    save_figure(figure, png, svg)
    return [each.name for each, frames in zip(shown, pictures, strict=True) if not frames]


def _key_frames(each: ScoreCurves, most: int, folder: Path | None) -> dict[Highlight, RgbImage]:
    """Key frames, chosen by the first method's curve and the truth."""
    shown = _Shown(next(iter(each.tracks.values())), truth=each.video.truth)
    return read_clip_frames(each.video, select_highlights(shown, most), folder)


def read_clip_frames(
    video: SplicedVideo, highlights: Sequence[Highlight], folder: Path | None = None
) -> dict[Highlight, RgbImage]:
    """The frame at each highlight whose clip can be read.

    Args:
        video: Clips whose names are paths.
        highlights: In seconds of the spliced video.
        folder: Folder of the videos of a data set of features, named as the features are.
    """
    wanted: dict[int, list[tuple[float, Highlight]]] = defaultdict(list)
    starts = video.starts_s
    for highlight in highlights:
        number = int(np.searchsorted(starts, highlight.time_s, side="right")) - 1
        number = min(max(number, 0), len(video.clips) - 1)
        clip = video.clips[number]
        time_s = highlight.time_s - starts[number] + clip.first_frame / clip.timebase.fps
        wanted[number].append((time_s + float(clip.timebase.frame_times[0]), highlight))
    frames: dict[Highlight, RgbImage] = {}
    for number, each in wanted.items():
        clip = video.clips[number]
        path = _find_file(Path(clip.name), folder)
        if path is not None:
            images = _read_frames(path, [time_s for time_s, _ in each], clip.timebase.fps)
            frames |= {highlight: images[t] for t, highlight in each if t in images}
    return frames


def _find_file(path: Path, folder: Path | None) -> Path | None:
    if exists(path) and not is_feature_file(path):
        return path
    if folder is None:
        return None
    found = (folder / f"{path.stem}{suffix}" for suffix in ("", *sorted(VIDEO_SUFFIXES)))
    return next((each for each in found if exists(each)), None)


def _read_frames(path: Path, times_s: Sequence[float], fps: float) -> dict[float, RgbImage]:
    collector = KeyFrameCollector(times_s, _LONGEST_SIDE)
    try:
        for frame in open_source(path, fps=fps if is_dir(path) else None).frames():
            if collector.done:
                break
            collector.add(frame)
    except InputError:  # The figure is drawn without these frames.
        collector.close(complete=False)
        return collector.images
    collector.close()
    return collector.images


def _draw_video(
    figure: Figure,
    layout: PlotLayout,
    each: ScoreCurves,
    frames: dict[Highlight, RgbImage],
    ticks: int,
) -> None:
    tracks = list(each.tracks.values())
    axes = layout.axes(figure)
    curve = step_curve(_Shown(tracks[0]), _STEPS)
    style_axes(axes, float(curve.edges[0]), float(curve.edges[-1]), ticks=ticks)
    for start, end in each.video.truth:
        axes.axvspan(start, end, facecolor=PINK, edgecolor="none", zorder=0)
    for number, track in reversed(list(enumerate(tracks))):
        _draw_curve(axes, track, CURVE_COLOURS[number % len(CURVE_COLOURS)])
    top = layout.bottom + layout.height
    if frames:
        in_order = sorted(frames.items(), key=lambda item: item[0].time_s)
        draw_key_frames(figure, layout, curve, in_order)
        top += _KEY_FRAMES_HEIGHT
    kind, colour = ("abnormal", RED) if each.video.abnormal else ("normal", GREEN)
    width, height = layout.page_size
    y = (top + _ABOVE / 2) / height
    left, right = layout.left / width, (layout.left + layout.width) / width
    name = fit_label(each.name, 48)
    figure.text(
        left, y, name, fontsize=11.5, fontweight="bold", color=INK, va="center", parse_math=False
    )
    figure.text(right, y, kind, fontsize=10, color=colour, va="center", ha="right")


def _draw_curve(axes: Axes, track: ScoreTrack, colour: str) -> None:
    curve = step_curve(_Shown(track), _STEPS)
    times, low, high = curve.outline()
    if curve.is_exact:
        axes.plot(times, high, color=colour, linewidth=1.5, solid_joinstyle="round", zorder=3)
    else:
        axes.fill_between(times, low, high, color=colour, linewidth=0.7, zorder=3)


def _draw_legend(figure: Figure, titles: Sequence[str], page_size: tuple[float, float]) -> None:
    lines: list[Line2D | Patch] = [
        Line2D([], [], color=CURVE_COLOURS[i % len(CURVE_COLOURS)], linewidth=2)
        for i in range(len(titles))
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


def write_memory_figure(analysis: MemoryAnalysis, title: str, png: Path, svg: Path) -> None:
    """Draw histograms of the latents' norms, and the mean weight of every slot of both memories.

    Args:
        analysis: Analysis of a network.
        title: Title of the figure: which network, which data.
        png: PNG file.
        svg: SVG file.

    Raises:
        OddframeError: a file cannot be written.
    """
    figure = Figure(figsize=(11.5, 7.4), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12.5, fontweight="bold", color=INK)
    (snippets, videos), slots = figure.subplots(2, 2)
    _draw_norms(snippets, analysis.norms, analysis.abnormal, "snippets", _SNIPPET_BINS)
    snippets.set_xlabel("norm of the fused latent", color=INK)
    _draw_norms(videos, analysis.video_norms, analysis.video_abnormal, "videos", _VIDEO_BINS)
    videos.set_xlabel(
        "norm of the latent: anomaly memory's in abnormal videos,\n"
        f"normal memory's in normal ones (margin of L_dis: {analysis.margin:g})",
        color=INK,
    )
    for axes, memory in zip(slots, MEMORIES, strict=True):
        _draw_slots(axes, analysis.usage[memory], memory)
    save_figure(figure, png, svg)


def _draw_norms(
    axes: Axes, norms: FloatArray, abnormal: NDArray[np.bool_], of: str, bins: int
) -> None:
    edges = np.linspace(float(norms.min()), float(norms.max()) or 1.0, bins + 1)
    for kind, colour, name in ((~abnormal, GREEN, "normal"), (abnormal, RED, "abnormal")):
        values = norms[kind]
        if len(values):
            weights = np.full(len(values), 100 / len(values))
            label = f"{len(values)} {name} {of}"
            axes.hist(values, list(edges), weights=weights, color=colour, alpha=0.55, label=label)
            axes.axvline(float(values.mean()), color=colour, linewidth=1.6, linestyle=(0, (4, 2)))
    axes.set_ylabel(f"% of {of}", color=INK)
    axes.legend(frameon=False, fontsize=9.5, labelcolor=INK)
    _style_bars(axes)


def _draw_slots(axes: Axes, usage: FloatArray, memory: str) -> None:
    """Slots by how much more weight they have in abnormal snippets than in normal ones."""
    normal, abnormal = usage
    order = np.argsort(-(np.nan_to_num(abnormal) - np.nan_to_num(normal)))
    x = np.arange(len(order))
    axes.bar(x - 0.21, abnormal[order], 0.42, color=RED, alpha=0.8, label="abnormal snippets")
    axes.bar(x + 0.21, normal[order], 0.42, color=GREEN, alpha=0.8, label="normal snippets")
    axes.set_xlabel(f"slots of the {memory}, by difference", color=INK)
    axes.set_ylabel("mean weight of a slot", color=INK)
    axes.set_ylim(0, 1.0)
    axes.legend(frameon=False, fontsize=9.5, labelcolor=INK, ncols=2)
    _style_bars(axes)


def _style_bars(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#aab2bd")
    axes.tick_params(colors=GREY, labelcolor=INK, labelsize=9.5)
    axes.grid(axis="y", color="#e6e9ed", linewidth=0.8)
    axes.set_axisbelow(True)
