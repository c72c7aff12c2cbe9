"""Extracting many videos: what is made, what was there, what failed, how long it still takes."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from oddframe.backbones.engines import choose
from oddframe.cli.console import follow, note, printable, progress_bar, say
from oddframe.errors import InputError
from oddframe.features.making import Made, Maker, Video, Wanted
from oddframe.features.manifest import NAME, Entry, append_entries, read_entries
from oddframe.features.watched import Broken, Watched
from oddframe.files import make_folder
from oddframe.outputs.clock import length
from oddframe.outputs.names import stems
from oddframe.video.discover import find_inputs


@dataclass(frozen=True)
class Limits:
    """What a run may take.

    Attributes:
        jobs: Videos at the same time.
        memory_bytes: That reading one may take, beside the networks.
        silence_s: Seconds without a frame until a video is given up.
    """

    jobs: int
    memory_bytes: int
    silence_s: float


def run(
    paths: Sequence[str],
    wanted: Wanted,
    limits: Limits,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Extract everything, say what was made, return the exit code.

    Raises:
        UsageError: a backbone, engine or device cannot be had; nothing was extracted then.
        OddframeError: the store or the folder cannot be written.
    """
    precision = choose(wanted.engine, wanted.device, wanted.precision).precision
    specs = [part.spec(precision) for part in wanted.parts]
    make_folder(wanted.store)
    known = _last(read_entries(wanted.store))
    videos = _videos(find_inputs(paths), wanted.out)
    note(
        f"{len(videos)} videos, {', '.join(f'{s.backbone} ({s.hash()})' for s in specs)}, "
        f"into {printable(str(wanted.store))}",
        quiet=quiet,
    )
    tally = _Tally(sum(_size(video.path) for video in videos))
    answers: dict[int, Made] = {}
    for number, made in _make_all(videos, wanted, limits, tally, quiet=quiet):
        answers[number] = made
        new = [entry for entry in made.entries if made.new or _key(entry) not in known[entry.video]]
        append_entries(wanted.store, new)
        if wanted.out is not None:
            append_entries(wanted.out, made.named)
        tally.add(_size(videos[number].path), made)
        if made.exit_code:
            note(_line(made, tally))
        elif made.new:
            note(_line(made, tally), quiet=quiet or as_json)
    if as_json:
        entries = [asdict(e) for number in sorted(answers) for e in answers[number].entries]
        say(json.dumps({"schema": 1, "store": str(wanted.store), "videos": entries}, indent=2))
    else:
        say(_summary(list(answers.values()), wanted, tally))
    return max((made.exit_code for made in answers.values()), default=0)


@dataclass
class _Tally:
    """What is done so far, in bytes of video: that is known of all videos before any is opened."""

    total: int
    done: int = 0
    worked: int = 0  # Bytes of those that were not kept from before.
    frames: int = 0
    began: float = field(default_factory=time.monotonic)

    def add(self, size: int, made: Made) -> None:
        self.done += size
        if made.new or made.exit_code:
            self.worked += size
            self.frames += made.entries[0].frames

    @property
    def seconds(self) -> float:
        return max(1e-3, time.monotonic() - self.began)

    def left(self) -> str:
        """Time that is left, in words; empty at the end."""
        if self.done >= self.total or not self.worked:
            return ""
        return f", {length(self.seconds * (self.total - self.done) / self.worked)} left"


def _make_all(
    videos: Sequence[Video],
    wanted: Wanted,
    limits: Limits,
    tally: _Tally,
    *,
    quiet: bool,
) -> Iterator[tuple[int, Made]]:
    processes = max(1, min(limits.jobs, len(videos)))
    watched: Watched[Video, Made] = Watched(
        partial(Maker, wanted, limits.memory_bytes), processes, limits.silence_s
    )
    sizes = [_size(video.path) for video in videos]
    with _share_of_cores(processes), progress_bar(quiet=quiet) as bar:
        update = follow(bar, f"{len(videos)} videos")
        for answer in watched.run(videos):
            _show(watched, sizes, tally, update)
            task = bar.tasks[-1]
            frames = tally.frames + sum(done for done, _ in watched.done.values())
            bar.update(task.id, note=f"{frames / tally.seconds:.0f} frames/s")
            if answer is None:
                continue
            number, made = answer
            if isinstance(made, Broken):
                entry = Entry(video=str(videos[number].path), reason=made.reason)
                made = Made((entry,), exit_code=InputError.exit_code)
            yield number, made


