"""The training loop: features and a configuration in, a trained network out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from oddframe._utils.determinism import reproducible
from oddframe.errors import InputError, OddframeError
from oddframe.methods.base import ClosedForm
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.training.config import TrainConfig
from oddframe.training.data.samplers import TrainingVideo, feature_dim
from oddframe.training.distributed import SINGLE_PROCESS, ProcessGroup
from oddframe.training.one_class import fit_one_class
from oddframe.training.run_files import (
    Checkpoint,
    OnStep,
    TrainingIdentity,
    load_checkpoint,
    open_step_log,
    open_tensorboard,
    save_checkpoint,
)
from oddframe.training.step import (
    COLLAPSED,
    FitResult,
    TrainingRun,
    first_view,
    microbatches,
    score_spread,
)

# After this share of the steps, training is restarted if it gives every snippet the same score.
_COLLAPSE_CHECK_AT = 0.5
# The second attempt has a tenth of the learning rate and another seed.
_RETRY_LR_DIVISOR = 10.0
_RETRY_SEED_OFFSET = 1_000
# 95 % of the logits, divided by the temperature, lie within this: scores from 0.02 to 0.98.
_LOGIT_RANGE = 4.0

OnNetwork = Callable[[int, ModelNetwork], None]


@dataclass(frozen=True)
class TrainingJob:
    """What every process of a training needs to begin."""

    videos: Sequence[TrainingVideo]
    config: TrainConfig
    pretrained: ModelNetwork | None
    saved: Checkpoint | None
    attempt: int  # 1, or 2 if ``saved`` is of the second attempt.
    device: str  # ``cuda`` is the process's own graphics card.


@dataclass(frozen=True)
class _RunOutputs:
    """Files and callbacks of a training; empty in all processes but the first."""

    log: Path | None = None
    tensorboard: Path | None = None
    checkpoint: Path | None = None
    identity: TrainingIdentity | None = None
    every: int = 100
    on_step: OnStep | None = None
    on_network: OnNetwork | None = None
    network_every: int = 10

    def save(self, run: TrainingRun, step: int) -> None:
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

    The same seed gives the same weights on the same machine and device, also where the training was
    killed and resumed. The program's own random generators are not changed. One-class methods are
    trained by ``fit_one_class``; neither these nor closed-form methods resume.

    A training that gives every training snippet the same score, halfway or at the end, has
    collapsed. It is restarted once, with a tenth of the learning rate and the seed plus 1000, and a
    warning. In ``log`` the lines of the second attempt replace those of the first and hold
    ``"attempt": 2``.

    Among several processes (``joined_processes``) the first calls this and the others
    ``train_as_worker``; the weights are the same as those of one process.

    Args:
        pretrained: A network whose weights and standardisation training starts from, of the same
            method, config and length of features.
        log: File of JSON lines, one a step: ``step``, ``loss`` and every loss term by its name.
        tensorboard: Folder for TensorBoard, with the same terms.
        checkpoint: File of the training's state. Resumes from it if it is of the same configuration
            and data; removed at the end.
        on_network: Called with (steps done, the network as it would be saved) every
            ``network_every`` steps and after the last; the training is not affected.
    """
    method = config.chosen_method()[0]
    if method.one_class:
        return fit_one_class(videos, config, device=device, log=log, on_step=on_step)
    if isinstance(method, ClosedForm):
        return _fit_closed_form(method, videos, config, device)
    if videos:  # A sampler says which class is missing.
        feature_dim(videos)
    identity = TrainingIdentity(videos, pretrained)
    saved, attempt, warnings = _load_saved(checkpoint, identity, config)
    job = TrainingJob(videos, config, pretrained, saved, attempt, str(device))
    group = ProcessGroup.current()
    if group.size > 1 and len(microbatches(config, videos[0].tiles)) == 1:
        warnings.append(
            f"one of the {group.size} processes trains alone: a batch of this size, or of this "
            "method, is not taken in parts (docs/train.md, several processes)"
        )
        group = SINGLE_PROCESS
    group.send_job(job)
    outputs = _RunOutputs(
        log, tensorboard, checkpoint, identity, checkpoint_every, on_step, on_network, network_every
    )
    return _train_with_retry(job, outputs, warnings, group)


def _fit_closed_form(
    method: ClosedForm[Any, Any],
    videos: Sequence[TrainingVideo],
    config: TrainConfig,
    device: str | torch.device,
) -> FitResult:
    """Fit a method without steps. The result depends on the features alone, not on a seed."""
    abnormal = np.array([video.abnormal for video in videos], dtype=np.bool_)
    for label, name in ((False, "normal"), (True, "abnormal")):
        if not (abnormal == label).any():
            raise InputError(f"no {name} videos to train on")
    dim = feature_dim(videos)
    views = [view for video in videos for view in video.views]
    if not all(np.isfinite(view).all() for view in views):
        raise InputError("features of a video are not finite; extract them again")
    standardise = Standardise.fit(views) if config.standardise else Standardise.identity(dim)
    mean, deviation = standardise.mean, standardise.std
    settings = config.chosen_method()[1]
    network = method.network(dim, settings)
    rows = [[(v - mean.numpy()) / deviation.numpy() for v in video.views] for video in videos]
    method.fit_videos(network, rows, abnormal, settings, mean=mean, deviation=deviation)
    fitted = ModelNetwork(standardise, network).to(device).eval()
    return FitResult(fitted, score_spread(fitted, videos))


