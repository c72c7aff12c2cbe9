"""EfficientNet-Lite0 gives the features of the published network."""

from __future__ import annotations

import numpy as np
import torch

from oddframe.backbones.registry import load_backbone
from oddframe.backbones.visual.efficientnet import LITE0_WEIGHTS
from oddframe.backbones.visual.efficientnet_network import EfficientNetLite0
from oddframe.backbones.weights import load_weights, read_state_dict
from oddframe.video.snippets.preprocessing import Preprocessing
from tests.backbones.test_i3d import uniform

SMALL = Preprocessing(resize=(64, 48), crop_size=(64, 48), crops=("full",), filter="bicubic")
# Features of the published network for ``uniform`` input of seed 0.25 and 224 x 200 pixels: the
# largest features of the first picture, and the norms of both.
LITE0_AT = [455, 413, 113, 989, 434, 1244, 1095, 621]
LITE0_VALUES = [5.2445, 3.7655, 3.6909, 3.258, 3.2014, 2.7916, 2.6456, 2.6316]
LITE0_NORMS = [17.2913, 17.5191]


def test_efficientnet_gives_what_the_published_network_gives() -> None:
    shape = (2, 3, 224, 200)
    x = uniform(int(np.prod(shape)), 5, 0.25).reshape(shape)
    network = load_weights(
        EfficientNetLite0(), read_state_dict(LITE0_WEIGHTS, "EfficientNet"), "EfficientNet"
    )
    with torch.inference_mode():
        made = network(torch.from_numpy(x).float())
    # Their weights are in single precision, ours in half.
    np.testing.assert_allclose(made[0, LITE0_AT], LITE0_VALUES, atol=0.02)
    np.testing.assert_allclose(made.norm(dim=1), LITE0_NORMS, rtol=5e-3)


def test_efficientnet_encodes_the_middle_frame() -> None:
    backbone = load_backbone("efficientnet_lite0", SMALL, precision="float32")
    rng = np.random.default_rng(0)
    snippets = rng.integers(0, 256, (2, 16, 48, 64, 3), dtype=np.uint8)
    made = backbone(snippets)
    assert made.shape == (2, 1280)
    others = np.zeros_like(snippets)
    others[:, 8] = snippets[:, 8]
    np.testing.assert_array_equal(backbone(others), made)
    plain = load_backbone("efficientnet_lite0", SMALL, engine="torch", precision="float32")
    np.testing.assert_allclose(plain(snippets), made, atol=1e-4)
