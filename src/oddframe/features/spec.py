"""The features of a video, and the spec: everything that the numbers of a feature depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from oddframe._utils.parsing import format_validation_error
from oddframe.backbones.registry import known_backbones
from oddframe.errors import InputError
from oddframe.features.lazy_array import AnyFeatures
from oddframe.timeline import FloatArray, Timebase
from oddframe.video.snippets.preprocessing import (
    MAX_FEATURE_DIM,
    Preprocessing,
    PreprocessingFields,
    boxes_shape,
    has_motion,
    tile_grid,
    with_views,
)

# Prefix of the backbone's name in the spec of features that were made by other software.
IMPORTED = "imported:"
MaskDigest = Annotated[str, Field(pattern=r"^([0-9a-f]{16})?$")]


@dataclass(frozen=True, kw_only=True)
class FeatureSpec(Preprocessing):
    """Everything that the numbers of a feature depend on: preprocessing, backbone and precision.

    Attributes:
        backbone: Name in the registry of backbones, ``i3d``; ``i3d+aisfx`` for joined features of
            several; ``imported:i3d`` for features that were made by other software.
        weights_sha256: Of the backbone's weights; joined by ``+`` for several backbones, "" if the
            weights are unknown.
        dim: Length D of a feature.
        precision: ``float32`` or ``bfloat16``, for visual backbones; audio backbones always compute
            in float32.
        mask: Digest of the mask that was painted over each picture (``Mask.digest``); "": no mask,
            and ``to_dict`` and the hash leave the field out.
    """

    backbone: str
    weights_sha256: str
    dim: int
    precision: str = "float32"
    mask: str = ""

    @property
    def preprocessing(self) -> Preprocessing:
        """The fields of ``Preprocessing`` alone."""
        names = Preprocessing.__dataclass_fields__
        return Preprocessing(**{name: getattr(self, name) for name in names})

    @property
    def tiles(self) -> tuple[int, int] | None:
        """(rows, columns) if the crops are tiles or regions of a picture; None for views.

        Small motion squares are one row.
        """
        return tile_grid(self.crops)

    @property
    def imported(self) -> bool:
        """Whether the features were made by other software."""
        return self.backbone.startswith(IMPORTED)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON types."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        if not self.mask:  # Keeps the hashes of specs that are older than masks.
            del data["mask"]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FeatureSpec:
        """Undo ``to_dict``.

        Raises:
            InputError: a field is missing, unknown, of the wrong type or beyond its limits.
        """
        if not isinstance(data, Mapping):
            raise InputError(f"a feature spec is a mapping, not {data!r:.40}")
        if unknown := sorted(set(data) - {f.name for f in fields(cls)}):
            names = ", ".join(map(repr, unknown))  # A damaged file's may hold control characters.
            raise InputError(f"a feature spec has no field {names:.200}: newer version?")
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data.items()
        }
        try:
            spec = cls(**values)
            _SpecFields.model_validate(vars(spec), strict=True)
        except TypeError as error:
            raise InputError(f"the feature spec is incomplete ({error})") from None
        except ValidationError as error:
            message = format_validation_error(error, _SpecFields, (), "feature spec")
            raise InputError(message) from None
        if (grid := spec.tiles) is not None and len(spec.crops) != grid[0] * grid[1]:
            raise InputError(f"a grid of {grid[0]}x{grid[1]}, but {len(spec.crops)} crops")
        return spec

    def hash(self) -> str:
        """Compute the 16 hex digits that identify this spec in file names."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def differences(self, other: FeatureSpec, *, sampling: bool = False) -> list[str]:
        """List the fields that differ, each as ``field: ours, not theirs``.

        Args:
            other: Another spec.
            sampling: Also list differences in how a video is sampled: stride, precision, number of
                views and mask.
        """
        ignored: set[str] = set()
        if not sampling:
            # These do not change what a feature means: a model accepts features that differ from
            # its own in them only.
            ignored = {"precision", "stride", "mask"}
            variants = [self]
            if not has_motion(self.crops):
                variants += [with_views(self, views) for views in (1, 5, 10)]
            if any(_same_views(variant, other) for variant in variants):
                ignored |= {"resize", "crops"}
        names = (f.name for f in fields(self) if f.name not in ignored)
        values = ((name, getattr(self, name), getattr(other, name)) for name in names)
        return [f"{name}: {ours}, not {theirs}" for name, ours, theirs in values if ours != theirs]


