"""The loop: bags in, weights out. Plain PyTorch, one step after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from oddframe._utils.determinism import reproducible
from oddframe.errors import InputError, OddframeError
from oddframe.methods.scorer import ModelNetwork
from oddframe.training.checkpoint import (
    Checkpoint,
    TrainingIdentity,
    load_checkpoint,
    save_checkpoint,
)
from oddframe.training.config import TrainConfig
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.distributed import SINGLE_PROCESS, ProcessGroup
from oddframe.training.fit_result import COLLAPSED, FitResult, first_view, score_spread
from oddframe.training.log import OnStep, StepLog, TensorBoardLog
from oddframe.training.one_class import fit_one_class
from oddframe.training.step import TrainingRun, microbatches

# After this share of the steps a training that gives every snippet one score is given up.
_COLLAPSE_CHECK_AT = 0.5
# What the second attempt has otherwise than the first.
_RETRY_LR_DIVISOR = 10.0
_RETRY_SEED_OFFSET = 1_000
# Logits over the temperature lie, all but one in twenty, within this: scores of 0.02 to 0.98.
_LOGIT_RANGE = 4.0

OnNetwork = Callable[[int, ModelNetwork], None]


@dataclass(frozen=True)
class TrainingJob:
    """What every process of a training begins with.

    Attributes:
        videos: Training features.
        config: Method, recipe, bags.
        pretrained: Weights to go on from; none: fresh ones.
        saved: The checkpoint to go on from; none: from the start.
        attempt: Which attempt to begin with, 1 or 2: that of ``saved``.
        device: Where to train: ``cuda`` is each process's own.
    """

    videos: Sequence[TrainingVideo]
    config: TrainConfig
    pretrained: ModelNetwork | None
    saved: Checkpoint | None
    attempt: int
    device: str


@dataclass(frozen=True)
class _RunOutputs:
    """Where what happens is kept; nowhere in any process but the first."""

    log: Path | None = None
    tensorboard: Path | None = None
    checkpoint: Path | None = None
    identity: TrainingIdentity | None = None
    every: int = 100
    on_step: OnStep | None = None
    on_network: OnNetwork | None = None
    network_every: int = 10

    def save(self, run: TrainingRun, step: int) -> None:
        """Write the checkpoint, if one is kept, after ``step`` steps."""
        if self.checkpoint is not None and self.identity is not None:
            save_checkpoint(run.snapshot(step, self.identity.of(run.config)), self.checkpoint)


def fit(
    videos: Sequence[TrainingVideo],
    config: TrainConfig,
    *,
    pretrained: ModelNetwork | None = None,
    device: str | torch.device = "cpu",
    log: Path | None = None,
    tensorboard: Path | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    on_step: OnStep | None = None,
    on_network: OnNetwork | None = None,
    network_every: int = 10,
) -> FitResult:
    """Train the configured method on features.

    The same seed gives the same weights on the same machine and device, and so does a run that was
    killed and resumed. Chance elsewhere in the program is left as it was. A method that learns from
    normal videos alone goes to ``fit_one_class``; killed, it begins anew.

    A training that gives every training snippet one score, halfway or at the end, has collapsed: it
    begins once more, at a tenth of the rate and from the seed a thousand on, and says so. The lines
    of the second attempt replace those of the first in ``log`` and hold ``"attempt": 2``.

    Among several processes (``joined_processes``) the first one calls this and the others
    ``train_as_worker``;
    the weights are those of one process.

    Args:
        videos: Training features; both classes.
        config: Method, recipe, bags, standardisation.
        pretrained: Weights and standardisation to go on from, of the same method, config and
        length of
            features; none: fresh ones.
        device: Where to train.
        log: JSON lines, one a step: ``step``, ``loss`` and every term of the loss by its name.
        tensorboard: Folder for TensorBoard, of the same terms.
        checkpoint: Kept up to date every ``checkpoint_every`` steps, and taken up if it is there
            and of the same configuration and data; removed at the end.
        checkpoint_every: Steps between two.
        on_step: Called with (steps done, steps in all, loss).
        on_network: Called with (steps done, the network as it would be kept by then) every
            ``network_every`` steps and after the last one; training goes on as if it were not.
        network_every: Steps between two.

    Raises:
        InputError: a class is missing, or features differ in length.
        OddframeError: a term of the loss is not finite; the line names step and term.
    """
    if config.chosen_method()[0].one_class:
        return fit_one_class(videos, config, device=device, log=log, on_step=on_step)
    dims = {view.shape[1] for video in videos for view in video.views}
    if len(dims) > 1:
        raise InputError(f"features of different lengths cannot be trained on: {sorted(dims)}")
    identity = TrainingIdentity(videos, pretrained)
    saved, attempt, warnings = _load_saved(checkpoint, identity, config)
    job, ranks = (
        TrainingJob(videos, config, pretrained, saved, attempt, str(device)),
        ProcessGroup.current(),
    )
    if ranks.size > 1 and len(microbatches(config, videos[0].tiles)) == 1:
        warnings.append(
            f"one of the {ranks.size} processes trains alone: a batch of this size, or of this "
            "method, is not taken in parts (docs/train.md, several processes)"
        )
        ranks = SINGLE_PROCESS
    ranks.send_job(job)
    kept = _RunOutputs(
        log, tensorboard, checkpoint, identity, checkpoint_every, on_step, on_network, network_every
    )
    return _train_with_retry(job, kept, warnings, ranks)


def train_as_worker(job: TrainingJob) -> None:
    """Train with the process that called ``letterbox``; it alone keeps and says anything."""
    # What goes wrong in the training itself goes wrong everywhere, and the first one says it.
    with suppress(OddframeError):
        _train_with_retry(job, _RunOutputs(), [], ProcessGroup.current())


def _train_with_retry(
    job: TrainingJob, outputs: _RunOutputs, warnings: list[str], processes: ProcessGroup
) -> FitResult:
    videos, config, saved = job.videos, job.config, job.saved
    where, again = torch.device(job.device), _retry_config(config)
    resumed_at = 0
    for attempt, settings in [(1, config), (2, again)][job.attempt - 1 :]:
        if attempt == 2:
            warnings.append(
                "every training snippet got the same score: training began once more, at a rate of "
                f"{again.recipe.lr:g} and from seed {again.recipe.seed}"
            )
        with reproducible(where, settings.recipe.seed):
            run = TrainingRun(videos, settings, where, job.pretrained, processes)
            done = 0
            if saved is not None:
                run.restore(saved)
                done = resumed_at = saved.step
                saved = None
            elif attempt == 2:
                outputs.save(run, 0)
            looked_at = int(run.recipe.steps * _COLLAPSE_CHECK_AT) if attempt == 1 else None
            with (
                StepLog(outputs.log, done, attempt) as write,
                TensorBoardLog(outputs.tensorboard, done) as board,
            ):
                for step in range(done + 1, run.recipe.steps + 1):
                    loss = run.step(step)
                    write(step, loss)
                    board.write(step, loss)
                    if outputs.on_step is not None:
                        outputs.on_step(step, run.recipe.steps, loss)
                    last = step == run.recipe.steps
                    if outputs.on_network is not None and (
                        last or step % outputs.network_every == 0
                    ):
                        outputs.on_network(step, _calibrated_network(run))
                        run.resume_training()
                    # Before the checkpoint: a run that is killed here looks again.
                    if (
                        step == looked_at
                        and processes.from_first(partial(_current_spread, run)) < COLLAPSED
                    ):
                        break
                    if step % outputs.every == 0:
                        outputs.save(run, step)
            network = _calibrated_network(run) if processes.is_first else run.eval_network()
            found = processes.from_first(partial(score_spread, network, videos))
        if found >= COLLAPSED:
            break
    if outputs.checkpoint is not None:
        outputs.checkpoint.unlink(missing_ok=True)
    if found < COLLAPSED:
        warnings.append(
            f"the network gives every training snippet the same score (spread {found:.1e}): it "
            "learned nothing; try another learning rate, more steps, or check the labels"
        )
    return FitResult(network, found, resumed_at, tuple(warnings))


def _calibrated_network(run: TrainingRun) -> ModelNetwork:
    """The network as it would be kept by now, its scale found, in evaluation mode."""
    network = run.eval_network()
    with torch.inference_mode():
        seen = (first_view(video, run.device) for video in run.videos if not video.abnormal)
        run.method.calibrate(network.network, map(network.standardise, seen))
    if run.config.temper:
        network.temperature.fill_(_temperature(network, run.videos))
    return network


def _current_spread(run: TrainingRun) -> float:
    """The spread of the network as it would be saved now; training is not affected.

    With its temperature: scores that the sigmoid alone makes one need not have collapsed.
    """
    found = score_spread(_calibrated_network(run), run.videos)
    run.resume_training()
    return found


def _retry_config(config: TrainConfig) -> TrainConfig:
    """The configuration of the second attempt."""
    lr, seed = config.full_recipe().lr / _RETRY_LR_DIVISOR, config.recipe.seed + _RETRY_SEED_OFFSET
    return config.with_recipe(lr=lr, seed=seed)


def _load_saved(
    path: Path | None, identity: TrainingIdentity, config: TrainConfig
) -> tuple[Checkpoint | None, int, list[str]]:
    """The checkpoint, if there is one of this training, which attempt it is of, and warnings."""
    if path is None or not path.exists():
        return None, 1, []
    try:
        saved = load_checkpoint(path)
    except InputError as error:
        return None, 1, [f"{error}: training starts anew"]
    for attempt, settings in ((1, config), (2, _retry_config(config))):
        if saved.identity == identity.of(settings):
            return saved, attempt, []
    about = "a checkpoint of another configuration or other data: training starts anew"
    return None, 1, [f"{path}: {about}"]


def _temperature(network: ModelNetwork, videos: Sequence[TrainingVideo]) -> float:
    """What brings the logits of training snippets into the sigmoid's range; at least 1."""
    device = network.standardise.mean.device
    with torch.inference_mode():
        logits = [
            network.network(network.standardise(first_view(video, device))).logits.flatten()
            for video in videos
        ]
    far = np.quantile(torch.cat(logits).abs().cpu().numpy(), 0.95)
    return max(1.0, float(far) / _LOGIT_RANGE)
