"""Which numbers of a feature are of the sound."""

from __future__ import annotations

import pytest

from oddframe.features.join import count_audio_dims


@pytest.mark.parametrize(
    ("backbones", "numbers"),
    [
        ("i3d", 0),
        ("i3d+i3d_flow", 0),
        ("i3d+aisfx", 512),
        ("i3d+efficientnet_lite0+vggish", 128),
        ("imported:i3d", 0),
        ("imported:i3d+vggish", 128),
        ("imported:i3d_resnet50+dim96", 96),
    ],
)
def test_names_say_how_much_is_heard(backbones: str, numbers: int) -> None:
    assert count_audio_dims(backbones) == numbers
