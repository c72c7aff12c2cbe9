"""The paper's figures: score curves with key frames (1 and 4), latents and memories (3).

Networks are those of the first part of the protocol after the last step, and videos are of its test
part. Where the record of a table's training has no network, the record stays as it is, and another
network is trained into a folder of its own.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from oddframe._utils.files import exists, is_dir, write_bytes
from oddframe.errors import InputError, UsageError
from oddframe.events import EventRule
from oddframe.features.formats.feature_file import is_feature_file
from oddframe.methods.registry import get_method
from oddframe.methods.scorer import ModelNetwork, Standardise
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
from oddframe.research.clips import SplicedVideo
from oddframe.research.fold_training import make_test_videos, network_scorer, score_video
from oddframe.research.grid import OnTraining, Session, plan_grid, run_grid
from oddframe.research.grid_task import (
    GridSetting,
    GridTask,
    find_training,
    record_path,
    remove_records,
    weights_path,
)
from oddframe.research.reproduce.memory_analysis import MEMORIES, MemoryAnalysis
from oddframe.research.reproduce.tables import config_for_method
from oddframe.timeline import Event, FloatArray, ScoreTrack
from oddframe.training.config import TrainConfig
from oddframe.video.decoding.isolated import open_source
from oddframe.video.discover import VIDEO_SUFFIXES

PAPER_FIGURES = ("figure1", "figure3", "figure4")
# Folder of the networks of trainings whose record in the tables' folder has none.
_NETWORKS_FOLDER = "networks"
# Abnormal and normal videos that a figure shows by default.
_SHOWN = {"figure1": (1, 0), "figure4": (3, 1)}
# The paper's blue and orange first; green and red are those of the key frames.
_CURVE_COLOURS = (BLUE, "#e8850c", "#7d4fc4", "#12908e", "#8a6d3b", "#c2408c")
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


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with the title of its method, and the file of its training's record."""

    title: str
    config: TrainConfig
    network: ModelNetwork
    record: Path


@dataclass(frozen=True)
class ScoreCurves:
    """The scores of several methods over one test video, by the title of the method."""

    name: str
    video: SplicedVideo
    tracks: Mapping[str, ScoreTrack]


def figure_tasks(session: Session, methods: Sequence[str]) -> list[GridTask]:
    """The trainings of these methods on the first part; UsageError for a one-class method."""
    part, tasks = session.parts[0], []
    for name in methods:
        method = get_method(name)
        if method.one_class:
            raise UsageError(
                f"{name} learns from normal videos only: its scores are not comparable"
            )
        config = config_for_method(session.config, name)
        tasks.append(GridTask(method.title, config, *part.part_id))
    return tasks


def train_networks(
    session: Session,
    tasks: Sequence[GridTask],
    jobs: int = 1,
    on_training: OnTraining | None = None,
    *,
    fresh: bool = False,
) -> list[TrainedNetwork]:
    """The networks of these trainings on the first part; those that do not exist yet are trained.

    With ``fresh`` all are trained again; the tables' records stay as they are.
    """
    folder = session.setting.folder.with_name(_NETWORKS_FOLDER)
    separate = replace(session, setting=replace(session.setting, folder=folder))

    def choose(task: GridTask) -> Session:
        found = find_training(task, session.setting)
        network = weights_path(record_path(task, session.setting))
        return session if found is None or (network.exists() and not fresh) else separate

    sessions = [choose(task) for task in tasks]
    for each in (session, separate):
        own = [task for task, of in zip(tasks, sessions, strict=True) if of is each]
        if fresh and each is separate:
            remove_records(own, separate.setting)
        plan = plan_grid(jobs, len(each.missing(own)), each.clips, each.config)
        if failed := run_grid(each, own, plan, on_training):
            raise failed[0][1]
    dim = session.clips[0].array.shape[2]
    return [_load(task, of.setting, dim) for task, of in zip(tasks, sessions, strict=True)]


def _load(task: GridTask, setting: GridSetting, dim: int) -> TrainedNetwork:
    record = record_path(task, setting)
    method, settings = task.config.chosen_method()
    network = ModelNetwork(Standardise.identity(dim), method.network(dim, settings))
    path = weights_path(record)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not this training's network ({reason}); use --fresh") from None
    return TrainedNetwork(task.name, task.config, network.eval(), record)


def named_test_videos(session: Session) -> dict[str, SplicedVideo]:
    """The test videos of the first part by name, in order."""
    videos = make_test_videos(session.parts[0], session.setting.protocol)
    # Paths of published features are all in the folder of the lists, so it is left out.
    listed = session.source.dataset.layout is not None
    named: dict[str, SplicedVideo] = {}
    for number, video in enumerate(videos, start=1):
        path = Path(video.clips[0].name)
        name = path.stem if listed or not path.parent.name else f"{path.parent.name}/{path.stem}"
        named[name if len(video.clips) == 1 else f"joined {number}"] = video
    return named


def select_videos(
    videos: Mapping[str, SplicedVideo], wanted: Sequence[str], figure: str
) -> list[str]:
    """Names of the videos that a figure shows.

    Videos that are ``wanted`` by their whole name or its last part; by default, abnormal and normal
    videos at equal distances in the order of the test set, whatever their scores.
    """
    if wanted:
        return [_find_video(videos, each) for each in wanted]
    abnormal = [name for name, video in videos.items() if video.abnormal]
    normal = [name for name, video in videos.items() if not video.abnormal]
    n_abnormal, n_normal = _SHOWN[figure]
    return [*_evenly_spaced(abnormal, n_abnormal), *_evenly_spaced(normal, n_normal)]


