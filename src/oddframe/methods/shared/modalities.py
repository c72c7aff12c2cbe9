"""Two modalities in one feature: numbers of the picture first, those of the sound after them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from oddframe.errors import UsageError
from oddframe.features.presets import published_audio_dim
from oddframe.methods.base import MAX_WIDTH


class AudioVisualConfig(BaseModel):
    """Settings of a method that reads picture and sound.

    Attributes:
        sound: Numbers at the end of a feature that are of the sound; none: ``oddframe train`` reads
            it from what made the features. Elsewhere they are the published ones where the length
            is (128 of 1,152), else the two halves of a feature stand for two modalities.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sound: int | None = Field(default=None, ge=1, le=MAX_WIDTH)

    def modality_dims(self, dim: int) -> tuple[int, int]:
        """How many of the ``dim`` numbers of a feature are of the picture, and of the sound.

        Raises:
            UsageError: none is left for the picture.
        """
        sound = self.sound or published_audio_dim(dim) or dim // 2
        if not 0 < sound < dim:
            raise UsageError(
                f"features of {dim} numbers leave none for the picture if the last {sound} are "
                "of the sound: set method.config.sound to fewer"
            )
        return dim - sound, sound


def modality_embedding(dim: int, hidden: int, dropout: float) -> nn.Sequential:
    """(..., D) of one modality -> (..., H), none of them negative."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout))


def split_modalities(features: Tensor, modality_dims: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(..., D) -> the picture's (..., D_v) and the sound's (..., D_a)."""
    return features[..., : modality_dims[0]], features[..., modality_dims[0] :]
