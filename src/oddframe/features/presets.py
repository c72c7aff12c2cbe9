"""Published features: how they were made, by preset, and what the files of a data set hold.

Both presets follow the extractor that UR-DMU's authors published: OpenCV writes the frames as JPEG
at quality 95, Pillow's Lanczos filter resizes them to 340x256, and crops of 224x224 are cut in the
order of the published files. Whether the published files were made with this filter, and with JPEG,
is not known; both are fields of the spec.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from oddframe.errors import UsageError, name_hint
from oddframe.features.spec import IMPORTED, FeatureSpec
from oddframe.video.snippets.preprocessing import Preprocessing, crop_names

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
    """How the features of a data set are extracted."""

    backbone: str
    preprocessing: Preprocessing


PRESETS = {
    "ucf-crime": Preset("i3d", _PREPROCESSING),
    "xd-violence": Preset("i3d+vggish", replace(_PREPROCESSING, crops=crop_names(5), rate=24.0)),
}


def get_preset(name: str) -> Preset:
    """Get a preset, with crops in the order of the published files."""
    if name not in PRESETS:
        raise UsageError(f"no preset is called {name!r}; {name_hint(name, PRESETS)}")
    return PRESETS[name]


@dataclass(frozen=True)
class PublishedLayout:
    """What the published feature files of a data set hold."""

    crops: Literal[5, 10]  # The first one is the centre.
    fps: float
    dim: int = I3D_DIM
    audio_dim: int = 0  # 0: none are published.


def published_name(dim: int, audio_dim: int = 0) -> str:
    """Name published features by their length: ``i3d``, ``i3d+vggish``, or else ``dim512``."""
    visual = _PUBLISHED_FEATURES[dim][0] if dim in _PUBLISHED_FEATURES else f"dim{dim}"
    audio = {0: "", _VGGISH_DIM: "+vggish"}.get(audio_dim, f"+dim{audio_dim}")
    return visual + audio


def describe_published(dim: int) -> str:
    """The length of published features and, if it is known, what they are."""
    return f"{dim} ({_PUBLISHED_FEATURES[dim][1]})" if dim in _PUBLISHED_FEATURES else str(dim)


def published_audio_dim(dim: int) -> int:
    """Count the numbers that describe the sound in published features of length ``dim``."""
    return _VGGISH_DIM if published_name(dim).endswith("+vggish") else 0


def imported_spec(dim: int, crops: Literal[5, 10], audio_dim: int = 0) -> FeatureSpec:
    """Make the spec of published features, with the preprocessing of the published extractor."""
    return FeatureSpec(
        **vars(replace(_PREPROCESSING, crops=crop_names(crops))),
        backbone=f"{IMPORTED}{published_name(dim, audio_dim)}",
        weights_sha256="",
        dim=dim + audio_dim,
    )
