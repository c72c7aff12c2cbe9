"""One training: its network, optimiser and samplers, and the step that takes one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from oddframe._utils.determinism import deterministic_attention
from oddframe.errors import OddframeError
from oddframe.methods.base import Loss, Recipe
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.training.click_term import BatchLabels, add_click_term
from oddframe.training.config import TrainConfig
from oddframe.training.data.samplers import BagSampler, Batch, TrainingVideo, make_bag_sampler
from oddframe.training.distributed import SINGLE_PROCESS, Backward, ProcessGroup, SharedMicrobatches
from oddframe.training.run_files import Checkpoint

# Scores that differ by less than this over the whole training set do not distinguish any videos.
COLLAPSED = 1e-3
# Snippets of a microbatch. Activations of more do not fit a processor's caches; at the published
# size those of a whole batch are 3 GB.
_MICROBATCH_SNIPPETS = 4_096
OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
}


@dataclass(frozen=True)
class FitResult:
    """A trained network, in evaluation mode, on the device that it was trained on."""

    network: ModelNetwork
    spread: float  # What ``score_spread`` found on the training videos.
    resumed_at: int = 0  # Number of steps that a checkpoint had already taken.
    warnings: tuple[str, ...] = ()


class Prefetcher:
    """Draws the batches of ``sampler`` one ahead in a thread; nothing else may draw from it.

    ``state()`` excludes the prefetched batch. On a graphics card at the published size, reading
    takes 40 % of a step otherwise (benchmarks/RESULTS.md).
    """

    def __init__(self, sampler: BagSampler) -> None:
        self._sampler = sampler
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bags")
        self._next: Future[Batch] | None = None
        self._state: dict[str, Any] | None = None

    def draw(self) -> Batch:
        """See ``BagSampler.draw``; an error of the sampler is raised when its batch is drawn."""
        batch = self._sampler.draw() if self._next is None else self._next.result()
        self._state = self._sampler.state()
        self._next = self._thread.submit(self._sampler.draw)
        return batch

    def state(self) -> dict[str, Any]:
        """See ``BagSampler.state``."""
        return self._sampler.state() if self._state is None else self._state

    def restore(self, state: dict[str, Any]) -> None:
        """See ``BagSampler.restore``."""
        if self._next is not None:
            self._next.exception()  # Waits for the thread; its batch is dropped.
        self._next = self._state = None
        self._sampler.restore(state)


class TrainingRun:
    """The network, optimiser, sampler and moving average of one training.

    A large batch is taken in microbatches, which fit a processor's cache. Among several processes
    each computes some of them, and all take the same step.
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
        self.recipe, self.click_weight = config.full_recipe(), config.click_weight()
        labelled = not self.method.unsupervised
        sampler = make_bag_sampler(
            videos, config.bags, self.recipe, config.recipe.seed, labelled=labelled
        )
        self.sampler: BagSampler | Prefetcher = sampler
        self.microbatches = microbatches(config, videos[0].tiles)
        if device.type == "cuda":
            self.sampler = Prefetcher(sampler)
            if processes.size == 1:  # One card computes a batch at once; several share it.
                self.microbatches = [whole_batch(self.recipe)]
        dim = videos[0].views[0].shape[1]
        standardise = Standardise.identity(dim)
        if config.standardise:
            standardise = Standardise.fit(view for video in videos for view in video.views)
        network = ModelNetwork(standardise, self.method.network(dim, self.method_config))
        if pretrained is not None:
            old = pretrained.state_dict()
            # Both belong to the old logits.
            network.load_state_dict({k: v for k, v in old.items() if k != "correction"})
            network.temperature.fill_(1.0)
        self.network = network.to(device).train()
        self.parameters = list(self.network.parameters())
        self.shared = (
            SharedMicrobatches(processes, len(self.microbatches), self.parameters)
            if processes.size > 1
            else None
        )
        groups = self.method.parameter_groups(self.network.network, self.method_config)
        self.optimiser = make_optimiser(self.recipe, groups)
        self.average = deepcopy(self.network) if self.recipe.average else None

    def step(self, step: int) -> Loss:
        """Draw a batch and take step number ``step``, from 1.

        OddframeError if the scores or a term of the loss are not finite.
        """
        done = (step - 1) / self.recipe.steps
        self.method.begin_step(self.network.network, done, self.method_config)
        self.optimiser.zero_grad(set_to_none=True)

        def draw() -> Backward:
            batch = self.sampler.draw()
            bags = torch.from_numpy(batch.features).to(self.device)
            x = self._augment(self.network.standardise(bags))
            times = None
            if batch.labels is not None and self.click_weight:
                times = BatchLabels.of(batch.labels, self._labels(len(x)))
            return lambda part: self._backward(x, times, self.microbatches[part], step)

        # The gradient of the mean is the sum of the microbatches' gradients.
        if self.shared is not None:
            losses = self.shared.gradients(draw)
        else:
            losses = list(map(draw(), range(len(self.microbatches))))
        loss = Loss.mean(losses)
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        self.optimiser.step()
        if self.average is not None:
            update_average(self.average, self.network, self.recipe.average, step)
        return loss

    def _backward(self, batch: Tensor, times: BatchLabels | None, rows: Tensor, step: int) -> Loss:
        """Add the gradients of a microbatch: the bags ``rows``, normal ones first, of a batch."""
        x = batch[rows]
        labels = self._labels(len(x))
        with deterministic_attention(self.device):
            output = self.network.network(x, labels)
        # Before the loss, because some losses fail on NaN.
        check_finite({"scores": output.scores.mean()}, step, self.recipe)
        loss = self.method.loss(output, labels, self.method_config)
        if times is not None:
            section, weight = self.config.clicks, self.click_weight
            loss = add_click_term(loss, output.scores, times.select(rows), section, weight, step)
        (loss.total / len(self.microbatches)).backward()  # type: ignore[no-untyped-call]
        loss = to_cpu(loss)  # After backward, so that it does not wait for the graphics card.
        check_finite({**loss.terms, "total": loss.total}, step, self.recipe)
        return loss

    def _labels(self, bags: int) -> Tensor:
        """(B,) labels of a microbatch with so many bags."""
        normal = self.recipe.normal_bags * bags // len(whole_batch(self.recipe))
        counts = torch.tensor([normal, bags - normal])
        return torch.tensor([0.0, 1.0]).repeat_interleave(counts).to(self.device)

    def _augment(self, x: Tensor) -> Tensor:
        """Add the recipe's noise to features (B, T, D), and set some dimensions to their mean."""
        noise, dropout = self.config.recipe.feature_noise, self.config.recipe.feature_dropout
        if not noise and not dropout:
            return x
        mean, deviation = x.new_zeros(()), x.new_ones(())
        if not self.config.standardise:  # The recipe gives noise in deviations of the dimension.
            mean = x.mean(dim=(0, 1), keepdim=True)
            deviation = ((x - mean) ** 2).mean(dim=(0, 1), keepdim=True).sqrt()
        if noise:
            x = x + noise * deviation * torch.randn_like(x)
        if dropout:
            x = torch.where(torch.rand_like(x[:, :1]) < dropout, mean, x)
        return x

    def eval_network(self) -> ModelNetwork:
        """The network as it would be saved; call ``resume_training`` before the next step."""
        return (self.network if self.average is None else self.average).eval()

    def resume_training(self) -> None:
        """Put the network back into training mode after ``eval_network``."""
        self.eval_network().temperature.fill_(1.0)  # ``eval_network``'s caller sets it.
        self.network.train()

    def snapshot(self, step: int, identity: str) -> Checkpoint:
        """The state after ``step`` steps of the training ``identity``, for ``restore``."""
        random_state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random_state["cuda"] = torch.cuda.get_rng_state(self.device)
        state: dict[int, dict[str, Any]] = self.optimiser.state_dict()["state"]
        return Checkpoint(
            identity=identity,
            step=step,
            weights=self.network.state_dict(),
            average={} if self.average is None else self.average.state_dict(),
            optimiser={i: {k: torch.as_tensor(v) for k, v in s.items()} for i, s in state.items()},
            random_state=random_state,
            bags=self.sampler.state(),
        )

    def restore(self, saved: Checkpoint) -> None:
        """Set what ``snapshot`` returned."""
        self.network.load_state_dict(saved.weights)
        if self.average is not None:
            self.average.load_state_dict(saved.average)
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": saved.optimiser, "param_groups": groups})
        torch.set_rng_state(saved.random_state["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(saved.random_state["cuda"], self.device)
        self.sampler.restore(saved.bags)


def whole_batch(recipe: Recipe) -> Tensor:
    """The indices of all bags of a batch."""
    return torch.arange(recipe.normal_bags + recipe.abnormal_bags)


def microbatches(config: TrainConfig, tiles: int) -> list[Tensor]:
    """The indices of the bags of each microbatch: as many as fit the processor's cache.

    A microbatch has the i-th abnormal bag where it has the i-th normal one. There is only one where
    the recipe has different numbers of normal and abnormal bags, or where the method's loss is not
    the mean over microbatches.
    """
    recipe = config.full_recipe()
    normal = recipe.normal_bags
    method, method_config = config.chosen_method()
    if normal != recipe.abnormal_bags or not method.splits_batches(method_config):
        return [whole_batch(recipe)]
    most = max(1, _MICROBATCH_SNIPPETS // (2 * recipe.segments * tiles))
    pairs = max(n for n in range(1, normal + 1) if normal % n == 0 and n <= most)
    starts = torch.split(torch.arange(normal), pairs)
    return [torch.cat([rows, rows + normal]) for rows in starts]


def to_cpu(loss: Loss) -> Loss:
    """The loss detached and on the processor, with all terms copied at once."""
    terms = [term.detach().reshape(()).to(loss.total.device) for term in loss.terms.values()]
    total, *rest = torch.stack([loss.total.detach().reshape(()), *terms]).cpu()
    return Loss(total, dict(zip(loss.terms, rest, strict=True)))


def make_optimiser(recipe: Recipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The recipe's optimiser for these groups of parameters."""
    make: Any = OPTIMISERS[recipe.optimiser]
    optimiser: torch.optim.Optimizer = make(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return optimiser


def check_finite(terms: Mapping[str, Tensor], step: int, recipe: Recipe) -> None:
    """Check that every term is finite; the error names the step and what to lower."""
    for name, term in terms.items():
        value = float(term.detach())
        if not np.isfinite(value):
            what = "mean of the scores" if name == "scores" else f"loss term '{name}'"
            raise OddframeError(
                f"training stopped at step {step}: the {what} is {value}; "
                f"lower recipe.lr (it is {recipe.lr:g}) or set recipe.clip_norm"
            )


def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Update the moving average of the weights after step number ``step``.

    Statistics of batch normalisation are averaged as well; other buffers are copied.
    """
    # The decay is small at first, so that the average soon forgets the initial weights.
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


def score_spread(network: ModelNetwork, videos: Sequence[TrainingVideo]) -> float:
    """Highest minus lowest snippet score over the first views of ``videos``.

    Stops as soon as that is ``COLLAPSED`` or more, which is mostly after the first videos.
    """
    device = network.standardise.mean.device
    low, high = np.inf, -np.inf
    with torch.inference_mode():
        for video in videos:
            scores = network(first_view(video, device))
            low, high = min(low, float(scores.min())), max(high, float(scores.max()))
            if high - low >= COLLAPSED:
                break
    return high - low


def first_view(video: TrainingVideo, device: torch.device) -> Tensor:
    """(1, T, D) a copy of the features of a video's first view."""
    return torch.from_numpy(np.array(video.views[0], dtype=np.float32))[None].to(device)
