"""``oddframe demo``: find the fights in a real surveillance video, and draw them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import print_answer, print_note, progress_bar
from oddframe.outputs.registry import format_names
from oddframe.outputs.text import format_clock, format_count, format_duration

if TYPE_CHECKING:
    from oddframe.detector import VideoResult

DEMO_DATA = Path(__file__).parents[1] / "demo_data"
_SIZE = (480, 360)


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the report, the curve and the videos.")
    ] = Path("demo"),
    device: opt.DeviceOption = opt.Device.auto,
    engine: opt.EngineOption = opt.Engine.auto,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Find the fights in a video of real surveillance clips, and draw what was found.

    The clips are of recordings that the model was not trained on.
    """
    from oddframe.detector import Detector
    from oddframe.outputs.encode import LabelledClip, join_clips
    from oddframe.outputs.write import write

    with (DEMO_DATA / "clips.csv").open(newline="") as file:
        clips = [
            LabelledClip(DEMO_DATA / row["clip"], row["label"] != "normal")
            for row in csv.DictReader(file)
        ]
    detector = Detector.load("fight", device=device.value, engine=engine.value)
    video = out / "video.mp4"
    print_note(f"joining {len(clips)} clips into {video}", quiet=quiet)
    truth = join_clips(clips, video, _SIZE)
    with progress_bar(quiet=quiet) as progress:
        track = detector.score(video, progress=progress)
    result = replace(detector.result(str(video), track), truth=truth)
    print_note("drawing what was found", quiet=quiet)
    files = write(result, format_names(), out, None)
    for text in _events_table(result):
        print_answer(text)
    print_answer()
    others = ", ".join(file.name for file in files if file.name != "report.html")
    print_answer(f"Look at {out / 'report.html'} in a browser; beside it: {others}")


def _events_table(result: VideoResult) -> list[str]:
    """Lines of a table of the events found beside the true ones, in order of time."""
    from oddframe.events import match_events

    def span(start_s: float, end_s: float) -> str:
        return f"{format_clock(start_s, 1)} - {format_clock(end_s, 1)}"

    truth, base = result.truth or (), result.track.timebase
    match = match_events(result.events, truth)
    missed = set(truth)
    rows = []
    for event in result.events:
        true = [(a, b) for a, b in truth if event.start_s < b and a < event.end_s]
        missed.difference_update(true)
        cells = (
            f"{span(event.start_s, event.end_s):<20}",
            f"{format_clock(event.peak_s, 1):<7}",
            f"{event.score:<6.2f}",
            ", ".join(span(*each) for each in true) or "false alarm",
        )
        rows.append((event.start_s, "  ".join(cells)))
    rows += [(start, f"{'missed':<39}{span(start, end)}") for start, end in missed]
    return [
        f"{result.video}: {format_duration(base.duration_s)}, {base.n_frames} frames, "
        f"model {result.model.name} (trained on {result.model.detects}), "
        f"threshold {result.rule.threshold:.2f}",
        "",
        "found                 peak     score   true",
        *(text for _, text in sorted(rows)),
        "",
        f"{match.found} of {len(truth)} found, {format_count(match.false, 'false alarm')}",
    ]
