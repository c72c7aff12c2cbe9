"""Draw every method's architecture as one small block diagram: docs/images/methods/NAME.svg.

    python tools/draw_methods.py

What is drawn is said in ``DIAGRAMS``: a line is a column, read from left to right; `` // `` parts
boxes that stand one below the other, ``|`` a box's name from what it does. Numbers in braces are
the method's default settings. ``~`` marks what only training has: it is dashed, and scores do not
depend on it. Behind ``loss:`` stand the terms of the loss. Features come first and scores last by
themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise, product
from pathlib import Path
from textwrap import wrap

from oddframe._utils.files import write_text
from oddframe.methods.base import AnyMethod
from oddframe.methods.registry import get_method

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images" / "methods"

DIAGRAMS = {
    "ur_dmu": """
embedding|convolution, kernel 3, D → {hidden}
GL-MHSA|global and local attention, {depth} blocks
anomaly memory|{anomaly_slots} slots of {hidden} // normal memory|{normal_slots} slots of {hidden}
encoder|mean of the latent // encoder|mean; in training with noise
classifier|{classifier_hidden}; reads X and the sum
loss: cls|top k of a video against its label; dm|each memory knows its videos; trip|odd far from \
normal; kl|normal latents are Gaussian; dis|odd latents are longer""",
    "oddframe": """
attention|UR-DMU without memories, {hidden} wide; a share of {deep_share} // layers|one snippet, \
D → {hidden} → 1; a share of {deep_share} // w x + b|beside each of them // distance|from \
training's normal snippets, a weight of {distance}
mean and sum|logits
smoothing|Gaussian of {blur} snippets
loss: cls|top k of a video against its label; kl|normal latents are Gaussian; dis|odd latents are \
longer""",
    "linear": """
w x + b|one number a snippet
loss: cls|top T / {topk_share} of a video against its label""",
    "normality": """
whitening|by normal snippets' covariance
memory|{units} normal snippets or centres
distance|mean to the {neighbours} nearest
loss: memory|kept at once, of normal videos alone""",
    "sultani": """
length 1|L2 norm of every snippet
layers|D → {hidden} → {bottleneck} → 1
loss: rank|oddest of abnormal above oddest of normal; smooth|neighbours score alike; sparse|few \
score high""",
    "rtfm": """
convolution|dilation 1, D → {hidden} // convolution|dilation 2, D → {hidden} // convolution|\
dilation 4, D → {hidden} // non-local|all snippets, D → {hidden}
convolution|kernel 3, back to D, added to the features
layers|D → 512 → 128 → 1
loss: cls|{k} longest of a video against its label; magnitude|long in abnormal, short in normal; \
smooth|neighbours score alike; sparse|few score high""",
    "hl_net": """
layers|D → {hidden} → {fused}, by snippet
holistic graph|snippets that look alike // localised graph|snippets that are near // on-line \
head|causal, kernel 5
two layers|{fused} → {graph} → {graph} // two layers|{fused} → {graph} → {graph} // score \
graph|snippets that it scores alike; two layers
classifier|{graph} of each graph → 1
loss: cls|top k of a video against its label; online|the same for the on-line head; distil|the \
on-line head learns from the graphs""",
    "pel4vad": """
global attention|all snippets // local attention|window of {window}
mix|learnt share; back to D, added, LayerNorm
layers|D → D / 2 → {out}, GELU
causal classifier|kernel {kernel}
smoothing|over {smooth_width} snippets, at test alone
loss: cls|top k of abnormal, oddest of normal, against the label""",
    "bn_wvad": """
embedding|convolution, kernel 3, D → {hidden}
GL-MHSA|global and local attention, {depth} blocks
head|{hidden} → 32 → 16 → 1 // distances|from the two norms' running statistics
product|score times the sum of distances
loss: normal|normal scores are low; first and second|farthest of abnormal lie farther than of \
normal""",
    "msl": """
projection|D → {hidden}, class token before
transformer|{depth} layers, projections are convolutions
snippet head|one score a snippet // video head|one score a video
product|a snippet counts as its video does
loss: rank|oddest K in a row, K from T to 1, of abnormal above normal; video|video head against \
the label""",
    "gcn": """
