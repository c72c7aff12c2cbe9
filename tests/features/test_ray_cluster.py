"""The resources that a run asks Ray for. Ray is faked: no cluster is started, no GPU is used."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oddframe.backbones.engines import Runtime
from oddframe.errors import UsageError
from oddframe.features.cluster import ray_cluster
from oddframe.features.cluster import worker as cluster_worker
from oddframe.features.cluster.remote import RemotePath, RemoteVideo
from oddframe.features.cluster.worker import ClusterJob, ClusterWorker, ItemStatus, WorkItem
from oddframe.features.extraction.worker import ExtractionRequest, ExtractionResult
from oddframe.features.store.manifest import ManifestEntry

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'oddframe[ray]'")


def make_request(device: str, engine: str = "auto") -> ExtractionRequest:
    return ExtractionRequest((), device, engine, "float32", Path("store"))  # type: ignore[arg-type]


class FakeRay:
    """Stands in for the ``ray`` module: has given resources and records what is requested."""

    def __init__(self, **resources: float) -> None:
        self._resources, self.requested = resources, dict[str, float]()

    def cluster_resources(self) -> dict[str, float]:
        return self._resources

    def remote(self, **options: float) -> Any:
        self.requested = options
        runtime = Runtime("torch", "cuda" if options["num_gpus"] else "cpu", "float32")
        return lambda _: SimpleNamespace(remote=lambda _: runtime)

    def get(self, answer: Any) -> Any:
        return answer


@pytest.mark.parametrize(
    ("available", "device", "engine", "jobs", "actors", "gpus"),
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
def test_gpus_are_divided_among_the_workers(
    available: dict[str, float],
    device: str,
    engine: str,
    jobs: int | None,
    actors: int,
    gpus: float,
) -> None:
    fake = FakeRay(**available)
    cluster = ray_cluster.Cluster(fake, jobs, print)  # type: ignore[arg-type]
    resolved, resources = cluster.resolve(make_request(device, engine))
    assert resources == ray_cluster.ClusterResources(actors, gpus)
    assert fake.requested == {"num_cpus": 1, "num_gpus": gpus}
    assert resolved.device == ("cuda" if gpus else "cpu")
    assert resolved.engine == "torch"


def test_a_missing_gpu_is_an_error() -> None:
    cluster = ray_cluster.Cluster(FakeRay(CPU=8.0), None, print)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--device cuda: this cluster has no graphics card"):
        cluster.resolve(make_request("cuda"))


def test_each_worker_requests_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray.data

    options: dict[str, Any] = {}

    class Rows:
        def __init__(self, rows: list[dict[str, Any]], **_: object) -> None:
            self.rows = rows

        def map(self, _: object, **given: Any) -> Rows:
            options.update(given)
            return self

        def iter_batches(self, **_: object) -> list[dict[str, Any]]:
            return [
                {"number": [row["number"]], "answer": [ExtractionResult(())]} for row in self.rows
            ]

    monkeypatch.setattr(ray.data, "from_items", Rows)
    items = {
        n: WorkItem(RemoteVideo(f"{n}.mp4", RemotePath(f"{n}.mp4"), 1), str(n)) for n in range(9)
    }
    job = ClusterJob(make_request("cuda", "torch"), (), RemotePath("store"), None, 10**9, 60.0)
    coordinator = ray_cluster._Coordinator(
        items, job, ray_cluster.ClusterResources(4, 0.5), "extract"
    )
    answers = []
    while (found := coordinator.next()) is not None:
        assert not isinstance(found, str), found
        answers += found
    assert sorted(index for index, _ in answers) == list(range(9))
    assert (options["num_cpus"], options["num_gpus"]) == (1, 0.5)
    assert options["fn_constructor_args"] == (job,)
    assert (options["compute"].min_size, options["compute"].max_size) == (1, 4)


@pytest.mark.parametrize("missing", [0, 1])
def test_features_of_a_worker_that_died_before_reporting_count_as_new(
    monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    status = ItemStatus("a" * 64, (ManifestEntry(video="a.mp4", sha256="a" * 64),))
    monkeypatch.setattr(cluster_worker, "inspect_item", lambda *_: status)
    job = ClusterJob(make_request("cpu", "torch"), (), RemotePath("store"), None, 10**9, 60.0)
    worker = ClusterWorker(job)
    result = worker(WorkItem(RemoteVideo("a.mp4", RemotePath("a.mp4"), 1), "a", missing=missing))
    worker._pool.end()
    assert (result.entries, result.new, result.exit_code) == (status.stored, missing, 0)
