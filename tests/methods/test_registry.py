"""Methods are found by name, and listed."""

from __future__ import annotations

import doctest
import subprocess
import sys

import pytest
import torch

from oddframe.backbones.registry import get_backbones
from oddframe.datasets.registry import get_published_dataset
from oddframe.errors import UsageError
from oddframe.features.presets import get_preset
from oddframe.methods import registry
from oddframe.methods.base import Recipe
from oddframe.methods.registry import DEFAULT_METHOD, get_method, list_methods, method_names


def test_every_method_trains_a_step() -> None:
    labels = torch.tensor([0.0, 1.0])
    for name in method_names():
        method = get_method(name)
        assert method.name == name
        config = method.Config()
        only = method.backbones
        dim = get_backbones(only[0])[0].dim if only else 10
        length = 2 if only else 5  # Frames are many numbers.
        network = method.network(dim, config)
        with torch.inference_mode():
            scores = network.eval()(torch.rand(2, 3, length, dim)).scores
        assert scores.shape == (2, length)
        if method.one_class:
            continue
        network.train()
        loss = method.loss(network(torch.rand(2, 20, 10), labels), labels, config)
        assert loss.total.requires_grad
        assert not any(term.requires_grad for term in loss.terms.values())


def test_recipe_of_the_authors() -> None:
    recipe = get_method("ur_dmu").recipe
    assert (recipe.optimiser, recipe.lr, recipe.weight_decay) == ("adam", 1e-4, 5e-5)
    assert (recipe.steps, recipe.normal_bags, recipe.abnormal_bags) == (3000, 64, 64)
    assert recipe.segments == 200


@pytest.mark.parametrize(
    ("name", "recipe", "settings"),
    [
        (
            "sultani",
            # The penalty of 1e-3 times the squared weights has twice that for its slope.
            Recipe("adagrad", 1e-3, 2e-3, 20_000, 30, 30, 32),
            {"hidden": 512, "bottleneck": 32, "dropout": 0.6, "margin": 1.0},
        ),
        (
            "rtfm",
            Recipe("adam", 1e-3, 5e-3, 15_000, 32, 32, 32),
            {"hidden": 512, "dropout": 0.7, "k": 3, "margin": 100.0},
        ),
        (
            "hl_net",
            Recipe("adam", 1e-4, 0.0, 7_700, 64, 64, 200),
            {"hidden": 512, "fused": 128, "graph": 32, "dropout": 0.6, "min_cosine": 0.7},
        ),
        (
            "pel4vad",
            Recipe("adam", 5e-4, 0.0, 6_300, 64, 64, 200),
            {"width": 128, "window": 9, "gamma": 0.6, "bias": 0.2, "out": 300, "dropout": 0.1},
        ),
        (
            "bn_wvad",
            Recipe("adam", 1e-4, 5e-5, 1_000, 64, 64, 200, clip_norm=1.0),
            {"hidden": 512, "heads": 4, "depth": 2, "video_share": 0.2, "batch_share": 0.4},
        ),
    ],
)
def test_published_recipes_and_settings(
    name: str, recipe: Recipe, settings: dict[str, float]
) -> None:
    method = get_method(name)
    assert method.recipe == recipe
    config = method.Config().model_dump(by_alias=False)
    assert {key: config[key] for key in settings} == settings


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("urdmu", "ur_dmu"),
        ("UR-DMU", "ur_dmu"),
        ("rtmf", "rtfm"),
        ("gcm", "gcn"),
        ("bnwvad", "bn_wvad"),
        ("normalty", "normality"),
        ("wvad", "bn_wvad"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{right}'"):
        get_method(wrong)


@pytest.mark.parametrize(
    "wrong", ["foo", "bar", "zzz", "abc", "cnn", "lstm", "transformer", "x", "", "-", "m", "fool"]
)
def test_an_unknown_name_is_answered_with_all(wrong: str) -> None:
    with pytest.raises(UsageError) as error:
        get_method(wrong)
    assert str(error.value).endswith(f"known are {', '.join(method_names())}")
    assert "\n" not in str(error.value)


def test_nonsense_suggests_nothing_anywhere_else() -> None:
    for ask in (get_backbones, get_preset, get_published_dataset):
        with pytest.raises(UsageError) as error:
            ask("foo")
        assert "did you mean" not in str(error.value)


def test_the_first_method_is_the_default() -> None:
    assert method_names()[0] == DEFAULT_METHOD == "oddframe"


def test_methods_are_listed_in_the_order_of_their_names() -> None:
    assert tuple(method.name for method in list_methods()) == method_names()


def test_the_example_of_list_methods_is_true() -> None:
    tried = doctest.testmod(registry)
    assert tried.attempted
    assert not tried.failed


def test_names_are_listed_without_importing_pytorch() -> None:
    code = (
        "import sys; from oddframe.methods.registry import method_names; "
        "assert len(method_names()) > 20; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", method_names())
def test_renamed_settings_are_read_by_both_names_and_written_by_the_old_one(name: str) -> None:
    method_config = get_method(name).Config
    for new, field in method_config.model_fields.items():
        old = field.serialization_alias or new
        value = method_config().model_dump().get(old, field.default)
        for key in (old, new):
            assert method_config.model_validate({key: value}) == method_config()
