"""Runs an extraction on many machines with Ray Data: on a cluster, or on this machine.

A coordinator runs as an actor on the cluster, so that the caller may be outside of it and use Ray's
client. It gives the videos to Ray Data, whose actors each have a ``ClusterWorker``. A video whose
actor or machine dies is given out again a limited number of times, because it may be the video that
kills them.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import secrets
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Literal

from oddframe._utils.progress import MessageCallback
from oddframe.backbones.engines import Runtime, choose_runtime
from oddframe.errors import OddframeError, UsageError, describe_unexpected_error
from oddframe.features.cluster.worker import (
    ClusterJob,
    ClusterWorker,
    ItemStatus,
    WorkItem,
    failed_result,
    inspect_item,
)
from oddframe.features.extraction.worker import ExtractionRequest, ExtractionResult

ClusterStage = Literal["inspect", "extract"]

_ROUNDS = 3
# Ray tracks each block: a million videos are given out in blocks of a hundred.
_MAX_BLOCKS = 10_000
_WAIT_S = 1.0
_CONNECT_TIMEOUT_S = 20.0
_MESSAGE = -1  # In place of a video's index: the answer is a line for the user.
_HEAD = "node:__internal_head__"  # Ray's name for a resource that only the head node has.
# Finds our own message in Ray's report of an exception.
_ODDFRAME_ERROR = re.compile(r"oddframe\.errors\.\w+: (.+)")


@dataclass(frozen=True)
class ClusterResources:
    """Number of workers, and graphics cards for each; without, each gets a processor core."""

    actors: int
    gpus: float


class Cluster:
    """A connection to a cluster; see ``connect_to_cluster``."""

    def __init__(self, ray: ModuleType, jobs: int | None, message: MessageCallback) -> None:
        self._ray, self._jobs, self._message = ray, jobs, message

    def resolve(self, request: ExtractionRequest) -> tuple[ExtractionRequest, ClusterResources]:
        """The request with every ``auto`` replaced, as a machine of the cluster decides.

        UsageError if the device, engine or precision is not available there.
        """
        resources = self._resources(request)
        device: Literal["cpu", "cuda"] = "cuda" if resources.gpus else "cpu"
        request = replace(request, device=device)
        task = self._ray.remote(**_ray_options(resources))(_choose_engine)
        with _translate_ray_errors():
            answer = self._ray.get(task.remote(request))
        if isinstance(answer, str):
            raise UsageError(answer)
        return replace(request, engine=answer.engine, precision=answer.precision), resources

    def run(
        self,
        items: Mapping[int, WorkItem],
        job: ClusterJob,
        resources: ClusterResources,
        stage: ClusterStage,
    ) -> Iterator[list[tuple[int, Any]]]:
        """Inspect or extract videos; yields lists, often empty, of (index, result) as they come.

        A result is an ``ItemStatus`` or an ``ExtractionResult``, by the stage. OddframeError if the
        cluster was lost, or a machine has another version or weights.
        """
        if not items:
            return
        with _translate_ray_errors():
            # On the head node: without it there is no cluster anyway.
            on_head = self._ray.remote(num_cpus=0, resources={_HEAD: 0.001})
            coordinator = on_head(_Coordinator).remote(dict(items), job, resources, stage)
            while (answers := self._ray.get(coordinator.next.remote())) is not None:
                if isinstance(answers, str):
                    raise OddframeError(answers)
                for index, answer in answers:
                    if index == _MESSAGE:
                        self._message(answer)
                yield [answer for answer in answers if answer[0] != _MESSAGE]

    def _resources(self, request: ExtractionRequest) -> ClusterResources:
        available = self._ray.cluster_resources()
        gpus = int(available.get("GPU", 0)) if request.device != "cpu" else 0
        if request.device == "cuda" and not gpus:
            raise UsageError("--device cuda: this cluster has no graphics card; use --device cpu")
        if gpus and request.engine != "openvino":
            actors = self._jobs or gpus
            return ClusterResources(actors, 1 / -(-actors // gpus))
        return ClusterResources(self._jobs or max(1, int(available.get("CPU", 1))), 0)


def _check_reachable(address: str) -> None:
    """Fail at once if nothing listens at the address; Ray would try for minutes."""
    if address == "local":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OddframeError(
            f"--cluster {address}: no cluster to work on (nothing answers there: {reason})"
        ) from None


@contextmanager
def connect_to_cluster(
    address: str, jobs: int | None, message: MessageCallback
) -> Iterator[Cluster]:
    """Connect to ``local`` (this machine), ``ray://HOST:PORT`` or ``HOST:PORT``.

    ``ray://`` is Ray's client server; with ``HOST:PORT`` this machine is part of the cluster.
    ``jobs``: videos at the same time, by default one for each graphics card, or else for each core.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray sends usage statistics to its makers.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Silences a warning.
    with _loopback_only() if address == "local" else nullcontext():
        try:
            import ray
            import ray.data
        except ImportError:
            raise UsageError("--cluster needs Ray: pip install 'oddframe[ray]'") from None
        _check_reachable(address)
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if address == "local":
            quiet["include_dashboard"] = False
            _leave_out_dashboard()
        with redirect_stdout(sys.stderr):  # Ray prints there that a machine died.
            try:
                ray.init(address, **quiet)
            except Exception as error:  # Ray has dozens of types.
                reason = " ".join(str(error).split())[:200]
                outside = ""
                if "://" not in address and address != "local":
                    outside = f"; with the port of Ray's client server it is ray://{address}"
                raise OddframeError(
                    f"--cluster {address}: no cluster to work on ({reason}){outside}"
                ) from None
            try:
                yield Cluster(ray, jobs, message)
            finally:
                ray.shutdown()


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Restrict a local Ray cluster to this machine.

    Ray opens a socket to 8.8.8.8 to find this machine's address, and offers the cluster there. With
    the first setting, which Ray reads on import, it uses 127.0.0.1. With a token in the environment
    Ray writes none into the home folder.
    """
    settings = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
    }
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _leave_out_dashboard() -> None:
    """Keep Ray from starting its dashboard process on this machine.

    Even without a dashboard and with usage statistics turned off, that process asks the addresses
    of cloud providers where it runs.
    """
    from ray._private import services

    services.start_api_server = lambda *_, **__: (None, None)


class _Coordinator:
    """An actor that has items processed in rounds and returns the results."""

    def __init__(
        self,
        items: dict[int, WorkItem],
        job: ClusterJob,
        resources: ClusterResources,
        stage: ClusterStage,
    ) -> None:
        self._remaining, self._job, self._resources, self._stage = items, job, resources, stage
        self._answers: queue.Queue[tuple[int, Any] | str | None] = queue.Queue()
        self._reason = ""
        threading.Thread(target=self._work, daemon=True).start()

    def next(self) -> list[tuple[int, Any]] | str | None:
        """The results since the last call; a string: why the run failed; None: it is finished."""
        results: list[tuple[int, Any]] = []
        try:
            answer = self._answers.get(timeout=_WAIT_S)
            while isinstance(answer, tuple):
                results.append(answer)
                answer = self._answers.get_nowait()
            if results:
                self._answers.put(answer)  # It is the last answer: keep it for the next call.
                return results
            return answer
        except queue.Empty:
            return results

    def _work(self) -> None:
        try:
            for number in range(_ROUNDS):
                if number and self._remaining:
                    again = f"{len(self._remaining)} videos are given out again: the machine or "
                    self._answers.put((_MESSAGE, f"{again}the process that had them was lost"))
                # After the first round, send each video as a separate block.
                blocks = len(self._remaining)
                if blocks:
                    self._run_round(blocks if number else min(blocks, _MAX_BLOCKS))
            for index, item in self._remaining.items():
                reason = f"the machine or the process that had it was lost {_ROUNDS} times"
                if self._reason:
                    reason = f"{reason}: {self._reason}"
                lost: ItemStatus | ExtractionResult = failed_result(item, reason)
                if self._stage == "inspect":
                    lost = ItemStatus("", reason=reason, exit_code=3)
                self._answers.put((index, lost))
            self._answers.put(None)
        except OddframeError as error:
            self._answers.put(str(error))
        except Exception as error:  # A bug of ours: report it to the caller.
            self._answers.put(describe_unexpected_error(error))

    def _run_round(self, blocks: int) -> None:
        """Process the remaining items; those that are lost on the way remain."""
        import ray
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # Their items remain for the next round.
        rows = [{"number": n, "item": item} for n, item in self._remaining.items()]
        data: Any = ray.data.from_items(rows, override_num_blocks=blocks)
        if self._stage == "inspect":
            data = data.map(_inspect_row, fn_kwargs={"job": self._job}, num_cpus=1)
        else:
            actors = min(self._resources.actors, len(rows))
            # A lost actor is started again if there is room for it; otherwise the others go on. Its
            # video is not retried in this round: it remains for the next.
            data = data.map(
                _Actor,
                fn_constructor_args=(self._job,),
                compute=ray.data.ActorPoolStrategy(
                    min_size=1,
                    max_size=actors,
                    initial_size=actors,
                    max_tasks_in_flight_per_actor=1,
                ),
                max_restarts=-1,
                max_task_retries=0,
                **_ray_options(self._resources),
            )
        try:
            for batch in data.iter_batches(batch_size=None, prefetch_batches=0):
                for index, answer in zip(batch["number"], batch["answer"], strict=True):
                    if self._remaining.pop(int(index), None) is not None:
                        self._answers.put((int(index), answer))
        except Exception as error:  # Ray has dozens of types; remaining items are tried again.
            if ours := _ODDFRAME_ERROR.search(str(error)):
                raise OddframeError(ours[1]) from None
            self._reason = _last_line(error)


class _Actor:
    """A worker that Ray Data calls with each row."""

    def __init__(self, job: ClusterJob) -> None:
        self._worker = ClusterWorker(job)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"number": row["number"], "answer": self._worker(row["item"])}


def _inspect_row(row: dict[str, Any], job: ClusterJob) -> dict[str, Any]:
    return {"number": row["number"], "answer": inspect_item(row["item"], job)}


def _choose_engine(request: ExtractionRequest) -> Runtime | str:
    try:
        return choose_runtime(request.engine, request.device, request.precision)
    except UsageError as error:
        return str(error)


def _ray_options(resources: ClusterResources) -> dict[str, float]:
    return {"num_cpus": 1, "num_gpus": resources.gpus}


@contextmanager
def _translate_ray_errors() -> Iterator[None]:
    import ray

    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        if ours := _ODDFRAME_ERROR.search(str(error)):
            raise OddframeError(ours[1]) from None
        raise OddframeError(
            f"the cluster was lost ({_last_line(error)}); the same command resumes where it stopped"
        ) from None


def _last_line(error: BaseException) -> str:
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
