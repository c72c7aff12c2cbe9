"""How published features are made, by name: the one place where that is written down.

Both are the pipeline of the code that UR-DMU's authors published: frames written as JPEG by OpenCV
at quality 95, brought to 340x256 by Pillow's Lanczos, cut into crops of 224x224 in the order of the
published files, 16 frames a snippet without overlap, the last frame repeated. Which filter and
whether JPEG made the files that can be downloaded is not known; both are fields of the spec.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from oddframe.errors import UsageError, nearest_name
from oddframe.video.preprocessing import Preprocessing
from oddframe.video.views import crop_names, reordered


@dataclass(frozen=True)
class Preset:
    """A published kind of feature.

    Attributes:
        backbone: What looks and listens, as in the registry.
        how: How a video is cut.
        about: In a few words.
    """

    backbone: str
    how: Preprocessing
    about: str


_PUBLISHED = Preprocessing(
    resize=(340, 256), filter="lanczos", jpeg_quality=95, crop_size=(224, 224), crops=crop_names(10)
)

PRESETS = {
    "ucf-crime": Preset("i3d", _PUBLISHED, "UCF-Crime: native frame rate, ten crops"),
    "xd-violence": Preset(
        "i3d+vggish",
        replace(_PUBLISHED, crops=crop_names(5), rate=24.0),
        "XD-Violence: 24 frames a second, five crops, sound",
    ),
}


def get_preset(name: str, order: Literal["published", "extractor"] = "published") -> Preset:
    """A preset by name, its crops in the order of the published files or of the extractor.

    Raises:
        UsageError: there is no such preset.
    """
    if name not in PRESETS:
        near = nearest_name(name, PRESETS)
        advice = f"did you mean {near}?" if near else f"there are {', '.join(PRESETS)}"
        raise UsageError(f"no preset is called {name!r}; {advice}")
    preset = PRESETS[name]
    crops = reordered(preset.how.crops, order)
    return replace(preset, how=replace(preset.how, crops=crops))
