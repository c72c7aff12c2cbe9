"""The grey backbones: a feature is the pixels of the frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oddframe.backbones.registry import get_backbones, load_backbone
from oddframe.errors import UsageError
from oddframe.features.extraction.extract_video import extract_video, make_spec
from oddframe.training.config import TrainConfig, parse_config
from oddframe.training.configure import with_method
from oddframe.video.decoding.isolated import open_source


def test_a_feature_is_the_grey_pixels_frame_after_frame() -> None:
    backbone = load_backbone("grey_5x120x160")
    rng = np.random.default_rng(0)
    snippets = rng.integers(0, 256, (2, 5, 120, 160, 3), dtype=np.uint8)
    made = backbone(snippets)
    assert made.shape == (2, 5 * 120 * 160)
    grey = snippets.astype(float) @ [0.299, 0.587, 0.114] / 255
    np.testing.assert_allclose(made.reshape(2, 5, 120, 160), grey, atol=0.6 / 255)
    np.testing.assert_array_equal(backbone(snippets[1:]), made[1:])
    whole = 255 * made
    np.testing.assert_allclose(whole, whole.round(), atol=1e-4)


def test_snippets_have_the_size_in_the_name(clip: Path) -> None:
    backbone, spec = load_backbone("grey_10x96x96"), make_spec("grey_10x96x96")
    assert (spec.snippet_frames, spec.stride, spec.crop_size) == (10, 10, (96, 96))
    features = extract_video(open_source(clip), spec, backbone).features
    assert features.array.shape == (1, 5, 10 * 96 * 96)
    assert 0 <= np.min(features.array) < np.max(features.array) <= 1
    dense = replace(spec, stride=5)
    again = extract_video(open_source(clip), dense, backbone).features
    np.testing.assert_array_equal(np.asarray(again.array)[0, ::2], np.asarray(features.array)[0])


def test_other_sizes_and_weights_are_refused() -> None:
    preprocessing = get_backbones("grey_10x96x96")[0].preprocessing
    with pytest.raises(UsageError, match="10 frames of 96x96, not 16 of 96x96"):
        load_backbone("grey_10x96x96", replace(preprocessing, snippet_frames=16))
    with pytest.raises(UsageError, match="not 10 of 48x48"):
        load_backbone("grey_10x96x96", replace(preprocessing, crop_size=(48, 48)))
    with pytest.raises(UsageError, match="has no weights"):
        load_backbone("grey_10x96x96", weights=Path("some.pt"))


@pytest.mark.parametrize(("name", "own"), [("hasan", "grey_10x96x96"), ("lu", "grey_5x120x160")])
def test_methods_that_read_frames_choose_their_backbone(name: str, own: str) -> None:
    for config in (
        with_method(TrainConfig(), name),
        parse_config({"method": {"name": name}}),
    ):
        assert config.features.backbone == own
        assert config.features.preprocessing() == get_backbones(own)[0].preprocessing
    larger = {"backbone": "grey_10x227x227", "stride": 5}
    asked = parse_config({"features": larger, "method": {"name": "hasan"}})
    assert (asked.features.backbone, asked.features.stride) == ("grey_10x227x227", 5)
