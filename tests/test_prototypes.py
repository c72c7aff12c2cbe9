"""What an event looks like: prototypes in model files, memory slots, and what shows them."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oddframe.detector import Detector, VideoResult
from oddframe.errors import InputError
from oddframe.features.spec import Features
from oddframe.methods.mil.urdmu_network import UrDmuNetwork
from oddframe.modelfile import load_model, save_model
from oddframe.outputs.pages.report import write_html
from oddframe.outputs.score_files import read_score_file, write_json
from oddframe.outputs.text import describe_reason
from oddframe.prototypes import (
    MAX_PROTOTYPES,
    Prototype,
    PrototypeBank,
    choose_prototypes,
    unit_rows,
)
from oddframe.timeline import Event, LikelyAction, MemorySlot, SimilarClip
from oddframe.training.prototype_bank import _names_inside, small_jpeg
from oddframe.video.snippets.preprocessing import with_tiles
from tests.outputs.conftest import build
from tests.test_modelfile import DIM, SPEC, made_features, made_model

JPEG = small_jpeg(np.full((60, 80, 3), 90, np.uint8), None)
EVIL = "<script>evil()</script>"


def made_bank(count: int = 6, seed: int = 1, dim: int = DIM) -> PrototypeBank:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return PrototypeBank.of(
        rows,
        [
            Prototype(
                f"fight/fi{i:03}.mp4", 0.5 * i, "fight" if i % 2 else "normal", bool(i % 2), JPEG
            )
            for i in range(count)
        ],
    )


def saved(bank: PrototypeBank, folder: Path) -> Path:
    path = folder / "m.safetensors"
    save_model(replace(made_model("linear"), prototypes=bank), path)
    return path


def test_a_model_file_carries_its_prototypes(tmp_path: Path) -> None:
    bank, plain = made_bank(), made_model("linear")
    path = saved(bank, tmp_path)
    back = load_model(path)
    assert back.prototypes is not None
    assert back.prototypes.prototypes == bank.prototypes
    np.testing.assert_array_equal(back.prototypes.features, bank.features)
    np.testing.assert_array_equal(
        back.score(made_features()).scores, plain.score(made_features()).scores
    )
    save_model(replace(back, name="m"), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_only_files_with_prototypes_need_a_newer_version(tmp_path: Path) -> None:
    save_model(made_model("linear"), tmp_path / "plain.safetensors")
    assert b'\\"format\\": 1' in (tmp_path / "plain.safetensors").read_bytes()
    assert b'\\"format\\": 2' in saved(made_bank(), tmp_path).read_bytes()


def hostile(how: str) -> PrototypeBank:
    bank = made_bank()
    first, *others = bank.prototypes
    match how:
        case "too many":
            return made_bank(MAX_PROTOTYPES + 1)
        case "one row too few":
            return replace(bank, features=bank.features[1:])
        case "other length":
            return replace(bank, features=bank.features[:, 1:])
        case "float32":
            return replace(bank, features=bank.features.astype(np.float32))
        case "not of length 1":
            return replace(bank, features=bank.features * np.float16(3))
        case "not finite":
            return replace(bank, features=np.full_like(bank.features, np.nan))
        case "no picture":
            changed = replace(first, picture=b"<svg onload='evil()'/>")
        case "huge picture":
            changed = replace(first, picture=JPEG + b"\0" * 20_000)
        case "long name":
            changed = replace(first, video="x" * 10_000)
        case _:
            changed = replace(first, time_s=float("inf"))
    return replace(bank, prototypes=(changed, *others))


@pytest.mark.parametrize(
    "how",
    [
        *("too many", "one row too few", "other length", "float32", "not of length 1"),
        *("not finite", "no picture", "huge picture", "long name", "endless time"),
    ],
)
def test_a_hostile_bank_is_one_clear_line(how: str, tmp_path: Path) -> None:
    path = saved(hostile(how), tmp_path)
    with pytest.raises(InputError, match="damaged model file") as error:
        load_model(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_sizes_in_the_header_are_those_of_the_file(tmp_path: Path) -> None:
    path = saved(made_bank(), tmp_path)
    data, size = path.read_bytes(), f'\\"picture\\": {len(JPEG)}'.encode()
    assert data.count(size) == 6
    path.write_bytes(data.replace(size, f'\\"picture\\": {len(JPEG) - 1}'.encode(), 1))
    with pytest.raises(InputError, match=r"prototypes\.pictures"):
        load_model(path)


def test_a_snippet_looks_like_itself() -> None:
    bank, features = made_bank(), made_features()
    model = replace(made_model("linear"), prototypes=bank)
    rows = model.network.standardise_rows(features.array[0])
    own = PrototypeBank.of(
        rows[[3, 7]], [Prototype("a.mp4", 1, "fight", True), Prototype("b.mp4", 2, "normal", False)]
    )
    reasons = replace(model, prototypes=own).score(features).reasons
    assert reasons is not None
    for snippet, video in ((3, "a.mp4"), (7, "b.mp4")):
        nearest = reasons.at(snippet).similar[0]
        assert nearest.video == video
        assert nearest.similarity == pytest.approx(1, abs=1e-3)
    for snippet in range(len(rows)):
        similarities = [clip.similarity for clip in reasons.at(snippet).similar]
        assert similarities == sorted(similarities, reverse=True)


def test_of_tiles_the_one_with_the_highest_score_is_compared() -> None:
    spec = with_tiles(SPEC, 2, 3)
    model = made_model("linear", spec=spec)
    model.network.network.load_state_dict(
        {name: torch.randn_like(p) for name, p in model.network.network.state_dict().items()}
    )
    features = made_features(spec)
    track = model.score(features)
    assert track.tiles is not None
    tile = int(track.tiles.scores[:, 4].argmax())
    row = model.network.standardise_rows(np.asarray(features.array)[tile, 4][None])
    bank = PrototypeBank.of(row, [Prototype("a.mp4", 0, "fight", True)])
    reasons = replace(model, prototypes=bank).score(features).reasons
    assert reasons is not None
    assert reasons.at(4).similar[0].similarity == pytest.approx(1, abs=1e-3)


def test_memory_slots_are_those_with_the_largest_weights() -> None:
    model, features = made_model(), made_features()
    track = model.score(features)
    network = model.network.network
    assert isinstance(network, UrDmuNetwork)
    with torch.inference_mode():
        x = model.network.standardise(torch.from_numpy(features.array))
        weights = network.memory_weights(x)
    assert weights is not None
    assert track.reasons is not None
    together = torch.cat(weights, dim=2)[0]
    for snippet in range(len(track.scores)):
        slots = track.reasons.at(snippet).memory_slots
        best = slots[0]
        column = best.slot + (weights[0].shape[2] if best.memory == "normal" else 0)
        assert column == int(together[snippet].argmax())
        share = together[snippet].max() / together[snippet].sum()
        assert best.share == pytest.approx(float(share), rel=1e-4)


def test_models_without_prototypes_and_memories_give_no_reasons() -> None:
    assert made_model("linear").score(made_features()).reasons is None


@given(
    st.integers(0, 40), st.integers(0, 40), st.integers(1, MAX_PROTOTYPES), st.integers(0, 2**16)
)
def test_chosen_prototypes_are_few_and_of_both_classes(
    odd: int, normal: int, most: int, seed: int
) -> None:
    if not odd + normal:
        return
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(odd + normal, 5)).astype(np.float32)
    abnormal = rng.permutation(np.arange(odd + normal) < odd)
    scores = rng.random(odd + normal)
    chosen = choose_prototypes(rows, scores, abnormal, most)
    assert len(set(chosen.tolist())) == len(chosen) <= min(most, odd + normal)
    if most > 1 and odd and normal:
        assert abnormal[chosen].any()
        assert not abnormal[chosen].all()
    of_odd = chosen[abnormal[chosen]]
    if len(of_odd) < odd:  # The highest scores are kept.
        rest = np.setdiff1d(np.flatnonzero(abnormal), of_odd)
        assert not len(of_odd) or scores[of_odd].min() >= scores[rest].max()


def test_normal_prototypes_come_from_every_cluster() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(8, dtype=np.float32) * 10
    rows = np.concatenate([c + rng.normal(size=(30, 8)).astype(np.float32) for c in centres])
    chosen = choose_prototypes(rows, rng.random(240), np.zeros(240, bool), 8)
    assert sorted((chosen // 30).tolist()) == list(range(8))


@given(st.integers(1, 12), st.floats(1e-3, 1e3))
def test_similarity_is_a_cosine(dim: int, scale: float) -> None:
    rows = np.random.default_rng(dim).normal(size=(4, dim)).astype(np.float32)
    bank = PrototypeBank.of(rows, [Prototype("a", 0, "a", False)] * 4)
    found = bank.similarities(rows * np.float32(scale))
    np.testing.assert_allclose(np.diag(found), 1, atol=2e-3)
    assert (np.abs(found) <= 1).all()
    assert not unit_rows(np.zeros((1, dim), np.float32)).any()


def explained(result: VideoResult) -> VideoResult:
    """``result`` whose first event has all that an event can say."""
    first, *others = result.events
    event = replace(
        first,
        similar=(SimilarClip(f"{EVIL}/a.mp4", 1.0, EVIL, True, 0.5, JPEG),),
        memory_slots=(MemorySlot("normal", 3, 0.02),),
    )
    return replace(result, events=(event, *others))


def test_a_score_file_keeps_the_reasons_but_no_picture(tmp_path: Path) -> None:
    result = explained(build(1200, 25.0, [(5.0, 8.0), (20.0, 22.0)]))
    write_json(result, tmp_path / "a.json")
    assert read_score_file(tmp_path / "a.json").result.events == result.events
    events = json.loads((tmp_path / "a.json").read_text())["events"]
    assert "picture" not in events[0]["similar"][0]
    assert "similar" not in events[1]


def test_the_report_shows_what_an_event_looks_like(tmp_path: Path) -> None:
    result = build(1200, 25.0, [(5.0, 8.0), (20.0, 22.0)])
    write_html(result, tmp_path / "plain.html")
    assert "Looks like" not in (tmp_path / "plain.html").read_text()
    write_html(explained(result), tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert "Looks like" in page
    assert b64encode(JPEG).decode() in page
    assert EVIL not in page


def test_the_line_of_an_event_says_what_it_looks_like() -> None:
    event = Event(0, 1, 0.5, 0.9)
    assert describe_reason(event) == ""
    clip = SimilarClip("d/fight/fi026.mp4", 1.28, "fight", True, 0.4)
    assert describe_reason(replace(event, similar=(clip,))) == "like fi026 (0:01, fight)"
    action = LikelyAction("wrestling", 0.412)
    assert describe_reason(replace(event, actions=(action,))) == "perhaps wrestling (0.41)"


def test_pictures_come_back_to_a_result_from_a_score_file(tmp_path: Path) -> None:
    bank = made_bank()
    clips = (bank.clip(3, 0.7), SimilarClip("gone.mp4", 0, "fight", True, 0.6))
    bare = tuple(replace(clip, picture=b"") for clip in clips)
    found = bank.with_pictures(bare)
    assert [clip.picture for clip in found] == [JPEG, b""]
    assert found == clips


def test_a_picture_is_small_whatever_the_frame() -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (2, 900), (1080, 1920), (64, 48)):
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        for box in (None, (0.2, 0.2, 0.2, 0.2), (0.5, 0.5, 1.0, 1.0)):
            data = small_jpeg(image, box)
            assert data.startswith(b"\xff\xd8\xff")
            assert len(data) < 16_384


def test_a_fight_of_the_training_clips_is_recognised(clip: Path) -> None:
    detector = Detector.load("fight")
    (event,) = detector.events(detector.score(clip))
    nearest = event.similar[0]
    assert nearest.video.endswith("/fight/fi150.mp4")
    assert nearest.abnormal
    assert nearest.similarity > event.similar[1].similarity
    assert nearest.picture


def test_shipped_prototypes_are_of_both_classes_and_show_licensed_clips_only() -> None:
    bank = load_model("fight").prototypes
    assert bank is not None
    assert {each.abnormal for each in bank.prototypes} == {True, False}
    for each in bank.prototypes:
        assert bool(each.picture) == each.video.startswith("surveillance_fight/")


def test_features_of_several_views_are_averaged() -> None:
    five = replace(SPEC, crops=("center", "top_left"), resize=(256, 256))
    features = made_features(five)
    model = replace(made_model("linear", spec=five), prototypes=made_bank())
    track = model.score(features)
    mean = Features(features.array.mean(0, keepdims=True), SPEC, features.timebase)
    bank = model.prototypes
    assert bank is not None
    assert track.reasons is not None
    expected = bank.similarities(model.network.standardise_rows(mean.array[0]))[2].max()
    assert track.reasons.at(2).similar[0].similarity == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/a/x/1.mp4", "/a/y/2.mp4"], ["x/1.mp4", "y/2.mp4"]),
        (["/a/x/1.mp4"], ["1.mp4"]),
        (["/a/\udcff.mp4", "/a/b.mp4"], ["\ufffd.mp4", "b.mp4"]),
    ],
)
def test_names_show_no_folder_above_the_data(paths: list[str], names: list[str]) -> None:
    found = _names_inside([Path(path) for path in paths])
    assert list(found.values()) == names
