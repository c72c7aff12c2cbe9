"""How fast a video becomes resized RGB arrays, beside bare PyAV and OpenCV.

    python benchmarks/decode.py [--clips FOLDER] [--minutes 2] [--rounds 5]

Joins real clips into one 320x240 H.264 file at 25 fps, and reads it in turns with

* bare PyAV, decoding only: ``for frame in container.decode(video=0): pass``
* bare PyAV to RGB at the native size: ``frame.to_ndarray(format="rgb24")``
* oddframe to RGB at 224x224 and at 340x256, and to cropped snippets, in a child process, as every
  verb decodes, and in this one
* OpenCV: ``cv2.VideoCapture`` and ``cv2.resize`` to 224x224

all with one decoding thread, as oddframe decodes pictures of this size. Prints medians of the
rounds, which alternate, so that what else the machine does falls on all alike. "CPU us" is this
process's time a frame; a child's is not in it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
from av.video.reformatter import Interpolation, VideoReformatter

from oddframe.video.decoding.isolated import open_in_process
from oddframe.video.discover import find_videos
from oddframe.video.frame import FrameSource
from oddframe.video.snippets.reader import SnippetReader
from oddframe.video.snippets.transforms import Preprocessing
from oddframe.video.source import open_source

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT, FPS = 320, 240, 25


def main() -> None:
    """Make the video, time every way of reading it in turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", default=str(ROOT / "tests" / "data"), help="folder of videos")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the joined video")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "joined.mp4"
        frames = join(options.clips, path, round(options.minutes * 60 * FPS))
        rates: dict[str, list[float]] = {name: [] for name in WAYS}
        work: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(options.rounds):
            for name, way in WAYS.items():
                start, begun = time.perf_counter(), time.process_time()
                seen = way(path)
                rates[name].append(seen / (time.perf_counter() - start))
                work[name].append((time.process_time() - begun) / seen * 1e6)
                assert seen == frames, f"{name}: {seen} of {frames} frames"
    report(rates, work, frames)


def join(clips: str, path: Path, wanted: int) -> int:
    """Write ``wanted`` frames of the clips, over and over, as one H.264 video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "medium", "crf": "23"}
        for number, frame in zip(range(wanted), pictures(clips), strict=False):
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return wanted


def pictures(clips: str) -> Iterator[av.VideoFrame]:
    """Frames of all clips at the video's size, without end."""
    reformatter = VideoReformatter()
    while True:
        for clip in find_videos([clips]):
            with av.open(str(clip)) as container:
                for frame in container.decode(video=0):
                    scaled = reformatter.reformat(
                        frame, WIDTH, HEIGHT, "yuv420p", interpolation=Interpolation.BICUBIC
                    )
                    scaled.pict_type = 0
                    yield scaled


def bare(path: Path, look: Callable[[av.VideoFrame], object]) -> int:
    """PyAV's own loop, with one decoding thread."""
    count = 0
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            look(frame)
            count += 1
    return count


def ours(source: FrameSource, size: tuple[int, int]) -> int:
    """Every frame, resized."""
    count = 0
    for frame in source.frames(size):
        count += frame.image.shape[2] == 3
    return count


def snippets(source: FrameSource) -> int:
    """Every frame through ``SnippetReader``, cropped to 224x224, decoded in its own thread."""
    reader = SnippetReader(source, Preprocessing(filter="bicubic"))
    for _ in reader:
        pass
    return reader.timebase.n_frames


def opencv(path: Path) -> int:
    """OpenCV's loop, resized to 224x224."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    count = 0
    while (read := capture.read())[0]:
        cv2.cvtColor(cv2.resize(read[1], (224, 224)), cv2.COLOR_BGR2RGB)
        count += 1
    return count


BARE = "bare PyAV, RGB at 320x240"
WAYS: dict[str, Callable[[Path], int]] = {
    "bare PyAV, decoding only": lambda path: bare(path, lambda _: None),
    BARE: lambda path: bare(path, lambda frame: frame.to_ndarray(format="rgb24")),
    "oddframe, RGB at 224x224": lambda path: ours(open_source(path), (224, 224)),
    "oddframe, RGB at 224x224, in this process": lambda path: ours(
        open_in_process(path), (224, 224)
    ),
    "oddframe, RGB at 340x256": lambda path: ours(open_source(path), (340, 256)),
    "oddframe, snippets 340x256, centre 224x224": lambda path: snippets(open_source(path)),
    "oddframe, the same in this process": lambda path: snippets(open_in_process(path)),
    "OpenCV, RGB at 224x224": opencv,
}


def report(rates: dict[str, list[float]], work: dict[str, list[float]], frames: int) -> None:
    """Print medians: frames a second, their share of bare PyAV's, processor time a frame."""
    print(f"{frames} frames, {WIDTH}x{HEIGHT}, {FPS} fps, PyAV {av.__version__}")
    print(f"{'':44}{'frames/s':>9}{'lowest':>8}{'highest':>8}{'of bare':>9}{'CPU us':>8}")
    reference = statistics.median(rates[BARE])
    for name, found in rates.items():
        median, spent = statistics.median(found), statistics.median(work[name])
        spread = f"{min(found):8.0f}{max(found):8.0f}"
        print(f"{name:44}{median:9.0f}{spread}{median / reference:9.0%}{spent:8.0f}")


if __name__ == "__main__":
    main()
