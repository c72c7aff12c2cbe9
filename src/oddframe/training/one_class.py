"""Train one-class methods: on normal videos alone, to detect whatever is unusual."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from oddframe._utils.determinism import reproducible
from oddframe.errors import InputError
from oddframe.methods.base import AnyMethod
from oddframe.methods.layers import OneClassNetwork
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.training.config import TrainConfig
from oddframe.training.data.samplers import IndexSampler, TrainingVideo, feature_dim
from oddframe.training.run_files import OnStep, open_step_log
from oddframe.training.step import (
    COLLAPSED,
    FitResult,
    check_finite,
    make_optimiser,
    to_cpu,
    update_average,
)


def fit_by_steps(
    network: OneClassNetwork,
    x: Tensor,
    config: TrainConfig,
    log: Path | None = None,
    on_step: OnStep | None = None,
) -> OneClassNetwork:
    """Train ``network`` on normal snippets (N, D) by optimiser steps, after its ``fit_snippets``.

    A step takes as many snippets as the recipe has normal bags; the recipe's segments are not used.
    Returns the moving average of the weights if the recipe keeps one.
    """
    (method, method_config), recipe = config.chosen_method(), config.full_recipe()
    network.train()
    average = deepcopy(network) if recipe.average else None
    optimiser = make_optimiser(recipe, method.parameter_groups(network, method_config))
    sampler = IndexSampler(len(x), recipe.normal_bags, np.random.default_rng(config.recipe.seed))
    device = network.edge.device
    with open_step_log(log, 0) as write:
        for step in range(1, recipe.steps + 1):
            batch = x[torch.from_numpy(sampler.draw())][:, None].to(device)
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


# Of more snippets an even selection is taken. So many are three hours of video, at 15 frames a
# second and 16 frames a snippet, and take about a minute.
MAX_SNIPPETS = 10_000
# The same for the numbers in them, where snippets are frames: a gigabyte.
_MAX_NUMBERS = 2**28
# The scale of the scores is set on each of these parts by a network that was trained on the others.
_FOLDS = 5


def fit_one_class(
    videos: Sequence[TrainingVideo],
    config: TrainConfig,
    *,
    device: str | torch.device = "cpu",
    log: Path | None = None,
    on_step: OnStep | None = None,
) -> FitResult:
    """Train a one-class method on normal videos; abnormal ones are ignored.

    The order of the videos does not matter, and duplicates count once. Only methods that are
    trained by steps draw random numbers, and those depend on the seed. The scale of the scores is
    set on snippets of videos that the network was not trained on: one normal snippet in a hundred
    scores above 0.5. For this a fast method is trained five times more, each time without a fifth
    of the videos, and a slow one once.
    """
    method, _ = config.chosen_method()
    normal = _unique_videos([video for video in videos if not video.abnormal])
    views = [view for video in normal for view in video.views]
    if not normal:
        raise InputError("no normal videos to train on")
    dim = feature_dim(normal)
    if len(normal) == 1 and max(map(len, views)) < 2:
        raise InputError("one snippet of normal video does not say what is normal; give more video")
    if not all(np.isfinite(view).all() for view in views):
        raise InputError("features of a normal video are not finite; extract them again")
    # Features that are pixels are not standardised.
    standardised = config.standardise and not method.backbones
    standardise = Standardise.fit(views) if standardised else Standardise.identity(dim)
    snippets, folds = _thinned_snippets(normal)
    with torch.no_grad():
        x = standardise(snippets) if standardised else snippets
    distances = _held_out_distances(method, x, folds, config, device)
    network = _fit_network(method, x, config, device, log, on_step)
    with torch.no_grad():
        network.calibrate(distances)
        scores = network.logits(distances).sigmoid()
    spread = float(scores.max() - scores.min())
    warnings = []
    if ignored := sum(video.abnormal for video in videos):
        warnings.append(
            f"{method.name} looks at normal videos alone: {ignored} abnormal left aside"
        )
    if len(normal) == 1:
        warnings.append(
            "only one video shows what is normal, so any change from day to day scores high; "
            "add video of other hours"
        )
    if spread < COLLAPSED:
        warnings.append(
            "every normal snippet looks the same (are the videos black or frozen?): any change "
            "scores high"
        )
    model_network = ModelNetwork(standardise, network).to(device).eval()
    return FitResult(model_network, spread, warnings=tuple(warnings))


def _fit_network(
    method: AnyMethod,
    x: Tensor,
    config: TrainConfig,
    device: str | torch.device,
    log: Path | None = None,
    on_step: OnStep | None = None,
) -> OneClassNetwork:
    """The method's network, trained on normal snippets (N, D), in evaluation mode."""
    with reproducible(torch.device(device), config.recipe.seed):
        network = method.network(x.shape[1], config.chosen_method()[1])
        assert isinstance(network, OneClassNetwork)
        with torch.no_grad():
            network.fit_snippets(x)
        if not method.closed_form:
            network = fit_by_steps(network.to(device), x, config, log, on_step)
    return network.to(device).eval()


def _unique_videos(videos: Sequence[TrainingVideo]) -> list[TrainingVideo]:
    """The videos without duplicates, sorted by the digest of their features."""
    by_digest = {}
    for video in videos:
        digest = hashlib.sha256()
        for view in video.views:
            digest.update(f"{view.shape}".encode() + view.tobytes())
        by_digest[digest.hexdigest()] = video
    return [by_digest[key] for key in sorted(by_digest)]


def _thinned_snippets(normal: Sequence[TrainingVideo]) -> tuple[Tensor, Tensor]:
    """(N, D) all snippets or an even selection of them, and (N,) the fold of each."""
    views = [view for video in normal for view in video.views]
    if len(normal) == 1:  # The folds are parts of the one video, in time.
        fold = np.concatenate([np.arange(len(v)) * _FOLDS // len(v) for v in views])
    else:
        lengths = [sum(len(view) for view in video.views) for video in normal]
        fold = np.repeat(np.arange(len(normal)) % _FOLDS, lengths)
    limit = min(MAX_SNIPPETS, max(1, _MAX_NUMBERS // views[0].shape[1]))
    kept = np.linspace(0, len(fold) - 1, min(len(fold), limit)).round().astype(np.int64)
    starts = np.cumsum([0, *(len(view) for view in views)])
    rows = [  # One view at a time: all views may not fit into memory.
        view[kept[(kept >= start) & (kept < start + len(view))] - start].astype(np.float32)
        for view, start in zip(views, starts[:-1], strict=True)
    ]
    return torch.from_numpy(np.concatenate(rows)), torch.from_numpy(fold[kept])


def _held_out_distances(
    method: AnyMethod, x: Tensor, folds: Tensor, config: TrainConfig, device: str | torch.device
) -> Tensor:
    """(N,) distances of snippets, each by a network that was trained on the other folds.

    Methods that read frames are slow: only the snippets of the first fold are measured.
    """
    distances = []
    numbers = sorted(set(folds.tolist()))
    for number in numbers[:1] if method.backbones else numbers:
        held_out = folds == number
        network = _fit_network(method, x[~held_out], config, device)
        with torch.inference_mode():
            distances.append(network.distance(x[held_out].to(device)).clone())
    return torch.cat(distances)
