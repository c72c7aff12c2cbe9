"""What the paper's figures show, as data: several methods' curves over videos, a trained network.

Networks are those of the first part of the protocol (the first draw or fold, the first seed), at
the last step, and videos are of its test part: none of them was trained on. A network that a table
trained is taken as it is; a record that is there without its network stays, and a network is
trained apart from it.
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
from oddframe.research.grid import Told, known, plan, run_grid
from oddframe.research.grid_task import Setting, Task, record_path, weights_path
from oddframe.research.protocol import scorer_of, track_of, videos_of
from oddframe.research.reproduce.tables import method_config
from oddframe.research.session import Session, forget
from oddframe.research.splice import Spliced
from oddframe.timeline import ScoreTrack
from oddframe.training.config import TrainConfig

FIGURES = ("figure1", "figure3", "figure4")
# Beside the folder of the tables' trainings: networks whose record there has none.
_APART = "networks"
# What a figure shows when it is not told: abnormal videos, normal ones.
_SHOWN = {"figure1": (1, 0), "figure4": (3, 1)}


@dataclass(frozen=True)
class Trained:
    """A method's network, its config and where the record of its training is."""

    title: str
    config: TrainConfig
    network: ModelNetwork
    record: Path


@dataclass(frozen=True)
class Curves:
    """Several methods over one test video.

    Attributes:
        name: Of the video.
        video: Its clips, and what really happens.
        tracks: Scores by the title of the method.
    """

    name: str
    video: Spliced
    tracks: Mapping[str, ScoreTrack]


def figure_tasks(session: Session, methods: Sequence[str]) -> list[Task]:
    """The trainings of these methods on the first part.

    Raises:
        UsageError: there is no such method, or it learns from normal videos alone.
    """
    part, tasks = session.parts[0], []
    for name in methods:
        method = get_method(name)
        if method.one_class:
            raise UsageError(
                f"{name} learns from normal videos alone; its curves are not of this kind"
            )
        config = method_config(session.config, name)
        tasks.append(Task(method.title, config, part.repeat, part.fold))
    return tasks


def trained(
    session: Session,
    tasks: Sequence[Task],
    jobs: int = 1,
    told: Told | None = None,
    *,
    fresh: bool = False,
) -> list[Trained]:
    """The networks of these trainings, which are done if they are not there yet.

    Args:
        session: What is trained on.
        tasks: Which networks, of the first part.
        jobs: Trainings at the same time.
        told: Called after each.
        fresh: Train all of them anew; the tables' records stay even so.

    Raises:
        OddframeError: a training failed.
    """
    apart = replace(session.setting, folder=session.setting.folder.with_name(_APART))
    places = [_place(task, session.setting, apart, fresh=fresh) for task in tasks]
    for setting in (session.setting, apart):
        here = [task for task, place in zip(tasks, places, strict=True) if place is setting]
        if fresh and setting is apart:
            forget(here, apart)
        missing = sum(not _there(task, setting) for task in here)
        how = plan(jobs, missing, session.clips, session.config)
        if failed := run_grid(here, setting, session.source, session.clips, how, told):
            raise failed[0][1]
    dim = session.clips[0].array.shape[2]
    return [_loaded(task, place, dim) for task, place in zip(tasks, places, strict=True)]


def _place(task: Task, tables: Setting, apart: Setting, *, fresh: bool) -> Setting:
    """Where a network is, or will be: among the tables' trainings unless one there has none."""
    if known(task, tables) is None or (_there(task, tables) and not fresh):
        return tables
    return apart


def _there(task: Task, setting: Setting) -> bool:
    return known(task, setting) is not None and weights_path(record_path(task, setting)).exists()


def _loaded(task: Task, setting: Setting, dim: int) -> Trained:
    record = record_path(task, setting)
    method, settings = task.config.chosen_method()
    network = ModelNetwork(Standardise.identity(dim), method.network(dim, settings))
    path = weights_path(record)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not this training's network ({reason}); use --fresh") from None
    return Trained(task.name, task.config, network.eval(), record)


def unseen_videos(session: Session) -> dict[str, Spliced]:
    """The test videos of the first part by name, in order."""
    videos = videos_of(session.parts[0], session.setting.protocol)
    # Of published features all paths are in the folder of the lists, which tells nothing.
    listed = session.source.dataset.layout is not None
    named: dict[str, Spliced] = {}
    for number, video in enumerate(videos, start=1):
        name = f"joined {number}"
        if len(video.clips) == 1:
            path = Path(video.clips[0].name)
            name = path.stem
            if path.parent.name and not listed:
                name = f"{path.parent.name}/{name}"
        named[name] = video
    return named


def chosen(videos: Mapping[str, Spliced], wanted: Sequence[str], figure: str) -> list[str]:
    """Names of the videos that a figure shows.

    Those that are wanted, by their whole name or its end; else abnormal and normal ones at even
    distances in the order of the test set, whatever their scores.

    Raises:
        UsageError: there is no test video of a wanted name.
    """
    if wanted:
        return [_matching(videos, each) for each in wanted]
    odd = [name for name, video in videos.items() if video.abnormal]
    calm = [name for name, video in videos.items() if not video.abnormal]
    n_odd, n_calm = _SHOWN[figure]
    return [*_spread(odd, n_odd), *_spread(calm, n_calm)]


def _matching(videos: Mapping[str, Spliced], wanted: str) -> str:
    found = [name for name in videos if wanted in (name, name.rpartition("/")[2])]
    if len(found) != 1:
        known = ", ".join(found or list(videos)[:12])
        what = "several test videos" if found else "no test video of the first part"
        raise UsageError(f"--video {wanted}: {what} of that name; there are {known}")
    return found[0]


def _spread(names: Sequence[str], most: int) -> list[str]:
    if not names or not most:
        return []
    places = (np.arange(most) + 0.5) * len(names) / most
    return [names[int(i)] for i in dict.fromkeys(places.astype(int).tolist())]


def curves(
    session: Session, networks: Sequence[Trained], names: Sequence[str]
) -> tuple[Curves, ...]:
    """The scores of every network on these test videos."""
    videos = unseen_videos(session)
    protocol = session.setting.protocol
    tracks: list[dict[str, ScoreTrack]] = [{} for _ in names]
    for each in networks:
        scorer = scorer_of(each.network, tiled=session.clips[0].tiled)
        for name, found in zip(names, tracks, strict=True):
            found[each.title] = track_of(videos[name], scorer, protocol)
    return tuple(
        Curves(name, videos[name], found) for name, found in zip(names, tracks, strict=True)
    )
