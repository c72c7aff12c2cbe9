"""What the conversion scripts share: data is checked by its sha256, weights are written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

# Not over the shipped files: models name the features they read by the hash of a file's very bytes,
# and safetensors does not promise the same bytes for the same tensors.
BUILD = Path(__file__).parents[1] / "build"


def verify_sha256(data: bytes, sha256: str, what: str) -> bytes:
    """``data``, if its hash is the known one; else the script ends."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SystemExit(f"{what}: sha256 is {found}, expected {sha256}")
    return data


def write_weights(
    tensors: Mapping[str, Tensor], out: Path, about: Mapping[str, str], half: bool
) -> None:
    """Write safetensors, in half precision or as they are, and say its size and hash."""
    if half:
        tensors = {name: tensor.half() for name, tensor in tensors.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: t.contiguous() for k, t in tensors.items()}, out, metadata=dict(about))
    sha256 = hashlib.sha256(out.read_bytes()).hexdigest()
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, sha256 {sha256}")
