"""What a benchmark is, and the six benchmarks of this project.

UCF-Crime and XD-Violence are run as published. The protocols of the others are this project's own:
their figures compare with each other, not with a published table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from oddframe.datasets.labelled import Dataset
from oddframe.research.fold_figures import (
    AP_TRAPEZOID,
    CLIP_COLUMNS,
    FRAME_COLUMNS,
    FigureColumn,
)
from oddframe.research.protocol import BenchmarkProtocol, OwnSplit, RandomDraws, SpliceRule

# Thresholds are calibrated on half an hour of normal video here: fewer than some 10 false alarms an
# hour cannot be distinguished from none.
FALSE_ALARMS_PER_HOUR = 30.0
_NEED_THRESHOLDS = ("found", "false_alarms_per_hour", "clip_accuracy")


@dataclass(frozen=True)
class Benchmark:
    """A data set and the protocol that is run on it.

    Attributes:
        title: Its name in tables.
        config: Name of its configuration in ``configs/``.
        protocol: Splits, bags and test videos.
        columns: The figures of its tables, the leading one first.
        clips: Whether single clips are scored, too.
        own_split: Whether training and test part are those of the data set.
    """

    title: str
    config: str
    protocol: BenchmarkProtocol
    columns: tuple[FigureColumn, ...]
    clips: bool = False
    own_split: bool = False

    def protocol_for(self, dataset: Dataset) -> BenchmarkProtocol:
        """The protocol, with the data set's own split where the benchmark uses that."""
        if not self.own_split:
            return self.protocol
        test = frozenset(str(video.path) for video in dataset.select_part("test").videos)
        return replace(self.protocol, split=OwnSplit(test))

    @property
    def all_columns(self) -> tuple[FigureColumn, ...]:
        return self.columns + (CLIP_COLUMNS if self.clips else ())

    @property
    def training_columns(self) -> tuple[FigureColumn, ...]:
        """The columns that a single training has: those that need no threshold."""
        return tuple(each for each in self.all_columns if each.field not in _NEED_THRESHOLDS)


_AUC, _AUC_SUB, _AP, _AP_SUB, _FAR, _FOUND, _FALSE_ALARMS = FRAME_COLUMNS

# Zhong et al. (CVPR 2019) after He et al. (2018): 10 of all 28 clips to train on, 18 to test.
PED2_BENCHMARK = Benchmark(
    "UCSD Ped2, weak labels",
    "ped2",
    BenchmarkProtocol(RandomDraws(normal=4, abnormal=6), 10, "clips", test_videos=None),
    (_AUC, _AUC_SUB, _AP, _AP_SUB, _FAR),
)
# A fall is shorter than the rest of a day: all videos are spliced and trimmed to one length.
_FALLS = SpliceRule((6, 6), (1, 1), 100, 100, snippets=48)
UR_FALL_BENCHMARK = Benchmark(
    "UR Fall, joined to one length",
    "ur_fall",
    BenchmarkProtocol(
        repeats=1,
        train_videos=_FALLS,
        test_videos=replace(_FALLS, normal_videos=20, abnormal_videos=20),
    ),
    (_AUC_SUB, _AUC, _AP_SUB, _AP, _FAR, _FOUND, _FALSE_ALARMS),
)
SURVEILLANCE_FIGHT_BENCHMARK = Benchmark(
    "Surveillance Fight, spliced and as clips",
    "fight_urdmu",
    BenchmarkProtocol(),
    FRAME_COLUMNS,
    clips=True,
)
# Abnormal videos are half as long as normal ones: no method may learn from the length.
SHANGHAITECH_TRACKS_BENCHMARK = Benchmark(
    "ShanghaiTech, features of tracks",
    "shanghaitech_tracks",
    BenchmarkProtocol(repeats=3, train_on="clips", test_videos=None, even_lengths=True, window=22),
    (_AUC_SUB, _AUC, _AP_SUB, _AP, _FAR),
    own_split=True,
)
_PUBLISHED = BenchmarkProtocol(repeats=3, train_on="clips", test_videos=None)
UCF_CRIME_BENCHMARK = Benchmark(
    "UCF-Crime",
    "urdmu_published",
    _PUBLISHED,
    (_AUC, AP_TRAPEZOID, _AP, _AUC_SUB, _AP_SUB, _FAR),
    own_split=True,
)
XD_VIOLENCE_BENCHMARK = Benchmark(
    "XD-Violence",
    "urdmu_published_xd",
    _PUBLISHED,
    (AP_TRAPEZOID, _AP, _AUC, _AUC_SUB, _AP_SUB, _FAR),
    own_split=True,
)
