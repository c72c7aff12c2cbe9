"""Configurations: the shipped ones are valid, and errors name key and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from oddframe.errors import UsageError
from oddframe.methods.registry import get_method
from oddframe.training.config import TrainConfig, parse_config, read_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path: Path) -> None:
    config = read_config(path)
    method, method_config = config.chosen_method()
    assert isinstance(method_config, method.Config)
    assert config.full_recipe().steps > 0
    config.features.preprocessing()


def test_the_default_file_has_the_defaults() -> None:
    assert read_config(CONFIGS / "default.yaml") == TrainConfig()


def test_a_method_section_without_a_name_is_ur_dmu() -> None:
    assert parse_config({"recipe": {"steps": 9}}).method.name == "oddframe"
    # Settings without a name were UR-DMU's before oddframe became the default.
    assert parse_config({"method": {"config": {"memory": "none"}}}).method.name == "ur_dmu"


def test_the_published_recipe_is_that_of_the_authors() -> None:
    config = read_config(CONFIGS / "urdmu_published.yaml")
    recipe = config.full_recipe()
    assert (recipe.optimiser, recipe.lr, recipe.weight_decay) == ("adam", 1e-4, 5e-5)
    assert (recipe.normal_bags, recipe.abnormal_bags, recipe.segments) == (64, 64, 200)
    assert (recipe.steps, recipe.average, recipe.clip_norm) == (3000, 0, None)
    assert not config.standardise
    assert len(config.features.crops) == 10


def test_values_that_are_left_out_are_those_of_the_method() -> None:
    recipe = parse_config({"method": {"name": "linear"}}).full_recipe()
    own = get_method("linear").recipe
    assert (recipe.optimiser, recipe.lr, recipe.weight_decay) == (
        own.optimiser,
        own.lr,
        own.weight_decay,
    )
    for name, clip_norm in (("bn_wvad", 1.0), ("linear", None)):
        assert parse_config({"method": {"name": name}}).full_recipe().clip_norm == clip_norm
    said = {"method": {"name": "bn_wvad"}, "recipe": {"clip_norm": 3.0, "weight_decay": 0.0}}
    recipe = parse_config(said).full_recipe()
    assert (recipe.clip_norm, recipe.weight_decay) == (3.0, 0.0)


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_config(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recipe:\n  steps: 9\n  learning_rate: 1\n", "line 3: unknown key 'recipe.learning_rate'"),
        ("recipe:\n  stepps: 9\n", "line 2: unknown key 'recipe.stepps'; did you mean 'steps'?"),
        ("recipes:\n  steps: 9\n", "line 1: unknown key 'recipes'; did you mean 'recipe'?"),
        ("method:\n  config:\n    hiden: 4\n", "line 3: unknown key 'method.config.hiden'; did"),
        ("method:\n  config:\n    loss_weights:\n      clss: 1\n", "did you mean 'cls'?"),
        ('recipe:\n  "st\\x85eps": 9\n', "line 2: unknown key 'recipe.st\\x85eps'"),
        ("fast:\n  strde: 4\n", "line 2: unknown key 'fast.strde'; did you mean 'stride'?"),
        ("# first\n\nrecipe:\n  lr: -1\n", "line 4: recipe.lr"),
        ("features:\n  crops: []\n", "line 2: features.crops"),
        ("bags:\n  clips: [9, 3]\n", "clips must be"),
        ("bags:\n  clips: [2, 3]\n", "must fit into the fewest"),
        ("recipe: [1\n", "not YAML"),
        ("- 1\n", "a list"),
    ],
)
def test_unknown_keys_and_wrong_values_are_named(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


def test_an_unknown_method_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("method:\n  name: urdmu\n")
    with pytest.raises(UsageError, match="ur_dmu"):
        read_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml"):
        read_config(tmp_path / "none.yaml")


def test_fast_and_training_features_change_only_the_named_fields() -> None:
    config = parse_config(
        {"fast": {"stride": 32}, "training_features": {"crops": ["full", "full_mirrored"]}}
    )
    assert config.profiles()["fast"] == config.features.model_copy(update={"stride": 32})
    assert config.training_views()["fast"].crops == ("full", "full_mirrored")
    assert config.training_views()["best"].stride == config.features.stride
    assert config.training_views().keys() == {"best", "fast"}
    mirrored = parse_config({"fast": {"stride": 32}, "training_features": {"mirrored": True}})
    views = mirrored.training_views()
    assert views.keys() == {"best", "fast", "best_mirrored", "fast_mirrored"}
    assert views["fast_mirrored"].crops == ("full_mirrored",)
    assert views["fast_mirrored"].stride == 32


@pytest.mark.parametrize(
    ("events", "best", "fast"),
    [
        ({}, None, None),
        ({"threshold": 0.7}, 0.7, 0.7),
        ({"threshold": 0.7, "fast_threshold": 0.0}, 0.7, 0.0),
        ({"fast_threshold": 0.6}, None, 0.6),
    ],
)
def test_fast_may_have_a_threshold_of_its_own(
    events: dict[str, float], best: float | None, fast: float | None
) -> None:
    section = parse_config({"events": events}).events
    assert (section.fixed_threshold("best"), section.fixed_threshold("fast")) == (best, fast)
