"""Measure how fast videos become features, by backbone and engine, and compare with references.

    OMP_NUM_THREADS=1 python benchmarks/extract.py [--video FILE] [--snippets 4] [--views 1 10]

The video has frames of 320x240, UCF-Crime's size. The references are:

* OpenCV: ``cv2.VideoCapture`` and ``cv2.resize`` to 224x224, without a backbone
* JPEG: as the published extractor, write every frame as a JPEG file, then for each crop read the
  files with Pillow, resize, crop, and run the network in PyTorch, snippet by snippet

Networks whose weights are not shipped get random ones, which take the same time.

The figures are frames of video per second of *processor* time of all threads. On an idle machine
these are the frames a second of one core, and other load on the machine hardly changes them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from safetensors.torch import save_file

from oddframe.backbones.audio_networks import VGGish
from oddframe.backbones.base import FULL_FRAME, Backbone
from oddframe.backbones.engines import EngineName
from oddframe.backbones.registry import get_backbones, load_backbone
from oddframe.backbones.visual.i3d_network import I3D
from oddframe.features.extraction.extract_video import backbone_spec, extract_video
from oddframe.features.presets import get_preset
from oddframe.video.decoding.isolated import open_source
from oddframe.video.snippets.preprocessing import Preprocessing, with_views
from oddframe.video.snippets.reader import MultiSnippetReader

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = get_preset("ucf-crime").preprocessing
SIZE, CROP = 16, 224


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--video", type=Path, default=ROOT / "tests" / "data" / "fi150.mp4")
    parser.add_argument("--snippets", type=int, default=4)
    parser.add_argument("--views", type=int, nargs="+", default=[1, 10])
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with tempfile.TemporaryDirectory() as folder:
        # The long video is for backbones that take too little time to be measured on the short one.
        short = repeat_video(args.video, Path(folder, "short.mp4"), SIZE * args.snippets)
        long = repeat_video(args.video, Path(folder, "long.mp4"), 25 * 60)
        print("| what | crops | frames a second of a core |\n| --- | ---: | ---: |")
        report("OpenCV: decode, resize", 1, 25 * 60, lambda: decode_with_opencv(long))
        report("oddframe: decode, resize", 1, 25 * 60, lambda: read_snippets(long, FULL_FRAME))
        report(
            "oddframe: decode, preset ucf-crime",
            10,
            25 * 60,
            lambda: read_snippets(long, PUBLISHED),
        )
        for name, engine in (("efficientnet_lite0", "openvino"), ("efficientnet_lite0", "torch")):
            time_backbone(name, engine, get_backbones(name)[0].preprocessing, long, 25 * 60)
        write_random_weights(Path(folder))
        for name, engine in (("aisfx", "openvino"), ("vggish", "openvino"), ("vggish", "torch")):
            time_backbone(name, engine, get_backbones(name)[0].preprocessing, long, 25 * 60)
        flow = with_views(PUBLISHED, 1)
        for engine in ("openvino", "torch"):
            time_backbone("i3d_flow", engine, flow, short, SIZE * args.snippets)
        for views in args.views:
            preprocessing = (
                PUBLISHED if views == 10 else with_views(PUBLISHED, cast(Literal[1, 5], views))
            )
            for engine in ("openvino", "torch"):
                time_backbone("i3d", engine, preprocessing, short, SIZE * args.snippets)
            network = load_backbone("i3d", preprocessing, engine="torch", precision="float32")
            report(
                "JPEG files, Pillow, PyTorch, a crop at a time: i3d",
                views,
                SIZE * args.snippets,
                lambda views=views, network=network: extract_as_published(short, views, network),
            )


def report(what: str, crops: int, frames: int, call: Callable[[], object]) -> None:
    """Time a call and print its row."""
    start = time.process_time()
    call()
    print(f"| {what} | {crops} | {frames / (time.process_time() - start):.1f} |", flush=True)


def write_random_weights(folder: Path) -> None:
    """Write random weights of the backbones whose weights are not shipped."""
    torch.manual_seed(0)
    save_file(I3D(2).state_dict(), folder / "i3d_flow.safetensors")
    torch.save(VGGish().state_dict(), folder / "vggish.pth")
    os.environ["ODDFRAME_WEIGHTS"] = str(folder)


def time_backbone(
    name: str, engine: str, preprocessing: Preprocessing, video: Path, frames: int
) -> None:
    """Time a backbone, after one snippet to warm up."""
    backbone = load_backbone(
        name, preprocessing, engine=cast(EngineName, engine), precision="float32"
    )
    spec = backbone_spec(backbone, preprocessing)
    for encoder in backbone.visual_encoders:
        encoder.encode(np.zeros((1, SIZE, CROP, CROP, 3), np.uint8))
    crops = len(preprocessing.crops) if backbone.visual_encoders else 1
    report(
        f"{name}, {engine}",
        crops,
        frames,
        lambda: extract_video(open_source(video), spec, backbone),
    )


def repeat_video(video: Path, path: Path, frames: int) -> Path:
    """Repeat a video up to ``frames`` frames, in 320x240 H.264 at 25 fps, with noise as sound."""
    with av.open(str(video)) as container:
        pictures = [frame.reformat(320, 240, "yuv420p") for frame in container.decode(video=0)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "23"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        sound = container.add_stream("aac", rate=44_100, layout="mono")
        noise = np.random.default_rng(0)
        for number in range(frames):
            picture = pictures[number % len(pictures)]
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
            samples = noise.normal(0, 0.1, (1, 44_100 // 25)).astype(np.float32)
            audio = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            audio.sample_rate, audio.pts = 44_100, number * samples.shape[1]
            audio.time_base = Fraction(1, 44_100)
            container.mux(sound.encode(audio))
        container.mux(stream.encode(None))
        container.mux(sound.encode(None))
    return path


def decode_with_opencv(video: Path) -> int:
    """Decode and resize with OpenCV."""
    capture, frames = cv2.VideoCapture(str(video)), 0
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames
        cv2.resize(frame, (CROP, CROP))
        frames += 1


def read_snippets(video: Path, preprocessing: Preprocessing) -> int:
    """Read all snippets without encoding them."""
    return sum(1 for _ in MultiSnippetReader(open_source(video), [preprocessing]))


def extract_as_published(video: Path, views: int, network: Backbone) -> list[NDArray[np.float32]]:
    """Extract features (T, D) of each crop as the published extractor does."""
    with tempfile.TemporaryDirectory() as name:
        capture, files = cv2.VideoCapture(str(video)), []
        while True:
            ok, frame = capture.read()
            if not ok:
                break
            files.append(str(Path(name, f"{len(files):06d}.jpg")))
            cv2.imwrite(files[-1], frame)
        rows = []
        for crop in range(views):
            snippets = [files[start : start + SIZE] for start in range(0, len(files), SIZE)]
            rows.append(
                np.concatenate([network(np.stack([[_read(f, crop) for f in s]])) for s in snippets])
            )
    return rows


def _read(file: str, crop: int) -> NDArray[np.uint8]:
    with Image.open(file) as picture:
        frame = picture.convert("RGB").resize((340, 256), Image.Resampling.LANCZOS)
    if crop >= 5:
        frame = ImageOps.mirror(frame)
    left, top = ((58, 16), (0, 0), (116, 0), (0, 32), (116, 32))[crop % 5]
    return np.asarray(frame.crop((left, top, left + CROP, top + CROP)))


if __name__ == "__main__":
    main()
