"""Lu et al.: what none of a few combinations of gradients can rebuild is odd.

Lu, Shi, Jia, "Abnormal Event Detection at 150 FPS in MATLAB" (ICCV 2013). Five frames at three
sizes are cut into cubes of 10x10 pixels and 5 frames; a cube's gradients in x, y and time,
brought to 100 numbers by PCA, are its feature x. Combinations S_1 ... S_K of 20 vectors each are
learnt so that every normal x is rebuilt by one of them to within a bound:

    learning   minimise over S, beta and gamma in {0, 1}, for one S_i after the other and what is
               not rebuilt yet:  sum over j of  gamma_j (|x_j - S_i beta_j|^2 - bound)
    at test    a cube's error is the least over i of |x - S_i (S_i' S_i)^-1 S_i' x|^2

Given gamma, the best S_i are the first singular vectors of the chosen x; given S_i, gamma is 1
where the error is below the bound. The two take turns, and each lowers the sum.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from oddframe.errors import UsageError
from oddframe.methods.base import MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe
from oddframe.methods.one_class.base import OneClassNetwork

# Snippets whose cubes are in memory together.
_SNIPPETS_PER_CHUNK = 16
# Cubes that combinations are learnt from; more are thinned out evenly.
_MAX_CUBES = 40_000
# Turns of choosing and rebuilding for one combination.
_MAX_ITERATIONS = 20


# Pixels of a picture that cubes are cut from.
_Side = Annotated[int, Field(ge=1, le=2048)]
_Sizes = Annotated[tuple[tuple[_Side, _Side], ...], Field(max_length=16)]


class LuConfig(BaseModel):
    """Settings of Lu et al.

    Attributes:
        frames: Of a snippet: the length of a cube.
        height: Of the frames that are read, pixels.
        cube: Height and width of a cube, pixels.
        sizes: (height, width) that frames are looked at in.
        components: Numbers that a cube's gradients are brought to.
        vectors: Of a combination.
        combinations: Most combinations.
        bound: Error within which a combination rebuilds a cube, as a share of the mean squared
            length of normal cubes; doubled until the combinations rebuild all normal cubes.
        still: Cubes that change less from frame to frame than this, on average and of the whole
            range of grey, are not looked at: they are never odd. Half a level of 256 is noise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(default=5, ge=2, le=MAX_WIDTH)
    height: int = Field(default=120, ge=2, le=MAX_WIDTH)
    cube: int = Field(default=10, ge=2, le=MAX_WIDTH)
    sizes: _Sizes = ((20, 20), (30, 40), (120, 160))
    components: int = Field(default=100, ge=1, le=MAX_WIDTH)
    vectors: int = Field(default=20, ge=1, le=MAX_WIDTH)
    combinations: int = Field(default=64, ge=1, le=MAX_WIDTH)
    bound: float = Field(default=0.04, gt=0)
    still: float = Field(default=0.002, ge=0)


