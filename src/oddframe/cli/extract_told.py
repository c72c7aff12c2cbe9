"""What ``oddframe extract`` says: how far it is, what became of each video, a summary."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from oddframe.cli.console import print_answer, print_note, printable
from oddframe.cli.messages import damaged_packets_note, mended_frames_note
from oddframe.features.extraction.worker import ExtractionResult
from oddframe.features.store.manifest import MANIFEST_NAME, ManifestEntry
from oddframe.outputs.text import format_duration

# Takes lines for a manifest.
Append = Callable[[Iterable[ManifestEntry]], None]


@dataclass
class Tally:
    """What is done so far, in bytes of video: that is known of all videos before any is opened."""

    total: int
    done: int = 0
    worked: int = 0  # Bytes of those that were not kept from before.
    frames: int = 0
    began: float = field(default_factory=time.monotonic)

    def add(self, size: int, made: ExtractionResult) -> None:
        """A video of that size is done."""
        self.done += size
        if made.new or made.exit_code:
            self.worked += size
            self.frames += made.entries[0].frames

    @property
    def seconds(self) -> float:
        """Since it began."""
        return max(1e-3, time.monotonic() - self.began)

    def left(self) -> str:
        """Time that is left, in words; empty at the end."""
        if self.done >= self.total or not self.worked:
            return ""
        return f", {format_duration(self.seconds * (self.total - self.done) / self.worked)} left"


@dataclass(frozen=True)
class Books:
    """Where it is written down what became of the videos.

    Attributes:
        store: The store, as it was given.
        known: What its manifest said before.
        met: What it said was met when features were made, by content and spec.
        append: To its manifest.
        append_named: To that of the folder of files by name.
    """

    store: str
    known: defaultdict[str, set[tuple[str, str, str]]]
    met: Mapping[tuple[str, str], ManifestEntry]
    append: Append
    append_named: Append | None


def settle(
    answers: Iterator[tuple[int, ExtractionResult]],
    sizes: Sequence[int],
    books: Books,
    tally: Tally,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write down and say what became of each video, and return the exit code.

    Raises:
        OddframeError: a manifest cannot be written.
    """
    done: dict[int, ExtractionResult] = {}
    for number, answer in answers:
        made = replace(answer, entries=tuple(_recalled(e, books.met) for e in answer.entries))
        done[number] = made
        books.append(
            [e for e in made.entries if made.new or _key(e) not in books.known[e.video]],
        )
        if books.append_named is not None:
            books.append_named(made.named)
        tally.add(sizes[number], made)
        if made.exit_code:
            print_note(_line(made, tally))
        elif made.new:
            print_note(_line(made, tally), quiet=quiet or as_json)
    if as_json:
        entries = [asdict(e) for number in sorted(done) for e in done[number].entries]
        print_answer(json.dumps({"schema": 1, "store": books.store, "videos": entries}, indent=2))
    else:
        print_answer(_summary(list(done.values()), books.store, tally))
    return max((made.exit_code for made in done.values()), default=0)


Known = defaultdict[str, set[tuple[str, str, str]]]
Met = dict[tuple[str, str], ManifestEntry]


def remembered(entries: Iterable[ManifestEntry]) -> tuple[Known, Met]:
    """What a manifest says, read once: it may have a million lines.

    Returns:
        What holds of each video: what was made, or, if that came later, why it failed; and of each
        content and spec the line that says of damage or notes, if any line does.
    """
    known: Known = defaultdict(set)
    met: Met = {}
    for entry in entries:
        others = () if entry.reason else (key for key in known[entry.video] if not key[2])
        known[entry.video] = {*others, _key(entry)}
        if entry.damaged_packets or entry.mended_frames or entry.notes:
            met[entry.sha256, entry.spec] = entry
    return known, met


def _recalled(
    entry: ManifestEntry, before: Mapping[tuple[str, str], ManifestEntry]
) -> ManifestEntry:
    """What is kept was not looked at again: what was met when it was made still holds."""
    old = before.get((entry.sha256, entry.spec))
    if old is None or entry.reason or entry.damaged_packets or entry.mended_frames or entry.notes:
        return entry
    packets, frames = old.damaged_packets, old.mended_frames
    return replace(entry, damaged_packets=packets, mended_frames=frames, notes=old.notes)


def _key(entry: ManifestEntry) -> tuple[str, str, str]:
    return entry.sha256, entry.spec, entry.reason


def _line(made: ExtractionResult, tally: Tally) -> str:
    first = made.entries[0]
    name = printable(first.video)
    if first.reason:
        return f"FAILED {name}: {printable(first.reason)}"
    # The time is unknown for what a machine made before it died without reporting.
    rate = f", {first.frames / first.seconds:.0f} frames/s" if first.seconds else ""
    notes = (
        [damaged_packets_note(first.damaged_packets, Path(first.video))]
        if first.damaged_packets
        else []
    )
    notes += [mended_frames_note(first.mended_frames)] if first.mended_frames else []
    notes += [text for entry in made.entries for text in entry.notes]
    ending = f"  [{'; '.join(dict.fromkeys(notes))}]" if notes else ""
    return f"{name}: {first.snippets} snippets of {first.frames} frames{rate}{tally.left()}{ending}"


def _summary(answers: Sequence[ExtractionResult], store: str, tally: Tally) -> str:
    new = sum(1 for made in answers if made.new)
    failed = sum(1 for made in answers if made.exit_code)
    kept = len(answers) - new - failed
    text = f"{new} extracted, {kept} were there, {failed} failed"
    if tally.frames:
        text += (
            f"; {tally.frames} frames in {format_duration(tally.seconds)}, "
            f"{tally.frames / tally.seconds:.0f} frames/s"
        )
    return f"{text}; {printable(store.rstrip('/'))}/{MANIFEST_NAME} says what became of each"
