"""Measure I3D and the scoring of a video on a graphics card, and compare with a plain reference.

    python benchmarks/graphics_card.py [--snippets 256] [--batches 1 16 64] [--seconds 200]

The first table has frames per second of elapsed time, for snippets of 16 frames of 224x224 in
memory. oddframe sends them to the card as bytes, in batches, with channels last. The plain
reference uses PyTorch's defaults: one crop at a time, converted to floats on the processor, without
TF32. ``network`` is the network alone, with its input on the card already. The second table has the
time of oddframe's detector from a file to scores, as a multiple of real time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from network import processor_name
from numpy.typing import NDArray
from score import FPS, make_video

from oddframe._utils.determinism import deterministic
from oddframe.backbones.base import FULL_FRAME
from oddframe.backbones.registry import load_backbone
from oddframe.backbones.torch_runner import to_tensor
from oddframe.backbones.visual.i3d import I3D_WEIGHTS
from oddframe.backbones.visual.i3d_network import read_i3d
from oddframe.detector import Detector
from oddframe.video.decoding.isolated import open_source
from oddframe.video.snippets.reader import MultiSnippetReader

FRAMES, SIZE = 16, 224


def frames_a_second(call: Callable[[], object], snippets: int, device: str) -> float:
    """Median of three calls, after one to warm up."""
    durations = []
    for number in range(4):
        wait(device)
        start = time.perf_counter()
        call()
        wait(device)
        if number:
            durations.append(time.perf_counter() - start)
    return FRAMES * snippets / statistics.median(durations)


def wait(device: str) -> None:
    """Wait until the card has finished its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def plain(snippets: NDArray[np.uint8], device: str, precision: str) -> Callable[[], object]:
    """Make the plain reference: encode snippets one by one."""
    network = read_i3d(I3D_WEIGHTS).eval().to(device)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    network = network.to(dtype)

    def run() -> None:
        with deterministic(), torch.no_grad():
            for each in snippets:
                x = torch.from_numpy(each).permute(3, 0, 1, 2)[None].float() * 2 / 255 - 1
                network(x.contiguous().to(device, dtype)).float().cpu().numpy()

    return run


def network_alone(batch: int, precision: str, device: str, layout: Any) -> Callable[[], object]:
    """Make a call of the network with an input that is on the card already."""
    network = read_i3d(I3D_WEIGHTS).eval().to(device).to(memory_format=layout)
    shape = batch, FRAMES, SIZE, SIZE, 3
    x = to_tensor(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8), device)
    x = x.contiguous(memory_format=layout)
    bfloat16 = precision == "bfloat16"

    def run() -> None:
        with (
            deterministic(),
            torch.inference_mode(),
            torch.autocast(device, torch.bfloat16, enabled=bfloat16),
        ):
            for _ in range(4):
                network(x)

    return run


def extraction(args: argparse.Namespace) -> None:
    """Print the table of I3D."""
    shape = args.snippets, FRAMES, SIZE, SIZE, 3
    snippets = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    print("| I3D on snippets in memory | precision | at once | frames a second | x plain | MB |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for precision in ("float32", "bfloat16"):
        first = 0.0

        def row(what: str, batch: int, call: Callable[[], object], count: int) -> None:
            nonlocal first
            if args.device == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            speed = frames_a_second(call, count, args.device)
            first = first or speed
            memory = torch.cuda.max_memory_allocated() / 2**20 if args.device == "cuda" else 0
            cells = f"{batch} | {speed:.0f} | {speed / first:.2f} | {memory:.0f}"
            print(f"| {what} | {precision} | {cells} |", flush=True)  # noqa: B023

        some = snippets[: max(1, args.snippets // 4)]
        row("plain reference", 1, plain(some, args.device, precision), len(some))
        backbone: Any = load_backbone(
            "i3d", FULL_FRAME, engine="torch", device=args.device, precision=precision
        )
        for batch in args.batches:
            parts = [snippets[i : i + batch] for i in range(0, args.snippets, batch)]
            call = lambda parts=parts, encode=backbone: [encode(x) for x in parts]  # noqa: E731
            row("oddframe", batch, call, args.snippets)
        for batch in args.batches[-2:]:
            for name, layout in (
                ("channels last", torch.channels_last_3d),
                ("channels first", torch.contiguous_format),
            ):
                call = network_alone(batch, precision, args.device, layout)
                row(f"network, {name}", batch, call, 4 * batch)


def scoring(args: argparse.Namespace) -> None:
    """Print the table of the detector."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        make_video(video, args.seconds)
        seconds = (open_source(video).expected_frames or 0) / FPS
        print(f"\n{seconds:.0f} s of 320x240 at 25 frames a second\n")
        print("| way | seconds | x real time |\n| --- | ---: | ---: |")

        def row(what: str, call: Callable[[], object]) -> None:
            durations = []
            for _ in range(3):
                start = time.perf_counter()
                call()
                durations.append(time.perf_counter() - start)
            median = statistics.median(durations)
            print(f"| {what} | {median:.2f} | {seconds / median:.1f} |", flush=True)

        for precision in ("float32", "bfloat16"):
            for profile in ("best", "fast"):
                detector: Any = Detector.load(
                    "fight",
                    profile=profile,
                    precision=precision,
                    device=args.device,
                    engine="torch",
                )
                spec = detector.spec
                size = 16, FRAMES, *spec.crop_size[::-1], 3
                detector.backbone(np.zeros(size, np.uint8))
                if precision == "float32":
                    row(
                        f"without a backbone: decode and crop for {profile}",
                        lambda preprocessing=spec.preprocessing: sum(
                            1 for _ in MultiSnippetReader(open_source(video), [preprocessing])
                        ),
                    )
                row(f"oddframe {profile}, {detector.runtime}", lambda d=detector: d.score(video))


def main() -> None:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--snippets", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=200)
    args = parser.parse_args()
    threads = torch.get_num_threads()
    print(f"{processor_name(args.device)}, torch {torch.__version__}, {threads} threads\n")
    extraction(args)
    scoring(args)


if __name__ == "__main__":
    main()
