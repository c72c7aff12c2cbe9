"""Everything that is wrong with a data set, found before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oddframe.datasets.folds import grouped_folds
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.leaks import leaks
from oddframe.datasets.ready import digest_of, is_ready, ready_features
from oddframe.datasets.survey import Survey
from oddframe.errors import InputError, UsageError
from oddframe.files import exists
from oddframe.video.probe import VideoInfo, probe

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Findings:
    """What a check found, a line each.

    Attributes:
        problems: What has to be mended before training.
        warnings: What one should know.
        hours: Of video, as far as the files could be read.
        hashes: sha256 of the files' contents, of those that could be read.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    hours: float
    hashes: Mapping[Path, str]


def check(survey: Survey, progress: Progress | None = None) -> Findings:
    """Read every file's head and content; of published features their headers.

    Args:
        survey: The data set as it was found.
        progress: Called with (files done, files in all).
    """
    problems, dataset = list(survey.problems), survey.dataset
    videos = dataset.videos
    warnings = list(dataset.notes)
    if dataset.layout and not any(v.made is not None or exists(v.path) for v in videos):
        warnings.append("neither its videos nor features of them are here: lists alone, no files")
        videos = ()
    infos: dict[Path, VideoInfo] = {}
    hashes: dict[Path, str] = {}
    copies: dict[str, list[LabelledVideo]] = {}
    seconds = 0.0
    for done, video in enumerate(videos, start=1):
        try:
            if is_ready(video):
                time = ready_features(video).timebase
                seconds += time.duration_s
            else:
                infos[video.path] = probe(video.path)
                seconds += infos[video.path].duration_s or 0.0
            hashes[video.path] = digest_of(video)
            copies.setdefault(hashes[video.path], []).append(video)
        except InputError as error:
            problems.append(str(error))
        if progress is not None:
            progress(done, len(videos))
    problems += _copies([same for same in copies.values() if len(same) > 1])
    warnings += _groups(dataset) + [str(leak) for leak in leaks(dataset, infos)]
    return Findings(tuple(problems), tuple(warnings), seconds / 3600, hashes)


def _copies(copies: Sequence[list[LabelledVideo]]) -> list[str]:
    lines = []
    for same in copies:
        names = " and ".join(str(video.path) for video in same)
        if len({video.abnormal for video in same}) > 1:
            labels = " and ".join(f"'{video.label}'" for video in same)
            lines.append(f"{names} are the same video, labelled {labels}")
        elif len({video.group for video in same}) > 1:
            groups = " and ".join(f"'{video.group}'" for video in same)
            lines.append(f"{names} are the same video in two groups, {groups}")
        else:
            lines.append(f"{names} are the same video: remove one")
    return lines


def _can_hold_out(dataset: Dataset) -> bool:
    """As training would, when nothing else is asked for: one of five folds."""
    try:
        return bool(grouped_folds(dataset))
    except UsageError:
        return False


def _groups(dataset: Dataset) -> list[str]:
    lines = []
    if len(dataset.groups) == 1:
        lines.append(
            f"all videos are of one group, '{dataset.groups[0]}': nothing can be held out to "
            "measure on; say which recording or camera each is from"
        )
    elif not any(video.part for video in dataset.videos) and not _can_hold_out(dataset):
        lines.append(
            f"{len(dataset.groups)} groups are too few to keep a fifth of them from training with "
            "both classes on either side: training then measures nothing; say more finely which "
            "recording or camera each video is from, or add some"
        )
    if not dataset.classes:
        lines.append("only normal videos: training builds a detector of the unusual")
    return lines
