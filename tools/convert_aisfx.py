"""Make the shipped aisfx weights from the wheel in which they were published.

    pip download --no-deps aisfx==0.1.2 -d DIR
    python tools/convert_aisfx.py DIR/aisfx-0.1.2-py2.py3-none-any.whl

Only the trunk is kept, without the classifiers for the authors' sets of sound effects. Batch
normalisation is folded into the convolutions, and the result is written in half precision.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from weight_files import BUILD, verify_sha256, write_weights

from oddframe.backbones.audio import AISFX_CHANNELS
from oddframe.backbones.weights import fold_named_batch_norm

WHEEL_SHA256 = "bfe219950715af179e9a1653e7117cc1852baef267cd6596c42cad74afe1d194"
CHECKPOINT = "aisfx/models/checkpoint.pth"
CHECKPOINT_SHA256 = "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5"
BN_EPS = 1e-5
METADATA = {
    "name": "aisfx, X-Sequential-CE, trunk, batch normalisation folded",
    "source": "A. B. Ma and A. Lerch, aisfx 0.1.2 (CC BY 4.0)",
    "source_sha256": CHECKPOINT_SHA256,
}


def read_checkpoint(wheel: Path) -> Mapping[str, Tensor]:
    """Read the published tensors by name, and check both hashes."""
    verify_sha256(wheel.read_bytes(), WHEEL_SHA256, str(wheel))
    with zipfile.ZipFile(wheel) as archive:
        raw = verify_sha256(archive.read(CHECKPOINT), CHECKPOINT_SHA256, CHECKPOINT)
    # The checkpoint also has a table of data sets, whose numbers are NumPy scalars.
    scalar = import_module("numpy._core.multiarray").scalar
    allowed: list[Any] = [(scalar, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Int64DType]
    with torch.serialization.safe_globals(allowed):
        state, _ = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    tensors: Mapping[str, Tensor] = state
    return tensors


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert to oddframe's layout, float32, with batch normalisation folded."""
    out: dict[str, Tensor] = {}
    for block in range(len(AISFX_CHANNELS)):
        block_name = f"embedding_net.conv_block{block + 1}"
        for number in (1, 2):
            conv, norm = f"{block_name}.conv{number}", f"{block_name}.bn{number}"
            weight, bias = fold_named_batch_norm(state, conv, norm, BN_EPS)
            out[f"conv{number}.{block}.weight"], out[f"conv{number}.{block}.bias"] = weight, bias
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path, help="aisfx-0.1.2-py2.py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=BUILD / "aisfx.safetensors")
    options = parser.parse_args()
    write_weights(convert(read_checkpoint(options.wheel)), options.out, METADATA, half=True)


if __name__ == "__main__":
    main()
