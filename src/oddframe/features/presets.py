"""How published features are made, by name: the one place where that is written down.

Both are the pipeline of the code that UR-DMU's authors published: frames written as JPEG by OpenCV
at quality 95, brought to 340x256 by Pillow's Lanczos, cut into crops of 224x224 in the order of the
published files, 16 frames a snippet without overlap, the last frame repeated. Which filter and
whether JPEG made the files that can be downloaded is not known; both are fields of the spec.

What published features are, by their length, and how those of a data set lie.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from oddframe.errors import UsageError, nearest_name
from oddframe.features.spec import IMPORTED, FeatureSpec
from oddframe.video.snippets.crops import crop_names, reorder_crops
from oddframe.video.snippets.transforms import Preprocessing


@dataclass(frozen=True)
class Preset:
    """A published kind of feature.

    Attributes:
        backbone: What looks and listens, as in the registry.
        preprocessing: How a video is cut.
        description: In a few words.
    """

    backbone: str
    preprocessing: Preprocessing
    description: str


_PUBLISHED_PREPROCESSING = Preprocessing(
    resize=(340, 256), filter="lanczos", jpeg_quality=95, crop_size=(224, 224), crops=crop_names(10)
)

PRESETS = {
    "ucf-crime": Preset("i3d", _PUBLISHED_PREPROCESSING, "UCF-Crime: native frame rate, ten crops"),
    "xd-violence": Preset(
        "i3d+vggish",
        replace(_PUBLISHED_PREPROCESSING, crops=crop_names(5), rate=24.0),
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
    crops = reorder_crops(preset.preprocessing.crops, order)
    return replace(preset, preprocessing=replace(preset.preprocessing, crops=crops))


SNIPPET_FRAMES = 16
I3D_DIM = 1024

# By length, what published features of a picture are.
_PUBLISHED_FEATURES = {
    1024: ("i3d", "I3D (Inception-v1), which UR-DMU reads"),
    1152: ("i3d+vggish", "I3D (Inception-v1) and VGGish of the sound, already joined"),
    2048: ("i3d_resnet50", "I3D-ResNet-50, which RTFM reads: another network, not UR-DMU's I3D"),
}
_VGGISH_DIM = 128


@dataclass(frozen=True)
class PublishedLayout:
    """How features of a data set are published.

    Attributes:
        crops: Crops a video, the centre first.
        fps: Frames a second of its videos.
        dim: Length of a feature of the picture.
        audio_dim: Length of a feature of the sound; 0: none are published.
    """

    crops: Literal[5, 10]
    fps: float
    dim: int = I3D_DIM
    audio_dim: int = 0


def published_name(dim: int, audio_dim: int = 0) -> str:
    """Name of published features by their length: ``i3d``, ``i3d+vggish``, ``i3d_resnet50``.

    Features of any other length are named by it: ``dim512``.
    """
    picture = _PUBLISHED_FEATURES[dim][0] if dim in _PUBLISHED_FEATURES else f"dim{dim}"
    sound = {0: "", _VGGISH_DIM: "+vggish"}.get(audio_dim, f"+dim{audio_dim}")
    return picture + sound


def describe_published(dim: int) -> str:
    """Published features of this length in words; empty if they are unknown."""
    return _PUBLISHED_FEATURES[dim][1] if dim in _PUBLISHED_FEATURES else ""


def published_audio_dim(dim: int) -> int:
    """How many of the numbers of a published feature of this length are of the sound; 0: none."""
    return _VGGISH_DIM if published_name(dim).endswith("+vggish") else 0


def imported_spec(dim: int, crops: Literal[5, 10], audio_dim: int = 0) -> FeatureSpec:
    """Spec of published features: the backbone's name says that they were not made here.

    Size, filter and crops are those of the extractor that their authors published; whether the
    files were made with it is not known.
    """
    return FeatureSpec(
        backbone=f"{IMPORTED}{published_name(dim, audio_dim)}",
        weights_sha256="",
        dim=dim + audio_dim,
        jpeg_quality=95,
        crops=crop_names(crops),
        snippet_frames=SNIPPET_FRAMES,
        stride=SNIPPET_FRAMES,
    )