class _SpecFields(PreprocessingFields):
    """The fields of ``FeatureSpec`` with their limits."""

    backbone: str = Field(pattern=r"^[A-Za-z0-9_.:+-]+$", max_length=256)
    weights_sha256: str = Field(pattern=r"^[A-Za-z0-9+]*$", max_length=512)
    dim: int = Field(ge=1, le=MAX_FEATURE_DIM)
    precision: str = Field(pattern=r"^[a-z0-9]+$", max_length=32)
    mask: MaskDigest


def _same_views(ours: FeatureSpec, theirs: FeatureSpec) -> bool:
    # A model takes the mean score of the crops, so the order of views does not matter.
    reordered = ours.tiles is None and sorted(ours.crops) == sorted(theirs.crops)
    return ours.resize == theirs.resize and (reordered or ours.crops == theirs.crops)


@dataclass(frozen=True)
class Features:
    """Features of one video.

    Attributes:
        array: (C, T, D): crops, snippets, length of a feature. In memory, or a ``CropArray`` on
            disk.
        spec: How they were made.
        timebase: When each snippet starts and ends.
        boxes: (T, 4) left, top, right, bottom of the motion square of each snippet, as shares of
            the picture; (T, K, 4) for K small ones; None: there are no motion squares.
        heat: (T, parts, rows, columns) uint8, where something moves in the parts of each snippet;
            None: they come from a file, or were not extracted to be scored at once.

    Raises:
        InputError: the shape of the array or the boxes does not match the spec and the timebase.
    """

    array: AnyFeatures
    spec: FeatureSpec
    timebase: Timebase
    boxes: FloatArray | None = None
    heat: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        expected = (len(self.spec.crops), self.timebase.n_snippets, self.spec.dim)
        if self.array.shape != expected:
            raise InputError(
                f"features of shape {self.array.shape}, expected (crops, snippets, dim) {expected}"
            )
        shape = boxes_shape(self.spec.crops, self.timebase.n_snippets)
        if self.boxes is not None and self.boxes.shape != shape:
            raise InputError(f"{expected[1]} snippets, but boxes of shape {self.boxes.shape}")


def join_features(parts: Sequence[Features]) -> Features:
    """Concatenate features of the same snippets along D, to one array (C, T, D) float32.

    Visual features come first. Features of the sound have one crop, which is repeated for every
    crop of the picture. InputError if the snippets, crops or masks differ.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    crops = len(first.spec.crops)
    arrays = []
    for part in parts:
        if part.spec.has_picture and part.spec.preprocessing != first.spec.preprocessing:
            raise InputError("features with different preprocessing cannot be joined")
        if part.spec.has_picture and part.spec.mask != first.spec.mask:
            raise InputError("features with different masks cannot be joined")
        if part.timebase != first.timebase:
            raise InputError(
                f"features of {first.timebase.n_snippets} snippets cannot be joined with features "
                f"of {part.timebase.n_snippets} other snippets"
            )
        array = np.asarray(part.array, dtype=np.float32)
        arrays.append(np.repeat(array, crops, axis=0) if len(array) < crops else array)
    spec = replace(
        first.spec,
        backbone="+".join(part.spec.backbone for part in parts),
        weights_sha256="+".join(part.spec.weights_sha256 for part in parts),
        dim=sum(part.spec.dim for part in parts),
    )
    return Features(np.concatenate(arrays, axis=2), spec, first.timebase, first.boxes, first.heat)


def count_audio_dims(backbones: str) -> int:
    """Count the numbers at the end of a feature that describe the sound, by the spec's backbone.

    Published features of the sound by an unknown backbone are ``imported:i3d+dim64``.
    """
    audio_dims = {spec.name: spec.dim for spec in known_backbones() if spec.is_audio}
    names = backbones.removeprefix(IMPORTED).split("+")
    count = sum(audio_dims.get(name, 0) for name in names)
    unknown = names[-1].removeprefix("dim")
    if not count and len(names) > 1 and backbones.startswith(IMPORTED) and unknown.isdecimal():
        return int(unknown)
    return count