def train_as_worker(job: TrainingJob) -> None:
    """Train together with the process that called ``fit``, which alone writes and reports."""
    # An error in the training is raised in every process, and the first one reports it.
    with suppress(OddframeError):
        _train_with_retry(job, _RunOutputs(), [], ProcessGroup.current())


def _train_with_retry(
    job: TrainingJob, outputs: _RunOutputs, warnings: list[str], processes: ProcessGroup
) -> FitResult:
    videos, config, saved = job.videos, job.config, job.saved
    device, retry = torch.device(job.device), _retry_config(config)
    resumed_at = 0
    for attempt, settings in [(1, config), (2, retry)][job.attempt - 1 :]:
        if attempt == 2:
            warnings.append(
                "every training snippet got the same score: training began once more, at a rate of "
                f"{retry.recipe.lr:g} and from seed {retry.recipe.seed}"
            )
        with reproducible(device, settings.recipe.seed):
            run = TrainingRun(videos, settings, device, job.pretrained, processes)
            done = 0
            if saved is not None:
                run.restore(saved)
                done = resumed_at = saved.step
                saved = None
            elif attempt == 2:
                outputs.save(run, 0)
            check_at = int(run.recipe.steps * _COLLAPSE_CHECK_AT) if attempt == 1 else None
            with (
                open_step_log(outputs.log, done, attempt) as write_log,
                open_tensorboard(outputs.tensorboard, done) as write_tensorboard,
            ):
                for step in range(done + 1, run.recipe.steps + 1):
                    loss = run.step(step)
                    write_log(step, loss)
                    write_tensorboard(step, loss)
                    if outputs.on_step is not None:
                        outputs.on_step(step, run.recipe.steps, loss)
                    due = step == run.recipe.steps or step % outputs.network_every == 0
                    if outputs.on_network is not None and due:
                        outputs.on_network(step, _calibrated_network(run))
                        run.resume_training()
                    # Before the checkpoint is written: a run that is killed here checks again.
                    if step == check_at:
                        spread = processes.from_first(partial(_current_spread, run))
                        if spread < COLLAPSED:
                            break
                    if step % outputs.every == 0:
                        outputs.save(run, step)
            network = _calibrated_network(run) if processes.is_first else run.eval_network()
            spread = processes.from_first(partial(score_spread, network, videos))
        if spread >= COLLAPSED:
            break
    if outputs.checkpoint is not None:
        outputs.checkpoint.unlink(missing_ok=True)
    if spread < COLLAPSED:
        warnings.append(
            f"the network gives every training snippet the same score (spread {spread:.1e}): it "
            "learned nothing; try another learning rate, more steps, or check the labels"
        )
    return FitResult(network, spread, resumed_at, tuple(warnings))


def _calibrated_network(run: TrainingRun) -> ModelNetwork:
    """The network as it would be saved now, with its score scale and temperature set."""
    network = run.eval_network()
    with torch.inference_mode():
        normal = (first_view(video, run.device) for video in run.videos if not video.abnormal)
        run.method.calibrate(network.network, map(network.standardise, normal))
    if run.config.temperature_scaling:
        network.temperature.fill_(_temperature(network, run.videos))
    return network


def _current_spread(run: TrainingRun) -> float:
    """The score spread of the network as it would be saved now; training is not affected.

    The temperature is applied, because scores may be equal only where the sigmoid saturates.
    """
    spread = score_spread(_calibrated_network(run), run.videos)
    run.resume_training()
    return spread


def _retry_config(config: TrainConfig) -> TrainConfig:
    lr, seed = config.full_recipe().lr / _RETRY_LR_DIVISOR, config.recipe.seed + _RETRY_SEED_OFFSET
    return config.with_recipe(lr=lr, seed=seed)


def _load_saved(
    path: Path | None, identity: TrainingIdentity, config: TrainConfig
) -> tuple[Checkpoint | None, int, list[str]]:
    """The checkpoint, if there is one of this training; its attempt; and warnings."""
    if path is None or not path.exists():
        return None, 1, []
    try:
        saved = load_checkpoint(path)
    except InputError as error:
        return None, 1, [f"{error}: training starts anew"]
    for attempt, settings in ((1, config), (2, _retry_config(config))):
        if saved.identity == identity.of(settings):
            return saved, attempt, []
    reason = "a checkpoint of another configuration or other data: training starts anew"
    return None, 1, [f"{path}: {reason}"]


def _temperature(network: ModelNetwork, videos: Sequence[TrainingVideo]) -> float:
    """The divisor that brings 95 % of the training snippets' logits into range; at least 1."""
    device = network.standardise.mean.device
    with torch.inference_mode():
        logits = [
            network.network(network.standardise(first_view(video, device))).logits.flatten()
            for video in videos
        ]
    far = np.quantile(torch.cat(logits).abs().cpu().numpy(), 0.95)
    return max(1.0, float(far) / _LOGIT_RANGE)