layers|D → {hidden} → {bottleneck} // ~two graphs|alike and near; two layers each, D → {hidden} → \
{bottleneck}
classifier|{bottleneck} → 1 // ~cleaned labels|for the classifier's next round
loss: cls|classifier on cleaned labels; direct|graphs on what the classifier is sure of; \
ensemble|twice the same answer""",
    "crfd": """
embedding|D → {hidden}, ReLU
global attention|all snippets // causal attention|the past, the nearer the more
sum|{hidden}, added, LayerNorm
causal classifier|kernel {kernel}
loss: cls|top k of a video against its label; compact|normal features near their centre; \
disperse|top k of abnormal far from it""",
    "mist": """
encoder|D → {hidden}, guided attention // ~generator|D → {hidden} → {bottleneck} → 1
classifier|{hidden} → 1 // ~labels|smoothed, stretched from 0 to 1
loss: rank|oddest {together} in a row of abnormal above normal; sparse|few score high; cls|encoder \
on the labels; guide|its attention, too""",
    "claws": """
layer|D → {hidden}, ReLU
suppression|times a softmax over time
layer|{hidden} → {bottleneck}, ReLU
suppression|times a softmax over time
classifier|{bottleneck} → 1
loss: cls|all snippets against the video's label; cluster|two clusters, far apart where abnormal; \
smooth|neighbours score alike; sparse|few score high""",
    "ibl": """
causal convolution|kernel {kernel}, dilation 1, D → {hidden}, added
causal convolution|kernel {kernel}, dilation 2, {hidden}, added
classifier|{hidden} → 1
loss: rank|oddest of abnormal above oddest of normal; inner|wide range in abnormal, narrow in \
normal; smooth|neighbours score alike; sparse|few score high""",
    "ma": """
layers|D → {hidden} → {bottleneck} → 1 // ~attention|D → {hidden} → 1, softmax over time
loss: rank|weighed mean of abnormal above that of normal; smooth|neighbours score alike; \
sparse|few score high""",
    "pang": """
picture|D_v → {hidden}, ReLU // sound|D_a → {hidden}, ReLU
attention|over its snippets, added // attention|over its snippets, added
product|tanh of both, rank {rank}
classifier|{rank} → 1
loss: cls|top k of a video against its label; single|each modality by a classifier of its own; \
mutual|each learns from the other's scores""",
    "acf": """
picture|D_v → {hidden}, ReLU // sound|D_a → {hidden}, ReLU
attention|one weight a modality and snippet, from both
fused stream|both weighed, {hidden} → 1 // ~single streams|of picture and of sound
loss: cls|top k of a video against its label; single|single streams', too; attention|top k of the \
weights against the label""",
    "hasan": """
encoder|three convolutions of a stack of {frames} frames, two poolings
decoder|its mirror image, back to the frames
error|squared, over the stack
loss: rebuilt|squared error on stacks of normal frames""",
    "lu": """
gradients|in x, y and time, of frames at several sizes
cubes|{cube} x {cube} pixels, to {components} numbers by PCA
combinations|at most {combinations} of {vectors} vectors each
error|of the best combination; the oddest cube counts
loss: memory|combinations are found at once, of normal cubes alone""",
    "gcl": """
discriminator|D → {hidden} → {bottleneck} // ~generator|D → {wide} → {narrow} → {wide} → D
classifier|{bottleneck} → 1 // ~labels|errors above mean + {deviations:g} deviation
loss: make|small error, but to ones where the discriminator says odd; tell|discriminator on the \
generator's labels""",
}

WIDE, TALL, ACROSS, BELOW, EDGE = 168, 74, 36, 14, 16
LETTERS, LINES = 27, 3  # That fit into a box.
TO = "\N{RIGHTWARDS ARROW}"
INK, GREY, BLUE, WARM, LINE = "#1f2630", "#5d6778", "#2563a8", "#b8720a", "#8a94a3"


@dataclass(frozen=True)
class Box:
    """A box: what it says, whether only training has it, and its left upper corner."""

    name: str
    about: str
    training: bool
    x: float = 0
    y: float = 0


@dataclass(frozen=True)
class Diagram:
    """Columns of boxes, and the terms of the loss."""

    columns: tuple[tuple[Box, ...], ...]
    terms: tuple[Box, ...]


