"""``oddframe extract --cluster`` gives the features of a single machine, even if machines die."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oddframe.features.store.manifest import ManifestEntry, read_entries
from tests.cli.conftest import Answer
from tests.cli.test_extract import files_of
from tests.conftest import Image, encode

Run = Callable[..., Answer]
LIGHT = ("--backbone", "efficientnet_lite0", "--precision", "float32")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray cluster of one machine with a core; tests add others."""
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'oddframe[ray]'")
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray makes way for other programs, and on a busy machine would never come to an end.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Its own spelling.
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000},
    )
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Address of an S3 server on this machine, with a bucket ``cam``."""
    server = pytest.importorskip("moto.server", reason="moto is not installed (a dev extra)")
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'oddframe[ray]'")
    running = server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="cam")
        yield "s3://cam"
    running.stop()


def comparable(entries: list[ManifestEntry], places: dict[str, str]) -> list[ManifestEntry]:
    """The entries without what differs between runs: seconds, and where the videos lie."""
    found = []
    for entry in entries:
        video = entry.video
        for place, name in places.items():
            video = video.replace(place, name)
        found.append(replace(entry, video=video, seconds=0.0))
    return sorted(found, key=lambda entry: entry.video)


@pytest.mark.slow
def test_from_and_to_an_object_store(
    oddframe: Run, s3: str, cluster: Any, clip: Path, normal_clip: Path, tmp_path: Path
) -> None:
    import fsspec

    videos = tmp_path / "videos"
    (videos / "a").mkdir(parents=True)
    (videos / "b").mkdir()
    (videos / "a" / "x.mp4").write_bytes(clip.read_bytes())
    (videos / "b" / "x.mp4").write_bytes(clip.read_bytes())
    (videos / "b" / "y.mp4").write_bytes(normal_clip.read_bytes())
    (videos / "b" / "text.mp4").write_text("This is not a video.\n")
    (videos / "b" / "empty.mp4").touch()
    fs = fsspec.filesystem("s3")
    fs.put(str(videos), "cam/videos", recursive=True)

    single = ("extract", videos, *LIGHT, "--store", tmp_path / "single", "--out", tmp_path / "out")
    oddframe(*single)
    arguments = ("extract", f"{s3}/videos", *LIGHT, "--store", f"{s3}/store", "--out", f"{s3}/out")
    answer = oddframe(*arguments, "--cluster", cluster.address)
    assert answer.code == 3, answer.err
    assert "2 extracted, 1 were there, 2 failed" in answer.out
    assert f"FAILED {s3}/videos/b/text.mp4: not a video" in answer.err
    assert f"FAILED {s3}/videos/b/empty.mp4: the file is empty" in answer.err

    got = tmp_path / "got"
    for name in ("store", "out"):
        fs.get(f"cam/{name}", str(got / name), recursive=True)
    assert files_of(got / "store") == files_of(tmp_path / "single")
    assert files_of(got / "out") == files_of(tmp_path / "out")
    assert {p.name for p in (got / "out").glob("*.npy")} == {
        "a_x__0.npy", "b_x__0.npy", "y__0.npy"
    }  # fmt: skip
    places = {f"{s3}/videos": "", str(videos): ""}
    ours, theirs = (
        comparable([e for e in read_entries(store) if not e.reason], places)
        for store in (got / "store", tmp_path / "single")
    )
    assert ours == theirs

    times = {name: info["LastModified"] for name, info in fs.find("cam", detail=True).items()}
    fs.invalidate_cache()
    again = oddframe(*arguments, "--cluster", cluster.address)
    assert "0 extracted, 3 were there, 2 failed" in again.out
    fs.invalidate_cache()
    now = {name: info["LastModified"] for name, info in fs.find("cam", detail=True).items()}
    assert now == times
    fs.pipe("cam/videos/c/y.mp4", clip.read_bytes() + b"\0\0\0\x08free")
    fs.pipe("cam/videos/c/z.mp4", clip.read_bytes())
    fs.pipe("cam/out/z__0.npy", b"somebody's")
    third = oddframe("extract", f"{s3}/videos/c", *arguments[2:], "--cluster", cluster.address)
    assert f"{s3}/out: y__0.npy belongs to another video, {s3}/videos/b/y.mp4" in third.err
    assert f"{s3}/out: z__0.npy exists and has other contents" in third.err
    assert fs.cat("cam/out/z__0.npy") == b"somebody's"
    assert third.code == 3


@pytest.mark.slow
def test_work_of_a_machine_that_dies_is_repeated(
    oddframe: Run, cluster: Any, clip_frames: list[Image], tmp_path: Path
) -> None:
    videos, store = tmp_path / "videos", tmp_path / "store"
    videos.mkdir()
    video = encode(tmp_path / "long.mp4", clip_frames * 8).read_bytes()
    for count in range(5):
        # An empty box at the end: another content, the same video.
        (videos / f"{count}.mp4").write_bytes(video + b"\0\0\0\x08free" * count)
    second = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    cluster.wait_for_nodes()

    def kill() -> None:
        while len(list(store.glob("??/*.safetensors"))) < 2:
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    answer = oddframe("extract", videos, *LIGHT, "--store", store, "--cluster", cluster.address)
    killer.join(timeout=1)
    assert not killer.is_alive()
    assert "5 extracted, 0 were there, 0 failed" in answer.out, answer.err
    assert answer.code == 0
    assert answer.out.count("\n") == 1
    # Whether "given out again" is printed depends on what the machine was doing.
    assert "2 at the same time" in answer.err
    single = tmp_path / "single"
    assert oddframe("extract", videos, *LIGHT, "--store", single).code == 0
    assert files_of(store) == files_of(single)
    ours, theirs = (comparable(list(read_entries(each)), {}) for each in (store, single))
    assert ours == theirs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cluster", "here"], "local, HOST:PORT or ray://HOST:PORT"),
        (["--store", "s3://cam/store"], "only with --cluster"),
        (["--out", "s3://cam/out"], "only with --cluster"),
    ],
)
def test_wrong_addresses_are_refused(
    oddframe: Run, clip: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    answer = oddframe("extract", clip, "--store", tmp_path / "s", *arguments)
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_without_a_cluster_fails_at_once(
    oddframe: Run, clip: Path, tmp_path: Path, scheme: str
) -> None:
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'oddframe[ray]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"
    answer = oddframe("extract", clip, "--store", tmp_path / "s", "--cluster", address)
    assert answer.code == 1
    assert f"--cluster {address}: no cluster to work on" in answer.err


def test_the_message_without_ray_names_the_package(
    oddframe: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = oddframe("extract", clip, "--store", tmp_path / "s", "--cluster", "local")
    assert answer.code == 2
    assert "pip install 'oddframe[ray]'" in answer.err
