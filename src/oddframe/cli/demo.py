"""``oddframe demo``: find the fights in a real surveillance video, and draw them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import print_answer, print_note, progress_bar

if TYPE_CHECKING:
    from oddframe.detector import VideoResult
    from oddframe.timeline import Event

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
    from oddframe.outputs.registry import format_names
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
    for text in format_events_table(result):
        print_answer(text)
    print_answer()
    print_answer(
        f"Look at {out / 'report.html'} in a browser; beside it: "
        f"{', '.join(f.name for f in files if f.name != 'report.html')}"
    )


def format_events_table(result: VideoResult) -> list[str]:
    """Lines of a table of the events found beside the true ones, in order of time."""
    from oddframe.events import match_events
    from oddframe.outputs.text import format_clock, format_duration

    truth = result.truth or ()
    match = match_events(result.events, truth)
    base = result.track.timebase
    lines = [
        f"{result.video}: {format_duration(base.duration_s)}, {base.n_frames} frames, "
        f"model {result.model.name} (trained on {result.model.detects}), "
        f"threshold {result.rule.threshold:.2f}",
        "",
        "found                 peak     score   true",
    ]
    rows = []
    for event in result.events:
        true = [_span(*span) for span in truth if _overlap(event, span)]
        cells = (
            f"{_span(event.start_s, event.end_s):<20}",
            f"{format_clock(event.peak_s, 1):<7}",
            f"{event.score:<6.2f}",
            ", ".join(true) or "false alarm",
        )
        rows.append((event.start_s, "  ".join(cells)))
    rows += [
        (span[0], f"{'missed':<39}{_span(*span)}")
        for span in truth
        if not any(_overlap(event, span) for event in result.events)
    ]
    lines += [text for _, text in sorted(rows)]
    alarms = "1 false alarm" if match.false == 1 else f"{match.false} false alarms"
    lines += ["", f"{match.found} of {len(truth)} found, {alarms}"]
    return lines


def _span(start_s: float, end_s: float) -> str:
    from oddframe.outputs.text import format_clock

    return f"{format_clock(start_s, 1)} - {format_clock(end_s, 1)}"


def _overlap(event: Event, span: tuple[float, float]) -> bool:
    return event.start_s < span[1] and span[0] < event.end_s
