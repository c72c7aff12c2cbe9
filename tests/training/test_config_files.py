"""Changes of a configuration, and the configuration of a pretrained model."""

from __future__ import annotations

import pytest

from oddframe.errors import UsageError
from oddframe.modelfile import load_model
from oddframe.training.config import TrainConfig, parse_config
from oddframe.training.configure import config_from_model, with_method, with_parts
from oddframe.training.train import check_pretrained


def test_another_method_has_its_own_settings_and_learning_rate() -> None:
    config = parse_config({"recipe": {"lr": 0.5, "weight_decay": 0.1, "steps": 7}})
    changed = with_method(config, "linear")
    own = changed.chosen_method()[0].recipe
    assert changed.method.config == {}
    recipe = changed.full_recipe()
    assert (recipe.lr, recipe.weight_decay, recipe.steps) == (own.lr, own.weight_decay, 7)
    assert with_method(config, "oddframe") == config
    assert with_method(config, "ur_dmu").method.config == {}, "as published"
    with pytest.raises(UsageError, match="ur_dmu"):
        with_method(config, "urdmu")


def test_a_seed_and_tiles_change_the_configuration() -> None:
    assert TrainConfig().with_recipe(seed=5).recipe.seed == 5
    assert with_parts(TrainConfig(), "tiles", "2x3").features.tiles == (2, 3)
    assert len(with_parts(TrainConfig(), "tiles", "2X3").features.preprocessing().crops) == 6


@pytest.mark.parametrize("text", ["2", "0x3", "2x", "axb", "2x3x4", "-1x2"])
def test_invalid_tiles_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="2x3"):
        with_parts(TrainConfig(), "tiles", text)


@pytest.mark.parametrize(
    "sections",
    [
        {"features": {"crops": ["full", "full_mirrored"]}},
        {"training_features": {"crops": ["full_mirrored"]}},
        {"training_features": {"mirrored": True}},
        {"fast": {"crops": ["full_mirrored"]}},
    ],
)
def test_tiles_and_other_views_exclude_each_other(sections: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="--tiles"):
        with_parts(parse_config(sections), "tiles", "2x2")


def test_the_configuration_of_a_model_fits_it() -> None:
    fight = load_model("fight_urdmu")
    config = config_from_model(fight)
    spec = fight.profiles["best"].spec
    check_pretrained(fight, config, spec)
    how = config.features.preprocessing()
    assert {name: getattr(spec, name) for name in vars(how)} == vars(how)
    assert config.method.name == fight.method == "ur_dmu"
    assert config.fast is not None
    assert config.profiles()["fast"].stride == fight.profiles["fast"].spec.stride
    rule = fight.profiles["best"].rule
    assert config.events.rule(rule.threshold).release == pytest.approx(rule.release)
    assert (config.leave_out, config.events.threshold) == ((), None)
