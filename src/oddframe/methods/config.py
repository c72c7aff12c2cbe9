"""Base classes of methods' settings, and the types of their fields."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from oddframe.errors import UsageError
from oddframe.features.presets import published_audio_dim

# Largest sizes in a config. Model files and YAML files may hold any number, and a network of that
# size would be allocated.
MAX_WIDTH = 65_536  # Units of a layer, slots of a memory, rows or columns of an image.
MAX_LAYERS = 64  # Layers, and iterations.

# Distances from normal snippets that are smaller, as a share of the one whose score is 0.5, get the
# same score: the logarithm has no value at 0.
MIN_DISTANCE_RATIO = 1e-3

# What the models of one-class methods detect, in words.
DETECTS_UNUSUAL = "what is unusual"

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
Depth = Annotated[int, Field(ge=1, le=MAX_LAYERS)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0)]


class MethodConfig(BaseModel):
    """Base of a method's settings: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)


class AudioVisualConfig(MethodConfig):
    """Settings of a method that reads picture and sound: visual values first, then audio values.

    Attributes:
        sound: Length of the audio part at the end of a feature. None: ``oddframe train`` sets it by
            the backbones that made the features. Elsewhere it is 128 for the published length of
            1,152, else half of the feature.
    """

    sound: Width | None = None

    def modality_dims(self, dim: int) -> tuple[int, int]:
        """Lengths of the visual and of the audio part of a feature of length ``dim``.

        Raises:
            UsageError: nothing is left for the visual part.
        """
        sound = self.sound or published_audio_dim(dim) or dim // 2
        if not 0 < sound < dim:
            raise UsageError(
                f"features of length {dim} have no visual part if the last {sound} values are "
                "audio: set method.config.sound to a smaller number"
            )
        return dim - sound, sound


def renamed_field(default: Any, *, name: str, old: str, **limits: Any) -> Any:
    """A config field that had another name: ``name`` and ``old`` are read, ``old`` is written."""
    names = AliasChoices(name, old)
    return Field(default=default, validation_alias=names, serialization_alias=old, **limits)
