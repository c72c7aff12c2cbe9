"""Models, each one safetensors file with everything that scoring needs.

The tensors are the network's; the JSON header has all else. Nothing in it is unpickled or run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors import numpy as safetensors_numpy

from oddframe._utils.files import (
    check_regular,
    describe_read_error,
    exists,
    is_file,
    json_text,
    open_regular_file,
    write_bytes,
)
from oddframe._utils.parsing import (
    TensorEntry,
    format_validation_error,
    parse_json,
    read_tensor_header,
)
from oddframe._utils.version import VERSION
from oddframe.errors import (
    InputError,
    MissingPackageError,
    OddframeError,
    UsageError,
    describe_unexpected_error,
    has_torch,
    is_out_of_memory,
    torch_needed,
)
from oddframe.events import EventRule
from oddframe.features.formats.feature_file import METADATA_KEY, checksum
from oddframe.features.lazy_array import mean_of_views
from oddframe.features.spec import Features, FeatureSpec, MaskDigest
from oddframe.methods.head import Head, common_shapes
from oddframe.methods.head_graph import HeadGraph, graph_head
from oddframe.methods.numpy_heads import NUMPY_METHODS, numpy_head, numpy_head_shapes
from oddframe.methods.registry import get_method, method_names
from oddframe.prototypes import PrototypeBank, PrototypeList, bank_shapes, read_bank
from oddframe.reasons import Highest, TrackReasons
from oddframe.timeline import IntArray, ScoreTrack, TileScores

if TYPE_CHECKING:
    import torch

    from oddframe.methods.scorer import ModelNetwork

FieldsT = TypeVar("FieldsT", bound=BaseModel)

# Models without prototypes are still written in format 1, which earlier versions read.
MODEL_FORMAT = 2
_PLAIN_FORMAT = 1
_PROTOTYPES_KEY = "prototypes"
_HEAD_KEY = "head"  # Absent where NumPy runs the method without it, or nothing but PyTorch does.
MODEL_KIND = "oddframe model"
SHIPPED_MODELS_DIR = Path(__file__).parent / "models"
# What the contents of a damaged file can raise.
_DAMAGED = (
    *(OddframeError, SafetensorError, KeyError, TypeError, ValueError),
    *(RuntimeError, ArithmeticError),
)


@dataclass(frozen=True)
class Profile:
    """One way to run a model: the features that it reads, and the event rule for their scores."""

    spec: FeatureSpec
    rule: EventRule


@dataclass(frozen=True)
class Model:
    """A trained network and its metadata."""

    name: str  # ``fight``, or the stem of the file.
    method: str  # As in the method registry.
    config: BaseModel  # Of the method.
    network: Head  # Standardisation and network; ``torch_network`` gives one to train.
    profiles: Mapping[str, Profile]  # ``best``, and ``fast`` if it has one.
    detects: str  # What it was trained to detect, in words: ``fights``.
    training_data: str = ""  # Digest of the videos and labels that it was trained on.
    # In [0, 1], of videos that it was not trained on.
    metrics: Mapping[str, float] = field(default_factory=dict)
    # Model card: training data, held-out groups, limits, configuration.
    card: Mapping[str, Any] = field(default_factory=dict)
    version: str = VERSION  # Of oddframe when it was written.
    sha256: str = ""  # Of the file; empty before it is saved.
    prototypes: PrototypeBank | None = None  # Training clips that events may look like.

    def unseen_groups(self, data: str) -> frozenset[str] | None:
        """Groups of this data set that it was not trained on; None: its card does not say."""
        if self.card.get("data") != data or "held_out_groups" not in self.card:
            return None
        kinds = ("held_out_groups", "held_out_own_groups", "left_out_groups")
        return frozenset(group for kind in kinds for group in self.card.get(kind, ()))

    def learned_from(self, videos: Sequence[tuple[str, str]]) -> list[bool]:
        """Whether each video (group, SHA-256), or another one of its group, was trained on.

        Names prove nothing: any two folders may be called ``clips``.
        """
        contents = frozenset(self.card.get("learned_from", ()))
        groups = {group for group, sha256 in videos if short_digest(sha256) in contents}
        return [group in groups for group, _ in videos]

    def profile_of(self, spec: FeatureSpec) -> str:
        """Name of the profile that reads features of ``spec``; InputError if there is none."""
        for name, profile in self.profiles.items():
            if not profile.spec.differences(spec):
                return name
        best = self.profiles["best"].spec
        how = "import them" if best.imported else "make them with oddframe extract --model"
        raise InputError(
            f"the model '{self.name}' reads other features ({'; '.join(best.differences(spec))}); "
            f"{how}"
        )

    def scores_alone(self) -> bool:
        """Whether a snippet's score does not depend on the others', found by trying it."""
        spec = self.profiles["best"].spec
        rows = np.random.default_rng(0).normal(size=(1, 16, spec.dim)).astype(np.float32)
        together = self.network.score_views(rows)
        alone = [self.network.score_views(rows[:, i : i + 1])[0] for i in range(rows.shape[1])]
        return bool(np.allclose(together, alone, rtol=1e-4, atol=1e-6))

    def score(self, features: Features) -> ScoreTrack:
        """Score each snippet of a video in [0, 1]: the mean over crops, or the maximum over parts.

        InputError if the features are of another spec, or the scores are not finite.
        """
        self.profile_of(features.spec)
        grid, tiles, boxes = features.spec.tiles, None, features.boxes
        best: IntArray | None = None
        fps = features.timebase.fps
        spacing = features.spec.step_s(fps) / self.profiles["best"].spec.step_s(fps)
        if grid is None:
            scores = self.network.score_views(features.array, spacing)
        else:
            tiles = TileScores(grid, self.network.score_tiles(np.asarray(features.array), spacing))
            scores, best = tiles.scores.max(axis=0), tiles.scores.argmax(axis=0)
            if boxes is not None:  # Of small motion squares, which are not where a grid has them.
                boxes = boxes[np.arange(len(scores)), best]
                tiles = None
        if not np.isfinite(scores).all():
            raise InputError(f"the model '{self.name}' gives scores that are not finite")
        reasons = self._reasons(features, best)
        return ScoreTrack(scores, features.timebase, tiles, boxes, features.heat, reasons)

    def _reasons(self, features: Features, best: IntArray | None) -> TrackReasons | None:
        """What each snippet looks like; ``best``: (T,) the tile with the highest score."""
        array, bank = features.array, self.prototypes
        weights = None if best is not None else self.network.memory_weights(array)
        if (actions := self.network.action_probabilities(array)) is not None:
            return TrackReasons(actions=Highest.of(actions))
        if bank is None and weights is None:
            return None
        similar = slots = None
        if bank is not None:
            if best is None:
                rows = mean_of_views(array)
            else:
                rows = np.asarray(array)[best, np.arange(len(best))]
            similar = Highest.of(bank.similarities(self.network.standardise_rows(rows)))
        if weights is not None:
            slots = Highest.of(weights[0] / weights[0].sum(axis=1, keepdims=True))
        return TrackReasons(bank, similar, slots, weights[1] if weights is not None else 0)


def short_digest(sha256: str) -> str:
    """The part of a video's digest that model cards have, which is enough to identify it."""
    return sha256[:16]


