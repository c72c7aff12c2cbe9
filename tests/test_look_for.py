"""Looking for human actions by their names, without any training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from oddframe.backbones.visual.i3d import kinetics_actions
from oddframe.detector import Detector
from oddframe.errors import UsageError
from oddframe.look_for import action_model
from oddframe.methods.actions import find_actions
from oddframe.methods.mil.logistic import ActionClassifier
from tests.test_modelfile import made_features


def test_the_score_is_the_sum_of_the_probabilities() -> None:
    model = action_model(["wrestling", "headbutting"])
    features = made_features(model.profiles["best"].spec)
    classifier = ActionClassifier()
    classifier.load_shipped()
    with torch.inference_mode():
        probabilities = classifier(torch.from_numpy(features.array[0])).exp().double().numpy()
    names = [name for name, _ in kinetics_actions()]
    columns = [names.index("wrestling"), names.index("headbutting")]
    track = model.score(features)
    np.testing.assert_allclose(track.scores, probabilities[:, columns].sum(axis=1), atol=2e-6)
    assert track.reasons is not None
    for snippet, row in enumerate(probabilities):
        for action in track.reasons.at(snippet).actions:
            assert action.probability == pytest.approx(row[names.index(action.name)], abs=5e-6)
            assert action.probability >= 0.05


def test_all_actions_together_are_certain() -> None:
    model = action_model([name for name, _ in kinetics_actions()])
    scores = model.score(made_features(model.profiles["best"].spec)).scores
    np.testing.assert_allclose(scores, 1, atol=1e-5)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["wresting"], "did you mean 'wrestling'?"),
        (["wrestling", "walking on the moon"], "no action 'walking on the moon'"),
        ([], "names no action"),
    ],
)
def test_an_unknown_action_is_one_line(names: list[str], said: str) -> None:
    with pytest.raises(UsageError) as error:
        find_actions(names)
    assert said in str(error.value)


def test_names_have_any_case_and_count_once() -> None:
    assert find_actions([" Wrestling", "wrestling"]) == ("wrestling",)


def test_other_actions_are_another_result() -> None:
    digests = {action_model(names).sha256 for names in (["wrestling"], ["slapping"])}
    assert len(digests) == 2


def test_a_fight_scores_above_a_quiet_street(clip: Path, normal_clip: Path) -> None:
    detector = Detector.look_for(
        [name for name, group in kinetics_actions() if group == "fighting"]
    )
    fight, quiet = detector.score(clip), detector.score(normal_clip)
    assert fight.scores.max() > 2 * quiet.scores.max()
    (event,) = detector.events(fight)
    assert event.actions[0].name == "punching person (boxing)"
    assert not event.similar
