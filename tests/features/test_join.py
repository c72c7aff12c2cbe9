from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oddframe.errors import InputError
from oddframe.features.join import join
from oddframe.features.spec import Features, FeatureSpec
from oddframe.timeline import Timebase
from oddframe.video.preprocessing import NO_PICTURE, Preprocessing
from oddframe.video.views import crop_names

HOW = Preprocessing(crops=crop_names(5))


def features(name: str, dim: int, how: Preprocessing, frames: int = 100, **time) -> Features:
    spec = FeatureSpec(**vars(how), backbone=name, weights_sha256=name * 2, dim=dim)
    base = Timebase(25.0, frames, how.snippet_frames, how.stride, how.rate, **time)
    shape = (len(how.crops), base.n_snippets, dim)
    array = np.random.default_rng(len(name)).normal(size=shape).astype(np.float32)
    return Features(array, spec, base)


def test_sound_stands_beside_every_crop() -> None:
    picture, sound = features("eye", 6, HOW), features("ear", 3, HOW.without_picture())
    made = join([picture, sound])
    assert made.note is None
    joined = made.features
    assert (joined.spec.backbone, joined.spec.weights_sha256) == ("eye+ear", "eyeeye+earear")
    assert joined.spec.crops == HOW.crops
    assert joined.timebase == picture.timebase
    np.testing.assert_array_equal(joined.array[..., :6], picture.array)
    for crop in joined.array:
        np.testing.assert_array_equal(crop[:, 6:], sound.array[0])
    assert join([picture]).features is picture


@pytest.mark.parametrize("frames", [97, 112])
@pytest.mark.parametrize("uneven", [False, True])
def test_one_row_of_sound_fewer_drops_the_last_row_of_the_picture(
    frames: int, uneven: bool
) -> None:
    time = {"pts": np.cumsum(np.full(frames, 0.04)) ** 1.01} if uneven else {}
    picture = features("eye", 6, HOW, frames, **time)
    sound = features("ear", 3, HOW.without_picture(), 96)
    made = join([picture, sound])
    assert made.note is not None
    assert "last row of the picture" in made.note
    assert made.features.timebase.n_frames == 96
    np.testing.assert_array_equal(made.features.array[..., :6], picture.array[:, :-1])
    np.testing.assert_array_equal(made.features.array[0, :, 6:], sound.array[0])


def test_what_does_not_go_together_is_refused() -> None:
    picture = features("eye", 6, HOW)
    for frames in (60, 130):
        with pytest.raises(InputError, match="only one row fewer"):
            join([picture, features("ear", 3, HOW.without_picture(), frames)])
    with pytest.raises(InputError, match="cut in two ways"):
        join([picture, features("other", 3, replace(HOW, filter="bicubic"))])
    denser = replace(HOW, stride=8).without_picture()
    with pytest.raises(InputError, match="other lengths or strides"):
        join([picture, features("ear", 3, denser, 64)])
    assert denser.crops == NO_PICTURE