def save_model(model: Model, path: Path, *, fp16: bool = False, head: bool = False) -> None:
    """Write a model file atomically.

    Args:
        model: The model.
        path: The file.
        fp16: Write the network's weights in half precision.
        head: Trace the network, so that it can be run without PyTorch; else the file has what the
            model was read with.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for name, array in model.network.tensors().items():
        if fp16 and array.dtype == np.float32 and name.startswith("network."):
            with np.errstate(over="ignore"):
                array = array.astype(np.float16)
        if not np.isfinite(array).all():
            raise OddframeError(f"{path}: not written: the tensor {name} is not finite")
        tensors[name] = array
    bank = model.prototypes
    graph = _traced_graph(model) if head else model.network.graph
    tensors |= {} if bank is None else bank.tensors()
    header = {
        "kind": MODEL_KIND,
        "format": _PLAIN_FORMAT if bank is None else MODEL_FORMAT,
        "oddframe": model.version,
        "method": model.method,
        "config": model.config.model_dump(mode="json"),
        "profiles": {
            name: {"spec": profile.spec.to_dict(), "rule": asdict(profile.rule)}
            for name, profile in model.profiles.items()
        },
        "knows": model.detects,
        "training_data": model.training_data,
        "metrics": dict(model.metrics),
        "card": dict(model.card),
        **({} if bank is None else {_PROTOTYPES_KEY: bank.header()}),
        **({} if graph is None else {_HEAD_KEY: graph}),
        "checksum": checksum(tensors),
    }
    metadata = {METADATA_KEY: json_text(header, nan_is_null=False)}
    write_bytes(path, safetensors_numpy.save(tensors, metadata))


def _traced_graph(model: Model) -> Mapping[str, Any] | None:
    """What ``head_graph`` needs to run the model's network; None: NumPy needs none, or cannot."""
    if model.method in NUMPY_METHODS:
        return None
    from oddframe.methods.export_head import export_head

    return export_head(torch_network(model), (model.method, model.config.model_dump_json()))


