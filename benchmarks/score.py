"""Measure the scoring of a video as a multiple of real time, beside a simple reference.

    python benchmarks/score.py [--seconds 40]

The video consists of the demo's clips at 320x240 and 25 frames a second. The simple reference
decodes with PyAV, resizes with OpenCV, and runs I3D in eager PyTorch, float32, one step after the
other. The time includes decoding, resizing, the backbone and the method, but not the loading and
converting of networks.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from oddframe.backbones.engines import choose_runtime
from oddframe.backbones.visual.i3d import I3D_WEIGHTS
from oddframe.backbones.visual.i3d_network import read_i3d
from oddframe.cli.demo import DEMO_DATA
from oddframe.detector import Detector
from oddframe.features.spec import Features
from oddframe.outputs.drawing import letterbox
from oddframe.outputs.encode import VideoEncoder, VideoWriter
from oddframe.video.decoding.isolated import open_source

FPS = 25.0


def make_video(path: Path, seconds: float) -> None:
    """Write the demo's clips, repeated for ``seconds``, at 320x240 and 25 frames a second."""
    with (DEMO_DATA / "clips.csv").open(newline="") as file:
        clips = [DEMO_DATA / row["clip"] for row in csv.DictReader(file)]
    encoder = VideoEncoder("libx264", "mp4", {"crf": "20", "preset": "veryfast"})
    writer = VideoWriter(path, encoder, 320, 240, FPS)
    count = 0
    while count < seconds * FPS:
        for frame in open_source(clips[count % len(clips)]).frames():
            writer.add(letterbox(frame.image, 320, 240), count / FPS)
            count += 1
    writer.close()


def reference_run(path: Path, detector: Detector) -> Callable[[], object]:
    """A function that scores the same snippets with the simple reference."""
    network = read_i3d(I3D_WEIGHTS)
    spec, size = detector.spec, detector.spec.crop_size

    def run() -> object:
        with av.open(str(path)) as container:
            frames = [
                cv2.resize(frame.to_ndarray(format="rgb24"), size)
                for frame in container.decode(video=0)
            ]
        timebase = replace(spec, rate=None).timebase(FPS, len(frames))
        rows = []
        for start in range(0, timebase.n_snippets * spec.stride, spec.stride):
            index = np.minimum(np.arange(start, start + spec.snippet_frames), len(frames) - 1)
            x = torch.from_numpy(np.stack([frames[i] for i in index])).float() * 2 / 255 - 1
            with torch.no_grad():
                rows.append(network(x.permute(3, 0, 1, 2)[None]).numpy()[0])
        array = np.stack(rows)[None]
        known = spec.timebase(FPS, len(frames))
        return detector.score(Features(array[:, : known.n_snippets], spec, known))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        make_video(video, options.seconds)
        length = open_source(video).expected_frames or 0
        seconds = length / FPS
        runs: dict[str, Callable[[], object]] = {}
        best = Detector.load("fight", engine="torch", precision="float32", device="cpu")
        runs["plain reference: eager float32, best"] = reference_run(video, best)
        native = choose_runtime(device="cpu").precision == "bfloat16"
        for precision in ("float32", *(["bfloat16"] if native else [])):
            for profile in ("best", "fast"):
                detector = Detector.load(
                    "fight", profile=profile, precision=precision, device="cpu"
                )
                detector.backbone(np.zeros((1, 16, *detector.spec.crop_size[::-1], 3), np.uint8))
                name = f"oddframe {profile}, {detector.runtime}"
                runs[name] = lambda detector=detector: detector.score(video)
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.rounds):  # In turns: other load affects all alike.
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
    reference = statistics.median(next(iter(times.values())))
    print(f"{seconds:.0f} s of 320x240 at 25 frames a second, {torch.get_num_threads()} threads\n")
    print("| way | seconds | x real time | x plain |\n| --- | --- | --- | --- |")
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"| {name} | {median:.1f} | {seconds / median:.2f} | {reference / median:.2f} |")
    if not native:
        print("\nbfloat16 is not native to this processor, so it was not measured.")


if __name__ == "__main__":
    main()
