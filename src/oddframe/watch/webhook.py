"""Messages by HTTP POST, signed so that the receiver knows who sent them and when."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import unquote, urlsplit

from oddframe._utils.version import VERSION
from oddframe.errors import UsageError
from oddframe.watch.delivery import DeliveryError, MessageRefusedError, ReceiverGoneError, Sink
from oddframe.watch.messages import Message

ANSWER_TIMEOUT_S = 10.0
# The receiver has understood the request and will never take this one.
_REFUSED = frozenset({400, 413, 415, 422})
_GONE = 410


class WebhookSink(Sink):
    """Posts each message as JSON to an address; 2xx means that the receiver has it.

    400, 413, 415 and 422: this message is left out. 410: nothing more is sent until the next start.
    Everything else, redirects included, is tried again.

    Args:
        url: http or https, with host; ``user:password@`` becomes basic authentication.
        secret: Key of the signature; None: messages are not signed.
        timeout_s: Of the whole request, in seconds.

    Raises:
        UsageError: the address cannot be used.
    """

    def __init__(
        self, url: str, secret: bytes | None = None, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> None:
        if not url.isascii() or not url.isprintable() or " " in url:
            raise UsageError("a webhook's address has characters that must be percent-encoded")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise UsageError("a webhook's address is invalid: http[s]://HOST[:PORT]/PATH") from None
        if parts.scheme not in ("http", "https") or not host:
            raise UsageError("a webhook's address has to be http://HOST… or https://HOST…")
        if secret is not None and not secret:
            raise UsageError(f"webhook {host}: the secret is empty")
        # Paths often hold a secret, so only the host is shown; the digest tells two hooks apart.
        self.name = f"webhook {host} {hashlib.sha256(url.encode()).hexdigest()[:6]}"
        self._is_https, self._host, self._port = parts.scheme == "https", host, port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._secret, self._timeout_s = secret, timeout_s
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"oddframe/{VERSION}",
            "Connection": "close",
        }
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()

    def send(self, message: Message) -> None:
        """Post a message and wait for the answer's status; the rest of the answer is not read."""
        body = json.dumps(message.to_json(), allow_nan=False).encode()
        headers = dict(self._headers)
        if self._secret is not None:
            headers["Oddframe-Signature"] = sign(self._secret, body, int(time.time()))
        kind = http.client.HTTPSConnection if self._is_https else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        try:
            with _deadline(connection, self._timeout_s) as is_over:
                connection.request("POST", self._target, body, headers)
                answer = connection.getresponse()
                status, retry_after = answer.status, answer.getheader("Retry-After", "")
        except (OSError, http.client.HTTPException) as error:
            raise DeliveryError(_describe(error, is_over.is_set())) from None
        finally:
            connection.close()
        _check_status(status, retry_after)


def sign(secret: bytes, body: bytes, time_s: int) -> str:
    """Value of the header ``Oddframe-Signature``: ``t=TIME,v1=HEX``.

    HEX is the HMAC-SHA256 of the time as decimal digits, a full stop and the body.
    """
    digest = hmac.new(secret, b"%d.%b" % (time_s, body), hashlib.sha256).hexdigest()
    return f"t={time_s},v1={digest}"


def _check_status(status: int, retry_after: str) -> None:
    if 200 <= status < 300:
        return
    if status == _GONE:
        raise ReceiverGoneError("answers 410, gone")
    if status in _REFUSED:
        raise MessageRefusedError(f"refuses a message with {status}")
    if 300 <= status < 400:
        raise DeliveryError(f"answers {status}, a redirect, which is not followed")
    wait_s = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
    raise DeliveryError(f"answers {status}", wait_s)


@contextmanager
def _deadline(
    connection: http.client.HTTPConnection, timeout_s: float
) -> Iterator[threading.Event]:
    """End the connection at a time: its own timeout starts anew with each byte that comes."""
    is_over = threading.Event()

    def end() -> None:
        is_over.set()
        with suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield is_over
    finally:
        timer.cancel()


def _describe(error: Exception, is_late: bool) -> str:
    """Why there is no answer; what the receiver sent is not repeated."""
    if is_late or isinstance(error, TimeoutError):
        return "does not answer in time"
    if isinstance(error, http.client.RemoteDisconnected | ConnectionError):
        return "cannot be reached, or closes the connection"
    if isinstance(error, http.client.HTTPException):
        return "gives no valid HTTP answer"
    return f"cannot be reached ({getattr(error, 'strerror', None) or type(error).__name__})"
