"""Score a video with an exported oddframe model, without oddframe.

Needs NumPy, OpenCV, PyAV, and ONNX Runtime or OpenVINO. ``python score.py VIDEO`` prints a line for
each snippet. ``model.json`` beside this file says how pictures are prepared.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from oddframe.video.snippets.motion import cut_box, find_motion, find_squares, max_motion_pixels

FOLDER = Path(__file__).parent
POSITIONS = {
    "center": (0.5, 0.5),
    "top_left": (0.0, 0.0),
    "top_right": (1.0, 0.0),
    "bottom_left": (0.0, 1.0),
    "bottom_right": (1.0, 1.0),
}
# Time stamps are rounded: a frame this close (s) to a tick is on it.
TOLERANCE_S = 1e-6
MAX_SIDE = 8192

AnyArray = NDArray[Any]
Scale = Callable[[av.VideoFrame], AnyArray]


def score_file(path: str | Path, folder: Path = FOLDER) -> tuple[AnyArray, AnyArray]:
    """Times (T, 2) in seconds from the first frame on, and scores (T,) in [0, 1], of T snippets."""
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    backbone = compile_network(folder / model["backbone"])
    head = compile_network(folder / model["head"])
    rows: list[AnyArray] = []
    times: list[tuple[float, float]] = []
    for start_s, end_s, snippet in read_snippets(path, model["preprocessing"]):
        # One crop at a time takes the least memory. Of regions, the backbone gives a row each.
        rows.append(np.concatenate([backbone(crop[None]) for crop in snippet]))
        times.append((start_s, end_s))
    features = np.stack(rows, axis=1).astype(np.float32)
    return np.array(times), head(features)


def compile_network(file: Path) -> Callable[[AnyArray], AnyArray]:
    """The network of a file as a function of its only input."""
    if file.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda x: np.asarray(session.run(None, {name: x})[0])
    import openvino

    # With its cache of kernels, OpenVINO 2026.4 computes wrong scores if a video of one snippet is
    # followed by longer ones.
    config = {"INFERENCE_PRECISION_HINT": "f32", "CPU_RUNTIME_CACHE_CAPACITY": "0"}
    compiled = openvino.Core().compile_model(file, "CPU", config)
    return lambda x: np.array(compiled(x)[0])


def read_snippets(
    path: str | Path, settings: dict[str, Any]
) -> Iterator[tuple[float, float, AnyArray]]:
    """Yield (start, end, crops (C, frames, height, width, 3) uint8 RGB) of each snippet."""
    length, stride = settings["snippet_frames"], settings["stride"]
    scales = scalers(settings)
    window: deque[tuple[AnyArray, ...]] = deque(maxlen=length)
    starts: list[float] = []
    ends: dict[int, float] = {}  # Of each snippet, where it is known.
    # The crops of snippets whose end is not known yet; ``first`` is the number of the first one.
    ready: deque[AnyArray] = deque()
    n_ticks, n_snippets, first, end_s = 0, 0, 0, 0.0
    cover = max(length, stride)
    for time_s, picture in ticks(path, settings["rate"]):
        if picture is None:
            end_s = time_s
            break
        if n_ticks % stride == 0:
            starts.append(time_s)
        if n_ticks >= cover and (n_ticks - cover) % stride == 0:
            ends[(n_ticks - cover) // stride] = time_s
        if n_ticks % stride < length:
            window.append(tuple(scale(picture) for scale in scales))
        n_ticks += 1
        if n_ticks == n_snippets * stride + length:
            ready.append(cut_snippet(list(window), settings))
            n_snippets += 1
        while ready and first in ends:
            yield starts[first], ends.pop(first), ready.popleft()
            first += 1
    total = 1 + -(-max(0, n_ticks - cover) // stride)
    if n_ticks and n_snippets < total:  # The video ends in this one: repeat its last frame.
        tail = list(window)[n_snippets * stride - n_ticks :]
        ready.append(cut_snippet(tail + tail[-1:] * (length - len(tail)), settings))
    for number, crops in enumerate(ready, first):
        yield starts[number], end_s, crops


def ticks(path: str | Path, rate: float | None) -> Iterator[tuple[float, av.VideoFrame | None]]:
    """Yield (time, frame) ``rate`` times a second, or for every frame; then (end, None)."""
    shown: av.VideoFrame | None = None
    shown_s, number = 0.0, 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        frame_s = 1 / float(stream.average_rate or 25)
        start: int | None = None
        for picture in container.decode(stream):
            if picture.pts is None or picture.time_base is None:
                continue
            start = picture.pts if start is None else start
            time_s = float((picture.pts - start) * picture.time_base)
            if rate is None:
                yield time_s, picture
            while rate and shown is not None and number / rate + TOLERANCE_S < time_s:
                yield number / rate, shown
                number += 1
            shown, shown_s = picture, time_s
    while rate and shown is not None and number / rate <= shown_s + TOLERANCE_S:
        yield number / rate, shown
        number += 1
    yield shown_s + frame_s, None


def cut_where_it_moves(crop: str) -> bool:
    """Whether a crop is a square that is cut where something moves."""
    return crop.startswith(("motion", "square_"))


def scalers(settings: dict[str, Any]) -> list[Scale]:
    """How a frame is scaled: to one size for crops, with its own aspect ratio for squares."""
    found = []
    if not all(map(cut_where_it_moves, settings["crops"])):
        found.append(scaler(settings, tuple(settings["resize"])))
    if any(map(cut_where_it_moves, settings["crops"])):
        found.append(scaler(settings, None))
    return found


def scaler(settings: dict[str, Any], wanted: tuple[int, int] | None) -> Scale:
    """A function that gives a decoded frame as (height, width, 3) uint8 RGB."""
    resize, convert = VideoReformatter(), VideoReformatter()
    quality, most = settings["jpeg_quality"], max_motion_pixels(max(settings["crop_size"]))
    sizes = [] if wanted is None else [wanted]

    def to_rgb(picture: av.VideoFrame, width: int, height: int) -> AnyArray:
        how = Interpolation.BICUBIC
        return convert.reformat(picture, width, height, "rgb24", interpolation=how).to_ndarray()

    def scale(picture: av.VideoFrame) -> AnyArray:
        turns = round(picture.rotation / 90) % 4
        width, height = picture.width, picture.height
        upright = (height, width) if turns % 2 else (width, height)
        if not sizes:
            share = min(1.0, MAX_SIDE / max(upright), (most / (width * height)) ** 0.5)
            sizes.append((max(1, round(upright[0] * share)), max(1, round(upright[1] * share))))
        size = sizes[0]
        exact = settings["filter"] == "lanczos" or quality
        if size != upright and not exact:
            width, height = size[::-1] if turns % 2 else size
            if picture.format.name in ("yuv420p", "yuvj420p"):
                how = Interpolation.BICUBIC
                picture = resize.reformat(picture, width, height, interpolation=how)
        image = np.ascontiguousarray(np.rot90(to_rgb(picture, width, height), turns))
        if quality:
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            image = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB))
        if size == image.shape[1::-1]:
            return image
        if settings["filter"] == "lanczos":
            from PIL import Image

            return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
        how = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT
        how |= Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        return resize.reformat(frame, *size, interpolation=how).to_ndarray()

    return scale


def cut_snippet(frames: list[tuple[AnyArray, ...]], settings: dict[str, Any]) -> AnyArray:
    """(C, frames, height, width, 3) the crops of a snippet."""
    width, height = settings["crop_size"]
    names = settings["crops"]
    if names[0].startswith("region"):  # The backbone divides the whole picture.
        names = ["full"]
    squares: list[AnyArray] = []
    if any(map(cut_where_it_moves, names)):
        own = [images[-1] for images in frames]
        small = names[0].startswith("square_")
        boxes = find_squares(own, len(names)) if small else [find_motion(own)]
        squares = [cut_box(own, box, (width, height)) for box in boxes]
    crops = []
    for index, name in enumerate(names):
        if cut_where_it_moves(name):
            crop = squares[index if len(squares) > 1 else 0]
        else:
            crop = np.stack([images[0] for images in frames])
        if name.endswith("_mirrored"):
            crop, name = crop[:, :, ::-1], name.removesuffix("_mirrored")
        if name.startswith("tile"):
            row, column, size = name.removeprefix("tile_").replace("_of", "").split("_")
            rows, columns = size.split("x")
            place = int(column) / max(1, int(columns) - 1), int(row) / max(1, int(rows) - 1)
        else:
            place = POSITIONS.get(name, (0.0, 0.0))
        left = int((crop.shape[2] - width) * place[0])
        top = int((crop.shape[1] - height) * place[1])
        crops.append(crop[:, top : top + height, left : left + width])
    return np.stack(crops)


if __name__ == "__main__":
    for (start, end), score in zip(*score_file(sys.argv[1]), strict=True):
        print(f"{start:.2f} to {end:.2f} s: {score:.4f}")