class LuNetwork(OneClassNetwork):
    """The largest error of a snippet's cubes."""

    mean: Tensor  # (G,) of the cubes' gradients
    axes: Tensor  # (G, P) principal ones, over the root of the mean squared length
    basis: Tensor  # (K, P, S) orthonormal vectors of each combination; zeros: not used

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
        """(..., D) -> (...) the largest error of a snippet's cubes that move; none does: 0."""
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
        """(N, D) -> (N, cubes of all sizes, G) gradients in time, downwards and to the right."""
        frames, side, found = flat.view(-1, *self.shape), self.config.cube, []
        for height, width in self.config.sizes:
            if (height, width) == self.shape[1:]:
                seen = frames
            else:
                seen = F.interpolate(frames, (height, width), mode="area")
            slopes = torch.stack(torch.gradient(seen, dim=(1, 2, 3)), dim=1)
            cut = slopes.unfold(3, side, side).unfold(4, side, side)  # (N, 3, T, h, w, side, side)
            found.append(cut.permute(0, 3, 4, 1, 2, 5, 6).flatten(3).flatten(1, 2))
        return torch.cat(found, dim=1)

    def moving(self, cubes: Tensor) -> Tensor:
        """(N, cubes, G) -> (N, cubes) which of them move."""
        in_time = cubes[..., : cubes.shape[-1] // 3]
        return in_time.abs().mean(-1) >= self.config.still

    def reduced(self, cubes: Tensor) -> Tensor:
        """(M, G) gradients -> (M, P) principal components, of mean squared length 1 if normal."""
        return (cubes - self.mean) @ self.axes

    def errors(self, x: Tensor) -> Tensor:
        """(M, P) -> (M,) what the best combination leaves of the squared length."""
        whole, best = x.square().sum(1), x.new_zeros(len(x))
        for basis in self.basis:
            best = torch.maximum(best, (x @ basis).square().sum(1))
        return (whole - best).clamp(min=0)

    def fit_snippets(self, snippets: Tensor) -> None:
        """Learn the components and the combinations of the moving cubes of ``snippets`` (N, D)."""
        cubes = self._moving_cubes(snippets)
        self.basis.zero_()
        if not len(cubes):  # Nothing ever moves: whatever does is odd.
            return
        self.mean.copy_(cubes.mean(0))
        centred = (cubes - self.mean).double()
        _, vectors = torch.linalg.eigh(centred.T @ centred)
        axes = vectors.flip(1)[:, : self.axes.shape[1]]
        length = (centred @ axes).square().sum(1).mean().sqrt()
        self.axes.copy_(axes / (length if length > 0 else 1.0))
        found = learn_combinations(self.reduced(cubes), self.config)
        self.basis[: len(found)] = found

    def _moving_cubes(self, snippets: Tensor) -> Tensor:
        """(M, G), evenly thinned out where they are too many."""
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
    """(K, P, S) combinations that rebuild all cubes ``x`` (M, P), without chance.

    Where as many as there may be do not rebuild all to within the bound, it is doubled. A basis has
    columns of zeros where fewer vectors rebuild all that it is for.
    """
    bound = config.bound
    while True:
        found, left = _learn_within_bound(x, bound, config)
        if not left:
            return torch.stack(found)
        bound *= 2


def _learn_within_bound(x: Tensor, bound: float, config: LuConfig) -> tuple[list[Tensor], int]:
    """Bases (P, S), one after the other from what those before leave, and how many are left."""
    wide, left, found = min(config.vectors, x.shape[1]), x, list[Tensor]()
    while len(left) and len(found) < config.combinations:
        chosen = torch.ones(len(left), dtype=torch.bool, device=x.device)
        for _ in range(_MAX_ITERATIONS):
            basis = _first_singular_vectors(left[chosen], wide)
            errors = left.square().sum(1) - (left @ basis).square().sum(1)
            near = errors < bound
            if not near.any():  # As many as one combination can rebuild in any case.
                near[errors.argsort(stable=True)[:wide]] = True
            if torch.equal(near, chosen):
                break
            chosen = near
        found.append(basis)
        left = left[~chosen]
    return found, len(left)


def _first_singular_vectors(x: Tensor, wide: int) -> Tensor:
    """(P, S) the first singular vectors of ``x`` (M, P): no others rebuild it better."""
    values, vectors = torch.linalg.eigh((x.T @ x).double())
    kept = values.flip(0)[:wide] > 1e-9 * values[-1].clamp(min=1e-12)
    basis: Tensor = vectors.flip(1)[:, :wide] * kept
    return basis.to(x.dtype)


class Lu(Method[LuConfig, Output]):
    """Sparse combinations of gradients of normal video."""

    name = "lu"
    title = "Lu et al."
    year = 2013
    info = MethodInfo(
        paper="Lu, Shi, Jia: Abnormal Event Detection at 150 FPS in MATLAB, ICCV 2013",
        inputs="5 grey frames",
        supervision="normal videos",
        checked="from the paper",
        evidence="errors against least squares, the sum against its definition; a square that "
        "turns and speeds up is found",
        deviations=(
            "one set of combinations for all places and sizes",
            "for given cubes a combination is found exactly, by singular vectors, not by gradient "
            "steps",
            "at most 64 combinations, the bound doubled until they are enough; it is a share of "
            "normal cubes' squared length; cubes are left out where nothing moves",
            "a snippet's score is that of its oddest cube, on a scale that normal video sets",
        ),
    )
    Config = LuConfig
    recipe = Recipe(steps=1)
    one_class = True
    backbones = ("grey_5x120x160",)

    def network(self, dim: int, config: LuConfig) -> LuNetwork:
        """A network that remembers nothing yet.

        Raises:
            UsageError: ``dim`` is not that of a snippet of such frames.
        """
        return LuNetwork(dim, config)

    def loss(self, output: Output, labels: Tensor, config: LuConfig) -> Loss:  # noqa: ARG002
        """None.

        Raises:
            UsageError: always; combinations are found at once, not learned by steps.
        """
        raise UsageError("lu is not trained by steps: fit_normal finds it at once")
