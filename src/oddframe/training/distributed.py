"""Several processes, one training: each computes some of the parts of every batch.

``torchrun`` starts them, all with the same command line. The first one does all that one process
would do; the others wait in ``run_worker``. A process takes a large batch part by part
(``steps.py``)
and adds up the gradients of the parts. Several processes divide the parts among them, and add up
the same gradients in the same order, so that the weights are those of one process, bit by bit, if
all run with the same number of threads (``torchrun`` sets ``OMP_NUM_THREADS=1``). A sum in another
order would not do: Adam divides by the length of the gradient, and turns the rounding error of a
gradient near zero into a step of full length.

What is not taken in parts is not shared: a small batch, or a method whose loss is not the mean over
parts. The first process then trains alone.
"""

from __future__ import annotations

import os
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

# The others wait as long as the first one extracts features or searches.
_TIMEOUT = timedelta(days=30)

JobT = TypeVar("JobT")

Backward = Callable[[int], Loss]
"""Adds the gradients of the part of that number of a batch, and returns its loss."""


@dataclass(frozen=True)
class ProcessGroup:
    """Which of how many processes this is.

    Attributes:
        rank: Number of this one; 0 writes and prints.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> ProcessGroup:
        """As ``torch.distributed`` has it; alone where that was not begun."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def share(self, n: int) -> range:
        """Which of ``n`` parts this process computes; the last processes may have none."""
        each = -(-n // self.size)
        return range(min(n, self.rank * each), min(n, (self.rank + 1) * each))

    def all_gather(self, mine: JobT) -> list[JobT]:
        """What each process has, in their order."""
        if self.size == 1:
            return [mine]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        return found

    def add_in_order(self, mine: Sequence[Tensor], like: Tensor) -> Tensor:
        """The sum of the tensors of all processes, added from the first to the last.

        The sum so far goes from process to process.

        Args:
            mine: The tensors of this process; the first process has one at least.
            like: A tensor of the same shape, which is not read.
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
        """What the first process finds; only that one computes it."""
        if self.size == 1:
            return decide()
        found = [decide() if self.is_first else 0.0]
        dist.broadcast_object_list(found)
        return found[0]

    def send_job(self, job: JobT) -> None:
        """Give the others work."""
        if self.size > 1:
            dist.broadcast_object_list([job])


SINGLE_PROCESS = ProcessGroup()


class _RandomRecorder(TorchFunctionMode):
    """Records the random tensors that are drawn inside; ``repeat`` draws the same number again."""

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
        """Called for every function of torch."""
        kwargs = kwargs or {}
        if func in (torch.randn_like, torch.rand_like, F.dropout):
            x, size, stride = args[0], args[0].size(), args[0].stride()
            like = {"dtype": x.dtype, "device": x.device}

            def draw() -> object:
                return func(torch.empty_strided(size, stride, **like), *args[1:], **kwargs)

            self.drawn.append(draw)
        return func(*args, **kwargs)

    def repeat(self) -> None:
        """Leave the random generators as another run of what was recorded would."""
        with torch.no_grad():
            for draw in self.drawn:
                draw()


class SharedMicrobatches:
    """Computes the gradients of a batch's parts together with the other processes.

    Args:
        ranks: This process among the others.
        count: Parts of every batch; equal in size.
        parameters: Of the network, whose gradients are wanted.
    """

    def __init__(
        self, processes: ProcessGroup, count: int, parameters: Sequence[nn.Parameter]
    ) -> None:
        self.processes, self.count, self.parameters = processes, count, parameters
        self.mine = processes.share(count)
        self.draws: _RandomRecorder | None = None
        self.trained: list[nn.Parameter] = []  # Those that get a gradient at all.

    def gradients(self, draw: Callable[[], Backward]) -> list[Loss]:
        """Leave the sum of all parts' gradients in the parameters.

        Args:
            draw: Draws a batch, the same in every process.

        Returns:
            The losses of all parts.

        Raises:
            OddframeError: what went wrong in the first of the processes where something did, in
                every process; or a part draws random numbers by functions that are not recorded.
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
        sizes = [parameter.numel() for parameter in self.trained]
        for parameter, gradient in zip(self.trained, torch.split(summed, sizes), strict=True):
            parameter.grad = gradient.view_as(parameter)
        return [loss for each, _ in found for loss in each]

    def _take_gradients(self) -> Tensor:
        """The gradients, in a row; the parameters have none any more."""
        flat = torch.cat([p.grad.flatten() for p in self.trained if p.grad is not None])
        for parameter in self.trained:
            parameter.grad = None
        return flat

    def _record_draws(self, backward: Backward) -> _RandomRecorder:
        """What random numbers a part takes, found by computing one; nothing else changes."""
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
    """Of the random generators."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]


def run_worker(work: Callable[[Any], object]) -> None:
    """Do what the first process tells, until it has nothing more, or is gone.

    In the latter case the process ends here and at once: PyTorch's threads, which may be waiting
    for a message, would abort an exit that takes Python down around them.
    """
    while True:
        job: list[Any] = [None]
        try:
            dist.broadcast_object_list(job)
            if job[0] is None:
                return
            work(job[0])
        except RuntimeError as error:
            # The first process says what went wrong; that its line was cut says nothing.
            if "onnection" not in str(error):
                raise
            os._exit(1)
        except KeyboardInterrupt:
            os._exit(130)


@contextmanager
def joined_processes() -> Iterator[ProcessGroup]:
    """Join the others that ``torchrun`` started, if it did; at the end they are sent home.

    Where this process fails, it leaves without a word, and ``torchrun`` stops the others.
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
    # No process disconnects while another may still be reading its last message. A barrier that
    # fails means that another process has passed it.
    with suppress(RuntimeError):
        dist.barrier()
    dist.destroy_process_group()
