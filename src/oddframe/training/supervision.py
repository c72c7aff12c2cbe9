"""What training does differently for weakly supervised, one-class and unsupervised methods.

The only place in training that asks of which kind a method is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oddframe.methods.base import AnyMethod
from oddframe.modelfile import DETECTS_UNUSUAL


@dataclass(frozen=True)
class SupervisionTraits:
    """How methods of one kind are trained.

    Attributes:
        reads_labels: Whether training reads which videos are abnormal.
        needs_abnormal: Whether there must be abnormal videos to train on.
        can_be_compared: Whether validation videos show which settings and seeds are better. Those
            of one-class methods are all normal.
        detects: What the model detects, in words; "": the classes of its abnormal videos.
    """

    reads_labels: bool = True
    needs_abnormal: bool = True
    can_be_compared: bool = True
    detects: str = ""

    def describe_detected(self, classes: Sequence[str]) -> str:
        """What a model detects that was trained on abnormal videos of these classes, in words."""
        return self.detects or ", ".join(classes)


WEAK = SupervisionTraits()
ONE_CLASS = SupervisionTraits(needs_abnormal=False, can_be_compared=False, detects=DETECTS_UNUSUAL)
UNSUPERVISED = SupervisionTraits(reads_labels=False, needs_abnormal=False, detects="what is rare")


def supervision_of(method: AnyMethod) -> SupervisionTraits:
    """The kind of a method."""
    if method.one_class:
        return ONE_CLASS
    return UNSUPERVISED if method.unsupervised else WEAK
