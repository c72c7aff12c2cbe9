"""Trace a method's network to the graph that a model file holds (``head_graph``)."""

from __future__ import annotations

import logging
import math
import operator
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from oddframe.methods.head_graph import MAX_OPERATIONS, OPERATIONS
from oddframe.methods.layers import SmoothingNetwork
from oddframe.methods.mil.urdmu_network import UrDmuNetwork, UrDmuWithShortcut
from oddframe.methods.scorer import ModelNetwork

# Operations that change nothing when a network scores.
_IDENTITIES = frozenset({"dropout", "detach", "clone", "alias", "contiguous", "lift_fresh_copy"})
# Arguments that NumPy has no use for.
_IGNORED = frozenset(
    (
        *("layout", "device", "pin_memory", "memory_format", "generator", "non_blocking", "copy"),
        *("implicit", "cudnn_enabled", "cudnn_enable", "output_size"),
    )
)
_OPERATORS = {
    operator.add: "operator.add", operator.sub: "operator.sub", operator.mul: "operator.mul",
    operator.floordiv: "operator.floordiv", operator.mod: "operator.mod",
    operator.neg: "operator.neg", operator.getitem: "getitem", torch.sym_min: "sym_min",
    torch.sym_max: "sym_max",
}  # fmt: skip
_TRACED_SNIPPETS = 200  # Any number will do; 1 would be taken for a constant.
_MAX_SNIPPETS = 2**24


class _Traced(nn.Module):
    """Features (1, T, D), standardised -> logits (1, T) and UR-DMU's weights of slots."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        weights = None
        if isinstance(self.network, UrDmuNetwork | UrDmuWithShortcut):
            weights = self.network.memory_weights(x)
        return (self.network(x).logits, *(weights or ()))


class _UnsupportedError(Exception):
    """A network has something that a graph has not."""


_graphs: dict[tuple[Any, ...], dict[str, Any] | None] = {}


def export_head(head: ModelNetwork, key: tuple[str, ...]) -> dict[str, Any] | None:
    """The graph of the network; None: it cannot be traced, so it runs in PyTorch alone.

    Tracing takes seconds, so it is done once in a process for each ``key``, which tells networks
    apart: method and settings.
    """
    full = (*key, len(head.standardise.mean))
    if full not in _graphs:
        _graphs[full] = _export(head)
    return _graphs[full]


def _export(head: ModelNetwork) -> dict[str, Any] | None:
    network = head.network
    blur = network.blur if isinstance(network, SmoothingNetwork) else 0.0
    dim = len(head.standardise.mean)
    x = torch.zeros(1, _TRACED_SNIPPETS, dim, device=head.standardise.mean.device)
    level = logging.getLogger("torch").level
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.getLogger("torch").setLevel(logging.CRITICAL)
            if isinstance(network, SmoothingNetwork):
                network.blur = 0.0  # Depends on the profile, so it is not part of the graph.
            snippets = torch.export.Dim("T", min=1, max=_MAX_SNIPPETS)
            program = torch.export.export(
                _Traced(network.eval()),
                (x,),
                dynamic_shapes=({1: snippets},),
                prefer_deferred_runtime_asserts_over_guards=True,
            )
        graph = _Writer(program).graph()
    except Exception:  # PyTorch raises many types where a network cannot be traced.
        return None
    finally:
        logging.getLogger("torch").setLevel(level)
        if isinstance(network, SmoothingNetwork):
            network.blur = blur
    parameters = head.count_parameters()
    return {"parameters": parameters, **({"blur": blur} if blur else {}), **graph}


class _Writer:
    """Writes the operations of an exported program that its outputs depend on."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        signature = program.graph_signature
        self._names: Mapping[str, str] = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
        }
        self._constants = signature.inputs_to_lifted_tensor_constants
        self._program = program
        self._values: dict[Any, Any] = {}
        self._nodes: list[list[Any]] = []

    def graph(self) -> dict[str, Any]:
        every = list(self._program.graph.nodes)
        outputs = every[-1].args[0]
        needed, waiting = set(), list(outputs)
        while waiting:
            node = waiting.pop()
            if node not in needed:
                needed.add(node)
                waiting += node.all_input_nodes
        for node in every[:-1]:
            if node in needed:
                self._values[node] = self._write(node)
        if len(self._nodes) > MAX_OPERATIONS:
            raise _UnsupportedError
        return {"nodes": self._nodes, "outputs": [self._values[node]["node"] for node in outputs]}

    def _write(self, node: Any) -> Any:
        if node.op == "placeholder":
            if node.name in self._names:
                return {"tensor": self._names[node.name]}
            if node.name in self._constants:
                return self._program.constants[self._constants[node.name]].tolist()
            return {"node": 0}
        if node.op != "call_function":
            raise _UnsupportedError
        if node.target in _OPERATORS:
            return self._add(_OPERATORS[node.target], [self._encode(each) for each in node.args])
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            raise _UnsupportedError
        name = schema.name.partition("::")[2]
        given = dict(zip([each.name for each in schema.arguments], node.args, strict=False))
        given |= node.kwargs
        if name == "promote_types":
            return "float32"
        if name in _IDENTITIES:
            return self._values[node.args[0]]
        if name == "arange":
            whole = all(not isinstance(given.get(key), float) for key in ("start", "end", "step"))
            dtype = given.get("dtype") or (torch.int64 if whole else torch.float32)
            bounds = [given.get("start", 0), given["end"], given.get("step", 1), dtype]
            return self._add(name, [self._encode(each) for each in bounds])
        if name == "repeat_interleave" and "repeats" in given:
            given = {key: given[key] for key in ("self", "repeats", "dim")}
            return self._add(name, [self._encode(each) for each in given.values()])
        arguments = [
            self._encode(given.get(each.name, each.default_value))
            for each in schema.arguments
            if each.name not in _IGNORED
        ]
        return self._add(name, arguments)

    def _add(self, name: str, arguments: list[Any]) -> dict[str, int]:
        if name not in OPERATIONS:
            raise _UnsupportedError
        self._nodes.append([name, arguments])
        return {"node": len(self._nodes)}

    def _encode(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            return self._values[value]
        if isinstance(value, list | tuple):
            return [self._encode(each) for each in value]
        if isinstance(value, torch.dtype):
            return str(value).removeprefix("torch.")
        if isinstance(value, float) and math.isinf(value):
            return {"float": str(value)}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise _UnsupportedError
