"""From normal videos alone to a detector of what is unusual beside them.

Steps over normal snippets: how a network that knows normal video alone is trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from oddframe._utils.determinism import reproducible
from oddframe.errors import InputError, UsageError
from oddframe.methods.base import AnyMethod
from oddframe.methods.one_class.base import OneClassNetwork
from oddframe.methods.one_class.normality import Normality
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.training.config import MethodSection, TrainConfig
from oddframe.training.data.samplers import IndexSampler, TrainingVideo
from oddframe.training.fit_result import COLLAPSED, FitResult
from oddframe.training.log import OnStep, StepLog
from oddframe.training.step import check_finite, make_optimiser, to_cpu, update_average


def fit_by_steps(
    network: OneClassNetwork,
    x: Tensor,
    config: TrainConfig,
    log: Path | None = None,
    on_step: OnStep | None = None,
) -> OneClassNetwork:
    """Train ``network``, which remembers them already, on normal snippets.

    A step sees as many snippets as the recipe has normal bags; its segments mean nothing here.

    Args:
        network: On the device where it is trained.
        x: (N, D) snippets.
        config: Method and recipe.
        log: JSON lines, one a step.
        on_step: Called with (steps done, steps in all, loss).

    Returns:
        The network, or the moving average of its weights if the recipe keeps one.

    Raises:
        OddframeError: the loss is not finite; the line names the step.
    """
    (method, method_config), recipe = config.chosen_method(), config.full_recipe()
    network.train()
    average = deepcopy(network) if recipe.average else None
    optimiser = make_optimiser(recipe, method.parameter_groups(network, method_config))
    deck = IndexSampler(len(x), recipe.normal_bags, np.random.default_rng(config.recipe.seed))
    device = network.edge.device
    with StepLog(log, 0) as write:
        for step in range(1, recipe.steps + 1):
            batch = x[torch.from_numpy(deck.draw())][:, None].to(device)
            labels = torch.zeros(len(batch), device=device)
            optimiser.zero_grad(set_to_none=True)
            loss = method.loss(network(batch, labels), labels, method_config)
            loss.total.backward()  # type: ignore[no-untyped-call]
            loss = to_cpu(loss)
            check_finite({**loss.terms, "total": loss.total}, step, recipe)
            if recipe.clip_norm is not None:
                nn.utils.clip_grad_norm_(list(network.parameters()), recipe.clip_norm)
            optimiser.step()
            if average is not None:
                update_average(average, network, recipe.average, step)
            write(step, loss)
            if on_step is not None:
                on_step(step, recipe.steps, loss)
    return network if average is None else average


# More snippets are thinned out evenly: some three hours of video at 16 frames a snippet, 15 a
# second, and a minute's work.
MOST_SNIPPETS = 10_000
# And so are more numbers, of frames: a gigabyte.
_MOST_NUMBERS = 2**28
# Parts of the videos that are measured by networks of the others, to set the scale of the scores.
_FOLDS = 5


def with_one_class_method(config: TrainConfig) -> TrainConfig:
    """``config`` if its method needs no abnormal video; else with one that does not."""
    if config.chosen_method()[0].one_class:
        return config
    return config.model_copy(update={"method": MethodSection(name=Normality.name, config={})})


def fit_one_class(
    videos: Sequence[TrainingVideo],
    config: TrainConfig,
    *,
    device: str | torch.device = "cpu",
    log: Path | None = None,
    on_step: OnStep | None = None,
) -> FitResult:
    """Remember what is normal: a detector of the unusual, without one abnormal video.

    The order of the videos does not matter, and nothing is left to chance but the weights and
    batches of a method that is trained by steps, which hang on the seed. The scale of the scores
    is set on snippets of videos that the network had not seen: one normal snippet in a hundred
    scores above a half. A network that is quickly found is found anew for each of five parts of the
    videos; a slow one for one of them.

    Args:
        videos: Features; abnormal videos are left aside. A video that is there twice counts once.
        config: A method that learns from normal videos alone (see ``with_one_class_method``), and
        whether
            features are standardised; steps, stacks a step and seed are for those trained by steps.
        device: Where to train, and where the network is in the end.
        log: JSON lines, one a step, of a method that has steps.
        on_step: Called with (steps done, steps in all, loss).

    Raises:
        UsageError: the configuration is of another method, or its method reads other features.
        InputError: no normal videos, only one snippet, features of different lengths or not finite.
        OddframeError: the loss is not finite.
    """
    method, _ = config.chosen_method()
    if not method.one_class:
        raise UsageError(
            f"the method {config.method.name} needs abnormal videos too; for normal video alone "
            f"set method.name to {Normality.name}"
        )
    normal = _unique_videos([video for video in videos if not video.abnormal])
    _check_videos(normal)
    views = [view for video in normal for view in video.views]
    dim = views[0].shape[1]
    apart = config.standardise and not method.backbones
    standardise = Standardise.fit(views) if apart else Standardise.identity(dim)
    snippets, folds = _thinned_snippets(normal)
    with torch.no_grad():
        x = standardise(snippets) if apart else snippets
    unseen = _held_out_distances(method, x, folds, config, device)
    network = _fit_network(method, x, config, device, log, on_step)
    with torch.no_grad():
        network.calibrate(unseen)
        scores = network.logits(unseen).sigmoid()
    whole = ModelNetwork(standardise, network).to(device).eval()
    found = float(scores.max() - scores.min())
    return FitResult(whole, found, 0, tuple(_warnings(method, videos, normal, found)))


def _fit_network(
    method: AnyMethod,
    x: Tensor,
    config: TrainConfig,
    device: str | torch.device,
    log: Path | None = None,
    on_step: OnStep | None = None,
) -> OneClassNetwork:
    """What ``method`` makes of normal snippets (N, D), in evaluation mode."""
    with reproducible(torch.device(device), config.recipe.seed):
        network = method.network(x.shape[1], config.chosen_method()[1])
        assert isinstance(network, OneClassNetwork)
        with torch.no_grad():
            network.fit_snippets(x)
        if method.trained_by_steps:
            network = fit_by_steps(network.to(device), x, config, log, on_step)
    return network.to(device).eval()


def _unique_videos(videos: Sequence[TrainingVideo]) -> list[TrainingVideo]:
    """By the digest of their features, so that their order does not matter."""
    by_digest = {}
    for video in videos:
        digest = hashlib.sha256()
        for view in video.views:
            digest.update(f"{view.shape}".encode() + view.tobytes())
        by_digest[digest.hexdigest()] = video
    return [by_digest[key] for key in sorted(by_digest)]


def _check_videos(normal: Sequence[TrainingVideo]) -> None:
    if not normal:
        raise InputError("no normal videos to train on")
    views = [view for video in normal for view in video.views]
    if len(dims := {view.shape[1] for view in views}) > 1:
        raise InputError(f"features of different lengths cannot be trained on: {sorted(dims)}")
    if len(normal) == 1 and max(len(view) for view in views) < 2:
        raise InputError("one snippet of normal video does not say what is normal; give more video")
    if not all(np.isfinite(view).all() for view in views):
        raise InputError("features of a normal video are not finite; extract them again")


def _thinned_snippets(normal: Sequence[TrainingVideo]) -> tuple[Tensor, Tensor]:
    """All snippets (N, D), thinned out where they are too many, and the fold of each (N,)."""
    views = [view for video in normal for view in video.views]
    if len(normal) == 1:  # Parts of the one video, in time.
        fold = np.concatenate([np.arange(len(v)) * _FOLDS // len(v) for v in views])
    else:
        lengths = [sum(len(view) for view in video.views) for video in normal]
        fold = np.repeat(np.arange(len(normal)) % _FOLDS, lengths)
    most = min(MOST_SNIPPETS, max(1, _MOST_NUMBERS // views[0].shape[1]))
    kept = np.linspace(0, len(fold) - 1, min(len(fold), most)).round().astype(np.int64)
    starts = np.cumsum([0, *(len(view) for view in views)])
    rows = [  # A view at a time: all of them may not fit into memory.
        view[kept[(kept >= start) & (kept < start + len(view))] - start].astype(np.float32)
        for view, start in zip(views, starts[:-1], strict=True)
    ]
    return torch.from_numpy(np.concatenate(rows)), torch.from_numpy(fold[kept])


def _held_out_distances(
    method: AnyMethod, x: Tensor, folds: Tensor, config: TrainConfig, device: str | torch.device
) -> Tensor:
    """(N,) distances of snippets to networks that learnt from the other folds."""
    found = []
    each = sorted(set(folds.tolist()))
    for fold in each[:1] if method.backbones else each:
        inside = folds == fold
        others = _fit_network(method, x[~inside], config, device)
        with torch.inference_mode():
            found.append(others.distance(x[inside].to(device)).clone())
    return torch.cat(found)


def _warnings(
    method: AnyMethod,
    videos: Sequence[TrainingVideo],
    normal: Sequence[TrainingVideo],
    found: float,
) -> list[str]:
    lines = []
    if aside := sum(video.abnormal for video in videos):
        lines.append(f"{method.name} looks at normal videos alone: {aside} abnormal left aside")
    if len(normal) == 1:
        lines.append(
            "what is normal stands on one video: what changes from day to day will look odd; "
            "add video of other hours"
        )
    if found < COLLAPSED:
        lines.append(
            "every normal snippet looks the same (are the videos black or frozen?): any change "
            "will look odd"
        )
    return lines
