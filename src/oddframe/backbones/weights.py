"""Where weights are: in the package, or in the user's own folder.

Weights of a network from a file, and into a network; nothing is unpickled.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from oddframe._utils.files import check_regular, open_regular_file
from oddframe.errors import InputError, OddframeError, describe_unexpected_error, is_out_of_memory

SHIPPED_WEIGHTS = Path(__file__).parent / "data"
_SUFFIXES = (".safetensors", ".pth", ".pt")


def weights_dir() -> Path:
    """Where a user's weights are: ``$ODDFRAME_WEIGHTS``, else in the user's data folder."""
    if own := os.environ.get("ODDFRAME_WEIGHTS"):
        return Path(own)
    data = os.environ.get("XDG_DATA_HOME")
    return Path(data or Path.home() / ".local" / "share") / "oddframe" / "weights"


def find_user_weights(name: str, source: str) -> Path:
    """The user's weights of a backbone: ``NAME.safetensors``, ``NAME.pth`` or ``NAME.pt``.

    Args:
        name: Of the backbone.
        source: Where they are to be had.

    Raises:
        InputError: they are not there; the line says what to do.
    """
    folder = weights_dir()
    for suffix in _SUFFIXES:
        if (path := folder / f"{name}{suffix}").is_file():
            return path
    raise InputError(
        f"{name}: its weights do not come with oddframe; get {source} and put the file at "
        f"{folder / name}.pt"
    )


_ModuleT = TypeVar("_ModuleT", bound=nn.Module)


def read_state_dict(path: Path, what: str) -> Mapping[str, Tensor]:
    """Tensors by name, from safetensors or a PyTorch checkpoint of nothing but tensors.

    Args:
        path: ``*.safetensors``, or anything else for PyTorch.
        what: What they should be, for the error: ``I3D``.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    check_regular(path)
    try:
        state = load_file(path) if path.suffix == ".safetensors" else read_torch_checkpoint(path)
    except Exception as error:  # Of a file that is something else, PyTorch says so in many ways.
        if is_out_of_memory(error):
            raise OddframeError(f"{path}: {describe_unexpected_error(error)}") from None
        reason = (str(error) or "it is empty").splitlines()[0]
        raise InputError(f"{path}: cannot be read as {what} weights ({reason})") from None
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise InputError(f"{path}: cannot be read as {what} weights (not tensors by name)")
    return state


def read_torch_checkpoint(path: Path) -> Any:
    """What a PyTorch checkpoint holds, with PyTorch's restricted unpickler.

    Raises:
        ValueError: it would unfold to more than there is in the file.
        Exception: of PyTorch, in many ways: it is something else.
    """
    with open_regular_file(path) as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as parts:
                packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist())
            if packed:  # PyTorch never packs them.
                raise ValueError("its parts are compressed")
        file.seek(0)
        found = torch.load(file, map_location="cpu", weights_only=True)
    if isinstance(found, Mapping):
        inner = found.get("state_dict")
        for tensor in (*found.values(), *(inner.values() if isinstance(inner, Mapping) else ())):
            # A stride of 0 makes a large tensor of one number.
            if isinstance(tensor, Tensor) and tensor.nbytes > tensor.untyped_storage().nbytes():
                raise ValueError("a tensor in it is larger than its numbers")
    return found


def load_weights(
    network: _ModuleT, state: Mapping[str, Tensor], what: str, optional: str = "\0"
) -> _ModuleT:
    """Fill ``network``, ready for inference; half precision is widened.

    Args:
        network: What is filled.
        state: Tensors by the network's own names.
        what: What they should be, for the error.
        optional: Names that start so may be absent.

    Raises:
        InputError: a tensor is missing, unknown, or of another shape.
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
    """Convolution weight and bias that do what convolution and batch normalisation did.

    ``weight`` is (out, in, ...), in any number of dimensions; the others are (out,). ``gamma`` None
    means no scale. Computed in float64, returned in float32.
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
    """``fold_batch_norm`` of the convolution and the batch normalisation of these names.

    Raises:
        KeyError: a tensor is not in ``state``.
    """
    return fold_batch_norm(
        state[f"{conv}.weight"],
        state[f"{norm}.weight"],
        state[f"{norm}.bias"],
        state[f"{norm}.running_mean"],
        state[f"{norm}.running_var"],
        eps,
    )
