"""The registry of benchmarks, by the name of the data set (docs/extend.md).

The module of a benchmark is imported at first use, so the command line knows all names at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from oddframe.errors import UsageError

if TYPE_CHECKING:
    from oddframe.research.benchmark import Benchmark

# Data set: where its Benchmark is, as MODULE:NAME.
LOCATIONS = {
    "ped2": "oddframe.research.benchmark:PED2_BENCHMARK",
    "ur_fall": "oddframe.research.benchmark:UR_FALL_BENCHMARK",
    "surveillance_fight": "oddframe.research.benchmark:SURVEILLANCE_FIGHT_BENCHMARK",
    "shanghaitech_tracks": "oddframe.research.benchmark:SHANGHAITECH_TRACKS_BENCHMARK",
    "ucf_crime": "oddframe.research.benchmark:UCF_CRIME_BENCHMARK",
    "xd_violence": "oddframe.research.benchmark:XD_VIOLENCE_BENCHMARK",
}
# Benchmarks of published features, which ``oddframe league`` does not rank methods on.
NOT_IN_LEAGUE = ("ucf_crime", "xd_violence")
FORMER_NAMES = {"fight": "surveillance_fight"}


class _Benchmarks(Mapping[str, "Benchmark"]):
    def __getitem__(self, name: str) -> Benchmark:
        found: Benchmark = resolve_name(LOCATIONS[name])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(LOCATIONS)

    def __len__(self) -> int:
        return len(LOCATIONS)


BENCHMARKS: Mapping[str, Benchmark] = _Benchmarks()


def get_benchmark(name: str) -> Benchmark:
    """The benchmark on a data set; UsageError if there is none."""
    if name not in BENCHMARKS:
        raise UsageError(f"no benchmark is called {name}, only {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def league_benchmarks() -> tuple[str, ...]:
    """The benchmarks that ``oddframe league`` ranks methods on."""
    return tuple(name for name in BENCHMARKS if name not in NOT_IN_LEAGUE)
