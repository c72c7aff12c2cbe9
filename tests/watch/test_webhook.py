"""Webhooks against a receiver that fails, stalls and lies."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from oddframe.errors import InputError, UsageError
from oddframe.watch.credentials import read_secret
from oddframe.watch.delivery import (
    Delivery,
    DeliveryError,
    MessageRefusedError,
    ReceiverGoneError,
)
from oddframe.watch.webhook import WebhookSink, sign
from tests.watch.receiver import Answer, Receiver, answer, receiving
from tests.watch.samples import event, make_certificate, state


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def test_a_message_is_posted_as_json_and_signed(receiver: Receiver) -> None:
    sink = WebhookSink(f"http://{receiver.host}/hook?key=1", b"secret")
    sink.send(event(number=3))
    ((path, headers, body),) = receiver.requests
    assert path == "/hook?key=1"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == event(number=3).to_json()
    time_s = int(headers["Oddframe-Signature"].split(",")[0][2:])
    assert abs(time.time() - time_s) < 60
    assert headers["Oddframe-Signature"] == sign(b"secret", body, time_s)
    assert sign(b"other", body, time_s) != sign(b"secret", body, time_s)


def test_the_signature_is_hmac_sha256_as_openssl_computes_it() -> None:
    found = sign(b"secret", b'{"a": 1}', 1_700_000_000)
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", "secret"],
        input=b'1700000000.{"a": 1}',
        capture_output=True,
        check=True,
    )
    assert found == f"t=1700000000,v1={done.stdout.decode().split()[-1]}"


def test_a_login_in_the_address_is_sent_and_never_shown(receiver: Receiver) -> None:
    lines: list[str] = []
    receiver.answers = [answer(500), answer(401), answer(204)]
    sink = WebhookSink(f"http://me:s3cret%21@{receiver.host}/T0K3N")
    for _ in range(2):
        with pytest.raises(DeliveryError) as error:
            sink.send(state())
        lines.append(str(error.value))
    sink.send(state())
    lines += [sink.name]
    login = base64.b64decode(receiver.requests[0][1]["Authorization"].split()[1])
    assert login == b"me:s3cret!"
    assert "Oddframe-Signature" not in receiver.requests[0][1]
    assert not any("s3cret" in line or "T0K3N" in line for line in lines)
    assert "127.0.0.1" in sink.name


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((status, DeliveryError) for status in (301, 302, 307, 401, 403, 404, 408, 429, 500, 503)),
        *((status, MessageRefusedError) for status in (400, 413, 415, 422)),
        (410, ReceiverGoneError),
    ],
)
def test_what_each_status_means(status: int, error: type[Exception], receiver: Receiver) -> None:
    receiver.answers = [answer(status, Location=f"http://{receiver.host}/other")]
    with pytest.raises(error, match=str(status)):
        WebhookSink(f"http://{receiver.host}/hook").send(state())
    assert [path for path, _, _ in receiver.requests] == ["/hook"]  # No redirect is followed.


def test_the_receiver_may_ask_for_time(receiver: Receiver) -> None:
    sink = WebhookSink(f"http://{receiver.host}")
    for text, expected in (("7", 7.0), ("9" * 400, float("inf")), ("Wed, 1 Jan", 0.0), ("²", 0.0)):
        receiver.answers = [answer(503, Retry_After=text)]
        with pytest.raises(DeliveryError) as error:
            sink.send(state())
        assert error.value.retry_after_s == expected


def close_early(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def send_junk(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"hunter2 is no status line\r\n\r\n")


def stall(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then: each one would renew a timeout of the socket."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.05)


def send_endless_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-Filler: y\r\n")


@pytest.mark.parametrize(
    ("lie", "text"),
    [
        (close_early, "closes the connection"),
        (send_junk, "no valid HTTP answer"),
        (send_endless_headers, "no valid HTTP answer"),
        (stall, "in time"),
        (drip, "in time"),
    ],
)
def test_a_receiver_that_lies_is_tried_again_soon(
    lie: Answer, text: str, receiver: Receiver
) -> None:
    receiver.answers = [lie, answer(200)]
    sink = WebhookSink(f"http://{receiver.host}", timeout_s=0.5)
    start = time.monotonic()
    with pytest.raises(DeliveryError, match=text) as error:
        sink.send(state())
    assert time.monotonic() - start < 2
    assert "hunter2" not in str(error.value)
    sink.send(state())


def test_a_long_answer_is_not_read(receiver: Receiver) -> None:
    def pour(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**12))
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(2**16))

    receiver.answers = [pour]
    start = time.monotonic()
    WebhookSink(f"http://{receiver.host}").send(state())
    assert time.monotonic() - start < 2


def test_nobody_there_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DeliveryError, match="cannot be reached"):
        WebhookSink(f"http://127.0.0.1:{port}").send(state())

    def know_no_host(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", know_no_host)
    with pytest.raises(DeliveryError, match=r"cannot be reached \(Name or service not known\)"):
        WebhookSink("http://no-such-host.invalid").send(state())


def test_a_certificate_of_nobody_is_refused(tmp_path: Path, receiver: Receiver) -> None:
    make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    with pytest.raises(DeliveryError, match="certificate"):
        WebhookSink(f"https://localhost:{receiver.server_address[1]}").send(state())
    assert receiver.requests == []


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://host/x", "file:///etc/passwd", "host/x", "http://", "http://h:99999/"),
        *("http://h/\r\nX: y", "http://h/a b", "http://h/ü", "http://[::1", ""),
    ],
)
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="address"):
        WebhookSink(url)


def test_every_message_arrives_in_order_though_the_receiver_fails(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers = [
        *(answer(500), close_early, answer(204), answer(302), answer(503, Retry_After="0")),
        *(answer(204), send_junk, answer(204)),
    ]
    lines: list[str] = []
    sink = WebhookSink(f"http://{receiver.host}", b"k", timeout_s=2)
    delivery = Delivery(tmp_path, [sink], say=lines.append, first_wait_s=0.01, max_wait_s=0.05)
    for _ in range(5):
        delivery.announce(event("end"))
    until = time.monotonic() + 10
    while delivery.waiting()[sink.name] and time.monotonic() < until:
        time.sleep(0.01)
    delivery.close(5)
    numbers = [json.loads(body)["number"] for _, _, body in receiver.requests]
    assert numbers == sorted(numbers)  # A message that failed comes again before the next.
    assert set(numbers) == {1, 2, 3, 4, 5}
    assert all(line.startswith("webhook 127.0.0.1 ") for line in lines)


def test_secrets_come_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_text("from the file \n")
    monkeypatch.setenv("HOOK_SECRET", "from the environment")
    assert read_secret(str(path)) == "from the file "
    assert read_secret("env:HOOK_SECRET") == "from the environment"
    path.write_text("\n")
    with pytest.raises(UsageError, match="no secret"):
        read_secret(str(path))
    with pytest.raises(UsageError, match="no secret"):
        read_secret("env:NOT_SET_ANYWHERE")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        read_secret(str(path))
    with pytest.raises(InputError, match="no such file"):
        read_secret(str(tmp_path / "none"))
