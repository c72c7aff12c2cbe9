"""CUDA settings, as far as they can be tested without a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oddframe._utils.determinism import deterministic
from oddframe.backbones.base import VisualEncoder, to_input
from oddframe.backbones.engines import Runtime
from oddframe.backbones.registry import load_backbone
from oddframe.backbones.torch_runner import torch_runner
from oddframe.features.extraction.extract_video import backbone_spec, extract_video
from oddframe.methods.base import Loss
from oddframe.training.loop import fit
from oddframe.training.step import to_cpu
from oddframe.video.decoding.isolated import open_source
from oddframe.video.snippets.preprocessing import Preprocessing
from tests.training.planted import planted, small_config


def flags() -> tuple[bool, bool]:
    cudnn = torch.backends.cudnn
    return cudnn.allow_tf32, cudnn.deterministic


def test_the_last_thread_resets_the_flags() -> None:
    before = flags()
    first, second = deterministic(), deterministic()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert flags() == (False, True)
    second.__exit__(None, None, None)
    assert flags() == before
    with pytest.raises(KeyError), deterministic():
        raise KeyError
    assert flags() == before


def test_networks_run_without_tf32() -> None:
    seen = []

    class Network(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(flags())
            return x

    x = torch.zeros(1, 3, 4, 4)
    run = torch_runner(Network(), x.dim(), Runtime("torch", "cpu", "float32"))
    before = flags()
    run(x.numpy())
    assert seen == [(False, True)]
    assert flags() == before


def test_training_runs_without_tf32() -> None:
    seen: list[tuple[bool, bool]] = []
    fit(planted(4, 4, 0)[0], small_config(recipe={"steps": 2}),
        on_step=lambda *_: seen.append(flags()))  # fmt: skip
    assert set(seen) == {(False, True)}


def test_bytes_are_converted_to_floats_on_the_device() -> None:
    snippets = np.zeros((2, 4, 8, 6, 3), np.uint8)
    x = to_input(snippets, "meta")
    assert (x.shape, x.dtype) == ((2, 3, 4, 8, 6), torch.float32)
    assert x.is_contiguous(memory_format=torch.channels_last_3d)
    assert to_input(snippets).flags.c_contiguous


def test_audio_runs_in_torch_without_openvino() -> None:
    """Its input has no channel axis, so that no memory format applies."""
    backbone = load_backbone("aisfx", engine="torch", device="cpu", precision="float32")
    (ear,) = backbone.audio_encoders
    assert ear.encode(np.zeros((2, ear.window), np.float32)).shape == (2, 512)


def test_a_loss_is_copied_to_the_cpu_at_once() -> None:
    total = torch.tensor([2.0], requires_grad=True)
    loss = to_cpu(Loss((3 * total).sum(), {"a": torch.tensor(1.0), "b": torch.tensor([5.0])}))
    assert not loss.total.requires_grad
    assert (float(loss.total), {n: float(t) for n, t in loss.terms.items()}) == (
        6.0, {"a": 1.0, "b": 5.0}
    )  # fmt: skip


@pytest.mark.parametrize(("crops", "max_batch"), [(1, 16), (5, 10), (10, 10)])
def test_the_batch_size_divides_the_size_of_partial_chunks(
    clip: Path, crops: int, max_batch: int
) -> None:
    all_crops = ("full", "full_mirrored") * 5
    preprocessing = Preprocessing(
        resize=(64, 48), filter="bicubic", crop_size=(64, 48), crops=all_crops[:crops], stride=4
    )
    backbone = load_backbone(
        "i3d", preprocessing, precision="float32", engine="torch", device="cpu"
    )
    sizes: list[int] = []

    def see(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
        sizes.append(len(snippets))
        return np.zeros((len(snippets), 1024), np.float32)

    watched = replace(backbone, visual_encoders=(VisualEncoder(see, 16),))
    made = extract_video(
        open_source(clip), backbone_spec(backbone, preprocessing), watched
    ).features
    assert sum(sizes) == made.array.shape[1] * crops
    assert set(sizes[:-1]) <= {max_batch}
