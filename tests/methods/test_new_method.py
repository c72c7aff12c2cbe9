"""The example of docs/extend.md is a method, and passes the tests of every method."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest

from oddframe.methods import registry
from oddframe.methods.base import AnyMethod
from tests.conftest import extend_section
from tests.methods import test_behaviour as behaviour
from tests.methods.planted import Small


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> AnyMethod:
    """The example, registered by the line that the page gives."""
    text = extend_section("A method")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) <= 40
    ((name, path),) = re.findall(r'^    "(\w+)": "([\w.]+:\w+)",$', text, re.MULTILINE)
    module = ModuleType(path.partition(":")[0])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(code, module.__dict__)
    monkeypatch.setitem(registry._METHODS, name, path)
    monkeypatch.setitem(behaviour.SMALL, name, Small(lr=1e-2))
    return registry.get_method(name)


def test_it_passes_the_tests_of_every_method(method: AnyMethod) -> None:
    assert method.name in {each.name for each in registry.list_methods()}
    behaviour.test_learns_the_planted_anomaly(method.name)
    behaviour.test_does_not_learn_without_its_loss(method.name)
    behaviour.test_learns_nothing_from_shuffled_labels(method.name)
    behaviour.test_videos_of_a_batch_are_independent(method.name)
    behaviour.test_crops_are_averaged_in_any_order(method.name)
    behaviour.test_scores_of_videos_of_any_length(method.name, 50)
    behaviour.test_normal_and_abnormal_bags_come_in_any_order(method.name, 32)
    behaviour.test_gradients_are_those_of_finite_differences(method.name)