def _show(
    watched: Watched[Video, Made],
    sizes: Sequence[int],
    tally: _Tally,
    update: Callable[[int, int | None], None],
) -> None:
    at_work = sum(
        sizes[number] * min(1.0, done / expected)
        for number, (done, expected) in watched.done.items()
        if expected
    )
    update(tally.done + round(at_work), max(1, tally.total))


@contextmanager
def _share_of_cores(processes: int) -> Iterator[None]:
    # Each process gets its share; it reads this when it loads its networks.
    before = os.environ.get("OMP_NUM_THREADS")
    if processes > 1:
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    try:
        yield
    finally:
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
        else:
            os.environ.pop("OMP_NUM_THREADS", None)


def _videos(paths: Sequence[Path], out: Path | None) -> list[Video]:
    written: dict[str, set[tuple[str, str]]] = {}
    for entry in read_entries(out) if out is not None else ():
        if entry.file:
            # What was written last under a name is what lies there.
            others = {e for e in written.get(entry.file, set()) if e[1] != entry.spec}
            written[entry.file] = {*others, (entry.sha256, entry.spec)}
    names = stems(paths)
    done: dict[str, set[tuple[str, str]]] = {name: set() for name in names}
    for file, marks in written.items():
        stem = Path(file).stem
        while stem not in done and "__" in stem:
            stem = stem.rpartition("__")[0]
        if stem in done:
            done[stem] |= marks
    return [
        Video(path, name, frozenset(done[name])) for path, name in zip(paths, names, strict=True)
    ]


def _last(entries: Iterable[Entry]) -> defaultdict[str, set[tuple[str, str, str]]]:
    """What holds of each video: what was made, or, if that came later, why it failed."""
    found: defaultdict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for entry in entries:
        others = () if entry.reason else (key for key in found[entry.video] if not key[2])
        found[entry.video] = {*others, _key(entry)}
    return found


def _key(entry: Entry) -> tuple[str, str, str]:
    return entry.sha256, entry.spec, entry.reason


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(child.stat().st_size for child in path.iterdir())
        return path.stat().st_size
    except OSError:  # Opening it says why.
        return 0


def _line(made: Made, tally: _Tally) -> str:
    first = made.entries[0]
    name = printable(first.video)
    if first.reason:
        return f"FAILED {name}: {printable(first.reason)}"
    rate = first.frames / max(first.seconds, 1e-3)
    notes = [f"{first.damaged_packets} damaged packets skipped"] if first.damaged_packets else []
    notes += [text for entry in made.entries for text in entry.notes]
    ending = f"  [{'; '.join(dict.fromkeys(notes))}]" if notes else ""
    return (
        f"{name}: {first.snippets} snippets of {first.frames} frames, "
        f"{rate:.0f} frames/s{tally.left()}{ending}"
    )


def _summary(answers: Sequence[Made], wanted: Wanted, tally: _Tally) -> str:
    new = sum(1 for made in answers if made.new)
    failed = sum(1 for made in answers if made.exit_code)
    kept = len(answers) - new - failed
    text = f"{new} extracted, {kept} were there, {failed} failed"
    if tally.frames:
        text += (
            f"; {tally.frames} frames in {length(tally.seconds)}, "
            f"{tally.frames / tally.seconds:.0f} frames/s"
        )
    return f"{text}; {printable(str(wanted.store / NAME))} says what became of each"
