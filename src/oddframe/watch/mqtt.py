"""Messages by MQTT, and what Home Assistant needs to show cameras without being configured."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from oddframe._utils.version import VERSION
from oddframe.errors import InputError, UsageError
from oddframe.watch.delivery import DeliveryError, Sink
from oddframe.watch.messages import CameraState, Message

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo

PREFIX, DISCOVERY_PREFIX = "oddframe", "homeassistant"
CONFIRM_TIMEOUT_S = 10.0
_PORT, _TLS_PORT = 1883, 8883
_KEEPALIVE_S = 30
_MAX_RECONNECT_S = 60
_CLOSE_S = 2.0
_ONLINE, _OFFLINE, _ON, _OFF = "online", "offline", "ON", "OFF"
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_PREFIX = re.compile(r"[\w.-]+(/[\w.-]+)*")
# States in which pictures come.
_CONNECTED = ("online", "resolution changed")


@dataclass(frozen=True)
class Broker:
    """An MQTT broker.

    Attributes:
        url: ``mqtt://HOST[:PORT]``, or ``mqtts://`` for TLS.
        user: Name to log in with; None: without.
        password: Read it with ``read_secret``.
        ca_file: Certificate that signed the broker's; None: those of the system.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None


class MqttSink(Sink):
    """Publishes messages with quality of service 1; docs/watch_events.md has the topics.

    Args:
        broker: Where to.
        cameras: Names of all cameras.
        prefix: How all topics begin.
        discovery_prefix: Of Home Assistant; None: nothing is published for it.
        timeout_s: How long the broker may take to confirm a message.

    Raises:
        UsageError: the address or a prefix is invalid, or paho-mqtt is not installed.
        InputError: ``ca_file`` cannot be read.
    """

    def __init__(
        self,
        broker: Broker,
        cameras: Sequence[str],
        *,
        prefix: str = PREFIX,
        discovery_prefix: str | None = DISCOVERY_PREFIX,
        timeout_s: float = CONFIRM_TIMEOUT_S,
    ) -> None:
        for each in (prefix, discovery_prefix or PREFIX):
            _check_prefix(each)
        self._host, self._port, self._tls = _parse(broker.url)
        self.name = f"MQTT {self._host}:{self._port}/{prefix}"
        self._prefix, self._timeout_s = prefix, timeout_s
        self._open_events: defaultdict[str, set[str]] = defaultdict(set)
        self._retained: dict[str, str] = {f"{prefix}/available": _ONLINE}
        self._retained |= {self._topic(camera, "active"): _OFF for camera in cameras}
        if discovery_prefix is not None:
            for camera in cameras:
                self._retained |= self._discovery(camera, discovery_prefix)
        self._lock = threading.Lock()  # Of ``_retained`` and ``_refusal``: paho has its thread.
        self._refusal = ""
        self._pending: tuple[int, list[MQTTMessageInfo]] | None = None
        self._client = self._make_client(broker)

    def open(self) -> None:
        """Start connecting; paho goes on trying in a thread of its own."""
        self._client.connect_async(self._host, self._port, _KEEPALIVE_S)
        self._client.loop_start()

    def send(self, message: Message) -> None:
        """Publish a message and wait until the broker has confirmed it."""
        if self._pending is None or self._pending[0] != message.number:
            # Paho would queue it, and each further attempt would queue it once more.
            if not self._wait_for_connection():
                hint = "; is its certificate known, and for this host?" if self._tls else ""
                raise DeliveryError(self._refusal or f"no connection to the broker{hint}")
            self._pending = message.number, self._publish(message)
        until = time.monotonic() + self._timeout_s
        try:
            for info in self._pending[1]:
                info.wait_for_publish(max(until - time.monotonic(), 0.0))
                if not info.is_published():
                    raise DeliveryError("the broker does not confirm in time")
        except (RuntimeError, ValueError):  # Paho's, for what it did not even send.
            self._pending = None
            raise DeliveryError("the connection to the broker was lost") from None
        self._pending = None

    def close(self) -> None:
        """Say that oddframe is gone; after a crash, the broker says it."""
        if self._client.is_connected():
            info = self._client.publish(f"{self._prefix}/available", _OFFLINE, 1, True)
            info.wait_for_publish(_CLOSE_S)
        self._client.disconnect()
        self._client.loop_stop()

    def _make_client(self, broker: Broker) -> Client:
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise UsageError("MQTT needs paho-mqtt: pip install 'oddframe[mqtt]'") from None
        client = Client(CallbackAPIVersion.VERSION2, f"oddframe-{secrets.token_hex(6)}")
        client.will_set(f"{self._prefix}/available", _OFFLINE, 1, True)
        client.reconnect_delay_set(1, _MAX_RECONNECT_S)
        client.on_connect = self._on_connect
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        if self._tls:
            try:
                client.tls_set(broker.ca_file)
            except OSError as error:
                reason = error.strerror or "no certificate"
                raise InputError(f"{broker.ca_file}: {reason}") from None
        return client

    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        """Publish all that is retained: a broker that was restarted may have forgotten it."""
        if reason.is_failure:
            with self._lock:
                self._refusal = f"the broker refuses the connection ({reason})"
            return
        with self._lock:
            self._refusal = ""
            retained = list(self._retained.items())
        for topic, payload in retained:
            client.publish(topic, payload, 1, True)

    def _wait_for_connection(self) -> bool:
        until = time.monotonic() + self._timeout_s
        while not self._client.is_connected():
            if self._refusal or time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    def _publish(self, message: Message) -> list[MQTTMessageInfo]:
        camera, text = message.camera, json.dumps(message.to_json(), allow_nan=False)
        if isinstance(message, CameraState):
            return [self._retain(self._topic(camera, "state"), text)]
        ids = self._open_events[camera]
        (ids.discard if message.kind == "end" else ids.add)(message.id)
        return [
            self._client.publish(f"{self._prefix}/events", text, 1),
            self._client.publish(self._topic(camera, "events"), text, 1),
            self._retain(self._topic(camera, "last_event"), text),
            self._retain(self._topic(camera, "active"), _ON if ids else _OFF),
        ]

    def _retain(self, topic: str, payload: str) -> MQTTMessageInfo:
        with self._lock:
            self._retained[topic] = payload
        return self._client.publish(topic, payload, 1, True)

    def _topic(self, camera: str, name: str) -> str:
        return f"{self._prefix}/{topic_part(camera)}/{name}"

    def _discovery(self, camera: str, discovery_prefix: str) -> dict[str, str]:
        """Topics and payloads that make three entities of one device in Home Assistant."""
        node = f"oddframe_{topic_part(self._prefix)}_{topic_part(camera)}"
        common: dict[str, Any] = {
            "availability_topic": f"{self._prefix}/available",
            "payload_available": _ONLINE,
            "payload_not_available": _OFFLINE,
            "qos": 1,
            "device": {
                "identifiers": [node],
                "name": camera,
                "manufacturer": "oddframe",
                "model": "camera",
                "sw_version": VERSION,
            },
            "origin": {"name": "oddframe", "sw_version": VERSION},
        }
        connected = " or ".join(f"value_json.state == '{state}'" for state in _CONNECTED)
        entities: dict[tuple[str, str], dict[str, Any]] = {
            ("binary_sensor", "active"): {
                "name": "Event",
                "device_class": "safety",
                "state_topic": self._topic(camera, "active"),
                "payload_on": _ON,
                "payload_off": _OFF,
                "json_attributes_topic": self._topic(camera, "last_event"),
            },
            ("binary_sensor", "state"): {
                "name": "Camera",
                "device_class": "connectivity",
                "entity_category": "diagnostic",
                "state_topic": self._topic(camera, "state"),
                "value_template": f"{{{{ 'ON' if {connected} else 'OFF' }}}}",
                "payload_on": _ON,
                "payload_off": _OFF,
            },
            ("event", "events"): {
                "name": "Events",
                "state_topic": self._topic(camera, "events"),
                "event_types": ["new", "update", "end"],
                "value_template": (
                    "{{ {'event_type': value_json.kind, 'id': value_json.id, "
                    "'score': value_json.score, 'start': value_json.start, "
                    "'end': value_json.end, 'clip': value_json.clip, "
                    "'picture': value_json.picture} | tojson }}"
                ),
            },
        }
        return {
            f"{discovery_prefix}/{component}/{node}/{name}/config": json.dumps(
                common | entity | {"unique_id": f"{node}_{name}"}
            )
            for (component, name), entity in entities.items()
        }


def topic_part(name: str) -> str:
    """A name with only A to Z, a to z, 0 to 9, ``_`` and ``-``; different names stay different."""
    safe = _UNSAFE.sub("_", name)
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _check_prefix(prefix: str) -> None:
    if not _PREFIX.fullmatch(prefix):
        raise UsageError(
            f"{prefix!r}: no prefix of MQTT topics; use letters, digits and single slashes inside"
        )


def _parse(url: str) -> tuple[str, int, bool]:
    """(host, port, whether TLS is used) of a broker's address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError("a broker's address is invalid: mqtt[s]://HOST[:PORT]") from None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise UsageError("a broker's address has to be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")
    if parts.username is not None:
        raise UsageError(
            f"broker {parts.hostname}: no user and password in the address, which other users can "
            "see; give the user by itself, and the password in a file or a variable"
        )
    if parts.path not in ("", "/") or parts.query:
        raise UsageError(f"broker {parts.hostname}: an address without a path; see the prefix")
    is_tls = parts.scheme == "mqtts"
    return parts.hostname, port or (_TLS_PORT if is_tls else _PORT), is_tls
