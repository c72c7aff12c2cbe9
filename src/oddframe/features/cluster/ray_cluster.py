"""Many machines: stations as actors of Ray Data, on a cluster or on this machine.

A run is one actor on the cluster (``_Coordinator``), so that its caller may be outside and use
Ray's
client. It gives the work to Ray Data, whose actors each hold a station. What an actor or its
machine takes with it when it dies is given out again, one video at a time, a limited number of
times: a video that kills whatever touches it is in the end listed as failed.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

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

if TYPE_CHECKING:
    from types import ModuleType


ClusterStage = Literal["look", "make"]

_ROUNDS = 3
# Ray keeps books of each block; a million videos are given out by the hundred.
_BLOCKS = 10_000
_WAIT_S = 1.0
_REACH_S = 20.0  # To open a connection to the cluster.
_MESSAGE = -1  # Stands for a number where an answer is a line for the user.
_HEAD = "node:__internal_head__"  # Ray's name for what only the head node has.
# What of Ray's report of an exception is our own line.
_ODDFRAME_ERROR = re.compile(r"oddframe\.errors\.\w+: (.+)")


@dataclass(frozen=True)
class ClusterResources:
    """What a cluster has.

    Attributes:
        actors: How many work at the same time.
        gpus: Share of a graphics card that each has; 0: a processor core.
    """

    actors: int
    gpus: float


class Cluster:
    """A cluster that we are connected to; see ``connect_to_cluster``."""

    def __init__(self, ray: ModuleType, jobs: int | None, tell: Callable[[str], None]) -> None:
        self._ray, self._jobs, self._tell = ray, jobs, tell

    def settle(self, wanted: ExtractionRequest) -> tuple[ExtractionRequest, ClusterResources]:
        """What is wanted with nothing left open, decided on a machine of the cluster.

        Raises:
            UsageError: what was asked for is not there.
            OddframeError: the cluster does not answer.
        """
        room = self._room(wanted)
        device: Literal["cpu", "cuda"] = "cuda" if room.gpus else "cpu"
        asked = replace(wanted, device=device)
        task = self._ray.remote(**_ray_options(room))(_choose_engine)
        with _translate_ray_errors():
            answer = self._ray.get(task.remote(asked))
        if isinstance(answer, str):
            raise UsageError(answer)
        return replace(asked, engine=answer.engine, precision=answer.precision), room

    def run(
        self,
        items: Mapping[int, WorkItem],
        order: ClusterJob,
        room: ClusterResources,
        stage: ClusterStage,
    ) -> Iterator[list[tuple[int, Any]]]:
        """(number, ``ItemStatus`` or ``_ResultT``) of each item, in any order, as they come; often
        none.

        Raises:
            OddframeError: the cluster is lost, or a machine of it would make something else.
        """
        if not items:
            return
        with _translate_ray_errors():
            # On the head: if that dies, so does the cluster.
            head = self._ray.remote(num_cpus=0, resources={_HEAD: 0.001})
            run = head(_Coordinator).remote(dict(items), order, room, stage)
            while (answers := self._ray.get(run.next.remote())) is not None:
                if isinstance(answers, str):
                    raise OddframeError(answers)
                for number, answer in answers:
                    if number == _MESSAGE:
                        self._tell(answer)
                yield [answer for answer in answers if answer[0] != _MESSAGE]

    def _room(self, wanted: ExtractionRequest) -> ClusterResources:
        has = self._ray.cluster_resources()
        gpus = int(has.get("GPU", 0)) if wanted.device != "cpu" else 0
        if wanted.device == "cuda" and not gpus:
            raise UsageError("--device cuda: this cluster has no graphics card; use --device cpu")
        if gpus and wanted.engine != "openvino":
            actors = self._jobs or gpus
            return ClusterResources(actors, 1 / -(-actors // gpus))
        return ClusterResources(self._jobs or max(1, int(has.get("CPU", 1))), 0)


def _check_reachable(address: str) -> None:
    """Fail at once where nothing listens at the address; Ray tries for minutes."""
    if address == "local":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OddframeError(
            f"--cluster {address}: no cluster to work on (nothing answers there: {reason})"
        ) from None


@contextmanager
def connect_to_cluster(
    address: str, jobs: int | None, tell: Callable[[str], None]
) -> Iterator[Cluster]:
    """Connect to a cluster: ``local`` (this machine), ``ray://HOST:PORT``, or ``HOST:PORT``.

    Args:
        address: Of Ray's client server; without ``ray://``, of the cluster that this machine is of.
        jobs: Videos at the same time; None: one a graphics card, or else a processor core.
        tell: Is called with a line when something was lost and is given out again.

    Raises:
        UsageError: Ray is not installed.
        OddframeError: there is no cluster at the address, or it runs another Ray or Python.
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
        with redirect_stdout(sys.stderr):  # Ray says there that a machine died.
            try:
                ray.init(address, **quiet)
            except Exception as error:  # Ray has dozens.
                reason = " ".join(str(error).split())[:200]
                outside = ""
                if "://" not in address and address != "local":
                    outside = f"; with the port of Ray's client server it is ray://{address}"
                raise OddframeError(
                    f"--cluster {address}: no cluster to work on ({reason}){outside}"
                ) from None
            try:
                yield Cluster(ray, jobs, tell)
            finally:
                ray.shutdown()


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Settings for a Ray cluster of this machine alone.

    Ray looks for this machine's address by a socket to 8.8.8.8 and offers the cluster there; with
    the first setting, which it reads when it is imported, it takes 127.0.0.1. With a token in the
    environment it writes none into the home folder.
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
    """Start no process of Ray's dashboard on this machine.

    Without a dashboard it only prepares usage statistics: it asks the addresses of cloud providers
    where it runs, also when the statistics are turned off.
    """
    from ray._private import services

    services.start_api_server = lambda *_, **__: (None, None)


