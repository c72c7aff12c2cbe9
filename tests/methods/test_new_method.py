"""The method that docs/new_method.md writes is one, and does what methods do."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from oddframe.methods import registry
from oddframe.methods.base import AnyMethod
from tests.methods import test_behaviour as behaviour
from tests.methods.planted import Small

PAGE = Path(__file__).parents[2] / "docs" / "new_method.md"


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> AnyMethod:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 60
    module = ModuleType("softmax_pool")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(code, module.__dict__)
    made: AnyMethod = module.SoftmaxPool()
    monkeypatch.setitem(registry._METHODS, made.name, made)  # The registry's line.
    monkeypatch.setitem(behaviour.SMALL, made.name, Small(lr=1e-2))
    return made


def test_it_is_held_to_what_every_method_is(method: AnyMethod) -> None:
    behaviour.test_learns_what_is_planted(method.name)
    behaviour.test_does_not_learn_without_its_loss(method.name)
    behaviour.test_learns_nothing_from_shuffled_labels(method.name)
    behaviour.test_videos_of_a_batch_do_not_know_each_other(method.name)
    behaviour.test_crops_are_averaged_in_any_order(method.name)
    behaviour.test_scores_of_videos_of_any_length(method.name, 50)
    behaviour.test_normal_and_abnormal_bags_come_in_any_order(method.name, 32)
    behaviour.test_gradients_are_those_of_finite_differences(method.name)
