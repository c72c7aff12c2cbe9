"""What a feature is: everything that its numbers depend on, in one hashable record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

from pydantic import Field, ValidationError

from oddframe._utils.yaml_files import format_validation_error
from oddframe.errors import InputError
from oddframe.features.lazy_array import AnyFeatures
from oddframe.timeline import Timebase
from oddframe.video.snippets.crops import tile_grid, with_views
from oddframe.video.snippets.transforms import MAX_FEATURE_DIM, Preprocessing, PreprocessingFields

# What stands before a backbone's name where features were made elsewhere.
IMPORTED = "imported:"
# Of ``FeatureSpec.mask``.
MaskDigest = Annotated[str, Field(pattern=r"^([0-9a-f]{16})?$")]
# Fields that change how densely or precisely a video is read, or which parts of it, but not what a
# feature means: a model scores features that differ from its own in these alone.
SAMPLING_FIELDS = frozenset({"precision", "stride", "mask"})
# The same picture in one, five or ten views differs in these together (``video/views.py``).
VIEW_FIELDS = frozenset({"resize", "crops"})


@dataclass(frozen=True, kw_only=True)
class FeatureSpec(Preprocessing):
    """Everything that a feature's numbers depend on: the preprocessing, and what looked at it.

    Attributes:
        backbone: Name in the backbone registry, ``i3d``; ``i3d+aisfx`` where the features of
            several stand side by side; ``imported:i3d`` if made elsewhere.
        weights_sha256: Of the weights that were used, with ``+`` between those of several; empty
            where they are unknown.
        dim: Length D of a feature.
        precision: What the engine computed in, ``float32`` or ``bfloat16``; sound is always
            listened to in float32.
        mask: Digest of the mask that was painted over each picture (``Mask.digest``); "": none.
            It is left out of ``to_dict`` and of the hash then.
    """

    backbone: str
    weights_sha256: str
    dim: int
    precision: str = "float32"
    mask: str = ""

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing alone."""
        names = Preprocessing.__dataclass_fields__
        return Preprocessing(**{name: getattr(self, name) for name in names})

    @property
    def tiles(self) -> tuple[int, int] | None:
        """(rows, columns) if the crops are the tiles of a picture; None if they are views of it."""
        return tile_grid(self.crops)

    @property
    def imported(self) -> bool:
        """Whether oddframe cannot make such features, only read them."""
        return self.backbone.startswith(IMPORTED)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        if not self.mask:  # Hashes from before there were masks stay as they are.
            del data["mask"]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FeatureSpec:
        """Back from ``to_dict``.

        Raises:
            InputError: a field is missing, unknown, of the wrong type or beyond its limits.
        """
        if not isinstance(data, Mapping):
            raise InputError(f"a feature spec is fields by name, not {data!r:.40}")
        if unknown := sorted(set(data) - {f.name for f in fields(cls)}):
            raise InputError(f"a feature spec has no field {', '.join(unknown)}: newer version?")
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data.items()
        }
        try:
            spec = cls(**values)
            _SpecFields.model_validate(vars(spec), strict=True)
        except TypeError as error:
            raise InputError(f"the feature spec is incomplete ({error})") from None
        except ValidationError as error:
            raise InputError(
                format_validation_error(error, _SpecFields, (), "feature spec")
            ) from None
        if (grid := spec.tiles) is not None and len(spec.crops) != grid[0] * grid[1]:
            raise InputError(f"a grid of {grid[0]}x{grid[1]}, but {len(spec.crops)} crops")
        return spec

    def hash(self) -> str:
        """Sixteen hex digits that name this spec in file names."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def differences(self, other: FeatureSpec, *, sampling: bool = False) -> list[str]:
        """Lines ``field: ours, not theirs`` for the fields that differ.

        Differences in how a video is sampled (stride, precision, number of views, mask) count only
        with ``sampling``.
        """
        same: frozenset[str] = frozenset()
        if not sampling:
            pictures = [self, *(with_views(self, views) for views in (1, 5, 10))]
            if any(_same_views(picture, other) for picture in pictures):
                same = VIEW_FIELDS
            same |= SAMPLING_FIELDS
        lines = []
        for f in fields(self):
            ours, theirs = getattr(self, f.name), getattr(other, f.name)
            if ours != theirs and f.name not in same:
                lines.append(f"{f.name}: {ours}, not {theirs}")
        return lines


class _SpecFields(PreprocessingFields):
    """The fields of ``FeatureSpec`` with their limits."""

    backbone: str = Field(pattern=r"^[A-Za-z0-9_.:+-]+$", max_length=256)
    weights_sha256: str = Field(pattern=r"^[A-Za-z0-9+]*$", max_length=512)
    dim: int = Field(ge=1, le=MAX_FEATURE_DIM)
    precision: str = Field(pattern=r"^[a-z0-9]+$", max_length=32)
    mask: MaskDigest


def _same_views(ours: FeatureSpec, theirs: FeatureSpec) -> bool:
    # The order of crops is of no matter to a model: it takes the mean of their scores.
    mixed = ours.tiles is None and sorted(ours.crops) == sorted(theirs.crops)
    return ours.resize == theirs.resize and (mixed or ours.crops == theirs.crops)


@dataclass(frozen=True)
class Features:
    """Features of one video: ``array`` (C crops, T snippets, D), how they were made, their time.

    The array may lie on disk (``CropArray``): what works a crop at a time never holds it whole.
    """

    array: AnyFeatures
    spec: FeatureSpec
    timebase: Timebase

    def __post_init__(self) -> None:
        expected = (len(self.spec.crops), self.timebase.n_snippets, self.spec.dim)
        if self.array.shape != expected:
            raise InputError(
                f"features of shape {self.array.shape}, expected (crops, snippets, dim) {expected}"
            )
