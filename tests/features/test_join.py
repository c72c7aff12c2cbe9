"""Features of several backbones are joined; the length of the part of the sound is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oddframe.errors import InputError
from oddframe.features.spec import Features, FeatureSpec, count_audio_dims, join_features
from oddframe.timeline import Timebase
from oddframe.video.snippets.preprocessing import Preprocessing, crop_names

HOW = Preprocessing(crops=crop_names(5))


def features(name: str, dim: int, preprocessing: Preprocessing, frames: int = 100) -> Features:
    spec = FeatureSpec(**vars(preprocessing), backbone=name, weights_sha256=name * 2, dim=dim)
    base = Timebase(
        25.0, frames, preprocessing.snippet_frames, preprocessing.stride, preprocessing.rate
    )
    shape = (len(preprocessing.crops), base.n_snippets, dim)
    array = np.random.default_rng(len(name)).normal(size=shape).astype(np.float32)
    return Features(array, spec, base)


def test_features_of_the_sound_are_joined_to_every_crop() -> None:
    picture, sound = features("eye", 6, HOW), features("ear", 3, HOW.without_picture())
    joined = join_features([picture, sound])
    assert (joined.spec.backbone, joined.spec.weights_sha256) == ("eye+ear", "eyeeye+earear")
    assert joined.spec.crops == HOW.crops
    assert joined.timebase == picture.timebase
    np.testing.assert_array_equal(joined.array[..., :6], picture.array)
    for crop in joined.array:
        np.testing.assert_array_equal(crop[:, 6:], sound.array[0])
    assert join_features([picture]) is picture


def test_features_of_other_snippets_are_not_joined() -> None:
    picture = features("eye", 6, HOW)
    for frames in (60, 99, 130):
        with pytest.raises(InputError, match="cannot be joined"):
            join_features([picture, features("ear", 3, HOW.without_picture(), frames)])
    with pytest.raises(InputError, match="different preprocessing"):
        join_features([picture, features("other", 3, replace(HOW, filter="bicubic"))])
    denser = replace(HOW, stride=8).without_picture()
    with pytest.raises(InputError, match="cannot be joined"):
        join_features([picture, features("ear", 3, denser)])


@pytest.mark.parametrize(
    ("backbones", "dims"),
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
def test_audio_dims_are_known_from_the_names(backbones: str, dims: int) -> None:
    assert count_audio_dims(backbones) == dims


def test_an_unknown_field_is_named_in_one_line() -> None:
    with pytest.raises(InputError, match=r"no field '\\x1e': newer version") as refused:
        FeatureSpec.from_dict({"\x1e": None})
    assert len(str(refused.value).splitlines()) == 1
