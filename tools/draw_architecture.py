"""Draw UR-DMU as it is built here: docs/images/architecture.svg and .png.

    python tools/draw_architecture.py

Sizes come from the default settings, names are those of the modules; what only training has is
dashed. It shows what figures 2 and 3 of the paper show.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from oddframe.methods.mil.urdmu_network import UrDmuConfig
from oddframe.outputs.curve import BLUE, GREEN, GREY, INK, RED
from oddframe.research.reproduce.figures import save_figure

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
WIDE, HIGH = 15.2, 9.0
TO, QK = "\N{RIGHTWARDS ARROW}", "q k\N{MODIFIER LETTER CAPITAL T}"
PLAIN, WARM = "#5d6778", "#b8720a"


@dataclass(frozen=True)
class Box:
    """A box: centre and size in inches."""

    x: float
    y: float
    wide: float = 1.75
    tall: float = 0.78

    @property
    def left(self) -> tuple[float, float]:
        return self.x - self.wide / 2, self.y

    @property
    def right(self) -> tuple[float, float]:
        return self.x + self.wide / 2, self.y

    @property
    def top(self) -> tuple[float, float]:
        return self.x, self.y + self.tall / 2

    @property
    def bottom(self) -> tuple[float, float]:
        return self.x, self.y - self.tall / 2


class Drawing:
    """Boxes, arrows and words on one page."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(WIDE, HIGH), dpi=110, facecolor="white")
        FigureCanvasAgg(self.figure)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, WIDE)
        self.axes.set_ylim(0, HIGH)
        self.axes.axis("off")

    def box(
        self, box: Box, name: str, about: str, colour: str = PLAIN, dashed: bool = False
    ) -> Box:
        corner = (box.x - box.wide / 2, box.y - box.tall / 2)
        self.axes.add_patch(
            FancyBboxPatch(
                corner,
                box.wide,
                box.tall,
                boxstyle="round,pad=0,rounding_size=0.09",
                facecolor="white" if dashed else f"{colour}14",
                edgecolor=colour,
                linewidth=1.5,
                linestyle=(0, (4, 3)) if dashed else "solid",
            )
        )
        lines = about.count("\n") + 1 if about else 0
        self.text(box.x, box.y + 0.105 * lines, name, 10, bold=True)
        if about:
            self.text(box.x, box.y - 0.13, about, 8, GREY)
        return box

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float,
        colour: str = INK,
        bold: bool = False,
        align: str = "center",
    ) -> None:
        weight = "bold" if bold else "normal"
        self.axes.text(
            x, y, words, fontsize=size, color=colour, ha=align, va="center", fontweight=weight
        )

    def arrow(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        words: str = "",
        colour: str = PLAIN,
        bend: float = 0.0,
        dashed: bool = False,
        above: float = 0.13,
    ) -> None:
        self.axes.add_patch(
            FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                mutation_scale=11,
                color=colour,
                linewidth=1.3,
                linestyle=(0, (4, 3)) if dashed else "solid",
                connectionstyle=f"arc3,rad={bend}",
                shrinkA=1,
                shrinkB=1,
            )
        )
        if words:
            middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + above
            self.text(*middle, words, 8, colour)

    def heading(self, y: float, words: str, file: str) -> None:
        self.text(0.35, y, words, 13, bold=True, align="left")
        self.text(WIDE - 0.35, y, file, 9, GREY, align="right")


