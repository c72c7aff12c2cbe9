"""The backbone ``i3d``: I3D on RGB, with the Kinetics-400 weights that come with oddframe."""

from __future__ import annotations

from pathlib import Path

from oddframe.backbones.base import Eye, Kind, batch_for, in_turns, to_input
from oddframe.backbones.engines import Choice
from oddframe.backbones.visual.i3d import FEATURE_DIM, read_i3d
from oddframe.backbones.visual.i3d_winograd import load_i3d
from oddframe.backbones.weights import SHIPPED
from oddframe.video.snippets.transforms import Preprocessing

I3D_WEIGHTS = SHIPPED / "i3d_kinetics400.safetensors"


class I3DRgb(Kind):
    """RGB I3D; takes our weights and both published PyTorch layouts."""

    name = "i3d"
    title = "I3D on RGB, Kinetics-400"
    dim = FEATURE_DIM
    has_regions = True

    def weights(self) -> Path:
        """They come with oddframe."""
        return I3D_WEIGHTS

    def load(self, weights: Path, how: Preprocessing, choice: Choice) -> Eye:
        """See ``Kind.load``."""
        run = load_i3d(self, read_i3d(weights), weights, how, choice)
        return Eye(
            in_turns(lambda snippets: run(to_input(snippets, choice.device))), batch_for(choice)
        )