def _find_video(videos: Mapping[str, SplicedVideo], wanted: str) -> str:
    found = [name for name in videos if wanted in (name, name.rpartition("/")[2])]
    if len(found) != 1:
        known = ", ".join(found or list(videos)[:12])
        what = "several test videos" if found else "no test video of the first part"
        raise UsageError(f"--video {wanted}: {what} of that name; there are {known}")
    return found[0]


def _evenly_spaced(names: Sequence[str], most: int) -> list[str]:
    indices = (np.arange(most) + 0.5) * len(names) / most
    return [names[i] for i in np.unique(indices.astype(int)).tolist() if names]


def compute_curves(
    session: Session, networks: Sequence[TrainedNetwork], names: Sequence[str]
) -> tuple[ScoreCurves, ...]:
    videos, protocol = named_test_videos(session), session.setting.protocol
    tiled, curves = session.clips[0].tiled, []
    scorers = {each.title: network_scorer(each.network, tiled=tiled) for each in networks}
    for name in names:
        video = videos[name]
        tracks = {title: score_video(video, each, protocol) for title, each in scorers.items()}
        curves.append(ScoreCurves(name, video, tracks))
    return tuple(curves)


def save_figure(figure: Figure, png: Path, **options: Any) -> None:
    """Write PNG, and SVG beside it; equal figures give equal files."""
    for kind in ("png", "svg"):
        buffer = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {}
        with matplotlib.rc_context({"svg.hashsalt": "oddframe"}):
            figure.savefig(buffer, format=kind, metadata=metadata, **options)
        write_bytes(png.with_suffix(f".{kind}"), buffer.getvalue())


@dataclass(frozen=True)
class _Shown:
    """What ``select_highlights`` and ``step_curve`` need."""

    track: ScoreTrack
    rule: EventRule = EventRule()  # noqa: RUF009 - frozen
    events: tuple[Event, ...] = ()
    truth: tuple[tuple[float, float], ...] | None = None


def write_curves(shown: Sequence[ScoreCurves], png: Path, folder: Path | None = None) -> list[str]:
    """Draw the curves of the same methods over each video; names of videos without any key frame.

    True intervals are shaded. Key frames are taken at the middle of true intervals and at distant
    times of low scores, and framed in red and green. ``folder`` holds the videos of a data set of
    features.
    """
    per_row = 1 if len(shown) == 1 else 2
    width = _WIDE if per_row == 1 else _NARROW
    pictures = []
    for each in shown:  # Key frames are chosen by the first method's curve and the truth.
        first = _Shown(next(iter(each.tracks.values())), truth=each.video.truth)
        highlights = select_highlights(first, _KEY_FRAMES[per_row])
        pictures.append(read_clip_frames(each.video, highlights, folder))
    row_height = _BELOW + _PLOT + _ABOVE + (_KEY_FRAMES_HEIGHT if any(pictures) else 0.0)
    rows = -(-len(shown) // per_row)
    page_size = (per_row * (_LEFT + width + _RIGHT), rows * row_height + _LEGEND)
    figure = Figure(figsize=page_size, dpi=160, facecolor="white")
    for number, (each, frames) in enumerate(zip(shown, pictures, strict=True)):
        left = (number % per_row) * (_LEFT + width + _RIGHT) + _LEFT
        bottom = (rows - 1 - number // per_row) * row_height + _LEGEND + _BELOW
        layout = PlotLayout(left, bottom, width, _PLOT, page_size)
        _draw_video(figure, layout, each, frames, ticks=10 if per_row == 1 else 6)
    _draw_legend(figure, list(shown[0].tracks), page_size)
    save_figure(figure, png)
    return [each.name for each, frames in zip(shown, pictures, strict=True) if not frames]


def read_clip_frames(
    video: SplicedVideo, highlights: Sequence[Highlight], folder: Path | None = None
) -> dict[Highlight, RgbImage]:
    """The frame at each highlight whose clip can be read; clip names are paths.

    ``folder`` holds the videos of a data set of features, named as the features are.
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
    collector, complete = KeyFrameCollector(times_s, _LONGEST_SIDE), True
    try:
        for frame in open_source(path, fps=fps if is_dir(path) else None).frames():
            if collector.done:
                break
            collector.add(frame)
    except InputError:  # The figure is drawn without these frames.
        complete = False
    collector.close(complete=complete)
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
        _draw_curve(axes, track, _curve_colour(number))
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


def _curve_colour(number: int) -> str:
    return _CURVE_COLOURS[number % len(_CURVE_COLOURS)]


def _draw_curve(axes: Axes, track: ScoreTrack, colour: str) -> None:
    curve = step_curve(_Shown(track), _STEPS)
    times, low, high = curve.outline()
    if curve.is_exact:
        axes.plot(times, high, color=colour, linewidth=1.5, solid_joinstyle="round", zorder=3)
    else:
        axes.fill_between(times, low, high, color=colour, linewidth=0.7, zorder=3)


def _draw_legend(figure: Figure, titles: Sequence[str], page_size: tuple[float, float]) -> None:
    lines = (Line2D([], [], color=_curve_colour(i), linewidth=2) for i in range(len(titles)))
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


def write_memory_figure(analysis: MemoryAnalysis, title: str, png: Path) -> None:
    """Draw histograms of the latents' norms, and the mean weight of every slot of both memories."""
    figure = Figure(figsize=(11.5, 7.4), dpi=150, facecolor="white", layout="constrained")
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
    save_figure(figure, png)


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