def _read_head(path: Path, fields: _HeaderFields) -> HeadGraph | None:
    """The graph of a file, or that beside a shipped model, which is older than graphs in files."""
    beside = path.with_suffix(".head.json")
    if fields.head is not None or path.parent != SHIPPED_MODELS_DIR or not beside.is_file():
        return fields.head
    return HeadGraph.model_validate(parse_json(beside.read_text(encoding="utf-8")))


def shipped_models() -> tuple[str, ...]:
    """Names of the models that come with oddframe."""
    return tuple(sorted(path.stem for path in SHIPPED_MODELS_DIR.glob("*.safetensors")))


def find_model(name_or_path: str | Path) -> Path:
    """The file of a shipped model, or the path itself; UsageError if it is neither."""
    path = Path(name_or_path)
    if is_file(path):
        return path
    if exists(path) and not path.is_dir():
        check_regular(path)
    if str(name_or_path) in shipped_models():
        return SHIPPED_MODELS_DIR / f"{name_or_path}.safetensors"
    shipped = ", ".join(shipped_models()) or "none"
    raise UsageError(
        f"{name_or_path}: no such model file; models that come with oddframe: {shipped}"
    )


def load_model(
    name_or_path: str | Path, device: str | torch.device = "cpu", *, light: bool = False
) -> Model:
    """Read a model, by the name of a shipped one, such as ``fight``, or by its path.

    Args:
        name_or_path: Name or path.
        device: Of its network.
        light: Run the network by NumPy where that is possible and ``device`` is the CPU; such a
            model scores, and ``torch_network`` converts it. Otherwise PyTorch is needed.

    Raises:
        UsageError: there is no such model, or PyTorch is needed and not installed.
        InputError: it is a pickle, damaged, or of a newer format.
    """
    path = find_model(name_or_path)
    with open_regular_file(path) as file:
        try:
            header, entries = _read_header(path, file)
            try:
                return _build_model(path, header, entries, file, device, light)
            except MissingPackageError:
                raise
            except _DAMAGED as error:
                if is_out_of_memory(error):
                    raise OddframeError(f"{path}: {describe_unexpected_error(error)}") from None
                reason = " ".join(str(error).split())[:200]
                raise InputError(f"{path}: a damaged model file ({reason})") from None
        except OSError as error:
            raise InputError(f"{path}: {describe_read_error(error)}") from None


class _CardFields(BaseModel):
    """Keys of a model card that are read later. It may have other keys."""

    model_config = ConfigDict(strict=True)

    data: str = ""
    held_out_groups: list[str] = []
    held_out_own_groups: list[str] = []
    left_out_groups: list[str] = []
    learned_from: list[str] = []
    thresholds: dict[str, dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]] = {}
    masks: dict[str, dict[str, MaskDigest]] = {}
    configuration: dict[str, Any] = {}
    seeds: dict[str, Any] = {}
    corrections: list[dict[str, int]] = []


