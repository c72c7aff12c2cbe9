"""Section 3.4 of the paper, looked at: lengths of latents, and which slots the memories use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from oddframe.experiments.inside import Inside
from oddframe.metrics import roc_auc
from oddframe.outputs.figure_curves import save
from oddframe.outputs.panel import GREEN, GREY, INK, RED
from oddframe.timeline import FloatArray

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
