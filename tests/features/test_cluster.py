"""What is asked of Ray, told by one that is made up: no cluster is started, and no card used."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oddframe.backbones.engines import Runtime
from oddframe.errors import UsageError
from oddframe.features.cluster.ray_cluster import ray_cluster as cluster
from oddframe.features.cluster.ray_cluster import worker as station
from oddframe.features.cluster.remote import RemotePath, RemoteVideo
from oddframe.features.cluster.worker import ClusterJob, ClusterWorker, ItemStatus, WorkItem
from oddframe.features.extraction.worker import ExtractionRequest, ExtractionResult
from oddframe.features.store.manifest import ManifestEntry

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'oddframe[ray]'")


def wanted(device: str, engine: str = "auto") -> ExtractionRequest:
    return ExtractionRequest((), device, engine, "float32", Path("store"))  # type: ignore[arg-type]


class MadeUp:
    """Takes the place of ``ray``: has what it is told to have, and keeps what it is asked for."""

    def __init__(self, **has: float) -> None:
        self._has, self.asked = has, dict[str, float]()

    def cluster_resources(self) -> dict[str, float]:
        return self._has

    def remote(self, **needs: float) -> Any:
        self.asked = needs
        choice = Runtime("torch", "cuda" if needs["num_gpus"] else "cpu", "float32")
        return lambda _: SimpleNamespace(remote=lambda _: choice)

    def get(self, answer: Any) -> Any:
        return answer


@pytest.mark.parametrize(
    ("has", "device", "engine", "jobs", "actors", "gpus"),
    [
        ({"CPU": 8.0}, "auto", "auto", None, 8, 0),
        ({"CPU": 8.0, "GPU": 2.0}, "auto", "auto", None, 2, 1),
        ({"CPU": 8.0, "GPU": 2.0}, "cuda", "torch", 3, 3, 1 / 2),
        ({"CPU": 8.0, "GPU": 2.0}, "cuda", "auto", 1, 1, 1),
        ({"CPU": 8.0, "GPU": 2.0}, "cpu", "auto", None, 8, 0),
        ({"CPU": 8.0, "GPU": 2.0}, "auto", "openvino", 5, 5, 0),
        ({}, "auto", "auto", None, 1, 0),
    ],
)
def test_cards_are_shared_out(
    has: dict[str, float], device: str, engine: str, jobs: int | None, actors: int, gpus: float
) -> None:
    made_up = MadeUp(**has)
    here = cluster.Cluster(made_up, jobs, print)  # type: ignore[arg-type]
    settled, room = here.settle(wanted(device, engine))
    assert room == cluster.Room(actors, gpus)
    assert made_up.asked == {"num_cpus": 1, "num_gpus": gpus}
    assert settled.device == ("cuda" if gpus else "cpu")
    assert settled.engine == "torch"


def test_a_card_that_is_not_there_is_said() -> None:
    here = cluster.Cluster(MadeUp(CPU=8.0), None, print)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--device cuda: this cluster has no graphics card"):
        here.settle(wanted("cuda"))


def test_each_actor_asks_for_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray.data

    asked: dict[str, Any] = {}

    class Rows:
        def __init__(self, rows: list[dict[str, Any]], **_: object) -> None:
            self.rows = rows

        def map(self, _: object, **how: Any) -> Rows:
            asked.update(how)
            return self

        def iter_batches(self, **_: object) -> list[dict[str, Any]]:
            return [
                {"number": [row["number"]], "answer": [ExtractionResult(())]} for row in self.rows
            ]

    monkeypatch.setattr(ray.data, "from_items", Rows)
    items = {
        n: WorkItem(RemoteVideo(f"{n}.mp4", RemotePath(f"{n}.mp4"), 1), str(n)) for n in range(9)
    }
    order = ClusterJob(wanted("cuda", "torch"), (), RemotePath("store"), None, 10**9, 60.0)
    run = cluster._Run(items, order, cluster.Room(4, 0.5), "make")
    answers = []
    while (found := run.next()) is not None:
        assert not isinstance(found, str), found
        answers += found
    assert sorted(number for number, _ in answers) == list(range(9))
    assert (asked["num_cpus"], asked["num_gpus"]) == (1, 0.5)
    assert asked["fn_constructor_args"] == (order,)
    assert (asked["compute"].min_size, asked["compute"].max_size) == (1, 4)


@pytest.mark.parametrize("missing", [0, 1])
def test_what_a_dead_machine_had_stored_is_of_this_run(
    monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    """It died before it told of it: whoever gets the video next finds nothing left to do."""
    there = ItemStatus("a" * 64, (ManifestEntry(video="a.mp4", sha256="a" * 64),))
    monkeypatch.setattr(station, "look", lambda *_: there)
    order = ClusterJob(wanted("cpu", "torch"), (), RemotePath("store"), None, 10**9, 60.0)
    here = ClusterWorker(order)
    made = here(WorkItem(RemoteVideo("a.mp4", RemotePath("a.mp4"), 1), "a", missing=missing))
    here.close()
    assert (made.entries, made.new, made.exit_code) == (there.kept, missing, 0)
