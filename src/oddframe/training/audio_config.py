"""Methods that read picture and sound, and which numbers of a feature are of which."""

from __future__ import annotations

from oddframe.datasets.labelled import Dataset
from oddframe.datasets.precomputed import has_precomputed_features
from oddframe.errors import UsageError
from oddframe.features.join import count_audio_dims
from oddframe.methods.shared.modalities import AudioVisualConfig
from oddframe.training.config import TrainConfig


def uses_audio(config: TrainConfig) -> bool:
    """Whether the method reads picture and sound as two modalities."""
    return isinstance(config.chosen_method()[1], AudioVisualConfig)


def with_required_audio_dim(config: TrainConfig, backbones: str) -> TrainConfig:
    """``config`` with the number of a feature's values that are of sound, if its method needs it.

    What is set in the configuration stays, and so does a method that does not listen.

    Args:
        config: What is to be trained.
        backbones: That made the features, as in their spec: ``i3d+aisfx``.

    Raises:
        UsageError: the method listens, and there is no sound in the features.
    """
    listening = with_audio_dim(config, backbones)
    method, settings = listening.chosen_method()
    if isinstance(settings, AudioVisualConfig) and settings.sound is None:
        raise UsageError(
            f"{method.title} reads picture and sound, but no sound is known of in these features "
            f"({backbones}): set features.backbone to i3d+aisfx, or method.config.sound to how "
            "many of a feature's numbers, the last ones, are of the sound"
        )
    return listening


def check_audio(config: TrainConfig, dataset: Dataset) -> None:
    """Refuse, before any video is opened, a method that listens where nothing will.

    Of features that come with the data set only their files can tell; ``run_training`` asks them.

    Raises:
        UsageError: the method listens, and no backbone that makes the features does.
    """
    if not any(has_precomputed_features(video) for video in dataset.videos):
        with_required_audio_dim(config, config.features.backbone)


def with_audio_dim(config: TrainConfig, backbones: str) -> TrainConfig:
    """As ``with_required_audio_dim``, but where there is no sound the configuration stays as it
    is: its method
    then takes the two halves of a feature for two modalities."""
    settings = config.chosen_method()[1]
    sound = count_audio_dims(backbones)
    if not isinstance(settings, AudioVisualConfig) or settings.sound is not None or not sound:
        return config
    told = {**config.method.config, "sound": sound}
    return config.model_copy(update={"method": config.method.model_copy(update={"config": told})})
