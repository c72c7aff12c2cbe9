"""Presets follow the published extractor; published features are named by their length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from oddframe.errors import UsageError
from oddframe.features.extraction.extract_video import make_spec
from oddframe.features.presets import PRESETS, get_preset, imported_spec, published_name
from oddframe.training.config import FeatureSection, parse_config
from oddframe.training.configure import _section
from oddframe.video.decoding.isolated import open_source
from oddframe.video.snippets.preprocessing import crop_names, reorder_crops
from tests.snippets import SnippetReader

CORNERS = {
    "top_left": np.s_[:224, :224],
    "top_right": np.s_[:224, -224:],
    "center": np.s_[16:240, 58:282],
    "bottom_left": np.s_[-224:, :224],
    "bottom_right": np.s_[-224:, -224:],
}


def published_frames(path: Path, folder: Path) -> list[np.ndarray]:
    """Do as the authors' extractor: OpenCV writes JPEG files, Pillow reads and resizes them."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        done, image = capture.read()
        if not done:
            return frames
        file = folder / f"{len(frames):06d}.jpg"
        cv2.imwrite(str(file), image)
        with PillowImage.open(file) as picture:
            small = picture.resize((340, 256), PillowImage.Resampling.LANCZOS)
            frames.append(np.asarray(small))


@pytest.mark.parametrize("name", ["clip", "normal_clip"])
def test_snippets_are_those_of_the_authors_extractor(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = request.getfixturevalue(name)
    frames = published_frames(path, tmp_path)
    frames += [frames[-1]] * (-len(frames) % 16)
    how = replace(get_preset("ucf-crime").preprocessing, crops=crop_names(10, "extractor"))
    largest = 0
    for number, snippet in enumerate(SnippetReader(open_source(path), how)):
        theirs = np.stack(frames[number * 16 : number * 16 + 16])
        for flipped, five in ((theirs, snippet[:5]), (theirs[:, :, ::-1], snippet[5:])):
            for place, crop in zip(CORNERS.values(), five, strict=True):
                ours = crop.astype(int)
                largest = max(largest, int(np.abs(ours - flipped[(slice(None), *place)]).max()))
    assert (number + 1) * 16 == len(frames)
    assert largest <= 1, "grey levels"


@pytest.mark.slow
def test_frames_of_every_size_are_those_of_pillow(shared_data: Path, tmp_path: Path) -> None:
    how = get_preset("ucf-crime").preprocessing
    sizes = set()
    for path in sorted(shared_data.glob("surveillance_fight/*/*.mp4"))[::66]:
        theirs = published_frames(path, tmp_path)
        frames = open_source(path).frames(how.resize, how.filter, how.jpeg_quality)
        for ours, published in zip(frames, theirs, strict=True):
            assert np.abs(ours.image.astype(int) - published).max() <= 1
        sizes.add(PillowImage.open(tmp_path / "000000.jpg").size)
    assert len(sizes) == 3


def test_fields_of_the_presets() -> None:
    ucf, xd = get_preset("ucf-crime"), get_preset("xd-violence")
    assert (ucf.backbone, ucf.preprocessing.rate, ucf.preprocessing.crops) == (
        "i3d",
        None,
        crop_names(10),
    )
    assert (xd.backbone, xd.preprocessing.rate, xd.preprocessing.crops) == (
        "i3d+vggish",
        24.0,
        crop_names(5),
    )
    for preset in (ucf, xd):
        how = preset.preprocessing
        assert (how.resize, how.crop_size) == ((340, 256), (224, 224))
        assert (how.filter, how.jpeg_quality) == ("lanczos", 95)
        assert (how.snippet_frames, how.stride) == (16, 16)
    assert reorder_crops(crop_names(5), "extractor") == crop_names(5, "extractor")
    with pytest.raises(UsageError, match="did you mean ucf-crime"):
        get_preset("ucf_crime")
    assert set(PRESETS) == {"ucf-crime", "xd-violence"}


def test_presets_in_a_configuration() -> None:
    section = parse_config({"features": {"preset": "ucf-crime"}}).features
    assert section == FeatureSection(backbone="i3d", **vars(get_preset("ucf-crime").preprocessing))
    assert section.preprocessing() == get_preset("ucf-crime").preprocessing
    changed = {"preset": "xd-violence", "backbone": "i3d+aisfx", "jpeg_quality": 0}
    section = parse_config({"features": {**changed, "crop_order": "extractor"}}).features
    assert (section.backbone, section.jpeg_quality, section.rate) == ("i3d+aisfx", 0, 24.0)
    assert section.crops == crop_names(5, "extractor")
    assert FeatureSection.model_validate(section.model_dump()) == section
    assert _section(make_spec("i3d+aisfx", section.preprocessing())) == section


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"preset": "ucf"}, "no preset is called 'ucf'"),
        ({"presett": "ucf-crime"}, "did you mean 'preset'"),
        ({"crop_order": "extractor"}, "five or ten crops"),
        ({"preset": "ucf-crime", "crop_order": "mixed"}, "published or extractor, not mixed"),
        ({"backbone": "i3d+vgish"}, "did you mean vggish"),
        ({"preset": "ucf-crime", "tiles": [2, 2]}, "exclude each other"),
    ],
)
def test_wrong_presets_are_refused_with_the_name_of_the_file(features: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        parse_config({"features": features}, "my.yaml")
    assert str(error.value).startswith("my.yaml")


def test_a_model_accepts_features_with_another_order_of_crops() -> None:
    how = get_preset("ucf-crime").preprocessing
    ours = make_spec("i3d", how)
    theirs = make_spec("i3d", replace(how, crops=crop_names(10, "extractor")))
    assert ours.hash() != theirs.hash()
    assert ours.differences(theirs, sampling=True)
    assert ours.differences(theirs) == []


def test_published_features_are_named_by_their_length() -> None:
    assert [published_name(1024), published_name(1024, 128), published_name(2048)] == [
        "i3d",
        "i3d+vggish",
        "i3d_resnet50",
    ]
    assert (published_name(1152), published_name(512)) == ("i3d+vggish", "dim512")
    assert imported_spec(1024, 5, 128).dim == 1152
    assert not imported_spec(1024, 10).differences(imported_spec(1024, 5))
    assert imported_spec(1024, 5).differences(imported_spec(1024, 5, 128))
