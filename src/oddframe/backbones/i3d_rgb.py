"""The backbone ``i3d``: I3D on RGB, with the Kinetics-400 weights that come with oddframe."""

from __future__ import annotations

from pathlib import Path

import torch

from oddframe.backbones.base import Eye, Kind, batch_for, in_turns, to_input
from oddframe.backbones.engines import Choice
from oddframe.backbones.i3d import FEATURE_DIM
from oddframe.backbones.i3d_fast import run_i3d
from oddframe.backbones.places import SHIPPED
from oddframe.backbones.weights import read_i3d
from oddframe.video.preprocessing import Preprocessing

I3D_WEIGHTS = SHIPPED / "i3d_kinetics400.safetensors"


class I3DRgb(Kind):
    """RGB I3D; takes our weights and both published PyTorch layouts."""

    name = "i3d"
    title = "I3D on RGB, Kinetics-400"
    dim = FEATURE_DIM

    def weights(self) -> Path:
        """They come with oddframe."""
        return I3D_WEIGHTS

    def load(self, weights: Path, how: Preprocessing, choice: Choice) -> Eye:
        """See ``Kind.load``."""
        width, height = how.crop_size
        example = torch.zeros(1, 3, how.snippet_frames, height, width)
        run = run_i3d(self, read_i3d(weights), example, weights, choice)
        return Eye(in_turns(lambda snippets: run(to_input(snippets))), batch_for(choice))
