"""Folds: groups stay together, classes stay balanced, and the seed decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from oddframe.datasets.labelled import Dataset, LabelledVideo, grouped_folds
from oddframe.datasets.published.video_files import read_surveillance_fight
from oddframe.errors import UsageError


def made_of(groups: list[tuple[int, int]]) -> Dataset:
    """A data set with that many (normal, abnormal) videos in each group."""
    videos = [
        LabelledVideo(Path(f"{g}-{a}-{i}"), bool(a), "fight" if a else "normal", f"g{g}")
        for g, counts in enumerate(groups)
        for a, count in enumerate(counts)
        for i in range(count)
    ]
    return Dataset("made", tuple(videos))


GROUPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=30)


@given(groups=GROUPS, n=st.integers(2, 5), seed=st.integers(0, 99))
def test_folds_are_a_partition_that_never_splits_a_group(
    groups: list[tuple[int, int]], n: int, seed: int
) -> None:
    dataset = made_of(groups)
    assume(dataset.abnormal.any() and not dataset.abnormal.all())
    try:
        folds = grouped_folds(dataset, n, seed)
    except UsageError:
        assume(False)
    everything = np.arange(len(dataset))
    np.testing.assert_array_equal(np.sort(np.concatenate([f.test for f in folds])), everything)
    for fold in folds:
        np.testing.assert_array_equal(np.sort(np.append(fold.train, fold.test)), everything)
        inside = {dataset.videos[i].group for i in fold.test}
        assert not inside & {dataset.videos[i].group for i in fold.train}
        assert dataset.abnormal[fold.test].any()
        assert not dataset.abnormal[fold.test].all()


def test_normal_videos_alone_can_be_split() -> None:
    folds = grouped_folds(made_of([(2, 0)] * 7), 3, seed=1)
    assert sorted(len(fold.test) for fold in folds) == [4, 4, 6]


def test_classes_are_balanced_on_real_recordings(shared_data: Path) -> None:
    dataset = read_surveillance_fight(shared_data / "surveillance_fight")
    for seed in range(5):
        for fold in grouped_folds(dataset, 5, seed):
            abnormal = dataset.abnormal[fold.test]
            assert 20 <= abnormal.sum() <= 32  # Of 130 and 134, fifths are 26 and 26.8.
            assert 20 <= (~abnormal).sum() <= 34


def test_the_seed_decides() -> None:
    dataset = made_of([(2, 2)] * 20)
    first, again, other = (
        [fold.test.tolist() for fold in grouped_folds(dataset, 5, seed)] for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("groups", [[(9, 9)], [(9, 0), (0, 9)], [(3, 0), (0, 3), (1, 0), (0, 1)]])
def test_too_few_groups_are_refused(groups: list[tuple[int, int]]) -> None:
    with pytest.raises(UsageError, match="folds"):
        grouped_folds(made_of(groups), 3)
