"""``oddframe watch``: find abnormal events in what cameras show now."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import message_printer, print_answer
from oddframe.errors import InputError, UsageError

if TYPE_CHECKING:
    from oddframe.watch.delivery import Sink
    from oddframe.watch.watcher import Watcher, WatchSummary

DEFAULT_WATCH_FOLDER = Path("oddframe-watch")
_EXIT_TERMINATED = 128 + signal.SIGTERM
_CLOSE_S = 5.0  # For the last messages to be delivered.
_OFTEN_S = 5.0  # The file of cameras is looked at so often.
_ALIVE = "alive"  # Touched so often, in the folder of the journal, for health checks.


def watch_command(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="rtsp://, rtsps://, http:// and https:// addresses (also HLS), /dev/video0, "
            "folders that a recorder writes videos to; with --as-live, files.",
            show_default=False,
        ),
    ] = None,
    cameras: Annotated[
        Path | None,
        opt.optional(help="A YAML file with a source and settings for each camera, instead."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(help="Folder of events.jsonl, clips and pictures. It outlives a crash."),
    ] = DEFAULT_WATCH_FOLDER,
    as_live: Annotated[
        bool, typer.Option("--as-live", help="Play files as if they came from a camera.")
    ] = False,
    model: opt.ModelOption = "fight",
    profile: opt.ProfileOption = opt.ProfileChoice.best,
    threshold: opt.ThresholdOption = None,
    release: opt.ReleaseOption = None,
    smooth: opt.SmoothOption = None,
    min_length: opt.MinLengthOption = None,
    gap: opt.GapOption = None,
    mask: Annotated[
        Path | None,
        opt.feature_option(help="A picture that is black where the detector must not look."),
    ] = None,
    webhook: Annotated[
        list[str] | None,
        opt.optional(metavar="URL", help="Post each message here.", rich_help_panel="Messages"),
    ] = None,
    webhook_secret: Annotated[
        str,
        opt.optional(
            metavar="FILE|env:NAME",
            help="Sign webhooks with this secret.",
            rich_help_panel="Messages",
        ),
    ] = "",
    mqtt: Annotated[
        str,
        opt.optional(
            metavar="mqtt://HOST", help="Publish each message here.", rich_help_panel="Messages"
        ),
    ] = "",
    mqtt_user: Annotated[
        str, opt.optional(help="Name to log in with.", rich_help_panel="Messages")
    ] = "",
    mqtt_password: Annotated[
        str,
        opt.optional(
            metavar="FILE|env:NAME", help="Password to log in with.", rich_help_panel="Messages"
        ),
    ] = "",
    mqtt_prefix: Annotated[
        str,
        typer.Option(help="How topics begin.", rich_help_panel="Messages"),
    ] = "oddframe",
    clips: Annotated[
        bool,
        typer.Option(
            "--clips/--no-clips",
            help="Keep a clip and a picture of each event.",
            rich_help_panel="Messages",
        ),
    ] = True,
    keep_days: Annotated[
        float | None,
        opt.optional(
            min=0.01,
            max=36500,
            help="Remove clips and pictures that are older.",
            rich_help_panel="Messages",
        ),
    ] = None,
    keep_gb: Annotated[
        float | None,
        opt.optional(
            min=0.001,
            max=1e6,
            help="Remove the oldest clips and pictures beyond this size.",
            rich_help_panel="Messages",
        ),
    ] = None,
    device: opt.DeviceOption = opt.Device.auto,
    engine: opt.EngineOption = opt.Engine.auto,
    precision: opt.PrecisionOption = opt.Precision.auto,
    memory: opt.MemoryOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print messages as JSON, one a line.")
    ] = False,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Find abnormal events in what cameras show now.

    Tells of each event when it starts and when it is over, until Ctrl-C. Cameras that fail are
    connected again. Passwords in addresses are not shown.
    """
    from oddframe.watch.sources import hide_in_process_title

    hide_in_process_title(sys.argv)
    if bool(sources) == (cameras is not None):
        raise UsageError("name sources to watch, or --cameras FILE with them")

    from oddframe.events import RuleChanges
    from oddframe.video.decoding.isolated import decoding_limits
    from oddframe.watch.cameras_file import CamerasSection, read_cameras
    from oddframe.watch.delivery import Delivery
    from oddframe.watch.event_files import EventFiles
    from oddframe.watch.setup import WatchDefaults, name_sources, open_cameras
    from oddframe.watch.watcher import Watcher

    if cameras is not None:
        sections = read_cameras(cameras)
    else:
        sections = CamerasSection(cameras=name_sources(sources or [], as_live))
    defaults = WatchDefaults(
        model=model,
        profile=profile.value,
        threshold=threshold,
        changes=RuleChanges(release, smooth, min_length, gap),
        mask=mask,
        device=device.value,
        engine=engine.value,
        precision=precision.value,
    )
    say = message_printer(quiet=quiet)
    sinks = _sinks(out, as_json, webhook or [], webhook_secret)
    if mqtt:
        sinks.append(_mqtt(mqtt, mqtt_user, mqtt_password, mqtt_prefix, list(sections.cameras)))
    opened = open_cameras(sections, defaults, as_live=as_live)
    names = ", ".join(f"{each.name} ({each.source.shown})" for each in opened)
    max_bytes = None if keep_gb is None else round(keep_gb * 1e9)
    delivery = Delivery(out / "journal", sinks, say=say)
    try:
        watcher = Watcher(
            opened,
            delivery,
            files=EventFiles(out, keep_days, max_bytes) if clips else None,
            memory_bytes=decoding_limits().memory_bytes,
            say=say,
            on_tick=_every_few_seconds(out, cameras, say),
        )
        say(f"watching {names}; Ctrl-C ends it")
        with _terminable():
            summary = watcher.run()
    finally:
        delivery.close(_CLOSE_S)
    _print_summary(summary, say)
    if summary.failures:
        raise InputError("; ".join(f"{name}: {why}" for name, why in summary.failures.items()))


