"""Heads of all methods as ONNX and OpenVINO files, against PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from oddframe.errors import UsageError
from oddframe.events import EventRule
from oddframe.exporting.graphs import (
    CHECKED_LENGTHS,
    HEAD_INPUT,
    SUFFIXES,
    ExportTarget,
    head_network,
    largest_difference,
    write_graph,
)
from oddframe.features.spec import FeatureSpec
from oddframe.methods.layers import OneClassNetwork
from oddframe.methods.registry import get_method, method_names
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.modelfile import Model, Profile
from oddframe.video.snippets.preprocessing import with_tiles

READ_PICTURES = {"hasan", "lu"}
# Networks that OpenVINO has computed wrongly, or that are unlike the others.
IN_OPENVINO = ("bn_wvad", "msl", "normality", "oddframe", "pang", "ur_dmu")
DIM = 64
SPEC = FeatureSpec(backbone="i3d", weights_sha256="", dim=DIM)


def made_up(name: str, spec: FeatureSpec = SPEC) -> Model:
    """A model with random weights, none of them zero, so that every part counts."""
    method, rng = get_method(name), torch.Generator().manual_seed(1)
    config = method.Config()
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = method.network(spec.dim, config)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1, generator=rng)
        if isinstance(network, OneClassNetwork):
            network.fit_snippets(torch.randn(300, spec.dim, generator=rng))
    scale = Standardise(torch.randn(spec.dim, generator=rng), torch.ones(spec.dim) * 1.5)
    whole = ModelNetwork(scale, network).eval()
    profiles = {"best": Profile(spec, EventRule())}
    return Model("made_up", name, config, whole, profiles, "anything")


def inputs(crops: tuple[int, ...], lengths: tuple[int, ...] = CHECKED_LENGTHS) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [(crops[i % len(crops)], length) for i, length in enumerate(lengths)]
    return [rng.normal(size=(*size, DIM)).astype(np.float32) for size in sizes]


def differs(model: Model, path: Path, to: ExportTarget, given: list[np.ndarray]) -> float:
    head = head_network(model, "best")
    write_graph(head, torch.randn(2, 9, DIM), 2, HEAD_INPUT, path.with_suffix(SUFFIXES[to]), to)
    found = largest_difference(head, path.with_suffix(SUFFIXES[to]), given)
    assert found is not None
    with torch.inference_mode():  # All the same, any file would do.
        assert head(torch.from_numpy(given[2])).std() > 1e-4
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "to"),
    [(name, "onnx") for name in sorted({*method_names()} - READ_PICTURES)]
    + [(name, "openvino") for name in IN_OPENVINO],
)
def test_every_method_scores_as_in_pytorch(name: str, to: ExportTarget, tmp_path: Path) -> None:
    assert differs(made_up(name), tmp_path / "head", to, inputs((1, 1, 2, 1))) < 1e-4


@pytest.mark.parametrize("to", get_args(ExportTarget))
def test_the_linear_head_is_that_of_the_model(to: ExportTarget, tmp_path: Path) -> None:
    model = made_up("linear")
    assert differs(model, tmp_path / "head", to, inputs((1, 2, 10, 1))) < 1e-4
    features = inputs((3,), (40,))[0]
    with torch.inference_mode():
        alone = head_network(model, "best")(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(alone, model.network.score_views(features), atol=1e-6)


def test_of_tiles_the_highest_score_counts(tmp_path: Path) -> None:
    model = made_up("linear", with_tiles(SPEC, 1, 3))
    features = inputs((3,), (40,))[0]
    expected = model.network.score_tiles(features).max(axis=0)
    with torch.inference_mode():
        actual = head_network(model, "best")(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert differs(model, tmp_path / "head", "onnx", inputs((3,), (1, 7, 200))) < 1e-4


@pytest.mark.parametrize("name", sorted(READ_PICTURES))
def test_methods_that_read_pictures_are_refused(name: str) -> None:
    method = get_method(name)
    model = made_up("linear")
    fake = Model("x", name, method.Config(), model.network, model.profiles, "anything")
    with pytest.raises(UsageError, match="grey pictures"):
        head_network(fake, "best")
