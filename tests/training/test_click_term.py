"""The term of clicks: the published one to its figures, ours by hand, and in every method."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from oddframe.datasets.labelled import Dataset, TimeLabels
from oddframe.errors import InputError, UsageError
from oddframe.methods.base import Loss
from oddframe.methods.registry import get_method, method_names
from oddframe.training.click_term import (
    BatchLabels,
    add_click_term,
    click_term,
    mine_clicks,
    published_target,
)
from oddframe.training.config import ClickSection, TrainConfig, parse_config
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.data.snippet_labels import SnippetLabels, label_bags, label_snippets
from oddframe.training.loop import fit
from oddframe.training.run_files import TrainingIdentity
from oddframe.training.step import TrainingRun
from tests.training.planted import planted, small_config
from tests.training.precomputed import ProgressLog, linear, ready_made
from tests.training.test_trainer import trained

# What GlanceVAD's own code (github.com/pipixin321/GlanceVAD, 18ff774, MIT) gives for these.
SCORES = torch.tensor(
    [
        [0.1, 0.5, 0.5, 0.46, 0.44, 0.2, 0.35, 0.39, 0.4, 0.37, 0.36, 0.45],
        [0.8, 0.73, 0.7, 0.75, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9],
        [0.3, 0.6, 0.2, 0.7, 0.1, 0.9, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05],
    ]
)
CLICKED = torch.zeros(3, 12, dtype=torch.bool)
CLICKED[0, [2, 8]] = CLICKED[1, 0] = True
MINED = [[1, 2, 3, 7, 8, 9, 10], [0, 1], []]
A, B = 0.191495, 0.001344
RENDERED = [
    [B, A, 1, A, B, 0, B, A, 1, A, B, 0],
    [1, A, 0.001345, *[0] * 9],
    [0] * 12,
]
C = 0.190406
RENDERED_MINED = [
    [C, 1, 1, 1, C, 0, C, 1, 1, 1, 1, C],
    [1, 1, A, 0.001345, *[0] * 8],
    [0] * 12,
]
TERM, TERM_MINED = 0.8746483325958252, 0.90647292137146


def published_labels(clicked: Tensor) -> BatchLabels:
    nothing = torch.zeros(clicked.shape)
    return BatchLabels(torch.ones(len(clicked)), nothing + torch.inf, nothing, nothing > 0, clicked)


def test_the_published_term_has_the_figures_of_its_code() -> None:
    torch.testing.assert_close(published_target(CLICKED), torch.tensor(RENDERED), rtol=0, atol=1e-6)
    mined = mine_clicks(SCORES, CLICKED)
    assert [row.nonzero()[:, 0].tolist() for row in mined] == MINED
    torch.testing.assert_close(
        published_target(mined), torch.tensor(RENDERED_MINED), rtol=0, atol=1e-6
    )
    section = ClickSection(published=True)
    for step, expected in ((49, TERM), (50, TERM_MINED)):
        term = click_term(SCORES, published_labels(CLICKED), section, step)
        assert term.item() == pytest.approx(expected, rel=1e-6)


def test_the_published_term_at_its_own_length() -> None:
    scores = np.random.default_rng(0).random((1, 200)).astype(np.float32)
    scores[0, 28:40], scores[0, 85:93], scores[0, 150:] = 0.95, 0.99, 0.999
    clicked = torch.zeros(1, 200, dtype=torch.bool)
    clicked[0, [30, 90, 95, 199]] = True
    mined = mine_clicks(torch.from_numpy(scores), clicked)
    expected = [*range(26, 40), *range(85, 96), *range(150, 200)]
    assert mined[0].nonzero()[:, 0].tolist() == expected
    target = published_target(mined)[0]
    assert target.sum().item() == pytest.approx(132.390366, abs=1e-4)
    places = [0, 20, 60, 70, 120, 140, 149]
    figures = [0.00792758, 0.829463, 0.0847835, 0.303455, 0.0178449, 0.593241, 0.994832]
    np.testing.assert_allclose(target[places], figures, rtol=2e-5)
    term = click_term(
        torch.from_numpy(scores), published_labels(clicked), ClickSection(published=True), 50
    )
    assert term.item() == pytest.approx(0.58062595, rel=1e-6)


def test_the_published_mining_gives_no_gradient_and_short_bags_are_finite() -> None:
    scores = SCORES.clone().requires_grad_()
    click_term(scores, published_labels(CLICKED), ClickSection(published=True), 50).backward()
    target = torch.tensor(RENDERED_MINED)
    expected = (SCORES - target) / (SCORES * (1 - SCORES)) / SCORES.numel()
    torch.testing.assert_close(scores.grad, expected, rtol=1e-4, atol=1e-6)
    assert published_target(torch.tensor([[True], [False]])).tolist() == [[1.0], [0.0]]
    assert published_target(torch.ones(1, 3, dtype=torch.bool)).tolist() == [[1.0] * 3]


def test_our_term_by_hand() -> None:
    """A click at 3 s in one bag, half a second of an interval in another, nothing in a third."""
    spans = np.arange(4)[:, None] + np.array([0.0, 1.0])
    rows = [
        label_snippets(spans, TimeLabels((3.5,))),
        label_snippets(spans, TimeLabels(), ((1.5, 2.0),)),
        SnippetLabels.unknown(4),
    ]
    labels = BatchLabels.of(label_bags(rows, 4), torch.ones(3))
    scores = torch.tensor([[0.1, 0.2, 0.3, 0.9]] * 3)
    near = np.exp(-0.5 * (np.array([2.5, 1.5, 0.5, 0.0]) / 0.5) ** 2)
    p = np.array([0.1, 0.2, 0.3, 0.9])
    each = [
        -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)) for y in (near, np.array([0, 0.5, 0, 0]))
    ]
    term = click_term(scores, labels, ClickSection(sigma_s=0.5, elsewhere="normal"), 1)
    assert term.item() == pytest.approx(sum(each) / 3, rel=1e-5)
    each[0] = -(near * np.log(p)).sum() / near.sum()  # Nothing is known far from the click.
    term = click_term(scores, labels, ClickSection(sigma_s=0.5), 1)
    assert term.item() == pytest.approx(sum(each) / 3, rel=1e-5)


def video(
    length: int, labels: TimeLabels, *, abnormal: bool = True, tiles: int = 1, seed: int = 0
) -> TrainingVideo:
    """A video of snippets of a second, of noise."""
    x = np.random.default_rng(seed).normal(size=(tiles * length, 24)).astype(np.float32)
    spans = np.arange(length)[:, None] + np.array([0.0, 1.0])
    return TrainingVideo((x,), abnormal, tiles, labels=(label_snippets(spans, labels),))


METHODS = [
    name
    for name in method_names()
    if parse_config({"method": {"name": name}, "clicks": {"weight": 0.1}}).learns_from_times()
]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trained_by_steps_follows_clicks(name: str) -> None:
    """The videos are noise: nothing but the term says which snippet stands out."""
    videos = [video(8, TimeLabels((2.5,)), seed=i) for i in range(3)]
    videos += [video(8, TimeLabels(), abnormal=False, seed=i) for i in range(3, 6)]
    config = small_config(name, recipe={"steps": 12, "lr": 3e-3, "average": 0.0})
    config = config.model_copy(
        update={"clicks": ClickSection(weight=10, sigma_s=0.5, elsewhere="normal")}
    )
    torch.manual_seed(0)
    run = TrainingRun(videos, config, torch.device("cpu"), None)
    terms = [run.step(step).terms["clicks"].item() for step in range(1, 13)]
    assert np.mean(terms[-3:]) < np.mean(terms[:3])


def test_the_list_of_methods_that_clicks_are_for() -> None:
    others = set(method_names()) - set(METHODS)
    assert all(
        get_method(name).supervision != "video labels" or get_method(name).closed_form
        for name in others
    )
    assert {"ur_dmu", "linear", "oddframe"} <= set(METHODS)


@given(st.integers(1, 4), st.integers(0, 99))
def test_the_term_of_a_batch_is_the_mean_of_its_parts(parts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, length = 2 * parts, 5
    labels = BatchLabels(
        torch.tensor([0.0, 1.0]).repeat_interleave(parts),
        torch.from_numpy(rng.choice([np.inf, 0.0, 2.5], (n, length))),
        torch.from_numpy(rng.random((n, length))),
        torch.from_numpy(rng.random((n, length)) < 0.2),
        torch.from_numpy(rng.random((n, length)) < 0.3),
    )
    scores = torch.from_numpy(rng.uniform(0.01, 0.99, (n, length)))
    for section in (
        ClickSection(),
        ClickSection(elsewhere="normal"),
        ClickSection(published=True),
    ):
        whole = click_term(scores, labels, section, 99)
        each = [
            click_term(scores[rows], labels.select(rows), section, 99)
            for rows in torch.tensor([[i, i + parts] for i in range(parts)])
        ]
        torch.testing.assert_close(torch.stack(each).mean(), whole)


def test_a_picture_scores_as_its_highest_tile() -> None:
    labels = published_labels(torch.zeros(1, 2, dtype=torch.bool))
    labels = replace(labels, known=labels.target == 0)  # Rejected, all of it.
    loss = Loss(torch.tensor(1.0), {"cls": torch.tensor(1.0)})
    found = add_click_term(
        loss, torch.tensor([[0.1, 0.5, 0.3, 0.2]]), labels, ClickSection(), 2.0, 1
    )
    term = -(np.log(1 - 0.3) + np.log(1 - 0.5)) / 2
    assert found.terms["clicks"].item() == pytest.approx(term)
    assert found.total.item() == pytest.approx(1 + 2 * term)


def test_rejected_times_lower_the_score_there() -> None:
    videos, truth = planted(6, 6, seed=2)
    spans = [np.arange(len(t))[:, None] + np.array([0.0, 1.0]) for t in truth]
    no = [
        replace(v, labels=(label_snippets(s, TimeLabels((), (t.argmax() + 0.5,))),))
        for v, s, t in zip(videos[6:], spans[6:], truth[6:], strict=True)
    ]
    config = small_config("linear", recipe={"steps": 60}, clicks={"weight": 1})

    def mean_score(marked: list[TrainingVideo]) -> float:
        network = fit([*videos[:6], *marked], config).network
        pairs = zip(videos[6:], truth[6:], strict=True)
        return float(np.mean([network.score_views(np.stack(v.views))[t].mean() for v, t in pairs]))

    assert mean_score(no) < mean_score(videos[6:]) - 0.05


def weights(videos: list[TrainingVideo], config: TrainConfig) -> dict[str, Tensor]:
    run = TrainingRun(videos, config, torch.device("cpu"), None)
    for step in (1, 2, 3):
        terms = run.step(step).terms
    return {**run.network.state_dict(), "terms": torch.tensor(len(terms))}


def test_without_labels_or_weight_nothing_changes() -> None:
    videos, _ = planted(5, 5, seed=1)
    clicked = [
        replace(v, labels=video(len(v.views[0]), TimeLabels((1.5,))).labels) if v.abnormal else v
        for v in videos
    ]
    torch.manual_seed(0)
    plain = weights(videos, small_config())
    for marked, section in (
        (clicked, ClickSection(weight=0)),
        (clicked, ClickSection()),  # UR-DMU leaves clicks out.
        (videos, ClickSection(published=True)),
        (clicked, ClickSection(weight=0.1)),
    ):
        torch.manual_seed(0)
        config = small_config().model_copy(update={"clicks": section})
        same = [torch.equal(plain[key], value) for key, value in weights(marked, config).items()]
        assert all(same) == (section.weight != 0.1)


def test_a_checkpoint_of_other_clicks_is_another_training() -> None:
    config = small_config()
    digests = {
        TrainingIdentity([video(8, labels)], None).of(config)
        for labels in (TimeLabels((1.0,)), TimeLabels((2.0,)), TimeLabels((), (1.0,)))
    }
    bare = replace(video(8, TimeLabels()), labels=())
    assert len(digests | {TrainingIdentity([bare], None).of(config)}) == 4


def test_defaults_leave_configurations_as_they_were() -> None:
    assert "clicks" not in TrainConfig().model_dump(mode="json")
    settings = [{}, {"events": True}, {"published": True}, {"weight": 0.3}]
    for method, weights in (("linear", [0.1, 0.1, 1.0, 0.3]), ("ur_dmu", [0.0, 0.1, 1.0, 0.3])):
        config = [parse_config({"method": {"name": method}, "clicks": each}) for each in settings]
        assert [each.click_weight() for each in config] == weights
    section = parse_config({"clicks": {"published": True, "mining_step": 100}})
    assert TrainConfig.model_validate(section.model_dump(mode="json")) == section
    with pytest.raises(UsageError, match="published has its own sigma"):
        parse_config({"clicks": {"published": True, "events": True}})
    with pytest.raises(UsageError, match="at most 2048 segments"):
        parse_config({"clicks": {"published": True}, "recipe": {"segments": 4096}})


def with_clicks(dataset: Dataset, labels: TimeLabels) -> Dataset:
    videos = [replace(v, time_labels=labels) if v.abnormal else v for v in dataset.videos]
    return replace(dataset, videos=tuple(videos))


def test_training_says_what_it_uses(tmp_path: Path) -> None:
    data = with_clicks(ready_made(tmp_path / "data"), TimeLabels((1.0,), (0.2,)))
    log = ProgressLog()
    found = trained(tmp_path, log, data=data)
    n = found.model.card["training_videos"]["abnormal"]
    used = f"{n} clicks in {n} of {n} abnormal videos, {n} rejected times"
    assert log.has_line(f"labels in time: {used}")
    assert (found.model.card["clicks"], found.model.card["rejected_times"]) == (n, n)
    assert '"clicks"' in found.log.read_text().splitlines()[0]
    config = linear(method="logistic")
    trained(tmp_path, log, data=data, config=config, out=tmp_path / "other.safetensors")
    assert log.has_line(f"not used: {used}; ")


def test_a_click_after_the_end_stops_training(tmp_path: Path) -> None:
    data = with_clicks(ready_made(tmp_path / "data"), TimeLabels((1000.0,)))
    with pytest.raises(InputError, match=r"\.npy: the click at 1000 s is after its end"):
        trained(tmp_path, data=data)


def test_other_clicks_repeat_a_finished_seed(tmp_path: Path) -> None:
    class Stop(ProgressLog):
        def __call__(self, done: int, total: int | None, text: str, /) -> None:
            super().__call__(done, total, text)
            if len(self.steps) == 30:
                raise KeyboardInterrupt

    data: Any = with_clicks(ready_made(tmp_path / "data"), TimeLabels((1.0,)))
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, Stop(), data=data, seeds=3)
    log = ProgressLog()
    trained(tmp_path, log, data=with_clicks(data, TimeLabels((2.0,))), seeds=3)
    assert log.has_line("2022.safetensors: trained with another configuration, on other features")