def _sinks(out: Path, as_json: bool, webhooks: list[str], secret: str) -> list[Sink]:
    from oddframe.watch.credentials import read_secret
    from oddframe.watch.jsonl import JsonlSink
    from oddframe.watch.terminal import JsonOnTerminal, TerminalSink
    from oddframe.watch.webhook import WebhookSink

    key = read_secret(secret).encode() if secret else None
    show = JsonOnTerminal if as_json else TerminalSink
    sinks: list[Sink] = [JsonlSink(out / "events.jsonl"), show(_print_message)]
    sinks += [WebhookSink(url, key) for url in webhooks]
    return sinks


def _mqtt(url: str, user: str, password: str, prefix: str, cameras: list[str]) -> Sink:
    from oddframe.watch.credentials import read_secret
    from oddframe.watch.mqtt import Broker, MqttSink

    secret = read_secret(password) if password else None
    return MqttSink(Broker(url, user or None, secret), cameras, prefix=prefix)


def _print_message(text: str) -> None:
    """Print a line of a message; called in the thread that delivers."""
    from oddframe.watch.delivery import ReceiverGoneError

    try:
        print_answer(text)
    except SystemExit:  # The reader has closed it, as ``head`` does.
        raise ReceiverGoneError("standard output is closed") from None


def _every_few_seconds(
    out: Path, path: Path | None, say: Callable[[str], None]
) -> Callable[[Watcher], None]:
    """Shows that ``watch`` is alive, and reads schedules, cool-downs and snoozes again when the
    file of cameras has changed.
    """
    import time

    from oddframe.errors import OddframeError
    from oddframe.watch.cameras_file import announce_rule, read_cameras, time_zone

    def modified() -> int:
        try:
            return 0 if path is None else path.stat().st_mtime_ns
        except OSError:
            return 0

    known, looked_at = modified(), 0.0

    def run(watcher: Watcher) -> None:
        nonlocal known, looked_at
        if time.monotonic() - looked_at < _OFTEN_S:
            return
        looked_at = time.monotonic()
        with suppress(OSError):
            (out / "journal" / _ALIVE).touch()
        if path is None or (now := modified()) in (known, 0):
            return
        known = now
        try:
            sections = read_cameras(path)
        except OddframeError as error:
            say(f"{error}; the settings before are kept")
            return
        zone = time_zone(sections)
        rules = {name: announce_rule(each, zone) for name, each in sections.cameras.items()}
        watcher.set_rules(rules)
        say(f"{path}: schedules, cool-downs and snoozes are read again; the rest at the next start")

    return run


@contextmanager
def _terminable() -> Iterator[None]:
    """Treat SIGTERM, which services and containers are stopped by, as Ctrl-C."""

    def terminate(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except _TerminatedError:
        raise typer.Exit(_EXIT_TERMINATED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


class _TerminatedError(BaseException):
    pass


def _print_summary(summary: WatchSummary, say: Callable[[str], None]) -> None:
    count = f"{summary.n_events} event{'' if summary.n_events == 1 else 's'}"
    sparse = [f"{name} {share:.0%}" for name, share in summary.coverage.items() if share < 0.995]
    looked = f"; looked at: {', '.join(sparse)}" if sparse else ""
    say(f"all sources are over: {count}{looked}")
