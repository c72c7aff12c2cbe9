"""Several processes, one training: each computes its share of every batch's bags.

``torchrun`` starts them, all with the same command line. The first one does all that one process
would do, and whenever it trains it tells the others, which wait in ``serve``. Every process draws
the same bags and the same chance, computes its own rows, and gathers those of the others: the loss
of a method compares bags of the whole batch with each other, so it is not the mean over parts that
``DistributedDataParallel`` takes it for. Gradients are then summed. The result is that of one
process, up to the order in which floats are added.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from oddframe.errors import UsageError
from oddframe.methods.base import Output
from oddframe.training.shared_chance import SharedChance

# The others wait as long as the first one extracts features or asks for nothing.
_PATIENCE = timedelta(days=30)

JobT = TypeVar("JobT")
OutputT = TypeVar("OutputT", bound=Output)


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is.

    Attributes:
        rank: Number of this one; 0 writes and speaks.
        world: How many there are.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """As ``torch.distributed`` has it; alone where that was not begun."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def check(self, normal: int, abnormal: int) -> None:
        """See that ``normal`` and ``abnormal`` bags a step can be shared evenly.

        Raises:
            UsageError: they cannot.
        """
        if normal % self.world or abnormal % self.world:
            raise UsageError(
                f"{normal} normal and {abnormal} abnormal bags a step cannot be shared evenly by "
                f"{self.world} processes: set recipe.normal_bags and recipe.abnormal_bags to "
                f"multiples of {self.world}, or start fewer"
            )

    def share(self, n: int) -> slice:
        """Which of ``n`` bags of one class are this process's."""
        each = n // self.world
        return slice(self.rank * each, (self.rank + 1) * each)

    @contextmanager
    def chance(self, normal: int, abnormal: int) -> Iterator[None]:
        """Inside, chance is drawn for the whole batch and each process takes that of its rows."""
        if self.world == 1:
            yield
            return
        rows = [range(normal)[self.share(normal)], range(abnormal)[self.share(abnormal)]]
        with SharedChance(normal, abnormal, *rows):
            yield

    def mean(self, x: Tensor) -> Tensor:
        """The mean over all processes of what each found on its share."""
        if self.world > 1:
            dist.all_reduce(x)
            x /= self.world
        return x

    def whole(self, output: OutputT, normal: int, abnormal: int) -> OutputT:
        """What the network gave for the whole batch; gradients flow into this process's rows.

        Args:
            output: Of this process's rows; each of its fields has a row a bag, or a row a bag of
                one class.
            normal: Normal bags in the whole batch.
            abnormal: Abnormal ones.
        """
        if self.world == 1:
            return output
        mine = [normal // self.world, abnormal // self.world]
        found: dict[str, Any] = {}
        for field in fields(output):
            value: Tensor | tuple[Output, ...] | None = getattr(output, field.name)
            if value is None:  # Of a network without the part that gives it.
                continue
            if isinstance(value, tuple):  # Of several networks.
                found[field.name] = tuple(self.whole(each, normal, abnormal) for each in value)
                continue
            parts = [torch.empty_like(value) for _ in range(self.world)]
            dist.all_gather(parts, value.detach().contiguous())
            parts[self.rank] = value
            if len(value) == sum(mine):  # The normal half of all comes first.
                halves = [torch.split(part, mine) for part in parts]
                parts = [half[0] for half in halves] + [half[1] for half in halves]
            found[field.name] = torch.cat(parts)
        return replace(output, **found)

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up what each process's rows say; one message for all parameters."""
        if self.world == 1:
            return
        known = [p for p in parameters if p.grad is not None]
        flat = torch.cat([p.grad.flatten() for p in known if p.grad is not None])
        dist.all_reduce(flat)
        summed = torch.split(flat, [parameter.numel() for parameter in known])
        for parameter, part in zip(known, summed, strict=True):
            parameter.grad = part.view_as(parameter)

    def agreed(self, decide: Callable[[], float]) -> float:
        """What the first process finds; only that one looks."""
        if self.world == 1:
            return decide()
        found = [decide() if self.first else 0.0]
        dist.broadcast_object_list(found)
        return found[0]

    def tell(self, job: JobT) -> None:
        """Give the others work."""
        if self.world > 1:
            dist.broadcast_object_list([job])


def serve(work: Callable[[Any], object]) -> None:
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
def processes() -> Iterator[Ranks]:
    """Join the others that ``torchrun`` started, if it did; at the end they are sent home.

    Where this process fails, it leaves without a word, and ``torchrun`` stops the others.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_PATIENCE)
    ranks = Ranks.here()
    yield ranks
    if ranks.first:
        ranks.tell(None)
    # Nobody hangs up while another may still be reading its last message. Whose wait is cut knows
    # by that that all have come this far.
    with suppress(RuntimeError):
        dist.barrier()
    dist.destroy_process_group()
