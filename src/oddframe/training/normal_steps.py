"""Steps over normal snippets: how a network that knows normal video alone is trained."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from oddframe.methods.shared.normal import NormalNetwork
from oddframe.training.bags import Deck
from oddframe.training.config import TrainConfig
from oddframe.training.log import OnStep, StepLog
from oddframe.training.steps import check_finite, fetched, follow, optimiser_of


def learn_by_steps(
    network: NormalNetwork,
    x: Tensor,
    config: TrainConfig,
    log: Path | None = None,
    on_step: OnStep | None = None,
) -> NormalNetwork:
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
    optimiser = optimiser_of(recipe, method.parameter_groups(network, method_config))
    deck = Deck(len(x), recipe.normal_bags, np.random.default_rng(config.recipe.seed))
    device = network.edge.device
    with StepLog(log, 0) as write:
        for step in range(1, recipe.steps + 1):
            batch = x[torch.from_numpy(deck.deal())][:, None].to(device)
            labels = torch.zeros(len(batch), device=device)
            optimiser.zero_grad(set_to_none=True)
            loss = method.loss(network(batch, labels), labels, method_config)
            loss.total.backward()  # type: ignore[no-untyped-call]
            loss = fetched(loss)
            check_finite({**loss.terms, "total": loss.total}, step, recipe)
            if recipe.clip_norm is not None:
                nn.utils.clip_grad_norm_(list(network.parameters()), recipe.clip_norm)
            optimiser.step()
            if average is not None:
                follow(average, network, recipe.average, step)
            write(step, loss)
            if on_step is not None:
                on_step(step, recipe.steps, loss)
    return network if average is None else average
