"""Published features: how they were made, by preset, and what the files of a data set hold.

Both presets follow the extractor that UR-DMU's authors published: OpenCV writes the frames as JPEG
at quality 95, Pillow's Lanczos filter resizes them to 340x256, crops of 224x224 are cut in the
order of the published files, and a snippet is 16 frames without overlap, with the last frame
repeated. Whether the published files were made with this filter, and with JPEG, is not known; both
are fields of the spec.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from oddframe.errors import UsageError, nearest_name
from oddframe.features.spec import IMPORTED, FeatureSpec
from oddframe.video.snippets.preprocessing import Preprocessing, crop_names, reorder_crops

SNIPPET_FRAMES = 16
I3D_DIM = 1024

_PREPROCESSING = Preprocessing(
    resize=(340, 256),
    filter="lanczos",
    jpeg_quality=95,
    crop_size=(224, 224),
    crops=crop_names(10),
    snippet_frames=SNIPPET_FRAMES,
    stride=SNIPPET_FRAMES,
)
# Name and description of published visual features, by their length.
_PUBLISHED_FEATURES = {
    1024: ("i3d", "I3D (Inception-v1), which UR-DMU reads"),
    1152: ("i3d+vggish", "I3D (Inception-v1) and VGGish of the sound, already joined"),
    2048: ("i3d_resnet50", "I3D-ResNet-50, which RTFM reads: another network, not UR-DMU's I3D"),
}
_VGGISH_DIM = 128


@dataclass(frozen=True)
class Preset:
    """How the features of a data set are extracted.

    Attributes:
        backbone: Name in the registry of backbones; several are joined by ``+``.
        preprocessing: How a video becomes snippets.
        description: The data set and the preprocessing in a few words.
    """

    backbone: str
    preprocessing: Preprocessing
    description: str


PRESETS = {
    "ucf-crime": Preset("i3d", _PREPROCESSING, "UCF-Crime: native frame rate, ten crops"),
    "xd-violence": Preset(
        "i3d+vggish",
        replace(_PREPROCESSING, crops=crop_names(5), rate=24.0),
        "XD-Violence: 24 frames a second, five crops, sound",
    ),
}


def get_preset(name: str, order: Literal["published", "extractor"] = "published") -> Preset:
    """Get a preset by name.

    Args:
        name: ``ucf-crime`` or ``xd-violence``.
        order: Order of the crops: that of the published files, or that of the authors' extractor.

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


@dataclass(frozen=True)
class PublishedLayout:
    """What the published feature files of a data set hold.

    Attributes:
        crops: Number of crops of a video; the first one is the centre.
        fps: Frame rate of the videos in frames a second.
        dim: Length of a visual feature.
        audio_dim: Length of a feature of the sound; 0: none are published.
    """

    crops: Literal[5, 10]
    fps: float
    dim: int = I3D_DIM
    audio_dim: int = 0


def published_name(dim: int, audio_dim: int = 0) -> str:
    """Name published features by their length: ``i3d``, ``i3d+vggish``, ``i3d_resnet50``.

    Features of an unknown length are named ``dim512`` after it.
    """
    visual = _PUBLISHED_FEATURES[dim][0] if dim in _PUBLISHED_FEATURES else f"dim{dim}"
    audio = {0: "", _VGGISH_DIM: "+vggish"}.get(audio_dim, f"+dim{audio_dim}")
    return visual + audio


def describe_published(dim: int) -> str:
    """Describe published features by their length; "": the length is unknown."""
    return _PUBLISHED_FEATURES[dim][1] if dim in _PUBLISHED_FEATURES else ""


def published_audio_dim(dim: int) -> int:
    """Count the numbers that describe the sound in published features of length ``dim``."""
    return _VGGISH_DIM if published_name(dim).endswith("+vggish") else 0


def imported_spec(dim: int, crops: Literal[5, 10], audio_dim: int = 0) -> FeatureSpec:
    """Make the spec of published features, whose backbone is ``imported:<name>``.

    The preprocessing is that of the published extractor; whether the files were made with it is not
    known.
    """
    return FeatureSpec(
        **vars(replace(_PREPROCESSING, crops=crop_names(crops))),
        backbone=f"{IMPORTED}{published_name(dim, audio_dim)}",
        weights_sha256="",
        dim=dim + audio_dim,
    )
