"""Measures how fast videos are decoded to resized RGB arrays, compared with PyAV and OpenCV.

    python benchmarks/decode.py [--clips FOLDER] [--minutes 2] [--rounds 5]

Joins real clips into one 320x240 H.264 file at 25 fps and reads it with

* PyAV, decoding only: ``for frame in container.decode(video=0): pass``
* PyAV to RGB at the native size: ``frame.to_ndarray(format="rgb24")``
* oddframe to RGB at 224x224 and at 340x256, and to cropped snippets, in a child process, as all
  commands decode, and in this process
* OpenCV: ``cv2.VideoCapture`` and ``cv2.resize`` to 224x224

all with one decoding thread, which oddframe uses for pictures of this size. Prints the median over
rounds; each round measures all of them, so that other load on the machine affects all equally.
"CPU us" is the time of this process for each frame, without that of a child process.
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

from oddframe.video.decoding.isolated import open_in_process, open_source
from oddframe.video.discover import find_videos
from oddframe.video.frame import FrameSource
from oddframe.video.snippets.preprocessing import Preprocessing
from oddframe.video.snippets.reader import MultiSnippetReader

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT, FPS = 320, 240, 25


def main() -> None:
    """Create the video, time all readers in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", default=str(ROOT / "tests" / "data"), help="folder of videos")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the joined video")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "joined.mp4"
        frames = join(options.clips, path, round(options.minutes * 60 * FPS))
        rates: dict[str, list[float]] = {name: [] for name in READERS}
        cpu_us: dict[str, list[float]] = {name: [] for name in READERS}
        for _ in range(options.rounds):
            for name, read in READERS.items():
                start, cpu_start = time.perf_counter(), time.process_time()
                count = read(path)
                rates[name].append(count / (time.perf_counter() - start))
                cpu_us[name].append((time.process_time() - cpu_start) / count * 1e6)
                assert count == frames, f"{name}: {count} of {frames} frames"
    report(rates, cpu_us, frames)


def join(clips: str, path: Path, count: int) -> int:
    """Write ``count`` frames of the clips, which are repeated, as one H.264 video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "medium", "crf": "23"}
        for number, frame in zip(range(count), pictures(clips), strict=False):
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return count


def pictures(clips: str) -> Iterator[av.VideoFrame]:
    """Yield the frames of all clips at the video's size, again and again."""
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


def pyav(path: Path, convert: Callable[[av.VideoFrame], object]) -> int:
    """Read with a plain PyAV loop and one decoding thread."""
    count = 0
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            convert(frame)
            count += 1
    return count


def frames_of(source: FrameSource, size: tuple[int, int]) -> int:
    """Read all frames, resized."""
    count = 0
    for frame in source.frames(size):
        count += frame.image.shape[2] == 3
    return count


def snippets_of(source: FrameSource) -> int:
    """Read all frames with ``MultiSnippetReader``, cropped to 224x224, decoded in a thread."""
    reader = MultiSnippetReader(source, [Preprocessing(filter="bicubic")])
    for _ in reader:
        pass
    return reader.timebases[0].n_frames


def opencv(path: Path) -> int:
    """Read with OpenCV, resized to 224x224."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    count = 0
    while (read := capture.read())[0]:
        cv2.cvtColor(cv2.resize(read[1], (224, 224)), cv2.COLOR_BGR2RGB)
        count += 1
    return count


REFERENCE = "PyAV, RGB at 320x240"
READERS: dict[str, Callable[[Path], int]] = {
    "PyAV, decoding only": lambda path: pyav(path, lambda _: None),
    REFERENCE: lambda path: pyav(path, lambda frame: frame.to_ndarray(format="rgb24")),
    "oddframe, RGB at 224x224": lambda path: frames_of(open_source(path), (224, 224)),
    "oddframe, RGB at 224x224, in this process": lambda path: frames_of(
        open_in_process(path), (224, 224)
    ),
    "oddframe, RGB at 340x256": lambda path: frames_of(open_source(path), (340, 256)),
    "oddframe, snippets 340x256, centre 224x224": lambda path: snippets_of(open_source(path)),
    "oddframe, the same in this process": lambda path: snippets_of(open_in_process(path)),
    "OpenCV, RGB at 224x224": opencv,
}


def report(rates: dict[str, list[float]], cpu_us: dict[str, list[float]], frames: int) -> None:
    """Print medians: frames a second, their ratio to PyAV's, processor time for each frame."""
    print(f"{frames} frames, {WIDTH}x{HEIGHT}, {FPS} fps, PyAV {av.__version__}")
    print(f"{'':44}{'frames/s':>9}{'lowest':>8}{'highest':>8}{'of PyAV':>9}{'CPU us':>8}")
    reference = statistics.median(rates[REFERENCE])
    for name, values in rates.items():
        median, cpu = statistics.median(values), statistics.median(cpu_us[name])
        spread = f"{min(values):8.0f}{max(values):8.0f}"
        print(f"{name:44}{median:9.0f}{spread}{median / reference:9.0%}{cpu:8.0f}")


if __name__ == "__main__":
    main()
