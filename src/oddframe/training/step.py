"""One training run and its single step: a batch of bags in, a step of the weights.

Bags drawn ahead: while a graphics card computes a step, a thread reads the next batch.

At the published size reading is a thousandth of a step on a processor and 40 % of one on a large
card (benchmarks/RESULTS.md), which would wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from oddframe._utils.determinism import deterministic_attention
from oddframe.errors import OddframeError, UsageError
from oddframe.methods.base import Loss, Recipe
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.training.checkpoint import Checkpoint
from oddframe.training.config import TrainConfig
from oddframe.training.data.samplers import (
    BagSampler,
    Batch,
    TrainingVideo,
    UnlabelledBagSampler,
    make_bag_sampler,
)
from oddframe.training.distributed import SINGLE_PROCESS, Backward, ProcessGroup, SharedMicrobatches


class Prefetcher:
    """Draws the batches of ``bags`` one ahead; nothing else may draw from ``bags``.

    ``state()`` excludes the prefetched batch.
    """

    def __init__(self, bags: BagSampler) -> None:
        self._bags = bags
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bags")
        self._waiting: Future[Batch] | None = None
        self._state: dict[str, Any] | None = None

    def draw(self) -> Batch:
        """See ``Bags.draw``.

        Raises:
            InputError: what ``bags`` raises, when its batch is asked for.
        """
        batch = self._bags.draw() if self._waiting is None else self._waiting.result()
        self._state = self._bags.state()
        self._waiting = self._thread.submit(self._bags.draw)
        return batch

    def state(self) -> dict[str, Any]:
        """See ``Bags.state``."""
        return self._bags.state() if self._state is None else self._state

    def restore(self, state: dict[str, Any]) -> None:
        """See ``Bags.restore``."""
        if self._waiting is not None:
            self._waiting.exception()  # Wait until it ends, and drop its batch.
        self._waiting = self._state = None
        self._bags.restore(state)


OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
}


# Snippets that are computed together: activations of more fall out of a processor's caches, and at
# the published size they are 3 GB.
_MICROBATCH_SNIPPETS = 4_096


class TrainingRun:
    """The moving parts of one training run: batch in, one step of the weights.

    Of several processes each computes some parts of a batch, and all take the same step.

    Raises:
        UsageError: no such optimiser.
        InputError: a class has no videos.
    """

    def __init__(
        self,
        videos: Sequence[TrainingVideo],
        config: TrainConfig,
        device: torch.device,
        pretrained: ModelNetwork | None,
        processes: ProcessGroup = SINGLE_PROCESS,
    ):
        self.videos, self.config, self.device = videos, config, device
        self.method, self.method_config = config.chosen_method()
        self.recipe: Recipe = config.full_recipe()
        seed = config.recipe.seed
        bags: BagSampler = (
            UnlabelledBagSampler(videos, config.bags, self.recipe, np.random.default_rng(seed))
            if self.method.unsupervised
            else make_bag_sampler(videos, config.bags, self.recipe, seed)
        )
        self.bags: BagSampler = Prefetcher(bags) if device.type == "cuda" else bags
        # One graphics card computes a batch at once; several share its parts.
        parted = device.type != "cuda" or processes.size > 1
        self.microbatches = (
            microbatches(config, videos[0].tiles) if parted else [whole_batch(self.recipe)]
        )
        dim = videos[0].views[0].shape[1]
        standardise = (
            Standardise.fit(view for video in videos for view in video.views)
            if config.standardise
            else Standardise.identity(dim)
        )
        network = ModelNetwork(standardise, self.method.network(dim, self.method_config))
        if pretrained is not None:
            network.load_state_dict(pretrained.state_dict())
            network.temperature.fill_(1.0)  # It belongs to the logits that there were.
        self.network = network.to(device).train()
        self.parameters = list(self.network.parameters())
        several = processes.size > 1
        self.shared = (
            SharedMicrobatches(processes, len(self.microbatches), self.parameters)
            if several
            else None
        )
        groups = self.method.parameter_groups(self.network.network, self.method_config)
        self.optimiser = make_optimiser(self.recipe, groups)
        self.average = deepcopy(self.network) if self.recipe.average else None

    def step(self, step: int) -> Loss:
        """Take step number ``step``.

        Raises:
            OddframeError: the scores or a term of the loss are not finite.
        """
        done = (step - 1) / self.recipe.steps
        self.method.begin_step(self.network.network, done, self.method_config)
        self.optimiser.zero_grad(set_to_none=True)

        def draw() -> Backward:
            x = self.network.standardise(torch.from_numpy(self.bags.draw().bags).to(self.device))
            x = self._augment(x)
            return lambda part: self._backward(x[self.microbatches[part]], step)

        # The gradient of a mean is that of its parts, added up.
        if self.shared is not None:
            losses = self.shared.gradients(draw)
        else:
            losses = list(map(draw(), range(len(self.microbatches))))
        loss = _mean_loss(losses)
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        self.optimiser.step()
        if self.average is not None:
            update_average(self.average, self.network, self.recipe.average, step)
        return loss

    def _backward(self, x: Tensor, step: int) -> Loss:
        """Add the gradients of a part, whose bags (B, T, D) are normal ones first."""
        labels = self._labels(len(x))
        with deterministic_attention(self.device):
            output = self.network.network(x, labels)
        check_finite(
            {"scores": output.scores.mean()}, step, self.recipe
        )  # Losses may choke on NaN.
        loss = self.method.loss(output, labels, self.method_config)
        (loss.total / len(self.microbatches)).backward()  # type: ignore[no-untyped-call]
        loss = to_cpu(loss)  # Only now: a graphics card has all of its work by then.
        check_finite({**loss.terms, "total": loss.total}, step, self.recipe)
        return loss

    def _labels(self, bags: int) -> Tensor:
        """(B,) of a part with ``bags`` bags."""
        normal = self.recipe.normal_bags * bags // len(whole_batch(self.recipe))
        counts = torch.tensor([normal, bags - normal])
        return torch.tensor([0.0, 1.0]).repeat_interleave(counts).to(self.device)

    def _augment(self, x: Tensor) -> Tensor:
        """Training features (B, T, D), with the recipe's noise and without some dimensions."""
        noise, dropout = self.config.recipe.feature_noise, self.config.recipe.feature_dropout
        if not noise and not dropout:
            return x
        mean, deviation = x.new_zeros(()), x.new_ones(())
        if not self.config.standardise:  # In a dimension's own deviations, either way.
            mean = x.mean(dim=(0, 1), keepdim=True)
            deviation = ((x - mean) ** 2).mean(dim=(0, 1), keepdim=True).sqrt()
        if noise:
            x = x + noise * deviation * torch.randn_like(x)
        if dropout:
            x = torch.where(torch.rand_like(x[:, :1]) < dropout, mean, x)
        return x

    def eval_network(self) -> ModelNetwork:
        """The network as it would be kept, in evaluation mode, when there is no step to come."""
        return (self.network if self.average is None else self.average).eval()

    def resume_training(self) -> None:
        """Back from looking at the network to training it."""
        self.eval_network().temperature.fill_(1.0)  # Found anew when it is looked at again.
        self.network.train()

    def snapshot(self, step: int, identity: str) -> Checkpoint:
        """All that goes on from here depends on, after ``step`` steps of the run ``identity``."""
        chance = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            chance["cuda"] = torch.cuda.get_rng_state(self.device)
        state: dict[int, dict[str, Any]] = self.optimiser.state_dict()["state"]
        return Checkpoint(
            identity=identity,
            step=step,
            weights=self.network.state_dict(),
            average={} if self.average is None else self.average.state_dict(),
            optimiser={i: {k: torch.as_tensor(v) for k, v in s.items()} for i, s in state.items()},
            random_state=chance,
            bags=self.bags.state(),
        )

    def restore(self, saved: Checkpoint) -> None:
        """Back to ``snapshot()``."""
        self.network.load_state_dict(saved.weights)
        if self.average is not None:
            self.average.load_state_dict(saved.average)
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": saved.optimiser, "param_groups": groups})
        torch.set_rng_state(saved.random_state["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(saved.random_state["cuda"], self.device)
        self.bags.restore(saved.bags)


def whole_batch(recipe: Recipe) -> Tensor:
    """The rows of a batch, one a bag."""
    return torch.arange(recipe.normal_bags + recipe.abnormal_bags)


def microbatches(config: TrainConfig, tiles: int) -> list[Tensor]:
    """Which rows of a batch are computed together: as many as fit the processor's cache.

    Each part has as many normal bags as abnormal ones, of the same places; one part where the
    recipe has more of one kind than of the other, or the method's loss is not a mean over parts.

    Args:
        config: Method and recipe.
        tiles: Of a picture.
    """
    recipe = config.full_recipe()
    normal = recipe.normal_bags
    if normal != recipe.abnormal_bags or not config.chosen_method()[0].supports_microbatches:
        return [whole_batch(recipe)]
    most = max(1, _MICROBATCH_SNIPPETS // (2 * recipe.segments * tiles))
    pairs = max(n for n in range(1, normal + 1) if normal % n == 0 and n <= most)
    starts = torch.split(torch.arange(normal), pairs)
    return [torch.cat([rows, rows + normal]) for rows in starts]


def _mean_loss(losses: Sequence[Loss]) -> Loss:
    """Of the losses of equal parts of a batch."""
    total = torch.stack([loss.total.detach() for loss in losses]).mean()
    names = losses[0].terms
    terms = {name: torch.stack([loss.terms[name] for loss in losses]).mean() for name in names}
    return Loss(total, terms)


def to_cpu(loss: Loss) -> Loss:
    """A loss in plain memory, without its graph: from a graphics card in one piece."""
    terms = [term.detach().reshape(()).to(loss.total.device) for term in loss.terms.values()]
    total, *rest = torch.stack([loss.total.detach().reshape(()), *terms]).cpu()
    return Loss(total, dict(zip(loss.terms, rest, strict=True)))


def make_optimiser(recipe: Recipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The recipe's optimiser of these groups of parameters.

    Raises:
        UsageError: there is no such optimiser.
    """
    if recipe.optimiser not in OPTIMISERS:
        raise UsageError(f"no optimiser '{recipe.optimiser}'; there are {', '.join(OPTIMISERS)}")
    make: Any = OPTIMISERS[recipe.optimiser]
    optimiser: torch.optim.Optimizer = make(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return optimiser


def check_finite(terms: Mapping[str, Tensor], step: int, recipe: Recipe) -> None:
    """Stop where a term is not finite.

    Raises:
        OddframeError: it is not; the line says at which step, and what to lower.
    """
    for name, term in terms.items():
        value = float(term.detach())
        if not np.isfinite(value):
            what = "mean of the scores" if name == "scores" else f"loss term '{name}'"
            raise OddframeError(
                f"training stopped at step {step}: the {what} is {value}; "
                f"lower recipe.lr (it is {recipe.lr:g}) or set recipe.clip_norm"
            )


def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Let the moving average of the weights follow ``network`` after ``step`` steps.

    Statistics of batch normalisation belong to the weights that they were seen with, and are
    averaged as these are; other buffers are the latest ones.
    """
    # Follows closely at first, so that the random initial weights are soon forgotten.
    decay = min(decay, step / (step + 9))
    with torch.no_grad():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
        latest = dict(network.named_buffers())
        for name, kept in average.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                kept.lerp_(latest[name], 1 - decay)
            else:
                kept.copy_(latest[name])
