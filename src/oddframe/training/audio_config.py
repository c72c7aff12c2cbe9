"""Configure methods that read picture and sound: which part of a feature is the sound's."""

from __future__ import annotations

from oddframe.datasets.labelled import Dataset
from oddframe.datasets.precomputed import has_precomputed_features
from oddframe.errors import UsageError
from oddframe.features.spec import count_audio_dims
from oddframe.methods.shared.modalities import AudioVisualConfig
from oddframe.training.config import TrainConfig


def uses_audio(config: TrainConfig) -> bool:
    """Whether the method reads picture and sound as two modalities."""
    return isinstance(config.chosen_method()[1], AudioVisualConfig)


def with_required_audio_dim(config: TrainConfig, backbones: str) -> TrainConfig:
    """As ``with_audio_dim``, but a method that reads sound must get some.

    Args:
        config: The configuration of the training.
        backbones: The backbones of the features, as in their spec: ``i3d+aisfx``.

    Raises:
        UsageError: the method reads sound, and the features have none.
    """
    changed = with_audio_dim(config, backbones)
    method, settings = changed.chosen_method()
    if isinstance(settings, AudioVisualConfig) and settings.sound is None:
        raise UsageError(
            f"{method.title} reads picture and sound, but these features have no known sound "
            f"({backbones}): set features.backbone to i3d+aisfx, or method.config.sound to the "
            "number of values at the end of each feature that are the sound's"
        )
    return changed


def check_audio(config: TrainConfig, dataset: Dataset) -> None:
    """Check, before any video is opened, that a method that reads sound gets some.

    Precomputed features are not checked here: whether they have sound is known once their files are
    opened, in ``run_training``.

    Raises:
        UsageError: the method reads sound, and no backbone of the features does.
    """
    if not any(has_precomputed_features(video) for video in dataset.videos):
        with_required_audio_dim(config, config.features.backbone)


def with_audio_dim(config: TrainConfig, backbones: str) -> TrainConfig:
    """``config`` with the number of audio values of a feature, where its method needs that number.

    A configuration that sets it, or whose method does not read sound, is returned unchanged. So is
    one whose features have no sound: its method splits a feature into halves.
    """
    settings = config.chosen_method()[1]
    sound = count_audio_dims(backbones)
    if not isinstance(settings, AudioVisualConfig) or settings.sound is not None or not sound:
        return config
    method = config.method.model_copy(update={"config": {**config.method.config, "sound": sound}})
    return config.model_copy(update={"method": method})
