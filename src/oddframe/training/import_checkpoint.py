"""Import published checkpoints of methods' authors, or of others who trained their code, as models.

Such a file is a pickled state dictionary. It is read with PyTorch's restricted unpickler, which
makes only tensors; the names of the tensors tell which method it is of.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel
from torch import Tensor, nn

from oddframe._utils.files import check_regular, file_sha256
from oddframe.backbones.registry import get_backbones
from oddframe.backbones.weights import read_torch_checkpoint
from oddframe.errors import InputError, UsageError
from oddframe.features.presets import I3D_DIM, imported_spec
from oddframe.methods.registry import get_method, method_names
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.modelfile import Model, Profile
from oddframe.training.config import EventSection


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A published checkpoint."""

    method: str
    dim: int  # Length of the features.
    config: BaseModel  # What the shapes of the tensors show, all else as published.
    network: nn.Module  # In evaluation mode.


def read_published_checkpoint(path: Path) -> PublishedCheckpoint:
    """Read a published checkpoint (``.pkl``, ``.pt``, ``.pth``).

    InputError if it is of no known method, or its tensors do not fit; the message names those.
    """
    state = _read_state(path)
    for method in map(get_method, method_names()):
        found = method.config_from_checkpoint(state)
        if found is None:
            continue
        dim, config = found
        network = method.network(dim, config)
        if misfits := _misfits(network.state_dict(), state):
            more = f"; and {len(misfits) - 5} more" if misfits[5:] else ""
            shown = "; ".join(misfits[:5]) + more
            raise InputError(f"{path}: not a checkpoint of the published {method.title}: {shown}")
        network.load_state_dict(state)
        return PublishedCheckpoint(method.name, dim, config, network.eval())
    raise InputError(
        f"{path}: none of the {len(state)} tensors' names is that of a method whose published "
        "checkpoints are known"
    )


def _read_state(path: Path) -> dict[str, Tensor]:
    check_regular(path)
    try:
        state = read_torch_checkpoint(path)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: holds more than tensors, or is no PyTorch file; nothing else is unpickled"
        ) from None
    except Exception as error:  # PyTorch raises many kinds of error for damaged files.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a PyTorch file, or a damaged one ({reason})") from None
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise InputError(f"{path}: not a state dictionary: names and tensors are expected")
    # DataParallel puts "module." in front of every name.
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}


def _misfits(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[str]:
    missing = [f"{name} is missing" for name in ours if name not in theirs]
    unknown = [f"{name} is unknown" for name in theirs if name not in ours]
    shapes = [
        f"{name} is {tuple(theirs[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in ours.items()
        if name in theirs and theirs[name].shape != tensor.shape
    ]
    return missing + unknown + shapes


# The usual threshold of abnormal; checkpoints have none of their own.
THRESHOLD = 0.5


def published_model(
    path: Path, name: str, reads: Literal["imported", "i3d"], detects: str = ""
) -> Model:
    """The model in a published checkpoint; its threshold is not calibrated.

    ``reads``: ``imported``: published features, which it was trained on. ``i3d``: features of
    oddframe's I3D with the published preprocessing, which are similar but not identical.
    """
    read = read_published_checkpoint(path)
    spec = imported_spec(read.dim, 10)
    if reads == "i3d":
        if read.dim != I3D_DIM:
            raise UsageError(
                f"{path}: reads features of length {read.dim}; I3D makes {I3D_DIM}: leave --reads"
            )
        (i3d,) = get_backbones("i3d")
        weights = i3d.hash_weights()
        spec = replace(spec, backbone=i3d.name, weights_sha256=weights, crops=("center",))
    return Model(
        name=name,
        method=read.method,
        config=read.config,
        network=ModelNetwork(Standardise.identity(read.dim), read.network).eval(),
        profiles={"best": Profile(spec, EventSection().rule(THRESHOLD))},
        detects=detects or "what its authors call abnormal",
        card={
            "imported_from": {"file": path.name, "sha256": file_sha256(path)},
            "limits": f"a published checkpoint; its threshold, {THRESHOLD:g}, is not calibrated",
        },
    )
