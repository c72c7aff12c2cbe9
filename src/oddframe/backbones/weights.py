"""Find, read and load the weights of backbones; fold batch normalisation into convolutions.

Weights are in the package or in the user's weights folder. No file is unpickled.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray
from safetensors import numpy as safetensors_numpy

from oddframe._utils.files import check_regular, open_regular_file
from oddframe.errors import (
    InputError,
    OddframeError,
    describe_unexpected_error,
    has_torch,
    is_out_of_memory,
    torch_needed,
)

SHIPPED_WEIGHTS = Path(__file__).parent / "data"
_SUFFIXES = (".safetensors", ".pth", ".pt")

if TYPE_CHECKING:
    from torch import Tensor, nn

_ModuleT = TypeVar("_ModuleT", bound="nn.Module")


def weights_dir() -> Path:
    """Get the user's weights folder: ``$ODDFRAME_WEIGHTS``, else a folder in the data folder."""
    if own := os.environ.get("ODDFRAME_WEIGHTS"):
        return Path(own)
    data = os.environ.get("XDG_DATA_HOME")
    return Path(data or Path.home() / ".local" / "share") / "oddframe" / "weights"


def find_user_weights(name: str, source: str) -> Path:
    """Find the user's weights: ``NAME.safetensors``, ``NAME.pth`` or ``NAME.pt``.

    ``source``: which file to get, and where; part of the InputError if there is no such file.
    """
    folder = weights_dir()
    for suffix in _SUFFIXES:
        if (path := folder / f"{name}{suffix}").is_file():
            return path
    raise InputError(
        f"{name}: its weights do not come with oddframe; get {source} and put the file at "
        f"{folder / name}.pt"
    )


def read_arrays(path: Path, what: str) -> Mapping[str, NDArray[Any]]:
    """As ``read_state_dict``, to NumPy arrays; PyTorch is needed only for its own checkpoints."""
    check_regular(path)
    if path.suffix == ".safetensors":
        try:
            return safetensors_numpy.load_file(path)
        except Exception as error:
            if not has_torch() or "bf16" not in str(error).lower():
                raise _unreadable(path, what, error) from None
    if not has_torch():
        raise torch_needed(f"{path}: a PyTorch checkpoint")
    return {name: tensor.float().numpy() for name, tensor in read_state_dict(path, what).items()}


def _unreadable(path: Path, what: str, error: Exception) -> OddframeError:
    if is_out_of_memory(error):
        return OddframeError(f"{path}: {describe_unexpected_error(error)}")
    reason = (str(error) or "it is empty").splitlines()[0]
    return InputError(f"{path}: cannot be read as {what} weights ({reason})")


def read_state_dict(path: Path, what: str) -> Mapping[str, Tensor]:
    """Read tensors by name, from a safetensors file or a PyTorch checkpoint of tensors alone.

    ``what`` is the name of the network, for the InputError if the file holds something else.
    """
    from safetensors.torch import load_file
    from torch import Tensor

    check_regular(path)
    try:
        state = load_file(path) if path.suffix == ".safetensors" else read_torch_checkpoint(path)
    except Exception as error:  # PyTorch raises many types for files of other kinds.
        raise _unreadable(path, what, error) from None
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise InputError(f"{path}: cannot be read as {what} weights (not tensors by name)")
    return state


def read_torch_checkpoint(path: Path) -> Any:
    """Read a PyTorch checkpoint with PyTorch's restricted unpickler.

    PyTorch raises many types of exceptions; ValueError if its contents would take more memory than
    the file has bytes.
    """
    import torch

    with open_regular_file(path) as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as parts:
                packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist())
            if packed:  # PyTorch never compresses them.
                raise ValueError("its parts are compressed")
        file.seek(0)
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    if isinstance(checkpoint, Mapping):
        inner = checkpoint.get("state_dict")
        nested = inner.values() if isinstance(inner, Mapping) else ()
        for tensor in (*checkpoint.values(), *nested):
            # With a stride of 0, one stored number makes a large tensor.
            if (
                isinstance(tensor, torch.Tensor)
                and tensor.nbytes > tensor.untyped_storage().nbytes()
            ):
                raise ValueError("a tensor in it is larger than its numbers")
    return checkpoint


def load_weights(
    network: _ModuleT, state: Mapping[str, Tensor], what: str, optional: str = "\0"
) -> _ModuleT:
    """Load weights into ``network`` as float32, and switch it to inference.

    InputError if a tensor is unknown, of another shape, or missing, unless its name starts with
    ``optional``.
    """
    tensors = {name: tensor.float() for name, tensor in state.items()}
    try:
        missing, unexpected = network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{what} weights do not fit: {reason}") from None
    lacking = [name for name in missing if not name.startswith(optional)]
    if lacking or unexpected:
        raise InputError(
            f"{what} weights do not fit: lacking {lacking[:3]}, unknown {unexpected[:3]}"
        )
    return network.eval()


def fold_batch_norm(
    weight: Tensor, gamma: Tensor | None, beta: Tensor, mean: Tensor, var: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Fold batch normalisation into the convolution before it, which has no bias; float64 inside.

    ``weight`` is (out, in, ...), all others (out,); ``gamma`` None: 1. Returns weight and bias.
    """
    scale = (var.double() + eps).rsqrt()
    if gamma is not None:
        scale = scale * gamma.double()
    folded = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
    bias = beta.double() - mean.double() * scale
    return folded.float(), bias.float()


def fold_named_batch_norm(
    state: Mapping[str, Tensor], conv: str, norm: str, eps: float
) -> tuple[Tensor, Tensor]:
    """Call ``fold_batch_norm`` for tensors of a state dict; KeyError if one is missing."""
    return fold_batch_norm(
        state[f"{conv}.weight"],
        state[f"{norm}.weight"],
        state[f"{norm}.bias"],
        state[f"{norm}.running_mean"],
        state[f"{norm}.running_var"],
        eps,
    )