class _Coordinator:
    """An actor that has items done, and hands out answers."""

    def __init__(
        self,
        items: dict[int, WorkItem],
        order: ClusterJob,
        room: ClusterResources,
        stage: ClusterStage,
    ) -> None:
        self._left, self._order, self._room, self._stage = items, order, room, stage
        self._answers: queue.Queue[tuple[int, Any] | str | None] = queue.Queue()
        self._reason = ""
        threading.Thread(target=self._work, daemon=True).start()

    def next(self) -> list[tuple[int, Any]] | str | None:
        """What came since; a line: why it ended early; None: that was all."""
        found: list[tuple[int, Any]] = []
        try:
            answer = self._answers.get(timeout=_WAIT_S)
            while isinstance(answer, tuple):
                found.append(answer)
                answer = self._answers.get_nowait()
            if found:
                self._answers.put(answer)  # For the next call: nothing comes after it.
                return found
            return answer
        except queue.Empty:
            return found

    def _work(self) -> None:
        try:
            for number in range(_ROUNDS):
                if number and self._left:
                    again = f"{len(self._left)} videos are given out again: the machine or the "
                    self._answers.put((_MESSAGE, f"{again}process that had them was lost"))
                blocks = len(self._left) if number else min(len(self._left), _BLOCKS)
                if blocks:
                    self._round(blocks)
            for number, item in self._left.items():
                reason = f"the machine or the process that had it was lost {_ROUNDS} times"
                if self._reason:
                    reason = f"{reason}: {self._reason}"
                lost: ItemStatus | ExtractionResult = failed_result(item, reason)
                if self._stage == "look":
                    lost = ItemStatus("", reason=reason, exit_code=3)
                self._answers.put((number, lost))
            self._answers.put(None)
        except OddframeError as error:
            self._answers.put(str(error))
        except Exception as error:  # A bug of ours: report it to the caller.
            self._answers.put(describe_unexpected_error(error))

    def _round(self, blocks: int) -> None:
        """Have what is left done; what is lost on the way stays left."""
        import ray
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # What was in them is still left afterwards.
        rows = [{"number": n, "item": item} for n, item in self._left.items()]
        data: Any = ray.data.from_items(rows, override_num_blocks=blocks)
        if self._stage == "look":
            data = data.map(_inspect_row, fn_kwargs={"order": self._order}, num_cpus=1)
        else:
            actors = min(self._room.actors, len(rows))
            # An actor comes back where there is room, and if there is none the others go on. Its
            # video is not waited for: it is left, and another gets it.
            data = data.map(
                _Actor,
                fn_constructor_args=(self._order,),
                compute=ray.data.ActorPoolStrategy(
                    min_size=1,
                    max_size=actors,
                    initial_size=actors,
                    max_tasks_in_flight_per_actor=1,
                ),
                max_restarts=-1,
                max_task_retries=0,
                **_ray_options(self._room),
            )
        try:
            for batch in data.iter_batches(batch_size=None, prefetch_batches=0):
                for number, answer in zip(batch["number"], batch["answer"], strict=True):
                    if self._left.pop(int(number), None) is not None:
                        self._answers.put((int(number), answer))
        except Exception as error:  # Ray has dozens; what is left is tried again.
            if ours := _ODDFRAME_ERROR.search(str(error)):
                raise OddframeError(ours[1]) from None
            self._reason = _last_line(error)


class _Actor:
    """What Ray Data calls with each row."""

    def __init__(self, order: ClusterJob) -> None:
        self._station = ClusterWorker(order)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"number": row["number"], "answer": self._station(row["item"])}


def _inspect_row(row: dict[str, Any], order: ClusterJob) -> dict[str, Any]:
    return {"number": row["number"], "answer": inspect_item(row["item"], order)}


def _choose_engine(wanted: ExtractionRequest) -> Runtime | str:
    try:
        return choose_runtime(wanted.engine, wanted.device, wanted.precision)
    except UsageError as error:
        return str(error)


def _ray_options(room: ClusterResources) -> dict[str, float]:
    return {"num_cpus": 1, "num_gpus": room.gpus}


@contextmanager
def _translate_ray_errors() -> Iterator[None]:
    import ray

    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        if ours := _ODDFRAME_ERROR.search(str(error)):
            raise OddframeError(ours[1]) from None
        raise OddframeError(
            f"the cluster was lost ({_last_line(error)}); the same command goes on where it was"
        ) from None


def _last_line(error: BaseException) -> str:
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
