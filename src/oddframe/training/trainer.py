"""Train models: one model of one configuration, and the final models of a run with their cards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from oddframe._utils.files import translate_os_errors
from oddframe._utils.progress import MessageCallback, ProgressCallback, ignore_message
from oddframe.backbones.engines import DeviceName
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.features.formats.feature_file import content_digest
from oddframe.features.spec import FeatureSpec
from oddframe.methods.base import Loss
from oddframe.methods.scorer import ModelNetwork
from oddframe.modelfile import (
    Model,
    Profile,
    load_model,
    save_model,
    short_digest,
    torch_network,
)
from oddframe.training.config import TrainConfig
from oddframe.training.correction import correct, should_correct
from oddframe.training.data.features import FeatureCache, VideoFeatures, label_views, training_video
from oddframe.training.data.samplers import with_cut_bags
from oddframe.training.data.splits import validation_folds
from oddframe.training.loop import fit
from oddframe.training.run_files import OnStep, RunFiles
from oddframe.training.validation import (
    selection_metric,
    selection_value,
    with_threshold_and_metrics,
)

# The best of several seeds is chosen on one of this many folds of the training videos.
_FOLDS = 5
# Key in the card of a finished seed: the digest of what it was trained and measured on.
_DIGEST_KEY = "features_digest"


@dataclass(frozen=True)
class ModelTrainer:
    """Trains the models of a run, which differ only in configuration and videos."""

    feature_cache: FeatureCache
    device: DeviceName
    pretrained: Model | None
    files: RunFiles
    progress: ProgressCallback

    def report_loss(self, step: int, steps: int, loss: Loss) -> None:
        """Report a step and its total loss to ``progress``."""
        self.progress(step, steps, f"loss {loss.total.item():.3g}")

    def train(
        self,
        config: TrainConfig,
        videos: Sequence[VideoFeatures],
        name: str,
        on_step: OnStep,
        log: Path | None = None,
        tensorboard: Path | None = None,
    ) -> tuple[Model, tuple[str, ...]]:
        """A model trained on ``videos``, as yet without a threshold and a card, and warnings.

        Resumes from the checkpoint of that name where it is of the same training.
        """
        views = [[v.features[s] for s in config.training_views().values()] for v in videos]
        training = [
            training_video(features, video.video.abnormal)
            for features, video in zip(views, videos, strict=True)
        ]
        if config.learns_from_times():
            events = config.clicks.events
            training = [
                replace(each, labels=label_views(video.video, features, events=events))
                for each, features, video in zip(training, views, videos, strict=True)
            ]
        pretrained = None if self.pretrained is None else torch_network(self.pretrained)
        device: str = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if pretrained is not None and self.corrects(config, videos):
            if log is not None:  # That of an earlier training of steps.
                log.unlink(missing_ok=True)
            result = correct(pretrained, training, device)
            return self._model(config, videos, result.network.cpu()), result.warnings
        if config.bags.mode == "video":
            cache, digests = self.feature_cache, [each.sha256 for each in videos]
            root, n = cache.extractor.store.root, config.recipe.segments
            training = with_cut_bags(training, views, digests, n, root, cache.progress)
        checkpoint = self.files.checkpoint(name)
        with translate_os_errors(log or checkpoint):
            result = fit(
                training,
                config,
                pretrained=pretrained,
                device=device,
                log=log,
                tensorboard=tensorboard,
                checkpoint=checkpoint,
                on_step=on_step,
            )
        if config.fp16:  # Rounded before it is measured: the metrics are of the written weights.
            result.network.network.half().float()
        return self._model(config, videos, result.network.cpu()), result.warnings

    def corrects(self, config: TrainConfig, videos: Sequence[VideoFeatures]) -> bool:
        """Whether a training on ``videos`` corrects the pretrained model."""
        labels = [each.video.abnormal for each in videos]
        return self.pretrained is not None and should_correct(config, labels)

    def _model(
        self, config: TrainConfig, videos: Sequence[VideoFeatures], network: ModelNetwork
    ) -> Model:
        method, method_config = config.chosen_method()
        labels = {each.video.label for each in videos if each.video.abnormal}
        return Model(
            name=self.files.out.stem,
            method=config.method.name,
            config=method_config,
            network=network,
            profiles={
                name: Profile(self.feature_cache.spec(section), config.events.rule(0.5))
                for name, section in config.profiles().items()
            },
            detects=config.detects or method.describe_target(labels),
            training_data=training_data_digest(videos),
        )


@dataclass(frozen=True)
class SeedRun:
    """One of several trainings that differ in their seed.

    Attributes:
        validation: Its value of the selection metric; None: too few groups to validate on.
        metrics: Metrics on the held-out videos. The choice does not depend on them.
        kept: Whether this model was kept.
    """

    seed: int
    validation: float | None
    metrics: Mapping[str, float]
    kept: bool = False


@dataclass(frozen=True)
class FinalTraining:
    """Trains the final models, sets their thresholds and measures them.

    Attributes:
        card_entries: Further entries of the model's card.
        data: Name of the data set.
        tensorboard: Folder for TensorBoard, with a folder for each training.
    """

    trainer: ModelTrainer
    config: TrainConfig
    training: Sequence[VideoFeatures]
    held_out: Sequence[VideoFeatures]
    card_entries: Mapping[str, Any]
    data: str
    warn: MessageCallback
    tensorboard: Path | None

    def train_one(self) -> Model:
        """Train one model, with the configured seed, on all training videos."""
        log = self.trainer.files.log()
        return self._train(self.config, self.training, "training", log, self.warn)

    def train_seeds(self, n: int) -> tuple[Model, tuple[SeedRun, ...]]:
        """Train a model for each of ``n`` seeds, from the configured one up, and keep the best.

        The best is chosen on a validation fold that none of them is trained on. Where there are too
        few groups for one, the first is kept. Models that an interrupted run has finished are used
        again.
        """
        dataset = Dataset(self.data, tuple(each.video for each in self.training))
        folds = validation_folds(dataset, _FOLDS, self.config.recipe.seed)
        training, validation = self.training, list[VideoFeatures]()
        if folds and dataset.abnormal.any():
            training = [self.training[int(i)] for i in folds[0].train]
            validation = [self.training[int(i)] for i in folds[0].test]
        else:
            self.warn("too few groups to choose among the seeds on: the first one is kept")
        first = self.config.recipe.seed
        models = [self._train_seed(first + i, training, validation, first=i == 0) for i in range(n)]
        figures = [
            selection_value(model, self.config, validation) if validation else None
            for model in models
        ]
        best = max(range(n), key=lambda i: figures[i] or 0.0)
        runs = tuple(SeedRun(first + i, figures[i], models[i].metrics, i == best) for i in range(n))
        metrics = {
            name: np.array([run.metrics[name] for run in runs])
            for name in runs[0].metrics
            if all(name in run.metrics for run in runs)
        }
        card = {name: value for name, value in models[best].card.items() if name != _DIGEST_KEY}
        card["seeds"] = {
            "chosen_by": selection_metric(self.config),
            "runs": [{**vars(run), "metrics": dict(run.metrics)} for run in runs],
            "mean_and_deviation": {
                name: [float(values.mean()), float(values.std(ddof=1))]
                for name, values in metrics.items()
            },
        }
        return replace(models[best], card=card), runs

    def _train_seed(
        self,
        seed: int,
        training: Sequence[VideoFeatures],
        validation: Sequence[VideoFeatures],
        *,
        first: bool,
    ) -> Model:
        config = self.config.with_recipe(seed=seed)
        files = self.trainer.files
        path = files.model(f"seed-{seed}")
        sections = (*config.training_views().values(), *config.profiles().values())
        specs = [self.trainer.feature_cache.spec(each) for each in sections]
        # Thresholds and metrics depend on the held-out videos.
        digest = "".join(
            training_features_digest(videos, specs, events=config.clicks.events)
            for videos in (training, self.held_out)
        )
        if (finished := _load_finished(path, config, digest)) is not None:
            return replace(finished, name=files.out.stem)
        if path.exists():
            self.warn(
                f"{path}: trained with another configuration, on other features or by an earlier "
                "version: it is trained again"
            )
        # All seeds' thresholds stand on the same videos, so the warning is given once.
        warn = self.warn if first else ignore_message
        model = self._train(config, training, f"seed-{seed}", files.log(seed), warn)
        groups = sorted({each.video.group for each in validation})
        card = {**model.card, "validation_groups": groups, _DIGEST_KEY: digest}
        model = replace(model, card=card)
        save_model(model, path, fp16=config.fp16, head=True)
        return model

    def _train(
        self,
        config: TrainConfig,
        videos: Sequence[VideoFeatures],
        name: str,
        log: Path,
        warn: MessageCallback,
    ) -> Model:
        tensorboard = self.tensorboard and self.tensorboard / name
        model, warnings = self.trainer.train(
            config, videos, name, self.trainer.report_loss, log, tensorboard
        )
        for line in warnings:
            self.warn(line if name == "training" else f"{name}: {line}")
        card = {**self._card(config, videos), **self.card_entries}
        pretrained = self.trainer.pretrained
        if pretrained is not None and self.trainer.corrects(config, videos):
            old = pretrained.card
            card["corrections"] = [*old.get("corrections", ()), card["training_videos"]]
            card["learned_from"] = sorted({*old.get("learned_from", ()), *card["learned_from"]})
        model = replace(model, card=card)
        return with_threshold_and_metrics(model, config, self.held_out, videos, warn, pretrained)

    def _card(self, config: TrainConfig, training: Sequence[VideoFeatures]) -> dict[str, Any]:
        # The groups that these videos have where they are not grouped by scene.
        own = sorted({each.video.fallback_group for each in self.held_out} - {""})
        failed = self.trainer.feature_cache.failed
        return {
            "data": self.data,
            "training_videos": {
                "normal": sum(not each.video.abnormal for each in training),
                "abnormal": sum(each.video.abnormal for each in training),
            },
            **self._count_times(config, training),
            "learned_from": sorted({short_digest(each.sha256) for each in training}),
            "left_out_groups": list(config.leave_out),
            "held_out_groups": sorted({each.video.group for each in self.held_out}),
            **({"held_out_own_groups": own} if own else {}),
            "held_out_videos": len(self.held_out),
            # File names only: the card of a shared model should not show the folders of its author.
            "left_out": {Path(p).name: why.replace(p, Path(p).name) for p, why in failed.items()},
            "limits": config.limits,
            "configuration": config.model_dump(mode="json"),
        }

    def _count_times(
        self, config: TrainConfig, training: Sequence[VideoFeatures]
    ) -> dict[str, int]:
        """How many labels in time of single moments were learned from, if there are any."""
        if not config.learns_from_times() or self.trainer.corrects(config, training):
            return {}
        labels = [each.video.time_labels for each in training]
        counts = {
            "clicks": sum(len(each.clicks) for each in labels),
            "rejected_times": sum(len(each.rejected) for each in labels),
        }
        return {name: count for name, count in counts.items() if count}


def _load_finished(path: Path, config: TrainConfig, digest: str) -> Model | None:
    """The model that an interrupted run finished, if configuration and features are the same."""
    if not path.exists():
        return None
    model = load_model(path)
    same = model.card.get("configuration") == config.model_dump(mode="json")
    return model if same and model.card.get(_DIGEST_KEY) == digest else None


def training_data_digest(videos: Sequence[VideoFeatures]) -> str:
    """Digest of the videos' contents, labels and masks, whatever their order."""
    lines = sorted(f"{each.sha256} {each.video.label}{_mask_digests(each)}\n" for each in videos)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def training_features_digest(
    videos: Sequence[VideoFeatures], specs: Iterable[FeatureSpec], *, events: bool = False
) -> str:
    """Digest of labels and features of training videos, whatever their order.

    Extracted features are represented by the video's content, its mask and the specs. Features that
    came with a data set are read and digested. ``events``: whether intervals are labels, too.
    """
    lines = sorted(
        f"{_content_digest(each)} {each.video.label}{_mask_digests(each)}"
        f"{_times(each.video, events=events)}\n"
        for each in videos
    )
    lines += [f"{spec.hash()}\n" for spec in specs]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _content_digest(each: VideoFeatures) -> str:
    if each.video.precomputed is None:  # ``sha256`` is a digest of the whole file.
        return each.sha256
    return content_digest(next(iter(each.features.values())).array)


def _times(video: LabelledVideo, *, events: bool) -> str:
    """The labels in time as text; "" if there are none."""
    return "".join(f" {x}" for x in (video.time_labels, events and video.truth) if x)


def _mask_digests(each: VideoFeatures) -> str:
    """A space and the digest of the video's mask; "" where it has none."""
    return "".join(sorted({f" {f.spec.mask}" for f in each.features.values() if f.spec.mask}))
