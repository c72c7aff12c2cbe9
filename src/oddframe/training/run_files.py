"""The files of a training run: checkpoints, the loss terms of every step, and where they lie.

A checkpoint has weights, optimiser, random generators and sampler, so that a resumed training gives
the same weights bit by bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
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

# In format 1 the identity of a training was a digest of the first row of its features alone.
CHECKPOINT_KIND, CHECKPOINT_FORMAT = "oddframe checkpoint", 2

State = dict[str, Tensor]


class TrainingIdentity:
    """A digest of what a training begins with, so that a checkpoint of another is never resumed.

    All features are part of it. They are read when a digest is first needed; memory-mapped ones are
    read in pieces.
    """

    def __init__(self, videos: Sequence[TrainingVideo], pretrained: ModelNetwork | None) -> None:
        self._videos, self._start = videos, pretrained

    def of(self, config: TrainConfig) -> str:
        """sha256 (hex) of a training with this configuration."""
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
            for labels in video.labels:
                for values in vars(labels).values():
                    digest.update(values.tobytes())
        return digest.hexdigest()


@dataclass
class Checkpoint:
    """Everything that a training depends on after ``step`` steps."""

    identity: str  # See ``TrainingIdentity``.
    step: int
    weights: State
    average: State  # The moving average of the weights; empty without one.
    optimiser: dict[int, State]  # By parameter index.
    random_state: State  # PyTorch's random generators, ``cpu`` and ``cuda``.
    bags: dict[str, Any]  # The bag sampler.


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint atomically: if the process is killed, the previous one remains."""
    states = {
        "weights": checkpoint.weights,
        "average": checkpoint.average,
        "chance": checkpoint.random_state,
        **{f"optimiser/{index}": state for index, state in checkpoint.optimiser.items()},
    }
    tensors = {  # Copies in one piece: the file holds bytes, not strides.
        f"{part}/{name}": np.array(tensor.detach().cpu().numpy(), order="C")
        for part, state in states.items()
        for name, tensor in state.items()
    }
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
    """Read a checkpoint; InputError if it is missing, damaged, or of another version."""
    check_regular(path)
    try:
        with safe_open(path, framework="np") as file:
            header = parse_json((file.metadata() or {})[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if (header["kind"], header["format"]) == (CHECKPOINT_KIND, 1):
            raise ValueError("of an earlier version, which did not look at all features")
        if (header["kind"], header["format"]) != (CHECKPOINT_KIND, CHECKPOINT_FORMAT):
            raise ValueError("of another kind or version")
        if checksum(tensors) != header["checksum"]:
            raise ValueError("its contents do not match its checksum")
        states: defaultdict[str, State] = defaultdict(dict)
        for full, array in tensors.items():
            part, _, name = full.rpartition("/")
            states[part][name] = torch.from_numpy(array)
        identity, step, bags = header["identity"], header["step"], header["bags"]
        weights, average, chance = (states.pop(p, {}) for p in ("weights", "average", "chance"))
        optimiser = {int(part.removeprefix("optimiser/")): states[part] for part in states}
    except (OSError, SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint that can be resumed ({error})") from None
    return Checkpoint(identity, step, weights, average, optimiser, chance, bags)


@dataclass(frozen=True)
class RunFiles:
    """The files of a training run, all beside its model file ``out``, ``<name>.safetensors``."""

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
        """Make the folder of the model file; OddframeError if it cannot be written to."""
        make_folder(self.out.parent)
        if not os.access(self.out.parent, os.W_OK):
            raise OddframeError(f"{self.out}: cannot be written, no permission in its folder")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training into ``out``, by the file ``<name>.lock``.

        OddframeError if another process is training there. The operating system releases the lock
        when the process ends, however it ends.
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
        """Remove what an interrupted run would resume from."""
        if self.folder.is_dir():
            with translate_os_errors(self.folder):
                shutil.rmtree(self.folder)

    def _beside(self, ending: str) -> Path:
        return self.out.with_name(f"{self.out.stem}.{ending}")


OnStep = Callable[[int, int, Loss], None]
"""Called after a step with (steps done, steps in all, loss)."""


WriteStep = Callable[[int, Loss], None]


@contextmanager
def open_step_log(path: Path | None, steps_done: int, attempt: int = 1) -> Iterator[WriteStep]:
    """Write a JSON line for each step, if there is a ``path``; the second attempt marks its lines.

    The first ``steps_done`` lines are kept; those that a killed training wrote after its last
    checkpoint are removed.
    """
    if path is None:
        yield lambda _step, _loss: None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if not exists(path):
        path.touch()
    with open_regular_file(path, OddframeError) as old:
        kept = sum(map(len, islice(old, steps_done)))
    # Truncated, not rewritten: a process that is killed here loses nothing.
    os.truncate(path, kept)
    mark = {} if attempt == 1 else {"attempt": attempt}
    with path.open("a", encoding="utf-8") as file:

        def write(step: int, loss: Loss) -> None:
            terms = {name: float(term) for name, term in loss.terms.items()}
            row = {"step": step, "loss": float(loss.total.detach()), **terms, **mark}
            file.write(json.dumps(row) + "\n")
            file.flush()

        yield write


def require_tensorboard() -> None:
    """Check that TensorBoard is installed; UsageError if it is not."""
    if find_spec("tensorboard") is None:
        raise UsageError(
            "TensorBoard is not installed: pip install 'oddframe[tensorboard]'; the loss terms are "
            "in the run's .log.jsonl in any case"
        )


@contextmanager
def open_tensorboard(folder: Path | None, steps_done: int) -> Iterator[WriteStep]:
    """Write ``loss/total`` and ``loss/<term>`` of every step, if there is a ``folder``.

    Steps after ``steps_done`` that a killed training wrote are hidden.
    """
    if folder is None:
        yield lambda _step, _loss: None
        return
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), purge_step=steps_done + 1) as writer:

        def write(step: int, loss: Loss) -> None:
            for name, term in {"total": loss.total, **loss.terms}.items():
                writer.add_scalar(f"loss/{name}", float(term.detach()), step)

        yield write