class _ProfileFields(BaseModel):
    spec: dict[str, Any]
    rule: dict[str, float]


class _HeaderFields(BaseModel):
    """Keys that a header must have. Spec, rule and config are parsed later."""

    model_config = ConfigDict(strict=True)

    oddframe: Annotated[str, Field(max_length=64)]
    method: Annotated[str, Field(max_length=64)]
    config: dict[str, Any]
    profiles: Annotated[dict[str, _ProfileFields], Field(max_length=16)]
    knows: Annotated[str, Field(max_length=100_000)]
    training_data: Annotated[str, Field(max_length=256)]
    metrics: dict[str, float]
    card: _CardFields
    checksum: str
    prototypes: PrototypeList = []
    head: HeadGraph | None = None


class SavedConfig(BaseModel):
    """A method's settings as they stand in a model file, where PyTorch does not validate them."""

    model_config = ConfigDict(extra="allow", frozen=True)


def _build_model(
    path: Path,
    header: dict[str, Any],
    entries: Mapping[str, TensorEntry],
    file: BinaryIO,
    device: str | torch.device,
    light: bool,
) -> Model:
    fields = _validate(_HeaderFields, header, "header")
    if fields.method not in method_names():
        get_method(fields.method)  # Raises, with the most similar name.
    profiles = {
        name: Profile(FeatureSpec.from_dict(each["spec"]), EventRule(**each["rule"]))
        for name, each in header["profiles"].items()
    }
    dim = profiles["best"].spec.dim
    graph = _read_head(path, fields)
    # Shapes are compared before memory is allocated for what they say.
    shapes = None
    if light and str(device) == "cpu":
        if graph is None:
            shapes = numpy_head_shapes(fields.method, header["config"], dim, entries)
        else:
            own_shapes = {n: tuple(e.shape) for n, e in entries.items() if n.startswith("network.")}
            shapes = common_shapes(dim, entries) | own_shapes
    numpy_runs_it = shapes is not None
    if shapes is None:
        if not has_torch():
            raise torch_needed(f"{path}: a {fields.method} model whose file has no head for NumPy")
        config, shapes = _torch_shapes(
            fields.method, header["config"], dim, "correction" in entries
        )
    else:
        config = SavedConfig.model_validate(header["config"])
    _check_shapes(shapes | bank_shapes(fields.prototypes, dim), entries)
    file.seek(0)
    data = file.read()
    try:
        tensors = safetensors_numpy.load(data)
    except BaseException as error:
        # Where its Rust code runs out of memory, it panics; that is no ``Exception``.
        if type(error).__name__ == "PanicException":
            raise MemoryError from error
        raise
    if checksum(tensors) != header["checksum"]:
        raise ValueError("its weights do not match their checksum")
    own = {
        name: array.astype(np.float32) if array.dtype.kind == "f" else array
        for name, array in tensors.items()
        if name in shapes
    }
    network: Head
    if graph is not None and numpy_runs_it:
        network = graph_head(graph, own)
    elif numpy_runs_it:
        network = numpy_head(fields.method, header["config"], own)
    else:
        network = _build_network(fields.method, config, dim, own).to(device)
        network.graph = (
            None if fields.head is None else fields.head.model_dump(exclude_defaults=True)
        )
    return Model(
        name=path.stem,
        method=header["method"],
        config=config,
        network=network,
        profiles=profiles,
        detects=header["knows"],
        training_data=header["training_data"],
        metrics=header["metrics"],
        card=header["card"],
        version=header["oddframe"],
        sha256=hashlib.sha256(data).hexdigest(),
        prototypes=read_bank(fields.prototypes, tensors),
    )


