"""What is kept apart in a store: each backbone's features, whatever they are asked for with.

So picture and sound are made once, whether they are wanted together or alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from oddframe.backbones.registry import find_kinds
from oddframe.features.extract import spec_of
from oddframe.features.spec import FeatureSpec
from oddframe.video.preprocessing import Preprocessing


@dataclass(frozen=True)
class Part:
    """What one backbone makes of a video.

    Attributes:
        backbone: Its name.
        how: How the video is cut.
        mask: Digest of the mask over the picture; "": none.
    """

    backbone: str
    how: Preprocessing
    mask: str = ""

    def spec(self, precision: str) -> FeatureSpec:
        """Its spec, where networks that look compute in ``precision``.

        Raises:
            UsageError: no such backbone.
            InputError: its weights are the user's to get, and are not there.
        """
        return spec_of(self.backbone, self.how, precision, self.mask)


def parts_of(backbones: str, how: Preprocessing, mask: str = "") -> tuple[Part, ...]:
    """The parts of ``i3d+aisfx``, in order; those that listen have no picture and no mask.

    Raises:
        UsageError: no such backbone.
    """
    sound = how.without_picture()
    named = zip(backbones.split("+"), find_kinds(backbones), strict=True)
    return tuple(
        Part(name, sound) if kind.listens else Part(name, how, mask) for name, kind in named
    )
