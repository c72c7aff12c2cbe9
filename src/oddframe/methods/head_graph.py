"""A method's network as a graph that NumPy runs: what a model file holds beside the weights.

``export_head`` writes the graph when a model is saved. It is a list of operations, each with the
name of one of PyTorch's (without ``aten::``) and its arguments: numbers, lists, results of earlier
operations and tensors of the file. Nothing but the operations below can be run, and each checks how
large its result would be. Features are (1, T, D), for any T.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from oddframe.errors import InputError, OddframeError
from oddframe.methods.head import FloatRows, NumpyHead, Tensors

Array = NDArray[Any]

MAX_OPERATIONS = 4096
_MAX_CELLS = 2**28  # Of an array: 1 GiB of float32.
_MAX_ALL_CELLS = 2**30  # Of all arrays that are kept at once.
_MAX_NUMBER = 2**62
_MAX_DIMS = 8
_MAX_DEPTH = 3  # Of lists in arguments.
# Queries whose attention weights are computed at once, for memory.
_QUERIES = 512


class HeadGraph(BaseModel):
    """The field ``head`` of a model file."""

    model_config = ConfigDict(strict=True, extra="forbid")

    parameters: Annotated[int, Field(ge=0)]  # How many numbers were learned.
    # Standard deviation of the Gaussian over the logits, in snippets of the profile ``best``.
    blur: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] = 0.0
    # Names of operations with their arguments. {"node": 0} are the features, {"node": i} is the
    # result of the i-th operation, {"tensor": name} a tensor of the file, {"float": "-inf"} a
    # number that JSON does not have.
    nodes: Annotated[list[list[Any]], Field(min_length=1, max_length=MAX_OPERATIONS)]
    # Numbers of the nodes with the logits (1, T) and, of UR-DMU with both memories, the weights
    # (1, T, M) of the slots of the anomaly memory and of the normal one.
    outputs: Annotated[list[int], Field(min_length=1, max_length=3)]


def graph_head(fields: HeadGraph, tensors: Tensors) -> NumpyHead:
    """The head with the graph ``fields`` of a file and the file's ``tensors``.

    Raises:
        ValueError: the graph is wrong.
    """
    program = _Program(fields, tensors)

    def logits(x: FloatRows, spacing: float) -> FloatRows:
        (found,) = program.run(x, fields.outputs[:1])
        if found.shape != (1, len(x)):
            raise InputError(f"a damaged model file (logits of the shape {found.shape})")
        return _blur(found[0].astype(np.float32), fields.blur / spacing)

    def memories(x: FloatRows) -> tuple[FloatRows, FloatRows]:
        anomaly, normal = program.run(x, fields.outputs[1:])
        for each in (anomaly, normal):
            if each.shape[:2] != (1, len(x)) or each.ndim != 3:
                raise InputError(f"a damaged model file (slots of the shape {each.shape})")
        return anomaly[0], normal[0]

    both = memories if len(fields.outputs) == 3 else None
    graph = fields.model_dump(exclude_defaults=True)
    return NumpyHead(tensors, fields.parameters, logits, both, graph)


class _Program:
    """The checked operations of a graph, in order."""

    def __init__(self, graph: HeadGraph, tensors: Tensors) -> None:
        self._tensors = tensors
        self._nodes = graph.nodes
        for number, node in enumerate(graph.nodes, start=1):
            if len(node) != 2 or not isinstance(node[1], list):
                raise ValueError(f"its head has an operation {node!r:.80}")
            name, arguments = node
            if not isinstance(name, str) or name not in OPERATIONS:
                raise ValueError(f"its head has an unknown operation {name!r:.40}")
            self._check(arguments, number, 0)
        if not all(0 <= each <= len(graph.nodes) for each in graph.outputs):
            raise ValueError("its head has an output that no operation makes")

    def _check(self, value: Any, number: int, depth: int) -> None:
        if isinstance(value, list) and depth < _MAX_DEPTH:
            for each in value:
                self._check(each, number, depth + 1)
        elif isinstance(value, dict) and len(value) == 1:
            ((kind, to),) = value.items()
            known = (
                (kind == "node" and type(to) is int and 0 <= to < number)
                or (kind == "tensor" and isinstance(to, str) and to in self._tensors)
                or (kind == "float" and to in ("inf", "-inf"))
            )
            if not known:
                raise ValueError(f"its head reads {value!r:.80}, which is not there")
        elif not (value is None or isinstance(value, bool | int | float | str)):
            raise ValueError(f"its head has an argument {value!r:.80}")

    def run(self, x: FloatRows, outputs: Sequence[int]) -> list[Array]:
        """The ``outputs`` for features (T, D)."""
        values: dict[int, Any] = {0: x[None]}
        last_use = self._last_use(outputs)
        with np.errstate(all="ignore"):  # Scores that are not finite are noticed later.
            for number, (name, arguments) in enumerate(self._nodes, start=1):
                if number not in last_use:
                    continue
                try:
                    values[number] = OPERATIONS[name](*self._resolve(arguments, values))
                except (OddframeError, MemoryError):
                    raise
                except Exception as error:  # What a damaged graph raises, NumPy decides.
                    reason = " ".join(str(error).split())[:120]
                    raise InputError(f"a damaged model file ({name}: {reason})") from None
                _check_size(values.values())
                for done in [each for each in values if last_use.get(each, 0) <= number]:
                    del values[done]
        return [np.asarray(values[each]) for each in outputs]

    def _last_use(self, outputs: Sequence[int]) -> dict[int, float]:
        """By node that is needed, the last one that reads it."""
        last: dict[int, float] = dict.fromkeys(outputs, math.inf)
        for number in range(len(self._nodes), 0, -1):
            if number in last:
                for read in _reads(self._nodes[number - 1][1]):
                    last.setdefault(read, number)
        return last

    def _resolve(self, value: Any, values: Mapping[int, Any]) -> Any:
        if isinstance(value, list):
            return [self._resolve(each, values) for each in value]
        if isinstance(value, dict):
            ((kind, to),) = value.items()
            if kind == "node":
                return values[to]
            return self._tensors[to] if kind == "tensor" else float(to)
        return value


def _check_size(values: Iterable[Any]) -> None:
    """InputError if what is kept of a computation is too large."""
    cells = 0
    for each in values:
        if isinstance(each, int) and abs(each) > _MAX_NUMBER:
            raise InputError(f"a model with a size of {each:.3g}")
        arrays = each if isinstance(each, list | tuple) else [each]
        cells += sum(a.size for a in arrays if isinstance(a, np.ndarray) and a.flags.owndata)
    if cells > _MAX_ALL_CELLS:
        raise InputError("a model that needs too much memory for this video")


def _reads(value: Any) -> list[int]:
    if isinstance(value, list):
        return [number for each in value for number in _reads(each)]
    return [value["node"]] if isinstance(value, dict) and "node" in value else []


def _blur(logits: FloatRows, deviation: float) -> FloatRows:
    """As ``gaussian_blur`` of the method ``oddframe``, for (T,)."""
    if not deviation:
        return logits
    radius = min(math.ceil(4 * deviation), len(logits))
    offset = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offset / deviation) ** 2)
    inside = slice(radius, radius + len(logits))
    summed = np.convolve(logits.astype(np.float64), kernel)[inside]
    weight = np.convolve(np.ones(len(logits)), kernel)[inside]
    return np.asarray(summed / weight, np.float32)


# Operations. The arguments are those of PyTorch's, without devices and the like, all positional.


def _sized(*shape: int) -> tuple[int, ...]:
    """``shape``, if an array of it is not too large."""
    if len(shape) > _MAX_DIMS or min(shape, default=0) < 0 or math.prod(shape) > _MAX_CELLS:
        raise InputError(f"a model that needs an array of the shape {shape}")
    return shape


def _binary(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def apply(a: Any, b: Any) -> Any:
        _sized(*np.broadcast_shapes(np.shape(a), np.shape(b)))
        return function(a, b)

    return apply


def _add(a: Any, b: Any, alpha: float = 1) -> Any:
    return _binary(np.add)(a, b if alpha == 1 else np.multiply(b, alpha))


def _sub(a: Any, b: Any, alpha: float = 1) -> Any:
    return _binary(np.subtract)(a, b if alpha == 1 else np.multiply(b, alpha))


def _matmul(a: Array, b: Array) -> Array:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    _sized(*batch, *(a.shape[-2:-1] if a.ndim > 1 else ()), *(b.shape[-1:] if b.ndim > 1 else ()))
    return np.asarray(a @ b)


def _linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    out = _matmul(x, weight.T)
    return out if bias is None else out + bias


def _conv1d(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Array:
    (step,), (pad,), (spread,) = stride, padding, dilation
    if not 0 < groups <= len(weight):
        raise ValueError(f"{groups} groups")
    out_channels, per_group, taps = weight.shape
    x = _pad(x, [pad, pad])
    length = (x.shape[2] - spread * (taps - 1) - 1) // step + 1
    out = np.zeros(_sized(x.shape[0], out_channels, length), np.float32)
    each = out_channels // groups
    for group in range(groups):
        rows = slice(group * each, (group + 1) * each)
        own = x[:, group * per_group : (group + 1) * per_group]
        for tap in range(taps):
            start = tap * spread
            part = own[:, :, start : start + step * (length - 1) + 1 : step]
            out[:, rows] += weight[rows, :, tap] @ part
    return out if bias is None else out + bias[:, None]


def _pad(
    x: Array, pads: Sequence[int], mode: str = "constant", value: float | None = None
) -> Array:
    if mode != "constant":
        raise ValueError(f"padding by {mode}")
    pairs = [(pads[i], pads[i + 1]) for i in range(0, len(pads), 2)]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    _sized(
        *(size + before + behind for size, (before, behind) in zip(x.shape, widths, strict=True))
    )
    return np.pad(x, widths, constant_values=0 if value is None else value)


def _layer_norm(
    x: Array, shape: Sequence[int], weight: Array | None, bias: Array | None, eps: float
) -> Array:
    axes = tuple(range(-len(shape), 0))
    centred = x - x.mean(axes, keepdims=True)
    out = centred / np.sqrt(np.square(centred).mean(axes, keepdims=True) + np.float32(eps))
    out = out if weight is None else out * weight
    return np.asarray(out if bias is None else out + bias)


def _batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    variance: Array,
    training: bool,
    momentum: float,  # noqa: ARG001
    eps: float,
) -> Array:
    if training:
        raise ValueError("batch normalisation in training")
    scale = 1 / np.sqrt(variance + np.float32(eps))
    scale = scale if weight is None else scale * weight
    offset = -mean * scale + (0 if bias is None else bias)
    over = (-1, *[1] * (x.ndim - 2))
    return np.asarray(x * scale.reshape(over) + offset.reshape(over))


def _attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    dropout: float = 0.0,  # noqa: ARG001
    causal: bool = False,
    scale: float | None = None,
    grouped: bool = False,
) -> Array:
    if mask is not None or causal or grouped:
        raise ValueError("attention with a mask")
    factor = np.float32(1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    keys = k.swapaxes(-1, -2)
    parts = []
    for start in range(0, q.shape[-2], _QUERIES):
        some = q[..., start : start + _QUERIES, :] * factor
        parts.append(_softmax(_matmul(some, keys), -1) @ v)
    return np.concatenate(parts, axis=-2)


def _softmax(x: Array, dim: int, dtype: str | None = None) -> Array:  # noqa: ARG001
    out = np.exp(x - x.max(axis=dim, keepdims=True))
    out /= out.sum(axis=dim, keepdims=True)
    return np.asarray(out)


def _logsumexp(x: Array, dim: Sequence[int], keep: bool = False) -> Array:
    axes = tuple(dim)
    highest = x.max(axis=axes, keepdims=True)
    highest = np.where(np.isfinite(highest), highest, np.float32(0))
    out = np.log(np.exp(x - highest).sum(axis=axes, keepdims=True)) + highest
    return np.asarray(out if keep else out.squeeze(axes))


def _log_sigmoid(x: Array) -> Array:
    return np.asarray(np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))))


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, np.float32(1), small) / (1 + small))


@cache
def _erf_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """erf and its derivative at multiples of 1/128 from -6 to 6, where it is 1 in float64."""
    at = np.arange(-768, 769) / 128
    return np.array([math.erf(x) for x in at]), 2 / math.sqrt(math.pi) * np.exp(-(at**2))


def erf(x: Array) -> NDArray[np.float64]:
    """The error function, by cubic interpolation; exact to 1e-10."""
    values, slopes = _erf_table()
    place = (np.clip(x.astype(np.float64), -5.99, 5.99) + 6) * 128
    left = place.astype(np.int64)
    t = place - left
    first, second = values[left], values[left + 1]
    rise, fall = slopes[left] / 128, slopes[left + 1] / 128
    cubic = (2 * first - 2 * second + rise + fall) * t + (-3 * first + 3 * second - 2 * rise - fall)
    return np.asarray((cubic * t + rise) * t + first)


def _gelu(x: Array, approximate: str = "none") -> Array:
    if approximate != "none":
        raise ValueError(f"GELU by {approximate}")
    return np.asarray(x * (0.5 + 0.5 * erf(x / math.sqrt(2))), np.float32)


def _norm(
    x: Array,
    order: float = 2,
    dim: Sequence[int] | None = None,
    keep: bool = False,
    dtype: Any = None,  # noqa: ARG001
) -> Array:
    if order not in (1, 2):
        raise ValueError(f"a norm of order {order}")
    axes = None if dim is None else tuple(dim)
    if order == 1:
        return np.asarray(np.abs(x).sum(axes, keepdims=keep))
    return np.asarray(np.sqrt(np.square(x).sum(axes, keepdims=keep)))


def _reduce(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(x: Array, dim: Any = None, keep: bool = False, dtype: Any = None) -> Any:  # noqa: ARG001
        axes = tuple(dim) if isinstance(dim, list) and dim else dim
        return function(x, axis=axes if axes != [] else None, keepdims=keep)

    return apply


def _expand(x: Array, shape: Sequence[int]) -> Array:
    lead = len(shape) - x.ndim
    own = (1,) * lead + x.shape
    sizes = [have if want == -1 else want for want, have in zip(shape, own, strict=True)]
    return np.broadcast_to(x, _sized(*sizes))


def _slice(x: Array, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Array:
    index: list[Any] = [slice(None)] * x.ndim
    index[dim] = slice(start, end, step)
    return np.asarray(x[tuple(index)])


def _select(x: Array, dim: int, index: int) -> Array:
    return np.asarray(np.take(x, index, axis=dim))


def _split(x: Array, sizes: Sequence[int], dim: int = 0) -> list[Array]:
    return np.split(x, np.cumsum(sizes)[:-1], axis=dim)


def _chunk(x: Array, count: int, dim: int = 0) -> list[Array]:
    if not 0 < count <= MAX_OPERATIONS:
        raise ValueError(f"{count} parts")
    size = -(-x.shape[dim] // count)
    return np.split(x, range(size, x.shape[dim], size), axis=dim)


def _flatten(x: Array, start: int = 0, end: int = -1) -> Array:
    start, end = start % x.ndim, end % x.ndim
    return x.reshape(*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


def _unflatten(x: Array, dim: int, sizes: Sequence[int]) -> Array:
    dim %= x.ndim
    return x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :])


def _squeeze(x: Array, dim: int) -> Array:
    return x.squeeze(dim) if x.shape[dim] == 1 else x


def _clamp(x: Array, low: Any = None, high: Any = None) -> Array:
    x = x if low is None else np.maximum(x, np.asarray(low, x.dtype))
    return np.asarray(x if high is None else np.minimum(x, np.asarray(high, x.dtype)))


def _where(condition: Array, a: Any, b: Any) -> Array:
    _sized(*np.broadcast_shapes(condition.shape, np.shape(a), np.shape(b)))
    like = next((each.dtype for each in (a, b) if isinstance(each, np.ndarray)), np.float32)
    return np.where(condition, np.asarray(a, like), np.asarray(b, like))


_DTYPES = {"float32": np.float32, "float64": np.float64, "int64": np.int64, "bool": np.bool_}


def _arange(start: float, end: float, step: float, dtype: str) -> Array:
    _sized(max(0, math.ceil((end - start) / step)))
    return np.arange(start, end, step, dtype=_DTYPES[dtype])


def _full_like(x: Array, value: float, dtype: str | None = None) -> Array:
    return np.full(_sized(*x.shape), value, x.dtype if dtype is None else _DTYPES[dtype])


def _cat(parts: Sequence[Array], dim: int = 0) -> Array:
    _sized(sum(each.size for each in parts))
    return np.concatenate(parts, axis=dim)


def _stack(parts: Sequence[Array], dim: int = 0) -> Array:
    _sized(sum(each.size for each in parts))
    return np.stack(parts, axis=dim)


OPERATIONS: dict[str, Callable[..., Any]] = {
    # Of sizes and numbers.
    "sym_size": lambda x, dim: int(x.shape[dim]),
    "operator.add": lambda a, b: a + b,
    "operator.sub": lambda a, b: a - b,
    "operator.mul": lambda a, b: a * b,
    "operator.floordiv": lambda a, b: a // b,
    "getitem": lambda values, index: values[index],
    # Of each cell.
    "add": _add,
    "sub": _sub,
    "rsub": lambda a, b, alpha=1: _sub(b, a, alpha),
    "mul": _binary(np.multiply),
    "div": _binary(np.divide),
    "pow": _binary(np.power),
    "logaddexp": _binary(np.logaddexp),
    "lt": _binary(np.less),
    "le": _binary(np.less_equal),
    "gt": _binary(np.greater),
    "abs": np.abs,
    "neg": np.negative,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "sqrt": np.sqrt,
    "square": np.square,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "log_sigmoid": _log_sigmoid,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": _gelu,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "bitwise_not": np.logical_not,
    "where": _where,
    "masked_fill": lambda x, mask, value: _where(mask, value, x),
    "to": lambda x, dtype: x.astype(_DTYPES[dtype]),
    # Along axes.
    "softmax": _softmax,
    "logsumexp": _logsumexp,
    "mean": _reduce(np.mean),
    "sum": _reduce(np.sum),
    "linalg_vector_norm": _norm,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "matmul": _matmul,
    "linear": _linear,
    "conv1d": _conv1d,
    "scaled_dot_product_attention": _attention,
    # Of shapes.
    "cat": _cat,
    "stack": _stack,
    "split_with_sizes": _split,
    "chunk": _chunk,
    "view": lambda x, shape: x.reshape(shape),
    "flatten": _flatten,
    "unflatten": _unflatten,
    "transpose": np.swapaxes,
    "mT": lambda x: x.swapaxes(-1, -2),
    "numpy_T": lambda x: x.T,
    "unsqueeze": np.expand_dims,
    "squeeze": _squeeze,
    "select": _select,
    "slice": _slice,
    "expand": _expand,
    "expand_as": lambda x, other: np.broadcast_to(x, other.shape),
    "pad": _pad,
    "arange": _arange,
    "ones_like": lambda x, dtype=None: _full_like(x, 1, dtype),
}
