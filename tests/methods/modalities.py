"""Bags with a planted anomaly in one of two modalities; the other one is noise."""

from __future__ import annotations

from typing import Literal

import torch
from sklearn.metrics import roc_auc_score

from oddframe.methods.base import AnyMethod
from tests.methods.planted import Planted, Small, planted, trained

NOISE = 8


def in_modality(which: Literal["picture", "sound"], n: int, seed: int) -> Planted:
    """Planted bags, with ``NOISE`` random values as the other modality."""
    made = planted(n, seed)
    generator = torch.Generator().manual_seed(seed)
    nothing = torch.randn(*made.bags.shape[:2], NOISE, generator=generator)
    parts = [made.bags, nothing] if which == "picture" else [nothing, made.bags]
    return Planted(torch.cat(parts, dim=-1), made.labels, made.odd)


def auc_in(method: AnyMethod, small: Small, which: Literal["picture", "sound"]) -> float:
    """AUC of snippets after a short training on an anomaly planted in ``which``."""
    train, test = (in_modality(which, n, seed) for n, seed in ((160, 0), (40, 1)))
    sound = NOISE if which == "picture" else train.bags.shape[2] - NOISE
    config = method.Config.model_validate({**small.config, "sound": sound})
    network = trained(method, config, small, train.bags, train.labels, 0)
    with torch.inference_mode():
        logits = network(test.bags).logits
    return float(roc_auc_score(test.odd.flatten(), logits.flatten()))
