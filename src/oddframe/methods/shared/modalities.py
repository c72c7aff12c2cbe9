"""Two modalities in one feature: visual values first, then audio values."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from oddframe.errors import UsageError
from oddframe.features.presets import published_audio_dim
from oddframe.methods.base import MAX_WIDTH, MethodConfig


class AudioVisualConfig(MethodConfig):
    """Settings of a method that reads picture and sound.

    Attributes:
        sound: Length of the audio part at the end of a feature. None: ``oddframe train`` sets it by
            the backbones that made the features. Elsewhere it is 128 for the published length of
            1,152, else half of the feature.
    """

    sound: int | None = Field(default=None, ge=1, le=MAX_WIDTH)

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


def modality_embedding(dim: int, hidden: int, dropout: float) -> nn.Sequential:
    """(..., D) of one modality -> (..., H), all values at least 0."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout))


def split_modalities(features: Tensor, modality_dims: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(..., D) -> the visual part (..., D_v) and the audio part (..., D_a)."""
    return features[..., : modality_dims[0]], features[..., modality_dims[0] :]
