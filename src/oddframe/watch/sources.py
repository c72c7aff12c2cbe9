"""What a camera is read from: an address, a device, a folder that grows, or a file as if live.

Passwords in addresses are kept out of everything that is shown.
"""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from oddframe.errors import UsageError

SourceKind = Literal["network", "device", "folder", "file"]
# Schemes that are read, each with the FFmpeg protocols that a stream of it may lead to. None of
# them reads local files: a playlist from the network must not.
_HTTP = "http,https,tls,tcp,crypto"
SCHEMES = {"rtsp": "rtsp,rtp,udp,tcp", "rtsps": "rtsps,rtsp,rtp,srtp,udp,tls,tcp"}
SCHEMES |= {"http": _HTTP, "https": _HTTP}
_RTSP_FORMATS = "rtsp,sdp,rtp,mpegts"
# Of what a web camera or a playlist sends.
_HTTP_FORMATS = "hls,applehttp,mpegts,mp4,mov,matroska,webm,flv,mjpeg,mpjpeg,h264,hevc,avi"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DEVICE = re.compile(r"/dev/video\d+")
# Words that hold a login, up to the last @: a password may have any character, also those that it
# should not. And secrets in queries, or in paths as cheap cameras have them.
_LOGIN = re.compile(r"(?<=://)(?:[^\s/@]*:\S*@|[^/\s'\"]*@)")
_SECRET = re.compile(r"(?i)((?:pass|pwd|token|key|secret|auth|sig)[a-z]*=)[^&\s'\"]*")


@dataclass(frozen=True)
class Source:
    """Where the pictures of a camera come from.

    Attributes:
        kind: ``network``, ``device``, ``folder`` or ``file``.
        address: An address with its password, or a path; never shown.
        shown: The same for people.
        speed: Of a file: times real time; inf: as fast as it goes.
        loops: Of a file: how often it is read.
    """

    kind: SourceKind
    address: str = field(repr=False)
    shown: str
    speed: float = 1.0
    loops: int = 1

    @property
    def is_live(self) -> bool:
        """Whether pictures come when they want: a reader that is late loses some."""
        return self.kind in ("network", "device") or (self.kind == "file" and self.speed < 1e3)

    @property
    def protocols(self) -> str:
        """FFmpeg's protocols that may be used."""
        return SCHEMES[urlsplit(self.address).scheme] if self.kind == "network" else "file"

    @property
    def formats(self) -> str:
        """FFmpeg's formats that a network stream may have."""
        return _RTSP_FORMATS if self.address.startswith("rtsp") else _HTTP_FORMATS


def parse_source(text: str, *, as_live: bool = False) -> Source:
    """Understand what a user wrote.

    Args:
        text: ``rtsp://…``, ``rtsps://…``, ``http://…``, ``https://…``, ``/dev/video0``, a folder
            or a file.
        as_live: A file is read in real time; without it, files are refused.

    Raises:
        UsageError: it is none of these, or is not there.
    """
    shown = redact(text)
    scheme = _SCHEME.match(text)
    if scheme:
        if (name := scheme[1].lower()) not in SCHEMES:
            raise UsageError(f"{shown}: addresses begin with {', '.join(SCHEMES)}, not {name}")
        if not text.isprintable() or " " in text:
            raise UsageError(f"{shown}: an address has no spaces or control characters")
        try:
            parts = urlsplit(text)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host:
            raise UsageError(f"{shown}: no address: {name}://[USER:PASSWORD@]HOST[:PORT]/PATH")
        return Source("network", name + text[len(scheme[1]) :], shown)
    if _DEVICE.fullmatch(text):
        if not sys.platform.startswith("linux"):
            raise UsageError(f"{shown}: cameras of this machine are read on Linux only")
        return Source("device", text, shown)
    path = Path(text)
    if text and path.is_dir():
        return Source("folder", str(path.absolute()), shown)
    if not path.is_file():
        raise UsageError(f"{shown}: no such file, folder or device, and no address")
    if not as_live:
        raise UsageError(
            f"{shown}: a file is over already: oddframe score reads it; --as-live plays it as if "
            "it came from a camera"
        )
    return Source("file", str(path.absolute()), shown)


def redact(text: str) -> str:
    """A text without the logins of the addresses in it, and without other secrets in them."""
    return _SECRET.sub(r"\1***", _LOGIN.sub("***@", text))


def source_name(source: Source) -> str:
    """A name for a camera that has none: the host, or the name of the file or folder."""
    if source.kind == "network":
        return urlsplit(source.address).hostname or "camera"
    path = Path(source.address)
    return path.stem if source.kind == "file" else path.name


def hide_in_process_title(words: list[str]) -> None:
    """Overwrite the logins in this process's command line, as ``ps`` shows it; Linux only."""
    secret = [word for word in words if redact(word) != word]
    if not secret or not sys.platform.startswith("linux"):
        return
    try:
        # The name in parentheses may hold spaces; the 48th and 49th fields are the arguments'
        # addresses.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        title = ctypes.string_at(start, end - start)
        for word in secret:
            shown = redact(word).encode("utf-8", "surrogateescape")
            raw = word.encode("utf-8", "surrogateescape")
            title = title.replace(raw, shown.ljust(len(raw), b"*")[: len(raw)])
        ctypes.memmove(start, title, len(title))
    except (OSError, ValueError, IndexError):
        return
