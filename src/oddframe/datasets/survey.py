"""A data set as it is found, with everything that is wrong with it and not just the first thing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oddframe.datasets.labelled import Dataset
from oddframe.errors import InputError


@dataclass(frozen=True)
class Survey:
    """What could be read of a data set.

    Attributes:
        path: Where it was read from.
        dataset: The videos that are there.
        problems: One line for each thing that is wrong, in the order in which they stand.
    """

    path: Path
    dataset: Dataset
    problems: tuple[str, ...] = ()

    def checked(self) -> Dataset:
        """The data set, if nothing is wrong with it.

        Raises:
            InputError: something is; the first thing is said, and how many more there are.
        """
        if not self.problems:
            return self.dataset
        more = len(self.problems) - 1
        rest = f" (and {more} more: oddframe data check {self.path})" if more else ""
        raise InputError(f"{self.problems[0]}{rest}")
