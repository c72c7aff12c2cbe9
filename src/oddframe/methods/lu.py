"""Lu et al.: the reconstruction error of gradients by a few sparse combinations.

Frames at three sizes are cut into cubes, whose gradients, reduced by PCA, are features x.
Combinations S_1 ... S_K of a few vectors are learnt so that one of them reconstructs every normal x
with an error below a bound; a cube's error is the least over i of |x - S_i (S_i' S_i)^-1 S_i' x|^2.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from oddframe.errors import UsageError
from oddframe.methods.base import MethodInfo, OneClass, Output, Recipe
from oddframe.methods.config import MAX_WIDTH, AboveZero, MethodConfig, Width, renamed_field
from oddframe.methods.layers import OneClassNetwork

# Snippets whose cubes are in memory at the same time.
_SNIPPETS_PER_CHUNK = 16
# Cubes that combinations are learnt from; of more, evenly spaced ones are taken.
_MAX_CUBES = 40_000
# Alternations for one combination.
_MAX_ITERATIONS = 20


# Height or width, in pixels, of a frame that cubes are cut from.
_Side = Annotated[int, Field(ge=1, le=2048)]
_Sizes = Annotated[tuple[tuple[_Side, _Side], ...], Field(max_length=16)]


class LuConfig(MethodConfig):
    # Frames of a snippet, and the length of a cube.
    frames: int = Field(default=5, ge=2, le=MAX_WIDTH)
    height: int = Field(default=120, ge=2, le=MAX_WIDTH)  # of the input frames, in pixels
    cube: int = Field(default=10, ge=2, le=MAX_WIDTH)  # height and width of a cube, in pixels
    # (height, width) of the resized frames that cubes are cut from.
    sizes: _Sizes = ((20, 20), (30, 40), (120, 160))
    components: Width = 100  # principal components of a cube's gradients
    vectors: Width = 20  # of a combination
    combinations: Width = 64  # largest number of combinations
    # Largest error of a reconstructed cube, as a share of the mean squared norm of normal cubes. It
    # is doubled until the combinations reconstruct all normal cubes.
    bound: AboveZero = 0.04
    # Smallest mean change between frames, as a share of the range of grey. Cubes that change less
    # are skipped: they are noise (half a level of 256 by default).
    min_motion: float = renamed_field(0.002, name="min_motion", old="still", ge=0)


class LuNetwork(OneClassNetwork):
    """The largest reconstruction error of a snippet's cubes."""

    mean: Tensor  # (G,) of the cubes' gradients
    axes: Tensor  # (G, P) principal axes, divided by the root of the mean squared norm
    basis: Tensor  # (K, P, S) orthonormal vectors of each combination; unused ones are 0

    def __init__(self, dim: int, config: LuConfig) -> None:
        super().__init__()
        width = dim // (config.frames * config.height)
        if config.frames * config.height * width != dim or width < 2:
            raise UsageError(
                f"lu reads {config.frames} grey frames of {config.height} rows, not features of "
                f"{dim} numbers: set features.backbone to {Lu.backbones[0]}"
            )
        self.config, self.shape = config, (config.frames, config.height, width)
        gradients = 3 * config.frames * config.cube**2
        parts = min(config.components, gradients)
        self.register_buffer("mean", torch.zeros(gradients))
        self.register_buffer("axes", torch.eye(gradients, parts))
        vectors = min(config.vectors, parts)
        self.register_buffer("basis", torch.zeros(config.combinations, parts, vectors))

    def distance(self, features: Tensor) -> Tensor:
        """(..., D) -> (...) largest error of a snippet's moving cubes; 0 if there are none."""
        flat = features.flatten(0, -2)
        found = [self._largest(part) for part in torch.split(flat, _SNIPPETS_PER_CHUNK)]
        return torch.cat(found).view(features.shape[:-1])

    def _largest(self, flat: Tensor) -> Tensor:
        cubes = self.cubes(flat)
        moving = self.moving(cubes)
        errors = cubes.new_zeros(cubes.shape[:2])
        errors[moving] = self.errors(self.reduced(cubes[moving]))
        return errors.amax(1)

    def cubes(self, flat: Tensor) -> Tensor:
        """(N, D) -> (N, cubes of all sizes, G) gradients in time, then in y, then in x."""
        frames, side, found = flat.view(-1, *self.shape), self.config.cube, []
        for height, width in self.config.sizes:
            if (height, width) == self.shape[1:]:
                resized = frames
            else:
                resized = F.interpolate(frames, (height, width), mode="area")
            gradients = torch.stack(torch.gradient(resized, dim=(1, 2, 3)), dim=1)
            # (N, 3, T, h, w, side, side)
            cut = gradients.unfold(3, side, side).unfold(4, side, side)
            found.append(cut.permute(0, 3, 4, 1, 2, 5, 6).flatten(3).flatten(1, 2))
        return torch.cat(found, dim=1)

    def moving(self, cubes: Tensor) -> Tensor:
        """(N, cubes, G) -> (N, cubes) mask of moving cubes."""
        in_time = cubes[..., : cubes.shape[-1] // 3]
        return in_time.abs().mean(-1) >= self.config.min_motion

    def reduced(self, cubes: Tensor) -> Tensor:
        """(M, G) gradients -> (M, P) components; the mean squared norm of normal ones is 1."""
        return (cubes - self.mean) @ self.axes

    def errors(self, x: Tensor) -> Tensor:
        """(M, P) -> (M,) squared error of the best combination."""
        total, explained = x.square().sum(1), x.new_zeros(len(x))
        for basis in self.basis:
            explained = torch.maximum(explained, (x @ basis).square().sum(1))
        return (total - explained).clamp(min=0)

    def fit_snippets(self, snippets: Tensor) -> None:
        cubes = self._moving_cubes(snippets)
        self.basis.zero_()
        if not len(cubes):  # Nothing moves: any motion will be abnormal.
            return
        self.mean.copy_(cubes.mean(0))
        centred = (cubes - self.mean).double()
        _, vectors = torch.linalg.eigh(centred.T @ centred)
        axes = vectors.flip(1)[:, : self.axes.shape[1]]
        norm = (centred @ axes).square().sum(1).mean().sqrt()
        self.axes.copy_(axes / (norm if norm > 0 else 1.0))
        found = learn_combinations(self.reduced(cubes), self.config)
        self.basis[: len(found)] = found

    def _moving_cubes(self, snippets: Tensor) -> Tensor:
        """(M, G) moving cubes; evenly spaced ones if there are too many."""
        parts = torch.split(snippets, _SNIPPETS_PER_CHUNK)
        most = max(1, _MAX_CUBES // len(parts))
        kept = []
        for part in parts:
            cubes = self.cubes(part)
            cubes = cubes[self.moving(cubes)]
            step = max(1, -(-len(cubes) // most))
            kept.append(cubes[::step].clone())
        return torch.cat(kept)


def learn_combinations(x: Tensor, config: LuConfig) -> Tensor:
    """(K, P, S) combinations that reconstruct all cubes ``x`` (M, P). A basis has columns of zeros
    if fewer vectors reconstruct its cubes."""
    bound = config.bound
    while True:
        found, remaining = _learn_within_bound(x, bound, config)
        if not remaining:
            return torch.stack(found)
        bound *= 2


def _learn_within_bound(x: Tensor, bound: float, config: LuConfig) -> tuple[list[Tensor], int]:
    """Bases (P, S), and the number of cubes that none of them reconstructs.

    Given the cubes, the best basis is their first singular vectors; given the basis, the cubes
    within the bound are selected. Each step lowers the sum of (error - bound) over selected cubes.
    """
    size, remaining, found = min(config.vectors, x.shape[1]), x, list[Tensor]()
    while len(remaining) and len(found) < config.combinations:
        selected = torch.ones(len(remaining), dtype=torch.bool, device=x.device)
        for _ in range(_MAX_ITERATIONS):
            basis = _first_singular_vectors(remaining[selected], size)
            errors = remaining.square().sum(1) - (remaining @ basis).square().sum(1)
            within = errors < bound
            if not within.any():  # One combination can always reconstruct this many.
                within[errors.argsort(stable=True)[:size]] = True
            if torch.equal(within, selected):
                break
            selected = within
        found.append(basis)
        remaining = remaining[~selected]
    return found, len(remaining)


def _first_singular_vectors(x: Tensor, size: int) -> Tensor:
    """(P, ``size``) first singular vectors of ``x`` (M, P), which reconstruct it best."""
    values, vectors = torch.linalg.eigh((x.T @ x).double())
    kept = values.flip(0)[:size] > 1e-9 * values[-1].clamp(min=1e-12)
    basis: Tensor = vectors.flip(1)[:, :size] * kept
    return basis.to(x.dtype)


class Lu(OneClass[LuConfig, Output]):
    name = "lu"
    title = "Lu et al."
    year = 2013
    info = MethodInfo(
        paper="Lu, Shi, Jia: Abnormal Event Detection at 150 FPS in MATLAB, ICCV 2013",
        inputs="5 grey frames",
        checked="from the paper",
        evidence="errors against least squares, the sum against its definition; it detects a "
        "square that turns and speeds up",
        deviations=(
            "one set of combinations for all positions and sizes",
            "for given cubes a combination is computed exactly, by singular vectors, not by "
            "gradient steps",
            "at most 64 combinations, the bound is doubled until they are enough; it is a share of "
            "the squared norm of normal cubes; cubes without motion are left out",
            "a snippet's score is that of its most abnormal cube, scaled by normal video",
        ),
    )
    Config = LuConfig
    Network = LuNetwork
    recipe = Recipe(steps=1)
    backbones = ("grey_5x120x160",)
