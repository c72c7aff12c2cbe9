"""The whole chain for one video: frames -> features -> scores -> events."""

from __future__ import annotations

from dataclasses import dataclass

from oddframe.events import EventRule
from oddframe.timeline import Event, ScoreTrack


@dataclass(frozen=True)
class ModelInfo:
    """What a reader of a result wants to know of the model behind it.

    Attributes:
        name: ``fight``, or the file's stem.
        sha256: Of the model file.
        method: ``ur_dmu``.
        knows: What it was trained to find, in words: ``fights``.
        backbone: Backbone and input, ``i3d 224x224``.
        profile: ``best`` or ``fast``.
        engine: Engine and precision that made the features, ``openvino float32``.
        version: Version of oddframe that wrote the model.
    """

    name: str
    sha256: str
    method: str
    knows: str
    backbone: str
    profile: str
    engine: str
    version: str


@dataclass(frozen=True)
class VideoResult:
    """One scored video.

    Attributes:
        video: Path as it was given.
        track: Snippet scores and their timebase.
        events: What was found, in order of time.
        rule: How scores became events; ``rule.threshold`` is the threshold.
        model: What found it.
        damaged_packets: Packets that could not be decoded and were skipped.
        truth: Half-open intervals (start, end) in seconds of what really happened, if known.
    """

    video: str
    track: ScoreTrack
    events: tuple[Event, ...]
    rule: EventRule
    model: ModelInfo
    damaged_packets: int = 0
    truth: tuple[tuple[float, float], ...] | None = None