def whole(d: Drawing, c: UrDmuConfig) -> None:
    """Figure 2: from features to scores, and what each term of the loss reads."""
    h, t = c.hidden, "T"
    d.heading(8.65, "UR-DMU: features of snippets in, a score a snippet out", "network.py, loss.py")
    y = 6.05
    features = d.box(Box(1.15, y), "features", f"(B, {t}, D)\nI3D, D = 1024")
    embedding = d.box(Box(3.35, y), "embedding", f"Conv1d, kernel 3, ReLU\nD {TO} {h}")
    attention = d.box(Box(5.6, y, 1.9), "selfatt", f"GL-MHSA, {c.depth} blocks\neq. 1, 2", BLUE)
    d.arrow(features.right, embedding.left)
    d.arrow(embedding.right, attention.left)

    a_memory = d.box(
        Box(8.2, 7.35),
        "Amemory",
        f"{c.anomaly_slots} slots \N{MULTIPLICATION SIGN} {h}\nS_A, read-out",
        RED,
    )
    n_memory = d.box(
        Box(8.2, 4.75),
        "Nmemory",
        f"{c.normal_slots} slots \N{MULTIPLICATION SIGN} {h}\nS_N, read-out",
        GREEN,
    )
    d.arrow(attention.right, a_memory.left, bend=-0.15)
    d.arrow(attention.right, n_memory.left, bend=0.15)
    d.text(7.0, y + 0.02, f"X\n(B, {t}, {h})", 8.5, GREY)
    a_mu = d.box(Box(10.5, 7.35), "encoder_mu", "mean of the latent", RED)
    n_mu = d.box(Box(10.5, 5.3), "encoder_mu", "mean; the same layer", GREEN)
    n_var = d.box(Box(10.5, 4.2), "encoder_var", "log-variance;\nnormal videos only", GREEN, True)
    d.arrow(a_memory.right, a_mu.left)
    d.arrow(n_memory.right, n_mu.left, bend=-0.12)
    d.arrow(n_memory.right, n_var.left, bend=0.12, dashed=True)
    z = d.box(
        Box(12.45, 4.75, 1.3),
        "z",
        "\N{GREEK SMALL LETTER MU} + \N{GREEK SMALL LETTER EPSILON} exp(logvar / 2)",
        GREEN,
        True,
    )
    d.arrow(n_mu.right, z.top, bend=-0.3, dashed=True)
    d.arrow(n_var.right, z.bottom, bend=0.3, dashed=True)
    fused = d.box(Box(12.45, 6.35, 1.3), "+", "fused")
    d.arrow(a_mu.right, fused.top, bend=-0.3)
    d.arrow(n_mu.right, (fused.x - 0.35, fused.y - 0.39), bend=-0.05)
    d.arrow(z.top, fused.bottom, dashed=True)
    head = d.box(
        Box(14.2, 6.35, 1.5),
        "cls_head",
        f"[X | fused] {2 * h} {TO} {c.classifier_hidden}\n{TO} 1, sigmoid",
    )
    d.arrow(fused.right, head.left)
    top = 8.12
    d.axes.plot([5.6, 5.6, head.x], [y + 0.39, top, top], color=PLAIN, linewidth=1.3)
    d.arrow((head.x, top), head.top)
    d.text(9.6, top + 0.13, "X", 9, GREY)
    d.arrow(head.bottom, (head.x, 5.45))
    d.text(head.x, 5.3, f"scores (B, {t})", 9)

    terms = (
        ("L_cls", "top-k scores against the video's label", "1", PLAIN, 1.75),
        ("L_dm", "S_A, S_N: who knows which video", f"{c.loss_weights.dm:g}", WARM, 4.65),
        ("L_trip", "X at the top-k of S_N, S_A", f"{c.loss_weights.trip:g}", WARM, 7.55),
        ("L_kl", "z of normal videos is standard normal", f"{c.loss_weights.kl:g}", WARM, 10.45),
        ("L_dis", "latents: odd longer than normal", f"{c.loss_weights.dis:g}", WARM, 13.35),
    )
    for name, about, weight, colour, x in terms:
        d.box(Box(x, 3.25, 2.7, 0.62), f"{weight} {name}", about, colour, True)


def block(d: Drawing, c: UrDmuConfig) -> None:
    """Figure 3's block: global and local attention side by side."""
    inner = c.heads * c.head_dim
    d.axes.plot([0.35, WIDE - 0.35], [2.68, 2.68], color="#dfe3e8", linewidth=1)
    d.heading(2.42, "One block of GL-MHSA", "attention.py, local.py")
    y = 1.15
    norm = d.box(Box(0.95, y, 1.2), "LayerNorm", "", BLUE)
    qkv = d.box(
        Box(2.75, y, 1.6),
        "to_qkv",
        f"{c.hidden} {TO} 4 \N{MULTIPLICATION SIGN} {inner},\nno bias",
        BLUE,
    )
    far = d.box(
        Box(5.9, 1.72, 3.2, 0.74),
        "global",
        f"softmax({QK} / \N{SQUARE ROOT}{c.head_dim}) v, {c.heads} heads, eq. 2",
        BLUE,
    )
    near = d.box(
        Box(5.9, 0.6, 3.2, 0.74), "local", "exp(-|i - j| / e) v_local, normalised, eq. 1", BLUE
    )
    out = d.box(Box(9.05, y, 1.75), "to_out", f"{2 * inner} {TO} {c.hidden},\ndropout", BLUE)
    add = d.box(Box(10.75, y, 0.7), "+", "", BLUE)
    feed = d.box(
        Box(12.6, y, 1.9),
        "feed-forward",
        f"LayerNorm, {c.hidden}, GELU,\n{c.hidden}, dropout",
        BLUE,
    )
    last = d.box(Box(14.35, y, 0.7), "+", "", BLUE)
    d.arrow(norm.right, qkv.left)
    d.arrow(qkv.right, far.left, "q, k, v", bend=-0.1, above=0.2)
    d.arrow(qkv.right, near.left, "v_local", bend=0.1, above=-0.22)
    d.arrow(far.right, out.left, bend=-0.1)
    d.arrow(near.right, out.left, bend=0.1)
    d.arrow(out.right, add.left)
    d.arrow(add.right, feed.left)
    d.arrow(feed.right, last.left)
    for start, end in ((0.12, add.x), (11.35, last.x)):
        d.axes.plot([start, start, end], [y, 2.17, 2.17], color=PLAIN, linewidth=1.3)
        d.arrow((end, 2.17), (end, y + 0.39))
    d.arrow((0.05, y), norm.left)
    d.arrow(last.right, (WIDE - 0.12, y))
    d.text(
        WIDE / 2,
        0.1,
        "Dashed: only in training. At test and for abnormal videos, both means are summed.",
        8.5,
        GREY,
    )


def main() -> None:
    """Write both files."""
    drawing, config = Drawing(), UrDmuConfig()
    whole(drawing, config)
    block(drawing, config)
    save_figure(drawing.figure, IMAGES / "architecture.png")


if __name__ == "__main__":
    main()
