"""Record a session of ``oddframe watch`` on the demo's clips, served by RTSP, as a GIF.

    python tools/record_watch.py docs/images/watch.gif

Needs GStreamer's RTSP server and FFmpeg (``make servers``). The lines are those that the program
prints, at the times at which it does.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import IO

import matplotlib
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from oddframe.cli.demo import DEMO_DATA
from tests.watch.servers import RtspServer

CLIPS = ("nofi057", "nofi058", "nofi059", "fi026", "nofi060", "nofi077")
LINE, MARGIN, COLUMNS, ROWS = 20, 14, 112, 12
SHOWN_S = 21.0
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf"


def join_clips(path: Path) -> None:
    """One video of several clips of the demo, all of one size."""
    words = ["ffmpeg", "-v", "error", "-y"]
    for name in CLIPS:
        words += ["-i", str(DEMO_DATA / f"{name}.mp4")]
    scaled = "".join(f"[{i}:v]scale=480:360,fps=25,setsar=1[v{i}];" for i in range(len(CLIPS)))
    inputs = "".join(f"[v{i}]" for i in range(len(CLIPS)))
    chain = f"{scaled}{inputs}concat=n={len(CLIPS)}[out]"
    how = ["-c:v", "libx264", "-bf", "0", "-g", "25"]
    subprocess.run([*words, "-filter_complex", chain, "-map", "[out]", *how, str(path)], check=True)


def record(address: str, out: Path) -> list[tuple[float, str]]:
    """The lines that ``watch`` prints, each with its time in seconds from the first."""
    cameras = out.with_name("cameras.yaml")
    cameras.write_text(f"cameras:\n  yard:\n    source: {address}\n")
    words = [
        sys.executable,
        "-m",
        "oddframe",
        "watch",
        "--cameras",
        str(cameras),
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": str(COLUMNS)},
    )
    lines: queue.Queue[tuple[float, str]] = queue.Queue()

    def read(stream: IO[str]) -> None:
        for line in stream:
            lines.put((time.monotonic(), line.rstrip()))

    assert process.stdout is not None
    assert process.stderr is not None
    threads = [threading.Thread(target=read, args=(s,)) for s in (process.stdout, process.stderr)]
    for thread in threads:
        thread.start()
    time.sleep(SHOWN_S)
    process.send_signal(signal.SIGINT)
    process.wait(30)
    for thread in threads:
        thread.join()
    found = sorted(lines.queue)
    return [(at - found[0][0], line) for at, line in found]


def draw(lines: list[str]) -> Image.Image:
    """The screen of a terminal with these lines."""
    font = ImageFont.truetype(str(FONT), 14)
    width = round(COLUMNS * font.getlength("m")) + 2 * MARGIN
    picture = Image.new("P", (width, ROWS * LINE + 2 * MARGIN), 0)
    picture.putpalette([30, 32, 38, 225, 225, 220, 240, 120, 100])
    pen = ImageDraw.Draw(picture)
    wrapped = [
        line[i : i + COLUMNS] for line in lines for i in range(0, max(1, len(line)), COLUMNS)
    ]
    for row, line in enumerate(wrapped[-ROWS:]):
        colour = 2 if "event" in line else 1
        pen.text((MARGIN, MARGIN + row * LINE), line, fill=colour, font=font)
    return picture


def main() -> None:
    """Serve, record, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("gif", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        join_clips(folder / "clips.mp4")
        server = RtspServer(folder / "clips.mp4")
        server.start()
        try:
            found = record(server.address, folder / "out")
        finally:
            server.kill()
    lines = ["$ oddframe watch --cameras cameras.yaml --out events"]
    pictures, times = [draw(lines)], [0.0]
    for at, line in found:
        lines.append(re.sub(r":\d{4,5}/cam", "/cam", line))
        pictures.append(draw(lines))
        times.append(at)
    lasts = [max(40, round(1000 * (b - a))) for a, b in pairwise(times)]
    pictures[0].save(
        given.gif, save_all=True, append_images=pictures[1:], duration=[*lasts, 4000], loop=0
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
