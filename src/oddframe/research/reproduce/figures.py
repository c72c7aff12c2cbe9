"""The paper's figures as data: trained networks, and their scores over test videos.

Networks are those of the first part of the protocol (the first draw or fold, the first seed) after
the last step, and videos are of its test part: no network was trained on them. The network of a
table's training is used where there is one. Where a table's record has no network, the record stays
as it is, and another network is trained into a folder of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from oddframe.errors import InputError, UsageError
from oddframe.methods.registry import get_method
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.research.fold_training import make_test_videos, network_scorer, score_video
from oddframe.research.grid import OnTraining, plan_grid, run_grid
from oddframe.research.grid_task import (
    GridSetting,
    GridTask,
    find_training,
    record_path,
    remove_records,
    weights_path,
)
from oddframe.research.reproduce.tables import config_for_method
from oddframe.research.session import Session
from oddframe.research.splicing import SplicedVideo
from oddframe.timeline import ScoreTrack
from oddframe.training.config import TrainConfig

PAPER_FIGURES = ("figure1", "figure3", "figure4")
# Folder of the networks of trainings whose record in the tables' folder has none.
_NETWORKS_FOLDER = "networks"
# Number of abnormal and of normal videos that a figure shows by default.
_SHOWN = {"figure1": (1, 0), "figure4": (3, 1)}


@dataclass(frozen=True)
class TrainedNetwork:
    """A method's network, its configuration, and the record of its training."""

    title: str
    config: TrainConfig
    network: ModelNetwork
    record: Path


@dataclass(frozen=True)
class ScoreCurves:
    """The scores of several methods over one test video.

    Attributes:
        name: Name of the video.
        video: The video, with its true intervals.
        tracks: Scores by the title of the method.
    """

    name: str
    video: SplicedVideo
    tracks: Mapping[str, ScoreTrack]


def figure_tasks(session: Session, methods: Sequence[str]) -> list[GridTask]:
    """The trainings of these methods on the first part.

    Raises:
        UsageError: there is no such method, or it is a one-class method.
    """
    part, tasks = session.parts[0], []
    for name in methods:
        method = get_method(name)
        if method.one_class:
            raise UsageError(
                f"{name} learns from normal videos only: its scores are not comparable"
            )
        config = config_for_method(session.config, name)
        tasks.append(GridTask(method.title, config, part.repeat, part.fold))
    return tasks


def train_networks(
    session: Session,
    tasks: Sequence[GridTask],
    jobs: int = 1,
    on_training: OnTraining | None = None,
    *,
    fresh: bool = False,
) -> list[TrainedNetwork]:
    """The networks of these trainings; those that do not exist yet are trained.

    Args:
        session: What is trained on.
        tasks: Trainings on the first part.
        jobs: Trainings at the same time.
        on_training: Called after each.
        fresh: Train all of them again; the tables' records stay as they are.

    Raises:
        OddframeError: a training failed.
    """
    folder = session.setting.folder.with_name(_NETWORKS_FOLDER)
    separate = replace(session, setting=replace(session.setting, folder=folder))
    sessions = [
        session
        if find_training(task, session.setting) is None
        or (_has_network(task, session.setting) and not fresh)
        else separate
        for task in tasks
    ]
    for each in (session, separate):
        own = [task for task, of in zip(tasks, sessions, strict=True) if of is each]
        if fresh and each is separate:
            remove_records(own, separate.setting)
        missing = sum(not _has_network(task, each.setting) for task in own)
        plan = plan_grid(jobs, missing, each.clips, each.config)
        if failed := run_grid(each, own, plan, on_training):
            raise failed[0][1]
    dim = session.clips[0].array.shape[2]
    return [_load(task, of.setting, dim) for task, of in zip(tasks, sessions, strict=True)]


def _has_network(task: GridTask, setting: GridSetting) -> bool:
    found = find_training(task, setting)
    return found is not None and weights_path(record_path(task, setting)).exists()


def _load(task: GridTask, setting: GridSetting, dim: int) -> TrainedNetwork:
    record = record_path(task, setting)
    method, settings = task.config.chosen_method()
    network = ModelNetwork(Standardise.identity(dim), method.network(dim, settings))
    path = weights_path(record)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not this training's network ({reason}); use --fresh") from None
    return TrainedNetwork(task.name, task.config, network.eval(), record)


def named_test_videos(session: Session) -> dict[str, SplicedVideo]:
    """The test videos of the first part by name, in order."""
    videos = make_test_videos(session.parts[0], session.setting.protocol)
    # Paths of published features are all in the folder of the lists, so it is left out.
    listed = session.source.dataset.layout is not None
    named: dict[str, SplicedVideo] = {}
    for number, video in enumerate(videos, start=1):
        name = f"joined {number}"
        if len(video.clips) == 1:
            path = Path(video.clips[0].name)
            name = path.stem
            if path.parent.name and not listed:
                name = f"{path.parent.name}/{name}"
        named[name] = video
    return named


def select_videos(
    videos: Mapping[str, SplicedVideo], wanted: Sequence[str], figure: str
) -> list[str]:
    """Names of the videos that a figure shows.

    Videos that are ``wanted`` by their whole name or its last part; by default, abnormal and normal
    videos at equal distances in the order of the test set, whatever their scores.

    Raises:
        UsageError: there is no test video, or several, of a wanted name.
    """
    if wanted:
        return [_find_video(videos, each) for each in wanted]
    abnormal = [name for name, video in videos.items() if video.abnormal]
    normal = [name for name, video in videos.items() if not video.abnormal]
    n_abnormal, n_normal = _SHOWN[figure]
    return [*_evenly_spaced(abnormal, n_abnormal), *_evenly_spaced(normal, n_normal)]


def _find_video(videos: Mapping[str, SplicedVideo], wanted: str) -> str:
    found = [name for name in videos if wanted in (name, name.rpartition("/")[2])]
    if len(found) != 1:
        known = ", ".join(found or list(videos)[:12])
        what = "several test videos" if found else "no test video of the first part"
        raise UsageError(f"--video {wanted}: {what} of that name; there are {known}")
    return found[0]


def _evenly_spaced(names: Sequence[str], most: int) -> list[str]:
    if not names or not most:
        return []
    indices = (np.arange(most) + 0.5) * len(names) / most
    return [names[int(i)] for i in dict.fromkeys(indices.astype(int).tolist())]


def compute_curves(
    session: Session, networks: Sequence[TrainedNetwork], names: Sequence[str]
) -> tuple[ScoreCurves, ...]:
    """The scores of every network over these test videos."""
    videos, protocol = named_test_videos(session), session.setting.protocol
    tiled = session.clips[0].tiled
    scorers = {each.title: network_scorer(each.network, tiled=tiled) for each in networks}
    return tuple(
        ScoreCurves(
            name,
            videos[name],
            {title: score_video(videos[name], each, protocol) for title, each in scorers.items()},
        )
        for name in names
    )
