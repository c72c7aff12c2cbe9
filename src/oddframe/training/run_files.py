"""The files of a training run: checkpoints, the loss terms of every step, and where they lie.

A checkpoint has weights, optimiser, random generators and sampler, so that a resumed training gives
the same weights bit by bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from oddframe._utils.files import (
    check_regular,
    exists,
    make_folder,
    open_regular_file,
    translate_os_errors,
    write_bytes,
)
from oddframe._utils.locks import ProcessLock
from oddframe._utils.parsing import parse_json
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.features.formats.feature_file import METADATA_KEY, checksum, content_digest
from oddframe.features.lazy_array import CropViews
from oddframe.methods.base import Loss
from oddframe.methods.scorer import ModelNetwork
from oddframe.training.config import TrainConfig
from oddframe.training.data.samplers import TrainingVideo

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CHECKPOINT_FORMAT = 2
# What their identity did not say: of features, all but the first row.
_EARLIER_FORMATS = (1,)
CHECKPOINT_KIND = "oddframe checkpoint"

State = dict[str, Tensor]


class TrainingIdentity:
    """A digest of what a training begins with, so that a checkpoint of another is never resumed.

    All features are part of it. They are read when a digest is first needed; memory-mapped ones are
    read in pieces.
    """

    def __init__(self, videos: Sequence[TrainingVideo], pretrained: ModelNetwork | None) -> None:
        self._videos, self._start = videos, pretrained

    def of(self, config: TrainConfig) -> str:
        """sha256 (hex) of a training with this configuration.

        Raises:
            InputError: features cannot be read.
        """
        return hashlib.sha256(f"{config.model_dump_json()}\n{self._data}".encode()).hexdigest()

    @cached_property
    def _data(self) -> str:
        digest = hashlib.sha256()
        for tensor in () if self._start is None else self._start.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
        for video in self._videos:
            views = video.views
            arrays = (
                views.arrays if isinstance(views, CropViews) else [view[None] for view in views]
            )
            digest.update(f"{video.abnormal} {video.tiles} {len(views)}\n".encode())
            for array in arrays:
                digest.update(content_digest(array).encode())
        return digest.hexdigest()


@dataclass
class Checkpoint:
    """Everything that a training depends on after ``step`` steps.

    Attributes:
        identity: The training's identity, see ``TrainingIdentity``.
        step: Number of steps taken.
        weights: State dict of the network.
        average: State dict of the moving average; empty without one.
        optimiser: The optimiser's state by parameter index and name.
        random_state: States of PyTorch's random generators, ``cpu`` and ``cuda``.
        bags: State of the bag sampler.
    """

    identity: str
    step: int
    weights: State
    average: State = field(default_factory=dict)
    optimiser: dict[int, State] = field(default_factory=dict)
    random_state: State = field(default_factory=dict)
    bags: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint atomically: if the process is killed, the previous one remains.

    Raises:
        OddframeError: it cannot be written.
    """
    tensors: dict[str, NDArray[Any]] = {}

    def add(prefix: str, state: Mapping[str, Tensor]) -> None:
        for name, tensor in state.items():
            # A copy in one piece: the file holds bytes, not strides.
            tensors[f"{prefix}/{name}"] = np.array(tensor.detach().cpu().numpy(), order="C")

    add("weights", checkpoint.weights)
    add("average", checkpoint.average)
    add("chance", checkpoint.random_state)
    for index, state in checkpoint.optimiser.items():
        add(f"optimiser/{index}", state)
    header = {
        "kind": CHECKPOINT_KIND,
        "format": CHECKPOINT_FORMAT,
        "identity": checkpoint.identity,
        "step": checkpoint.step,
        "bags": checkpoint.bags,
        "checksum": checksum(tensors),
    }
    write_bytes(path, save(tensors, {METADATA_KEY: json.dumps(header)}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        InputError: it is missing, damaged, or was written by another version.
    """
    check_regular(path)
    try:
        with safe_open(path, framework="np") as file:
            header = parse_json((file.metadata() or {})[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["kind"] == CHECKPOINT_KIND and header["format"] in _EARLIER_FORMATS:
            raise ValueError("of an earlier version, which did not look at all features")
        if (header["kind"], header["format"]) != (CHECKPOINT_KIND, CHECKPOINT_FORMAT):
            raise ValueError("of another kind or version")
        if checksum(tensors) != header["checksum"]:
            raise ValueError("its contents do not match its checksum")
        checkpoint = Checkpoint(header["identity"], header["step"], {}, bags=header["bags"])
        states = {
            "weights": checkpoint.weights,
            "average": checkpoint.average,
            "chance": checkpoint.random_state,
        }
        for full, array in tensors.items():
            part, _, name = full.partition("/")
            if part == "optimiser":
                index, _, name = name.partition("/")
                state = checkpoint.optimiser.setdefault(int(index), {})
            else:
                state = states[part]
            state[name] = torch.from_numpy(array)
    except (OSError, SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint that can be resumed ({error})") from None
    return checkpoint


@dataclass(frozen=True)
class RunFiles:
    """The files of a training run, all beside its model file.

    Attributes:
        out: The model file, ``<name>.safetensors``.
    """

    out: Path

    def __post_init__(self) -> None:
        if self.out.suffix != ".safetensors":
            raise UsageError(f"{self.out}: a model file ends in .safetensors")

    @property
    def folder(self) -> Path:
        """What an interrupted run resumes from; removed when the run is done."""
        return self._beside("training")

    @property
    def trials(self) -> Path:
        """The trials of a search."""
        return self.folder / "trials.jsonl"

    def checkpoint(self, name: str) -> Path:
        """The checkpoint of the training ``name``."""
        return self.folder / f"{name}.checkpoint.safetensors"

    def model(self, name: str) -> Path:
        """The model of a finished training that will be compared with others."""
        return self.folder / f"{name}.safetensors"

    def log(self, seed: int | None = None) -> Path:
        """Loss terms of every step: of the training, or of one seed of several."""
        return self._beside("log.jsonl" if seed is None else f"seed-{seed}.log.jsonl")

    def make_folder(self) -> None:
        """Make the folder of the model file.

        Raises:
            OddframeError: it cannot be written to.
        """
        make_folder(self.out.parent)
        if not os.access(self.out.parent, os.W_OK):
            raise OddframeError(f"{self.out}: cannot be written, no permission in its folder")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training into ``out``, by the file ``<name>.lock``.

        The operating system releases the lock when the process ends, however it ends.

        Raises:
            OddframeError: another process is training there, or the lock cannot be written.
        """
        lock = ProcessLock(self._beside("lock"))
        with translate_os_errors(lock.path):
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

    def remove_progress(self) -> None:
        """Remove what an interrupted run would resume from.

        Raises:
            OddframeError: it cannot be removed.
        """
        if self.folder.is_dir():
            with translate_os_errors(self.folder):
                shutil.rmtree(self.folder)

    def _beside(self, ending: str) -> Path:
        return self.out.with_name(f"{self.out.stem}.{ending}")


OnStep = Callable[[int, int, Loss], None]
"""Called after a step with (steps done, steps in all, loss)."""


class StepLog:
    """Writes a JSON line for each step; a resumed training keeps the lines it had written.

    Args:
        path: The file; None: nothing is written.
        steps_done: Number of lines to keep. Lines that a killed training wrote after its last
            checkpoint are removed.
        attempt: Number of the attempt, written in every line of the second.
    """

    def __init__(self, path: Path | None, steps_done: int, attempt: int = 1):
        self.attempt = {} if attempt == 1 else {"attempt": attempt}
        self.file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not exists(path):
                path.touch()
            with open_regular_file(path, OddframeError) as old:
                kept = sum(map(len, islice(old, steps_done)))
            # Truncated, not rewritten: a process that is killed here loses nothing.
            os.truncate(path, kept)
            self.file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Callable[[int, Loss], None]:
        return self._write

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    def _write(self, step: int, loss: Loss) -> None:
        if self.file is not None:
            terms = {name: float(term) for name, term in loss.terms.items()}
            row = {"step": step, "loss": float(loss.total.detach()), **terms, **self.attempt}
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()


def require_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises:
        UsageError: it is not.
    """
    if find_spec("tensorboard") is None:
        raise UsageError(
            "TensorBoard is not installed: pip install 'oddframe[tensorboard]'; the loss terms are "
            "in the run's .log.jsonl in any case"
        )


class TensorBoardLog:
    """Writes ``loss/total`` and ``loss/<term>`` of every step for TensorBoard.

    Args:
        folder: Log folder; None: nothing is written.
        steps_done: Steps that a resumed training had taken. Later ones that a killed training wrote
            are hidden.
    """

    def __init__(self, folder: Path | None, steps_done: int):
        self.writer: SummaryWriter | None = None
        if folder is not None:
            require_tensorboard()
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder), purge_step=steps_done + 1)

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self.writer is not None:
            self.writer.close()

    def write(self, step: int, loss: Loss) -> None:
        """Write the terms of one step."""
        if self.writer is None:
            return
        for name, term in {"total": loss.total, **loss.terms}.items():
            self.writer.add_scalar(f"loss/{name}", float(term.detach()), step)
