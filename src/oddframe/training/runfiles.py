"""Where a training run keeps what it makes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oddframe.errors import OddframeError, UsageError
from oddframe.files import make_folder, told
from oddframe.locks import ProcessLock


@dataclass(frozen=True)
class RunFiles:
    """The files of a run, all beside its model file.

    Attributes:
        out: The model file, ``<name>.safetensors``.
    """

    out: Path

    def __post_init__(self) -> None:
        if self.out.suffix != ".safetensors":
            raise UsageError(f"{self.out}: a model file ends in .safetensors")

    @property
    def folder(self) -> Path:
        """What an interrupted run goes on from; gone when it is done."""
        return self._beside("training")

    @property
    def trials(self) -> Path:
        """What a search has tried."""
        return self.folder / "trials.jsonl"

    def checkpoint(self, name: str) -> Path:
        """Of the training ``name``."""
        return self.folder / f"{name}.checkpoint.safetensors"

    def model(self, name: str) -> Path:
        """Of a finished training that is to be compared with others."""
        return self.folder / f"{name}.safetensors"

    def log(self, seed: int | None = None) -> Path:
        """Loss terms of every step: of the training, or of one seed among several."""
        return self._beside("log.jsonl" if seed is None else f"seed-{seed}.log.jsonl")

    def prepare(self) -> None:
        """Make the folder that the model file lies in.

        Raises:
            OddframeError: it cannot be written to.
        """
        make_folder(self.out.parent)
        if not os.access(self.out.parent, os.W_OK):
            raise OddframeError(f"{self.out}: cannot be written, no permission in its folder")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training into ``out``; ``<name>.lock`` is there meanwhile.

        The operating system releases the lock when the process ends, however it ends.

        Raises:
            OddframeError: another process is training there, or the lock cannot be written.
        """
        lock = ProcessLock(self._beside("lock"))
        with told(lock.path):
            acquired = lock.acquire()
        if not acquired:
            holder = lock.holder()
            process = "" if holder is None else f" (process {holder})"
            raise OddframeError(
                f"{self.out}: another training is at work there{process}; wait for it, stop it, or "
                "choose another place with --out"
            )
        try:
            yield
        finally:
            lock.release()

    def forget(self) -> None:
        """Remove what an interrupted run would go on from.

        Raises:
            OddframeError: it cannot be removed.
        """
        if self.folder.is_dir():
            with told(self.folder):
                shutil.rmtree(self.folder)

    def _beside(self, ending: str) -> Path:
        return self.out.with_name(f"{self.out.stem}.{ending}")
