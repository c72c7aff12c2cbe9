"""Checks of data sets: unreadable files, duplicates, groups and label leaks."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oddframe.datasets.check import check_dataset, find_leaks, summarize_dataset
from oddframe.datasets.labelled import Dataset, LabelledVideo, Survey
from oddframe.datasets.read import survey_path
from oddframe.video.decoding.probe import VideoInfo, probe

CLIPS = Path(__file__).parents[1] / "data"
INFO = probe(CLIPS / "fi150.mp4")


def made(n: int, groups: int) -> Dataset:
    """``n`` videos, every other one abnormal."""
    return Dataset(
        "made",
        tuple(
            LabelledVideo(Path(f"{i}.mp4"), i % 2 == 1, "fight", f"g{i % groups}") for i in range(n)
        ),
    )


def infos(dataset: Dataset, **of_class: tuple[object, object]) -> dict[Path, VideoInfo]:
    """Files that are alike but for what normal and abnormal ones are given."""
    return {
        video.path: replace(INFO, **{name: pair[video.abnormal] for name, pair in of_class.items()})  # type: ignore[arg-type]
        for video in dataset.videos
    }


@pytest.mark.parametrize(
    ("name", "field", "values"),
    [
        ("resolution", "width", (1280, 320)),
        ("frame rate", "fps", (25.0, 30.0)),
        ("length", "duration_s", (9.0, 2.0)),
        ("sound", "has_audio", (False, True)),
    ],
)
def test_a_property_that_tells_the_label_is_reported(
    name: str, field: str, values: tuple[object, object]
) -> None:
    dataset = made(40, 11)
    (leak,) = find_leaks(dataset, infos(dataset, **{field: values}))
    assert (leak.name, leak.auc) == (name, 1.0)
    assert name in str(leak)


def test_uninformative_properties_are_not_reported() -> None:
    dataset = made(60, 13)
    assert find_leaks(dataset, infos(dataset)) == []
    assert (
        find_leaks(made(4, 1), infos(made(4, 1), fps=(25.0, 30.0))) == []
    )  # Nothing to try it on.


@pytest.mark.filterwarnings("error")
def test_there_is_no_leak_with_a_single_class() -> None:
    dataset = made(12, 6)
    for kind in (dataset.abnormal, ~dataset.abnormal):
        alone = dataset.subset(np.flatnonzero(kind).tolist())
        assert find_leaks(alone, infos(alone)) == []


def folder(root: Path) -> Path:
    """A data set with one of everything that goes wrong."""
    for place in ("normal/cam1", "fight/cam2", "fight/cam3"):
        (root / place).mkdir(parents=True)
    shutil.copy(CLIPS / "nofi079.mp4", root / "normal/cam1/a.mp4")
    shutil.copy(CLIPS / "fi150.mp4", root / "fight/cam2/b.mp4")
    return root


def test_a_good_data_set_has_no_problems(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    found = check_dataset(
        survey_path(folder(tmp_path)), lambda done, total, _: seen.append((done, total))
    )
    assert found.problems == ()
    assert seen == [(1, 2), (2, 2)]
    assert 2 / 3600 < found.hours < 10 / 3600


def test_each_problem_is_reported_on_a_line(tmp_path: Path) -> None:
    root = folder(tmp_path)
    shutil.copy(root / "fight/cam2/b.mp4", root / "fight/cam3/again.mp4")
    shutil.copy(root / "fight/cam2/b.mp4", root / "normal/cam1/b.mp4")
    (root / "fight/cam2/empty.mp4").write_bytes(b"")
    bad = np.ones((3, 8), np.float32)
    bad[1, 2] = np.nan
    np.save(root / "features.npy", bad)
    listed = "".join(
        f"{p.relative_to(root)},{p.parent.parent.name},{p.parent.name}\n"
        for p in sorted(root.rglob("*.mp4"))
    )
    table = root / "list.csv"
    table.write_text(f"path,label,group\n{listed}features.npy,normal,cam1\n")
    text = "\n".join(check_dataset(survey_path(table)).problems)
    assert "empty.mp4" in text
    assert "not finite" in text
    assert "are the same video, labelled" in text
    shutil.rmtree(root / "normal/cam1")
    (root / "normal/cam1").mkdir()
    shutil.copy(CLIPS / "nofi079.mp4", root / "normal/cam1/a.mp4")
    (root / "fight/cam2/empty.mp4").unlink()
    (line,) = check_dataset(survey_path(root)).problems
    assert "the same video in two groups, 'cam2' and 'cam3'" in line


def test_a_click_after_the_end_is_a_problem(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "events.csv").write_text("path,clicks,rejected\nfight/cam2/b.mp4,1; 47,\n")
    (line,) = check_dataset(survey_path(root)).problems
    assert "b.mp4: the click at 47 s is after its end at 2." in line
    (root / "events.csv").write_text(
        "path,clicks,rejected\nfight/cam2/b.mp4,1;1.5,\nnormal/cam1/a.mp4,,0.5\n"
    )
    assert check_dataset(survey_path(root)).problems == ()
    summary = summarize_dataset(survey_path(root))
    names = ("clicks", "clicked_videos", "rejected_times")
    assert [summary[name] for name in names] == [2, 1, 1]
    (root / "events.csv").unlink()
    assert not summarize_dataset(survey_path(root)).keys() & set(names)


def test_a_single_group_and_a_single_class_give_warnings(tmp_path: Path) -> None:
    (tmp_path / "normal/cam1").mkdir(parents=True)
    shutil.copy(CLIPS / "nofi079.mp4", tmp_path / "normal/cam1/a.mp4")
    warnings = "\n".join(check_dataset(survey_path(tmp_path)).warnings)
    assert "of one group, 'cam1'" in warnings
    assert "only normal videos" in warnings


def test_too_few_groups_to_hold_out_give_a_warning(tmp_path: Path) -> None:
    def said(groups: int) -> list[str]:
        videos = tuple(
            LabelledVideo(tmp_path / f"{label}{i}.mp4", label != "normal", label, f"g{i % groups}")
            for i in range(12)
            for label in ("normal", "fight")
        )
        return [
            w
            for w in check_dataset(Survey(tmp_path, Dataset("made", videos))).warnings
            if "few" in w
        ]

    assert "2 groups are too few to hold out a fifth of them" in said(2)[0]
    assert said(6) == []
