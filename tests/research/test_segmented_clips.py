"""Bags of published features that are computed once train like bags of every step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from oddframe.datasets.precomputed import attach_features
from oddframe.datasets.registry import open_dataset
from oddframe.features.store.store import FeatureStore
from oddframe.research.clips import BenchmarkClip
from oddframe.research.grid import Session, prepare_session, resident_bytes
from oddframe.research.grid_task import GridTask, train_task
from tests.datasets.generated import GeneratorOptions, made_up
from tests.research.tiny import tiny_config


def session_of(shared_data: Path, folder: Path) -> Session:
    made = made_up(
        "ucf_crime", shared_data, folder / "made", GeneratorOptions(scale=0.05, videos=3, dim=12)
    )
    dataset = attach_features(
        open_dataset(made.data), FeatureStore(folder / "store"), made.features
    )
    return prepare_session(
        dataset, tiny_config(), folder / "out", store=folder / "store", device="cpu"
    )


def test_training_clips_have_their_bags_and_stay_on_disk(shared_data: Path, tmp_path: Path) -> None:
    session = session_of(shared_data, tmp_path)
    part = session.parts[0]
    assert (len(part.train), len(part.test)) == (6, 6)
    assert resident_bytes(session.clips) == 0
    for clip in part.train:
        assert clip.bags is not None
        assert np.shape(clip.bags[0]) == (6, 12)
        assert len(clip.bags) == len(clip.views) == 10
    assert all(clip.bags is None for clip in part.test)
    assert all(clip.bags is not None for clip in session.source.load()[0][:6])


def test_bags_that_were_cut_before_train_the_same(shared_data: Path, tmp_path: Path) -> None:
    session = session_of(shared_data, tmp_path)
    task, part = GridTask("whole", session.config, 0, 0), session.parts[0]

    def without(clips: tuple[BenchmarkClip, ...]) -> tuple[BenchmarkClip, ...]:
        return tuple(replace(clip, bags=None) for clip in clips)

    once = train_task(task, part, session.setting)
    each = train_task(task, replace(part, train=without(part.train)), session.setting)
    assert (once.figures.auc, once.figures.ap) == (each.figures.auc, each.figures.ap)
    assert once.learning == each.learning


def test_bags_of_another_number_of_segments_are_not_used(shared_data: Path, tmp_path: Path) -> None:
    session = session_of(shared_data, tmp_path)
    other = GridTask("longer", tiny_config(segments=9), 0, 0)
    done = train_task(other, session.parts[0], session.setting)
    bare = tuple(replace(clip, bags=None) for clip in session.parts[0].train)
    again = train_task(other, replace(session.parts[0], train=bare), session.setting)
    assert done.learning == again.learning