def described(method: AnyMethod) -> Diagram:
    """What ``DIAGRAMS`` says of a method, with its default settings."""
    text = DIAGRAMS[method.name].strip().format(**method.Config().model_dump())
    *lines, loss = text.split("\n")
    middle = [tuple(_box(part) for part in line.split(" // ")) for line in lines]
    ends = (Box("features", "(B, T, D)", False),), (Box("scores", "(B, T), 0 to 1", False),)
    terms = (_box(f"~{term}") for term in loss.removeprefix("loss: ").split("; "))
    return Diagram((ends[0], *middle, ends[1]), tuple(terms))


def _box(text: str) -> Box:
    name, _, about = text.strip().partition("|")
    return Box(name.removeprefix("~"), about, name.startswith("~"))


def svg(diagram: Diagram, title: str) -> str:
    """The picture."""
    most = max(len(column) for column in diagram.columns)
    high = most * TALL + (most - 1) * BELOW
    columns = [
        [
            Box(
                box.name,
                box.about,
                box.training,
                EDGE + i * (WIDE + ACROSS),
                EDGE
                + (high - len(column) * TALL - (len(column) - 1) * BELOW) / 2
                + j * (TALL + BELOW),
            )
            for j, box in enumerate(column)
        ]
        for i, column in enumerate(diagram.columns)
    ]
    across = max(len(columns), len(diagram.terms))
    width = 2 * EDGE + across * WIDE + (across - 1) * ACROSS
    floor = EDGE + high + 24
    terms = [
        Box(term.name, term.about, True, EDGE + i * (WIDE + ACROSS), floor + 22)
        for i, term in enumerate(diagram.terms)
    ]
    parts = [arrow for pair in pairwise(columns) for arrow in _arrows(*pair)]
    parts += [_drawn(box, WARM if box.training else BLUE) for column in columns for box in column]
    parts.append(_words(EDGE, floor + 8, "Learns by", 11, GREY, anchor="start"))
    parts += [_drawn(term, WARM) for term in terms]
    height = floor + 22 + TALL + EDGE
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" font-family="Helvetica, Arial, sans-serif" '
            f'role="img"><title>{escape(title)}</title>',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker>'
            "</defs>",
            f'<rect width="{width:g}" height="{height:g}" rx="8" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _arrows(left: Sequence[Box], right: Sequence[Box]) -> Iterator[str]:
    """Row by row where as many stand on either side, else from each to each; what only training
    has leads to nothing else."""
    rows = len(left) == len(right) > 1
    for a, b in zip(left, right, strict=True) if rows else product(left, right):
        if a.training and not b.training:
            continue
        x, y, to, at = a.x + WIDE, a.y + TALL / 2, b.x - 2, b.y + TALL / 2
        half = (x + to) / 2
        dashed = ' stroke-dasharray="4 3"' if b.training else ""
        yield (
            f'<path d="M{x:g} {y:g}C{half:g} {y:g} {half:g} {at:g} {to:g} {at:g}" fill="none" '
            f'stroke="{LINE}" stroke-width="1.4"{dashed} marker-end="url(#tip)"/>'
        )


def wrapped(about: str) -> list[str]:
    """Lines of a box; what arrows join stays together where it can."""
    return wrap(about.replace(f" {TO} ", f"\N{NO-BREAK SPACE}{TO}\N{NO-BREAK SPACE}"), LETTERS)


def _drawn(box: Box, colour: str) -> str:
    dashed = ' stroke-dasharray="5 3"' if box.training else ""
    fill = "white" if box.training else "#eef4fb"
    lines = wrapped(box.about)
    top = box.y + TALL / 2 - 6.5 * len(lines) + 5
    parts = [
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{WIDE}" height="{TALL}" rx="7" fill="{fill}" '
        f'stroke="{colour}" stroke-width="1.4"{dashed}/>',
        _words(box.x + WIDE / 2, top, box.name, 13, INK, bold=True),
    ]
    for i, line in enumerate(lines):
        parts.append(_words(box.x + WIDE / 2, top + 15 + 13 * i, line, 11, GREY))
    return "".join(parts)


def _words(
    x: float,
    y: float,
    words: str,
    size: int,
    colour: str,
    *,
    bold: bool = False,
    anchor: str = "middle",
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
        f"{weight}>{escape(words)}</text>"
    )


def main() -> None:
    """Write all."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in DIAGRAMS:
        method = get_method(name)
        write_text(IMAGES / f"{name}.svg", svg(described(method), method.title))


if __name__ == "__main__":
    main()
