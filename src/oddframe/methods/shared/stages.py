"""Methods that train in stages."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Staged(nn.Module):
    """A network whose loss depends on how far its training is, set before every step.

    ``done`` is a buffer, so that a resumed training stands where it was.
    """

    done: Tensor  # () share of the training that is done; 1 where it is not set

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("done", torch.ones(()))