def _new_network(method: str, config: BaseModel, dim: int, correction: bool) -> ModelNetwork:
    import torch

    from oddframe.methods.scorer import ModelNetwork, Standardise

    inner = get_method(method).network(dim, config)
    network = ModelNetwork(Standardise.identity(dim), inner)
    if correction:
        network.add_correction(torch.zeros(dim))
    return network


def _torch_shapes(
    method: str, settings: dict[str, Any], dim: int, correction: bool
) -> tuple[BaseModel, dict[str, tuple[int, ...]]]:
    """The validated settings of a method, and the tensors of its network, without memory."""
    import torch

    config = _validate(get_method(method).Config, settings, "configuration")
    with torch.device("meta"):
        state = _new_network(method, config, dim, correction).state_dict()
    return config, {name: tuple(each.shape) for name, each in state.items()}


def _build_network(
    method: str, config: BaseModel, dim: int, tensors: Mapping[str, NDArray[Any]]
) -> ModelNetwork:
    import torch

    with torch.random.fork_rng(devices=[]):  # Initial weights are random, then overwritten.
        network = _new_network(method, config, dim, "correction" in tensors)
    network.load_state_dict({name: torch.from_numpy(each) for name, each in tensors.items()})
    return network.eval()


def torch_network(model: Model) -> ModelNetwork:
    """The network of ``model`` in PyTorch, to be trained on or looked into."""
    if not has_torch():
        raise torch_needed(f"the network of the model '{model.name}'")
    from oddframe.methods.scorer import ModelNetwork

    if isinstance(model.network, ModelNetwork):
        return model.network
    settings = model.config.model_dump(mode="json")
    config = _validate(get_method(model.method).Config, settings, "configuration")
    dim = model.profiles["best"].spec.dim
    return _build_network(model.method, config, dim, model.network.tensors())


def _validate(model: type[FieldsT], data: dict[str, Any], where: str) -> FieldsT:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ValueError(format_validation_error(error, model, (), where)) from None


def _check_shapes(
    wanted: Mapping[str, tuple[int, ...]], entries: Mapping[str, TensorEntry]
) -> None:
    """Compare what is expected with the tensors in the file, before memory is allocated for it."""
    for name in sorted(wanted.keys() | entries.keys()):
        if name not in entries or name not in wanted:
            problem = "missing" if name in wanted else "unknown"
            raise ValueError(f"its tensor {name!r:.80} is {problem}")
        expected, found = wanted[name], entries[name].shape
        if (expected or (1,)) != (found or (1,)):
            raise ValueError(f"its tensor {name!r:.80} is {found}, not {expected}")


def _read_header(path: Path, file: BinaryIO) -> tuple[dict[str, Any], Mapping[str, TensorEntry]]:
    try:
        entries, metadata = read_tensor_header(file, os.fstat(file.fileno()).st_size)
    except ValueError as error:
        file.seek(0)
        start = file.read(9)
        # A zip with a pickle inside (torch.save), or a bare pickle of protocol 2 or later; byte 8
        # of a safetensors is a brace.
        bare = start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and start[8:9] != b"{"
        if start[:4] == b"PK\x03\x04" or bare:
            raise InputError(
                f"{path}: a pickle; oddframe never unpickles a model, because a pickle can run "
                "any program (for published checkpoints there is oddframe import)"
            ) from None
        raise InputError(f"{path}: truncated, or not a model file ({error})") from None
    try:
        header = parse_json(metadata[METADATA_KEY])
        kind, version = header["kind"], header.get("format", 0)
    except (KeyError, TypeError, ValueError, AttributeError):
        header, kind, version = {}, "a safetensors file of another program", 0
    if kind != MODEL_KIND:
        raise InputError(f"{path}: not a model file but {kind!s:.80}")
    if type(version) is not int or version > MODEL_FORMAT:
        raise InputError(
            f"{path}: a model of format {version!s:.20}, written by oddframe "
            f"{header.get('oddframe')!s:.20}; this is {VERSION}, which reads up to "
            f"{MODEL_FORMAT}: upgrade oddframe"
        )
    return header, entries
