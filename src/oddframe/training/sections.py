"""Sections of a training configuration that say how a detector is chosen and measured."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from oddframe.events import EventRule

Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """Frozen, strict about its keys, every number finite.

    A section as JSON is part of digests and model files: a field that is renamed keeps its old key
    there (``serialization_alias``) and reads both (``validation_alias=AliasChoices(...)``).
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True
    )


class CalibrationSection(Section):
    """Which videos are kept from training, to set the threshold and to measure on.

    Attributes:
        share: Share of the videos, by whole groups; 0: none.
        groups: These groups instead.
        false_alarms_per_hour: What the threshold is set to on their normal videos.
    """

    share: float = Field(default=0.2, ge=0, le=0.5)
    groups: tuple[str, ...] = ()
    false_alarms_per_hour: float = Field(default=1.0, ge=0)


class SearchSection(Section):
    """The grid that a search within a budget tries: every lr with every number of steps.

    Attributes:
        lr: Learning rates, each times the configured one.
        steps: Numbers of steps, each times the configured one.
        mirrored: Try all of it with mirrored pictures in training, too.
        folds: Folds of the training groups, each the validation part once: the whole grid on the
            first, the better half of it on the next, and so on while the budget lasts.
    """

    lr: tuple[Positive, ...] = Field(default=(1, 0.3, 3), min_length=1, max_length=32)
    steps: tuple[Positive, ...] = Field(default=(1, 0.5, 2), min_length=1, max_length=32)
    mirrored: bool = True
    folds: int = Field(default=3, ge=2, le=100)


class EventSection(Section):
    """How the model's scores become events; see ``EventRule``.

    Attributes:
        threshold: Fixed instead of calibrated.
        fast_threshold: The same of ``fast``, whose peaks are lower; none: as ``threshold``.
        release: As a share of the threshold.
    """

    threshold: float | None = Field(default=None, ge=0, le=1)
    fast_threshold: float | None = Field(default=None, ge=0, le=1)
    release: float = Field(default=0.8, ge=0, le=1)
    smooth_s: float = Field(default=0.0, ge=0)
    min_duration_s: float = Field(default=0.0, ge=0)
    merge_gap_s: float = Field(default=1.0, ge=0)

    def fixed(self, profile: str) -> float | None:
        """The threshold of a profile; None: it is calibrated."""
        own = self.fast_threshold if profile == "fast" else None
        return self.threshold if own is None else own

    def rule(self, threshold: float) -> EventRule:
        """The rule at ``threshold``."""
        return EventRule(
            threshold=threshold,
            release=self.release * threshold,
            smooth_s=self.smooth_s,
            min_duration_s=self.min_duration_s,
            merge_gap_s=self.merge_gap_s,
        )
