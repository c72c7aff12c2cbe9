"""What the process that reads a camera and its supervisor tell each other.

The supervisor starts it with ``ReaderSettings`` and an ``Origin``, gets ``Item``s and answers each
list of them with ``Orders``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from oddframe.video.frame import Image
from oddframe.video.mask import Mask
from oddframe.video.snippets.cutter import CutSnippet
from oddframe.video.snippets.preprocessing import Preprocessing
from oddframe.watch.packet_ring import StoredClip


@dataclass(frozen=True)
class ReaderSettings:
    """How a camera is read.

    Attributes:
        preprocessing: How snippets are cut.
        mask: Parts of the picture to ignore.
        silence_s: After so long without a picture the connection is given up.
        frozen_s: A picture that has not changed for so long is frozen.
        ring_s: Seconds of packets that are kept for clips; 0: none.
        ring_bytes: Their size at most.
    """

    preprocessing: Preprocessing
    mask: Mask | None = None
    silence_s: float = 10.0
    frozen_s: float = 60.0
    ring_s: float = 0.0
    ring_bytes: int = 32 * 2**20


@dataclass(frozen=True)
class Origin:
    """Where the time of a camera begins; it stays the same when it is connected again.

    Attributes:
        zero_s: ``time.monotonic`` at second 0, the same in all processes; for a folder
            ``time.time``. None: the first picture is second 0.
        after_s: Every time is later than this.
        written_after_s: Of a folder: only files that were written later are read (``time.time``).
    """

    zero_s: float | None = None
    after_s: float = -math.inf
    written_after_s: float = 0.0


@dataclass(frozen=True)
class Opened:
    """The first picture has come."""

    width: int
    height: int
    fps: float
    origin_s: float  # ``Origin.zero_s`` for the next connection.


@dataclass(frozen=True)
class Cut:
    """A snippet, and what the machine's clock is ahead of the camera's time (s)."""

    snippet: CutSnippet
    offset_s: float


@dataclass(frozen=True)
class Condition:
    """A condition has begun, or is over (``text`` says so)."""

    name: str  # A state of ``CameraState``; ``online``: it is over.
    text: str


@dataclass(frozen=True)
class FileBegun:
    """A file of a folder is read now: if it cannot be, it is not read again."""

    written_s: float


@dataclass(frozen=True)
class Note:
    """Something for people that changes no state."""

    text: str


@dataclass(frozen=True)
class MediaRequest:
    """Asks for the packets from ``start_s`` to ``end_s``, and for the picture at ``peak_s``."""

    event: str
    start_s: float
    end_s: float
    peak_s: float | None = None


@dataclass(frozen=True)
class EventMedia:
    """The answer; None: there is none (any more)."""

    event: str
    clip: StoredClip | None = None
    picture: Image | None = None
    is_clip: bool = False


@dataclass(frozen=True)
class Over:
    """All has been read, and the last snippet was sent; requests are still answered."""


@dataclass(frozen=True)
class Orders:
    """What the parent wants, sent with each reply.

    Attributes:
        requests: New ones.
        stop: Read no further.
        leave: Answer no requests any more.
    """

    requests: tuple[MediaRequest, ...] = ()
    stop: bool = False
    leave: bool = False


Item = Opened | Cut | Condition | FileBegun | Note | EventMedia | Over
