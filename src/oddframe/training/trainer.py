"""Features and a configuration in, a model out: what every training of a run goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from oddframe._utils.files import translate_os_errors
from oddframe.backbones.engines import DeviceName
from oddframe.modelfile import DETECTS_UNUSUAL, Model, Profile
from oddframe.training.config import TrainConfig
from oddframe.training.data.features import FeatureCache, VideoFeatures, training_video
from oddframe.training.log import OnStep
from oddframe.training.loop import fit
from oddframe.training.model_card import training_data_digest


@dataclass(frozen=True)
class ModelTrainer:
    """Trains models that differ in their configuration and videos alone.

    Attributes:
        feature_cache: Knows what the features are.
        device: Where to train.
        pretrained: A model to go on from; none: fresh weights.
        name: Of the models.
    """

    feature_cache: FeatureCache
    device: DeviceName
    pretrained: Model | None
    name: str

    def model(
        self,
        config: TrainConfig,
        videos: Sequence[VideoFeatures],
        *,
        checkpoint: Path,
        log: Path | None = None,
        tensorboard: Path | None = None,
        on_step: OnStep | None = None,
    ) -> tuple[Model, tuple[str, ...]]:
        """A model trained on ``videos``, without a threshold and a card yet, and warnings.

        An interrupted training of the same goes on from ``checkpoint``.

        Raises:
            InputError: a class is missing.
            OddframeError: a value is not finite, or a file cannot be written.
        """
        method, method_config = config.chosen_method()
        seen = [[g.features[s] for s in config.training_views().values()] for g in videos]
        pairs = zip(seen, videos, strict=True)
        training = [training_video(each, g.video.abnormal) for each, g in pairs]
        if config.bags.mode == "video":
            training = self.feature_cache.with_cut_bags(
                training, seen, videos, config.recipe.segments
            )
        with translate_os_errors(log or checkpoint):
            fitted = fit(
                training,
                config,
                pretrained=None if self.pretrained is None else self.pretrained.network,
                device=_training_device(self.device),
                log=log,
                tensorboard=tensorboard,
                checkpoint=checkpoint,
                on_step=on_step,
            )
        if config.half:  # Rounded before it is measured: the figures are of what is written.
            fitted.network.network.half().float()
        classes = sorted({each.video.label for each in videos if each.video.abnormal})
        knows = DETECTS_UNUSUAL if method.one_class else ", ".join(classes)
        if method.unsupervised:  # It has not used the classes.
            knows = "what is rare"
        model = Model(
            name=self.name,
            method=config.method.name,
            config=method_config,
            network=fitted.network.cpu(),
            profiles={
                name: Profile(self.feature_cache.spec(section), config.events.rule(0.5))
                for name, section in config.profiles().items()
            },
            detects=config.detects or knows,
            training_data=training_data_digest(videos),
        )
        return model, fitted.warnings


def _training_device(device: DeviceName) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
