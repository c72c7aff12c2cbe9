"""The backbone ``i3d``: I3D on RGB frames, with the Kinetics-400 weights shipped with oddframe."""

from __future__ import annotations

from pathlib import Path

from oddframe.backbones.base import (
    BackboneSpec,
    VisualEncoder,
    batch_size_for,
    thread_safe,
    to_input,
)
from oddframe.backbones.engines import Runtime
from oddframe.backbones.visual.i3d import I3D_FEATURE_DIM, read_i3d
from oddframe.backbones.visual.i3d_winograd import i3d_runner
from oddframe.backbones.weights import SHIPPED_WEIGHTS
from oddframe.video.snippets.transforms import Preprocessing

I3D_WEIGHTS = SHIPPED_WEIGHTS / "i3d_kinetics400.safetensors"


class I3DRgbSpec(BackboneSpec):
    """I3D on RGB; reads weights in oddframe's layout and in both published PyTorch layouts."""

    name = "i3d"
    title = "I3D on RGB, Kinetics-400"
    dim = I3D_FEATURE_DIM
    supports_regions = True
    weights_origin = "shipped"
    license = "Apache-2.0"

    def find_weights(self) -> Path:
        return I3D_WEIGHTS

    def load(self, weights: Path, preprocessing: Preprocessing, runtime: Runtime) -> VisualEncoder:
        run = i3d_runner(self, read_i3d(weights), weights, preprocessing, runtime)
        return VisualEncoder(
            thread_safe(lambda snippets: run(to_input(snippets, runtime.device))),
            batch_size_for(runtime),
        )


I3D_RGB = I3DRgbSpec()
