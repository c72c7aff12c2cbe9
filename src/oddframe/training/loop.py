"""The loop: bags in, weights out. Plain PyTorch, one step after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.methods.base import Loss, Recipe
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.training.bags import TrainingVideo, make_bags
from oddframe.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from oddframe.training.config import TrainConfig
from oddframe.training.fitted import COLLAPSED, Fitted, spread
from oddframe.training.log import StepLog
from oddframe.training.normal import fit_normal
from oddframe.training.reproducible import reproducible

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
}
# Logits over the temperature lie, all but one in twenty, within this: scores of 0.02 to 0.98.
_LOGIT_RANGE = 4.0

OnStep = Callable[[int, int, float], None]


def fit(
    videos: Sequence[TrainingVideo],
    config: TrainConfig,
    *,
    start: ModelNetwork | None = None,
    device: str | torch.device = "cpu",
    log: Path | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    on_step: OnStep | None = None,
) -> Fitted:
    """Train the configured method on features.

    The same seed gives the same weights on the same machine and device, and so does a run that was
    killed and resumed. Chance elsewhere in the program is left as it was. A method that is not
    trained by steps goes to ``fit_normal``.

    Args:
        videos: Training features; both classes.
        config: Method, recipe, bags, standardisation.
        start: Weights and standardisation to go on from, of the same method, config and length of
            features; none: fresh ones.
        device: Where to train.
        log: JSON lines, one a step: ``step``, ``loss`` and every term of the loss by its name.
        checkpoint: Kept up to date every ``checkpoint_every`` steps, and taken up if it is there
            and of the same configuration and data; removed at the end.
        checkpoint_every: Steps between two.
        on_step: Called with (steps done, steps in all, loss).

    Raises:
        InputError: a class is missing, or features differ in length.
        OddframeError: a term of the loss is not finite; the line names step and term.
    """
    if config.chosen_method()[0].from_normal_alone:
        return fit_normal(videos, config, device=device)
    dims = {view.shape[1] for video in videos for view in video.views}
    if len(dims) > 1:
        raise InputError(f"features of different lengths cannot be trained on: {sorted(dims)}")
    with reproducible(torch.device(device), config.recipe.seed):
        run = _Run(videos, config, torch.device(device), start)
        resumed_at, warnings = run.take_up(checkpoint) if checkpoint is not None else (0, [])
        with StepLog(log, resumed_at) as write:
            for step in range(resumed_at + 1, run.recipe.steps + 1):
                loss = run.step(step)
                write(step, loss)
                if on_step is not None:
                    on_step(step, run.recipe.steps, float(loss.total.detach()))
                if checkpoint is not None and step % checkpoint_every == 0:
                    save_checkpoint(run.snapshot(step), checkpoint)
        network = run.finish()
        if config.temper:
            network.temperature.fill_(_temperature(network, videos))
        found = spread(network, videos)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    if found < COLLAPSED:
        warnings.append(
            f"the network gives every training snippet the same score (spread {found:.1e}): it "
            "learned nothing; try another learning rate, more steps, or check the labels"
        )
    return Fitted(network, found, resumed_at, tuple(warnings))


class _Run:
    """The moving parts of one training run."""

    def __init__(
        self,
        videos: Sequence[TrainingVideo],
        config: TrainConfig,
        device: torch.device,
        start: ModelNetwork | None,
    ):
        self.config, self.device = config, device
        self.method, self.method_config = config.chosen_method()
        self.recipe: Recipe = config.full_recipe()
        self.bags = make_bags(videos, config.bags, self.recipe, config.recipe.seed)
        dim = videos[0].views[0].shape[1]
        standardise = (
            Standardise.fitted([view for video in videos for view in video.views])
            if config.standardise
            else Standardise.identity(dim)
        )
        network = ModelNetwork(standardise, self.method.network(dim, self.method_config))
        if start is not None:
            network.load_state_dict(start.state_dict())
            network.temperature.fill_(1.0)  # It belongs to the logits that there were.
        self.network = network.to(device).train()
        self.parameters = list(self.network.parameters())
        groups = self.method.parameter_groups(self.network.network, self.method_config)
        self.optimiser = _optimiser(self.recipe, groups)
        self.average = deepcopy(self.network) if self.recipe.average else None
        self.identity = _identity(videos, config, start)

    def step(self, step: int) -> Loss:
        batch = self.bags.draw()
        labels = torch.from_numpy(batch.labels).to(self.device)
        x = self.network.standardise(torch.from_numpy(batch.bags).to(self.device))
        output = self.network.network(self._disturbed(x), labels)
        _check({"scores": output.scores.mean()}, step, self.recipe)  # Losses may choke on NaN.
        loss = self.method.loss(output, labels, self.method_config)
        _check({**loss.terms, "total": loss.total}, step, self.recipe)
        self.optimiser.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        self.optimiser.step()
        if self.average is not None:
            _follow(self.average, self.network, self.recipe.average, step)
        return loss

    def _disturbed(self, x: Tensor) -> Tensor:
        """Training features (B, T, D), with the recipe's noise and without some dimensions."""
        recipe = self.config.recipe
        if recipe.feature_noise:
            # In a dimension's own deviations, whether or not the features are standardised.
            scale = 1.0 if self.config.standardise else x.std(dim=(0, 1), keepdim=True)
            x = x + recipe.feature_noise * scale * torch.randn_like(x)
        if recipe.feature_dropout:
            mean = 0.0 if self.config.standardise else x.mean(dim=(0, 1), keepdim=True)
            dropped = torch.rand(len(x), 1, x.shape[2], device=x.device) < recipe.feature_dropout
            x = torch.where(dropped, mean, x)
        return x

    def finish(self) -> ModelNetwork:
        return (self.network if self.average is None else self.average).eval()

    def snapshot(self, step: int) -> Checkpoint:
        chance = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            chance["cuda"] = torch.cuda.get_rng_state(self.device)
        state: dict[int, dict[str, Any]] = self.optimiser.state_dict()["state"]
        return Checkpoint(
            identity=self.identity,
            step=step,
            weights=self.network.state_dict(),
            average={} if self.average is None else self.average.state_dict(),
            optimiser={i: {k: torch.as_tensor(v) for k, v in s.items()} for i, s in state.items()},
            chance=chance,
            bags=self.bags.state(),
        )

    def take_up(self, path: Path) -> tuple[int, list[str]]:
        """Go on from ``path`` if it is of this run: (steps done, warnings)."""
        if not path.exists():
            return 0, []
        try:
            saved = load_checkpoint(path)
        except InputError as error:
            return 0, [f"{error}: training starts anew"]
        if saved.identity != self.identity:
            line = (
                f"{path}: a checkpoint of another configuration or other data: training starts anew"
            )
            return 0, [line]
        self.network.load_state_dict(saved.weights)
        if self.average is not None:
            self.average.load_state_dict(saved.average)
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": saved.optimiser, "param_groups": groups})
        torch.set_rng_state(saved.chance["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(saved.chance["cuda"], self.device)
        self.bags.restore(saved.bags)
        return saved.step, []


def _optimiser(recipe: Recipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if recipe.optimiser not in OPTIMISERS:
        raise UsageError(f"no optimiser '{recipe.optimiser}'; there are {', '.join(OPTIMISERS)}")
    make: Any = OPTIMISERS[recipe.optimiser]
    optimiser: torch.optim.Optimizer = make(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return optimiser


def _check(terms: Mapping[str, Tensor], step: int, recipe: Recipe) -> None:
    for name, term in terms.items():
        value = float(term.detach())
        if not np.isfinite(value):
            what = "mean of the scores" if name == "scores" else f"loss term '{name}'"
            raise OddframeError(
                f"training stopped at step {step}: the {what} is {value}; "
                f"lower recipe.lr (it is {recipe.lr:g}) or set recipe.clip_norm"
            )


def _follow(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    # Follows closely at first, so that the random initial weights are soon forgotten.
    decay = min(decay, step / (step + 9))
    with torch.no_grad():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
        for kept, new in zip(average.buffers(), network.buffers(), strict=True):
            kept.copy_(new)


def _temperature(network: ModelNetwork, videos: Sequence[TrainingVideo]) -> float:
    """What brings the logits of training snippets into the sigmoid's range; at least 1."""
    device = network.standardise.mean.device
    with torch.inference_mode():
        logits = [
            network.network(
                network.standardise(torch.from_numpy(video.views[0]).float()[None].to(device))
            ).logits.flatten()
            for video in videos
        ]
    far = np.quantile(torch.cat(logits).abs().cpu().numpy(), 0.95)
    return max(1.0, float(far) / _LOGIT_RANGE)


def _identity(
    videos: Sequence[TrainingVideo], config: TrainConfig, start: ModelNetwork | None
) -> str:
    digest = hashlib.sha256(config.model_dump_json().encode())
    for tensor in () if start is None else start.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    for video in videos:
        for view in video.views:
            digest.update(f"{view.shape}{video.abnormal}".encode() + view[0].tobytes())
    return digest.hexdigest()
