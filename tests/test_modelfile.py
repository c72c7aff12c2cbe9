"""Model files: round trips in full and half precision, and one error line for other files."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.events import EventRule
from oddframe.features.formats.feature_file import write_features
from oddframe.features.spec import Features, FeatureSpec
from oddframe.methods.registry import get_method
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.modelfile import (
    Model,
    Profile,
    find_model,
    load_model,
    save_model,
    shipped_models,
)
from oddframe.video.snippets.preprocessing import with_tiles
from tests.conftest import ROOT
from tests.training.planted import SMALL

DIM = 24
SPEC = FeatureSpec(backbone="i3d", weights_sha256="ab", dim=DIM, crops=("full",), resize=(224, 224))


def made_model(method: str = "ur_dmu", seed: int = 0, spec: FeatureSpec = SPEC) -> Model:
    chosen = get_method(method)
    config = chosen.Config.model_validate(SMALL if method == "ur_dmu" else {})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        standardise = Standardise(torch.rand(spec.dim), torch.rand(spec.dim) + 0.5)
        network = ModelNetwork(standardise, chosen.network(spec.dim, config)).eval()
    profiles = {
        "best": Profile(spec, EventRule(0.6, 0.5)),
        "fast": Profile(
            replace(spec, crop_size=(128, 128), resize=(128, 128)), EventRule(0.7, 0.5)
        ),
    }
    return Model(
        name="made",
        method=method,
        config=config,
        network=network,
        profiles=profiles,
        detects="fights",
        training_data="d1",
        metrics={"video_auc": 0.875},
        card={"data": "clips", "held_out_groups": ["s01"]},
    )


def made_features(spec: FeatureSpec = SPEC, n_frames: int = 200, seed: int = 0) -> Features:
    timebase = spec.timebase(25.0, n_frames)
    shape = (len(spec.crops), timebase.n_snippets, spec.dim)
    array = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return Features(array, spec, timebase)


def test_smoothing_depends_on_the_spacing_of_snippets() -> None:
    model = made_model("oddframe", spec=replace(SPEC, stride=16, rate=25.0))
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.normal_(std=0.1)  # The last layers begin at zero.
    dense, sparse = (
        made_features(replace(model.profiles["best"].spec, stride=stride)) for stride in (16, 80)
    )
    for features, spacing in ((dense, 1.0), (sparse, 5.0)):
        expected = model.network.score_views(features.array, spacing)
        np.testing.assert_array_equal(model.score(features).scores, expected)
    other = model.network.score_views(sparse.array)
    assert np.abs(other - model.score(sparse).scores).max() > 0.01


@pytest.mark.parametrize(
    ("stride", "rate", "step_s"),
    [(16, 25.0, 0.64), (80, 25.0, 3.2), (16, 5.0, 3.2), (16, None, 0.32)],
)
def test_step_between_snippets(stride: int, rate: float | None, step_s: float) -> None:
    assert replace(SPEC, stride=stride, rate=rate).step_s(50.0) == pytest.approx(step_s)


@pytest.mark.parametrize("method", ["ur_dmu", "linear"])
def test_a_saved_model_is_loaded_unchanged(tmp_path: Path, method: str) -> None:
    model, path = made_model(method), tmp_path / "mine.safetensors"
    save_model(model, path)
    back = load_model(path)
    assert (back.name, back.method, back.config) == ("mine", method, model.config)
    assert (back.profiles, back.detects, back.metrics) == (model.profiles, "fights", model.metrics)
    assert (back.card, back.training_data) == (model.card, "d1")
    assert len(back.sha256) == 64
    expected = model.score(made_features()).scores
    np.testing.assert_array_equal(back.score(made_features()).scores, expected)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_model(made_model(), tmp_path / f"{name}.safetensors")
    a, b = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("a", "b"))
    assert a == b


def test_half_precision_is_half_as_large_and_scores_the_same(tmp_path: Path) -> None:
    model = made_model()
    save_model(model, tmp_path / "whole.safetensors")
    save_model(model, tmp_path / "half.safetensors", fp16=True)
    whole, half = ((tmp_path / f"{n}.safetensors").stat().st_size for n in ("whole", "half"))
    assert half < 0.65 * whole
    scores = load_model(tmp_path / "half.safetensors").score(made_features()).scores
    np.testing.assert_allclose(scores, model.score(made_features()).scores, atol=1e-3)


def test_weights_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    model = made_model("linear")
    with torch.no_grad():
        next(model.network.network.parameters()).fill_(1e6)
    with pytest.raises(OddframeError, match="not finite"):
        save_model(model, tmp_path / "m.safetensors", fp16=True)
    assert not list(tmp_path.iterdir())


def test_loading_does_not_change_the_random_state(tmp_path: Path) -> None:
    save_model(made_model(), tmp_path / "m.safetensors")
    before = torch.get_rng_state()
    load_model(tmp_path / "m.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


def test_crops_are_averaged() -> None:
    model = made_model()
    five = replace(SPEC, crops=("center", "top_left"), resize=(256, 256))
    model = replace(model, profiles={"best": Profile(five, EventRule())})
    both = made_features(five)
    each = []
    for crop in both.array:
        one = replace(five, crops=("center",))
        alone = replace(model, profiles={"best": Profile(one, EventRule())})
        each.append(alone.score(Features(crop[None], one, both.timebase)).scores)
    np.testing.assert_allclose(model.score(both).scores, np.mean(each, axis=0), atol=1e-7)


def test_the_highest_tile_gives_the_score_and_the_position() -> None:
    spec = with_tiles(SPEC, 2, 3)
    model = made_model()
    model = replace(model, profiles={"best": Profile(spec, EventRule())})
    features = made_features(spec)
    track = model.score(features)
    assert track.tiles is not None
    assert track.tiles.grid == (2, 3)
    np.testing.assert_array_equal(track.scores, track.tiles.scores.max(axis=0))
    row = torch.from_numpy(features.array.reshape(1, -1, spec.dim))
    with torch.inference_mode():
        expected = model.network(row).numpy().reshape(6, -1)
    np.testing.assert_allclose(track.tiles.scores, expected, atol=1e-6)
    with pytest.raises(InputError, match="crops"):
        model.score(made_features())


@pytest.mark.parametrize("n_frames", [1, 15, 16, 17, 16 * 3000 + 5])
def test_any_length_is_scored(n_frames: int) -> None:
    features = made_features(n_frames=n_frames)
    track = made_model().score(features)
    assert track.to_frames().shape == (n_frames,)
    assert ((track.scores >= 0) & (track.scores <= 1)).all()


def test_scoring_again_gives_the_same_even_if_the_network_was_training() -> None:
    model = made_model()
    first = model.score(made_features()).scores
    model.network.train()
    np.testing.assert_array_equal(model.score(made_features()).scores, first)


def test_features_of_another_spec_are_refused_and_the_fields_named() -> None:
    other = replace(SPEC, weights_sha256="cd", filter="bicubic")
    with pytest.raises(InputError) as error:
        made_model().score(made_features(other))
    assert "weights_sha256: ab, not cd" in str(error.value)
    assert "filter: lanczos, not bicubic" in str(error.value)
    assert "\n" not in str(error.value)


def test_features_of_the_fast_profile_are_scored() -> None:
    model = made_model()
    fast = model.profiles["fast"].spec
    assert model.profile_of(fast) == "fast"
    assert model.profile_of(SPEC) == "best"
    assert model.score(made_features(fast)).scores.size


def test_constant_dimensions_are_not_amplified() -> None:
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(500, 4)).astype(np.float32)
    x[:, 1] = 7.0
    standardise = Standardise.fit([x[:200], x[200:]])
    out = standardise(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=0), [1, 0, 1, 1], atol=1e-5)
    assert np.abs(standardise(torch.full((1, 4), 8.0)).numpy()).max() < 10


def bad_file(folder: Path, how: str) -> Path:
    path = folder / "bad.safetensors"
    save_model(made_model(), path)
    data = bytearray(path.read_bytes())
    match how:
        case "truncated":
            path.write_bytes(data[:-100])
        case "cut in the header":
            path.write_bytes(data[:300])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("a model, honestly\n" * 20)
        case "pickle":
            path.write_bytes(pickle.dumps({"weights": [1.0] * 50}))
        case "torch pickle":
            torch.save({"weights": torch.ones(3)}, path)
        case "foreign":
            save_file({"weight": np.ones((2, 2), np.float32)}, path)
        case "features":
            write_features(path, made_features())
        case "flipped bit":
            data[-1000] ^= 8
            path.write_bytes(data)
        case "newer":
            path.write_bytes(data.replace(b'\\"format\\": 1', b'\\"format\\": 9'))
        case "unknown method":
            path.write_bytes(data.replace(b'\\"ur_dmu\\"', b'\\"ur_dmx\\"'))
        case "other config":
            path.write_bytes(data.replace(b'\\"hidden\\": 24', b'\\"hidden\\": 32'))
        case "unknown setting":
            path.write_bytes(data.replace(b'\\"hidden\\": 24', b'\\"hiddem\\": 24'))
    return path


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("truncated", "truncated, or not a model file"),
        ("cut in the header", "truncated, or not a model file"),
        ("empty", "truncated, or not a model file"),
        ("text", "truncated, or not a model file"),
        ("pickle", "a pickle; oddframe never unpickles"),
        ("torch pickle", "a pickle; oddframe never unpickles"),
        ("foreign", "not a model file but a safetensors file of another program"),
        ("features", "not a model file but oddframe features"),
        ("flipped bit", "checksum"),
        ("newer", "format 9"),
        ("unknown method", "ur_dmx"),
        ("other config", "damaged"),
        ("unknown setting", "unknown key 'hiddem'; did you mean 'hidden'?"),
    ],
)
def test_each_bad_file_gives_one_clear_line(tmp_path: Path, how: str, said: str) -> None:
    path = bad_file(tmp_path, how)
    with pytest.raises(InputError) as error:
        load_model(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (eval, (f"open({str(tmp_path / 'boom')!r}, 'w')",))

    path = tmp_path / "bad.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="pickle"):
        load_model(path)
    assert not (tmp_path / "boom").exists()


def test_an_unknown_name_lists_the_shipped_models(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="models that come with oddframe") as error:
        find_model("figth")
    assert all(name in str(error.value) for name in shipped_models())
    with pytest.raises(UsageError, match=r"gone\.safetensors: no such model file"):
        load_model(tmp_path / "gone.safetensors")


def test_shipped_models_are_found_by_name() -> None:
    for name in shipped_models():
        assert load_model(name).name == name


def test_a_temperature_keeps_the_order_and_removes_ties() -> None:
    from oddframe.methods.base import Output

    class Driven(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> Output:
            logits = features[..., 0]
            return Output(logits.sigmoid(), logits)

    network = ModelNetwork(Standardise.identity(1), Driven())
    far = torch.tensor([-60.0, -20.0, 20.0, 40.0, 60.0]).view(1, 5, 1)
    assert len(network(far).unique()) < 5, "scores this far out are tied"
    network.temperature.fill_(15.0)
    assert (network(far)[0].diff() > 0).all()
    crops = torch.cat([far, -far]).view(1, 2, 5, 1)
    torch.testing.assert_close(network(crops), torch.full((1, 5), 0.5, dtype=torch.float64))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
def test_a_lack_of_memory_is_not_reported_as_damage() -> None:
    script = (
        "from oddframe._utils.child_process import limit_memory\n"
        "from oddframe.errors import describe_unexpected_error\n"
        "from oddframe.modelfile import load_model\n"
        "load_model('fight')\n"
        "for more in range(0, 12_000_000, 500_000):\n"
        "    limit_memory(more)\n"
        "    try:\n"
        "        load_model('fight')\n"
        "    except Exception as error:\n"
        "        print(describe_unexpected_error(error))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    # Without memory, safetensors' Rust code hangs for ever in printing where it panicked.
    env["RUST_BACKTRACE"] = "0"
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines
    assert all("there is not enough memory" in line for line in lines), lines
