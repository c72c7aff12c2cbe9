"""Backbone and head as networks of one input, and as ONNX or OpenVINO files."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oddframe.backbones.engines import has_openvino
from oddframe.backbones.visual.i3d import I3D_FEATURE_DIM, I3D_RGB
from oddframe.backbones.visual.i3d_network import I3D, read_i3d
from oddframe.errors import OddframeError, UsageError
from oddframe.exporting.standalone import compile_network
from oddframe.features.spec import FeatureSpec
from oddframe.methods.registry import get_method
from oddframe.methods.scorer import ModelNetwork
from oddframe.modelfile import Model, torch_network
from oddframe.video.snippets.preprocessing import region_grid

ExportTarget = Literal["onnx", "openvino"]
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}
BACKBONE_INPUT, HEAD_INPUT = "snippets", "features"
# Numbers of snippets with which a head's file is compared with PyTorch; one and more take other
# ways through OpenVINO.
CHECKED_LENGTHS = (1, 7, 200, 1_777)


def check_target(to: str) -> None:
    """UsageError if there is no such target, or what writes it is not installed."""
    if to not in get_args(ExportTarget):
        raise UsageError(f"--to {to}: choose from {', '.join(get_args(ExportTarget))}")
    if to == "onnx" and not (find_spec("onnx") and find_spec("onnxscript")):
        raise UsageError(
            "--to onnx needs onnx and onnxscript: pip install 'oddframe[onnx]' brings them"
        )
    if to == "openvino" and not has_openvino():
        raise UsageError("--to openvino needs OpenVINO: pip install openvino brings it")


class ExportedBackbone(nn.Module):
    """Snippets (N, frames, height, width, 3) uint8 RGB -> features (N, D), or (N R, D)."""

    def __init__(self, network: I3D) -> None:
        super().__init__()
        self.network = network

    def forward(self, snippets: Tensor) -> Tensor:
        x = snippets.permute(0, 4, 1, 2, 3).to(torch.float32) * (2 / 255) - 1
        features: Tensor = self.network(x)
        return features.reshape(-1, I3D_FEATURE_DIM)


class ExportedHead(nn.Module):
    """Features (C, T, D) -> scores (T,): the mean over crops, or the maximum over parts."""

    def __init__(self, network: ModelNetwork, spacing: float, tiled: bool) -> None:
        super().__init__()
        self.network, self.spacing, self.tiled = network, spacing, tiled

    def forward(self, features: Tensor) -> Tensor:
        x = self.network.standardise(features)
        if not self.tiled:
            return self.network.logits(x, self.spacing).sigmoid().mean(0)
        scores = self.network.logits(x.flatten(0, 1)[None], self.spacing).sigmoid()
        return scores.view(features.shape[0], features.shape[1]).amax(0)


def backbone_network(spec: FeatureSpec) -> ExportedBackbone | None:
    """The network that makes features of ``spec``; None: there is none that reads pictures only."""
    if spec.backbone != I3D_RGB.name:
        return None
    network = read_i3d(I3D_RGB.find_weights())
    network.regions = region_grid(spec.crops)
    return ExportedBackbone(network).eval()


def head_network(model: Model, profile: str) -> ExportedHead:
    """The head of a model, for one profile.

    UsageError: it reads grey pictures, not features.
    """
    if get_method(model.method).backbones:
        raise UsageError(
            f"a model of {model.method} cannot be exported: it reads grey pictures, not features, "
            "and takes as many steps as there are snippets or moving cubes"
        )
    spec = model.profiles[profile].spec
    spacing = spec.step_s(25.0) / model.profiles["best"].spec.step_s(25.0)
    network = copy.deepcopy(torch_network(model)).cpu().eval()
    _fix_counts(network)
    return ExportedHead(network, spacing, spec.tiles is not None).eval()


def _fix_counts(network: nn.Module) -> None:
    """Turn counts, such as the used units of ``normality``, into numbers that a graph may hold."""
    for module in network.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.ndim == 0 and not buffer.is_floating_point():
                delattr(module, name)
                setattr(module, name, int(buffer))


def write_graph(
    network: nn.Module, example: Tensor, dynamic: int, name: str, path: Path, to: ExportTarget
) -> None:
    """Write a network to ``path``; its first ``dynamic`` sizes may be any, from 1 on."""
    sizes = dict.fromkeys(range(dynamic), torch.export.Dim.AUTO)
    # Their warnings are about their own code.
    loggers = [logging.getLogger(each) for each in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(network, (example,), dynamic_shapes=(sizes,))
            _check_sizes(program, dynamic)
            if to == "onnx":
                written = torch.onnx.export(program, dynamo=True, verbose=False, input_names=[name])
                assert written is not None
                written.save(str(path), external_data=False)
                return
            import openvino

            converted = openvino.convert_model(program)
            converted.inputs[0].set_names({name})
            openvino.save_model(converted, path, compress_to_fp16=False)
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def _check_sizes(program: torch.export.ExportedProgram, dynamic: int) -> None:
    inputs = {each for each in program.graph_signature.user_inputs if isinstance(each, str)}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in inputs:
            shape = node.meta["val"].shape
            if not all(isinstance(size, torch.SymInt) for size in shape[:dynamic]):
                raise OddframeError(f"the network takes inputs of {tuple(shape)} only")


def largest_difference(network: nn.Module, path: Path, inputs: list[NDArray[Any]]) -> float | None:
    """Largest difference between a file and its network; None: what runs it is not installed."""
    run = _runner(path)
    if run is None:
        return None
    found = 0.0
    for each in inputs:
        with torch.inference_mode():
            expected = network(torch.from_numpy(each)).numpy()
        actual = run(each)
        if actual.shape != expected.shape:
            raise OddframeError(f"{path.name} gives {actual.shape}, not {expected.shape}")
        found = max(found, float(np.abs(actual - expected).max()))
    return found


def _runner(path: Path) -> Callable[[NDArray[Any]], NDArray[Any]] | None:
    needed = "onnxruntime" if path.suffix == ".onnx" else "openvino"
    return compile_network(path) if find_spec(needed) else None
