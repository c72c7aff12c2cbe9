"""A published checkpoint as a model file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from oddframe.backbones.registry import find_kinds
from oddframe.errors import UsageError
from oddframe.features.layout import I3D_DIM, imported_spec
from oddframe.features.spec import FeatureSpec
from oddframe.files import file_sha256
from oddframe.methods.checkpoints import read_published
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.modelfile import Model, Profile
from oddframe.training.sections import EventSection

Reads = Literal["imported", "i3d"]

# What the field calls abnormal; no checkpoint says anything of its own.
THRESHOLD = 0.5


def published_model(path: Path, name: str, reads: Reads = "imported", knows: str = "") -> Model:
    """The model in a published checkpoint; its threshold is not calibrated.

    Args:
        path: State dictionary of the published code, ``.pkl``; nothing but tensors is unpickled.
        name: Of the model.
        reads: ``imported``: published features, which it was trained on. ``i3d``: those that
            oddframe's I3D makes of a video with the published preprocessing, which come close to
            them but are not the same files.
        knows: What it finds, in words.

    Raises:
        InputError: it is no such checkpoint; the line says what does not fit.
        UsageError: oddframe's I3D makes no features of the length that it reads.
    """
    read = read_published(path)
    spec = imported_spec(read.dim, 10)
    if reads == "i3d":
        if read.dim != I3D_DIM:
            raise UsageError(
                f"{path}: reads features of length {read.dim}; I3D makes {I3D_DIM}: leave --reads"
            )
        spec = _own(spec)
    sha256 = file_sha256(path)
    return Model(
        name=name,
        method=read.method,
        config=read.config,
        network=ModelNetwork(Standardise.identity(read.dim), read.network).eval(),
        profiles={"best": Profile(spec, EventSection().rule(THRESHOLD))},
        knows=knows or "what its authors call abnormal",
        card={
            "imported_from": {"file": path.name, "sha256": sha256},
            "limits": f"a published checkpoint; its threshold, {THRESHOLD:g}, is not calibrated",
        },
    )


def _own(spec: FeatureSpec) -> FeatureSpec:
    """The spec of what oddframe's I3D makes where ``spec`` has imported features: one crop."""
    (i3d,) = find_kinds("i3d")
    sha256 = i3d.sha256(i3d.weights())
    return replace(spec, backbone=i3d.name, weights_sha256=sha256, crops=("center",))
