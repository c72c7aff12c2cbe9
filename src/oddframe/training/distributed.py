"""Train with several processes: each computes some of the microbatches of every batch.

``torchrun`` starts the processes, all with the same command line. The first one does everything
that a single process would do; the others wait in ``run_worker``. A process computes a large batch
in microbatches (``step.py``) and adds up their gradients. Several processes divide the microbatches
among them and add the same gradients in the same order, so that the weights are those of one
process, bit by bit, if all run with the same number of threads (``torchrun`` sets
``OMP_NUM_THREADS=1``). A sum in another order would change the weights: Adam divides by the length
of the gradient, and turns the rounding error of a gradient near zero into a step of full length.

A batch that is not divided is not shared: a small one, or one of a method whose loss is not the
mean over microbatches. The first process then trains alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from oddframe.errors import OddframeError
from oddframe.methods.base import Loss

# The workers wait while the first process extracts features or searches.
_TIMEOUT = timedelta(days=30)

JobT = TypeVar("JobT")

Backward = Callable[[int], Loss]
"""Adds the gradients of the microbatch of that number, and returns its loss."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, seen from the one of number ``rank``."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> ProcessGroup:
        """The group of ``torch.distributed``; without that, this process alone."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def share(self, n: int) -> range:
        """The microbatches, of ``n``, that this process computes; the last may have none."""
        each = -(-n // self.size)
        return range(min(n, self.rank * each), min(n, (self.rank + 1) * each))

    def all_gather(self, mine: JobT) -> list[JobT]:
        if self.size == 1:
            return [mine]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        return found

    def add_in_order(self, mine: Sequence[Tensor], like: Tensor) -> Tensor:
        """The sum of all processes' tensors, like ``like``, added from the first to the last.

        The partial sum is passed from process to process. The first has at least one tensor.
        """
        if self.is_first:
            total, mine = mine[0].clone(), mine[1:]
        else:
            total = torch.empty_like(like)
            dist.recv(total, src=self.rank - 1)
        for each in mine:
            total += each
        if self.rank + 1 < self.size:
            dist.send(total, dst=self.rank + 1)
        if self.size > 1:
            dist.broadcast(total, src=self.size - 1)
        return total

    def from_first(self, decide: Callable[[], float]) -> float:
        """The value that ``decide`` returns in the first process; only that one calls it."""
        if self.size == 1:
            return decide()
        found = [decide() if self.is_first else 0.0]
        dist.broadcast_object_list(found)
        return found[0]

    def send_job(self, job: object) -> None:
        """Send the other processes a job; None ends them."""
        if self.size > 1:
            dist.broadcast_object_list([job])


SINGLE_PROCESS = ProcessGroup()


class _RandomRecorder(TorchFunctionMode):
    """Records the random tensors drawn inside it; ``repeat`` draws as many numbers again."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[Callable[[], object]] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.randn_like, torch.rand_like, F.dropout):
            x, size, stride = args[0], args[0].size(), args[0].stride()
            like = {"dtype": x.dtype, "device": x.device}

            def draw() -> object:
                return func(torch.empty_strided(size, stride, **like), *args[1:], **kwargs)

            self.drawn.append(draw)
        return func(*args, **kwargs)

    def repeat(self) -> None:
        """Advance the random generators as a second run of what was recorded would."""
        with torch.no_grad():
            for draw in self.drawn:
                draw()


class SharedMicrobatches:
    """Computes the gradients of ``count`` equal microbatches together with the other processes."""

    def __init__(
        self, processes: ProcessGroup, count: int, parameters: Sequence[nn.Parameter]
    ) -> None:
        self.processes, self.count, self.parameters = processes, count, parameters
        self.mine = processes.share(count)
        self.draws: _RandomRecorder | None = None
        self.trained: list[nn.Parameter] = []  # The parameters that get a gradient.

    def gradients(self, draw: Callable[[], Backward]) -> list[Loss]:
        """Set the parameters' gradients to the sum over all microbatches; return their losses.

        ``draw`` draws a batch, the same in every process. An OddframeError in one of the processes
        is raised in all of them.
        """
        losses: list[Loss] = []
        sums: list[Tensor] = []
        error: OddframeError | None = None
        try:
            backward = draw()
            if self.draws is None:
                self.draws = self._record_draws(backward)
            for part in range(self.count):
                if part in self.mine:
                    losses.append(backward(part))
                    sums.append(self._take_gradients())
                else:
                    self.draws.repeat()
        except OddframeError as caught:
            error = caught
        found = self.processes.all_gather((losses, error))
        for _, problem in found:
            if problem is not None:
                raise problem
        flat = torch.cat([p.detach().flatten() for p in self.trained])
        summed = self.processes.add_in_order(sums, flat)
        gradients = torch.split(summed, [parameter.numel() for parameter in self.trained])
        for parameter, gradient in zip(self.trained, gradients, strict=True):
            parameter.grad = gradient.view_as(parameter)
        return [loss for each, _ in found for loss in each]

    def _take_gradients(self) -> Tensor:
        """All gradients in one vector; they are removed from the parameters."""
        flat = torch.cat([p.grad.flatten() for p in self.trained if p.grad is not None])
        for parameter in self.trained:
            parameter.grad = None
        return flat

    def _record_draws(self, backward: Backward) -> _RandomRecorder:
        """Compute one microbatch and record its random numbers; nothing else changes."""
        draws = _RandomRecorder()
        devices = list({p.device for p in self.parameters if p.device.type == "cuda"})
        with torch.random.fork_rng(devices):
            with draws:
                backward(0)
            after = _random_states(devices)
        with torch.random.fork_rng(devices):
            draws.repeat()
            same = all(map(torch.equal, _random_states(devices), after))
        if not same:
            raise OddframeError(
                "this method draws random numbers in a way that several processes cannot share: "
                "train in one process"
            )
        self.trained = [p for p in self.parameters if p.grad is not None]
        self._take_gradients()
        return draws


def _random_states(devices: Sequence[torch.device]) -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]


def run_worker(work: Callable[[Any], object]) -> None:
    """Do the jobs that the first process sends, until it has no more or has ended.

    If it has ended, this process exits at once: PyTorch's threads, which may be waiting for a
    message, would abort an exit that takes Python down around them.
    """
    while True:
        job: list[Any] = [None]
        try:
            dist.broadcast_object_list(job)
            if job[0] is None:
                return
            work(job[0])
        except RuntimeError as error:
            # Ignore a lost connection: the first process reports what went wrong.
            if "onnection" not in str(error):
                raise
            os._exit(1)
        except KeyboardInterrupt:
            os._exit(130)


@contextmanager
def joined_processes() -> Iterator[ProcessGroup]:
    """Join the processes that ``torchrun`` started, if it did; after the block the workers exit.

    A process that fails leaves without a message, and ``torchrun`` stops the others.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ProcessGroup()
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_TIMEOUT)
    ranks = ProcessGroup.current()
    yield ranks
    if ranks.is_first:
        ranks.send_job(None)
    # No process disconnects while another may still be reading its last message. If the barrier
    # fails, another process has passed it already.
    with suppress(RuntimeError):
        dist.barrier()
    if not ranks.is_first:
        sys.stderr.flush()
        os._exit(0)  # As in run_worker: PyTorch's threads may abort an orderly exit.
    dist.destroy_process_group()
