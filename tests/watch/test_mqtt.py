"""MQTT against a real mosquitto: retained states, last will, restarts, logins, Home Assistant."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oddframe.errors import InputError, UsageError
from oddframe.watch.delivery import Delivery, DeliveryError
from oddframe.watch.mqtt import Broker, MqttSink, topic_part
from tests.watch.samples import event, make_certificate, state

mqtt = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto on this machine")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Mosquitto:
    """A broker that can be stopped, stalled and started again; it forgets what is retained."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self.config = folder / "mosquitto.conf"
        settings = [f"listener {self.port} 127.0.0.1", *(lines or ["allow_anonymous true"])]
        self.config.write_text("\n".join([*settings, "user root", ""]))
        self.start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert MOSQUITTO is not None
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self.config)], stderr=subprocess.DEVNULL
        )

        def listens() -> bool:
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(listens)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


class Subscriber:
    """Keeps what it hears, and whether it was retained; subscribes again after a reconnect."""

    def __init__(self, broker: Mosquitto, **login: str) -> None:
        self.heard: list[tuple[str, str, bool]] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        if login:
            self.client.username_pw_set(**login)
        self.client.reconnect_delay_set(1, 1)
        subscribed = threading.Event()
        self.client.on_connect = lambda *_: self.client.subscribe("#", 1)
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.on_message = lambda _, __, m: self.heard.append(
            (m.topic, m.payload.decode(), bool(m.retain))
        )
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert subscribed.wait(5)

    def last(self, topic: str) -> str | None:
        return next((text for name, text, _ in reversed(self.heard) if name == topic), None)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def wait_until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    one = Mosquitto(tmp_path)
    yield one
    one.stop()


@pytest.fixture
def subscriber(broker: Mosquitto) -> Iterator[Subscriber]:
    one = Subscriber(broker)
    yield one
    one.close()


@pytest.fixture
def sink(broker: Mosquitto) -> Iterator[MqttSink]:
    one = MqttSink(Broker(broker.url), ["yard", "Gate 1"], timeout_s=3)
    one.open()
    yield one
    one.close()


def test_an_event_turns_the_camera_on_and_off(sink: MqttSink, subscriber: Subscriber) -> None:
    sink.send(event(number=1))
    wait_until(lambda: subscriber.last("oddframe/yard/active") == "ON")
    sink.send(event(id="second", number=2))
    sink.send(event("end", number=3))
    sink.send(state("frozen", number=4))
    wait_until(lambda: subscriber.last("oddframe/yard/state") is not None)
    assert subscriber.last("oddframe/yard/active") == "ON"  # The second one goes on.
    sink.send(event("end", id="second", number=5))
    wait_until(lambda: subscriber.last("oddframe/yard/active") == "OFF")
    assert subscriber.last("oddframe/available") == "online"
    events = [json.loads(text) for topic, text, _ in subscriber.heard if topic == "oddframe/events"]
    assert [data["number"] for data in events] == [1, 2, 3, 5]
    assert events[0] == event(number=1).to_json()
    assert (
        json.loads(subscriber.last("oddframe/yard/state") or "")
        == state("frozen", number=4).to_json()
    )


def test_who_comes_later_finds_the_states_but_no_old_event(
    sink: MqttSink, broker: Mosquitto
) -> None:
    sink.send(event(number=1))
    sink.send(state("online", number=2))
    late = Subscriber(broker)
    wait_until(lambda: late.last("oddframe/yard/state") is not None)
    time.sleep(0.2)
    assert all(retained for _, _, retained in late.heard)
    assert late.last("oddframe/yard/active") == "ON"
    assert late.last("oddframe/available") == "online"
    assert json.loads(late.last("oddframe/yard/last_event") or "")["number"] == 1
    assert late.last("oddframe/events") is None
    assert late.last("oddframe/yard/events") is None
    late.close()


def test_the_broker_says_when_oddframe_is_killed_and_oddframe_when_it_ends(
    broker: Mosquitto, subscriber: Subscriber
) -> None:
    code = (
        "import sys, time\n"
        "from oddframe.watch.mqtt import Broker, MqttSink\n"
        "MqttSink(Broker(sys.argv[1]), ['yard']).open()\n"
        "time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, broker.url])
    wait_until(lambda: subscriber.last("oddframe/available") == "online")
    child.kill()
    child.wait()
    wait_until(lambda: subscriber.last("oddframe/available") == "offline")
    sink = MqttSink(Broker(broker.url), ["yard"])
    sink.open()
    wait_until(lambda: subscriber.last("oddframe/available") == "online")
    sink.close()
    wait_until(lambda: subscriber.last("oddframe/available") == "offline")


def test_a_broker_that_restarts_gets_all_messages_and_states_again(
    broker: Mosquitto, tmp_path: Path
) -> None:
    lines: list[str] = []
    sink = MqttSink(Broker(broker.url), ["yard"], timeout_s=1)
    delivery = Delivery(
        tmp_path / "journal", [sink], say=lines.append, first_wait_s=0.1, max_wait_s=0.5
    )
    delivery.announce(state("online"))
    delivery.announce(event())
    wait_until(lambda: delivery.waiting()[sink.name] == 0)
    broker.stop()
    delivery.announce(event("update"))
    delivery.announce(event("end"))
    wait_until(lambda: bool(lines))
    broker.start()
    subscriber = Subscriber(broker)
    wait_until(lambda: delivery.waiting()[sink.name] == 0)
    wait_until(lambda: subscriber.last("oddframe/yard/active") == "OFF")
    # The broker had forgotten these.
    for topic in ("oddframe/available", "oddframe/yard/state"):
        assert subscriber.last(topic) is not None
    assert subscriber.last(f"homeassistant/event/{NODE}/events/config") is not None
    late = Subscriber(broker)
    wait_until(lambda: late.last("oddframe/yard/last_event") is not None)
    assert json.loads(late.last("oddframe/yard/last_event") or "")["number"] == 4
    delivery.close(5)
    assert len(lines) == 2
    assert "no connection" in lines[0] or "lost" in lines[0] or "confirm" in lines[0]
    assert "works again" in lines[1]
    late.close()
    subscriber.close()


def test_a_broker_that_stalls_gets_each_message_once_when_it_goes_on(
    broker: Mosquitto, subscriber: Subscriber, tmp_path: Path
) -> None:
    sink = MqttSink(Broker(broker.url), ["yard"], timeout_s=0.3)
    delivery = Delivery(tmp_path / "journal", [sink], say=print, first_wait_s=0.05, max_wait_s=0.1)
    delivery.announce(state("online"))
    wait_until(lambda: delivery.waiting()[sink.name] == 0)
    broker.process.send_signal(signal.SIGSTOP)
    delivery.announce(event())
    delivery.announce(event("end"))
    time.sleep(1.5)  # Several attempts.
    assert delivery.waiting()[sink.name] == 2
    broker.process.send_signal(signal.SIGCONT)
    wait_until(lambda: delivery.waiting()[sink.name] == 0)
    delivery.close(5)
    wait_until(lambda: subscriber.last("oddframe/available") == "offline")
    topics = [topic for topic, _, _ in subscriber.heard if topic == "oddframe/events"]
    assert len(topics) == 2


def test_a_login_and_its_refusal(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch()
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("no mosquitto_passwd on this machine")
    subprocess.run([tool, "-b", str(passwords), "me", "s3cret"], check=True)
    broker = Mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    try:
        good = MqttSink(Broker(broker.url, "me", "s3cret"), ["yard"], timeout_s=3)
        good.open()
        good.send(event(number=1))
        good.close()
        bad = MqttSink(Broker(broker.url, "me", "wr0ng"), ["yard"], timeout_s=3)
        bad.open()
        with pytest.raises(
            DeliveryError, match=r"refuses the connection \(Not authorized\)"
        ) as error:
            bad.send(event(number=1))
        assert "wr0ng" not in str(error.value) + bad.name
        bad.close()
    finally:
        broker.stop()


def test_tls_is_checked_against_the_certificate_that_is_named(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    broker = Mosquitto(
        tmp_path,
        "allow_anonymous true",
        f"certfile {tmp_path}/cert.pem",
        f"keyfile {tmp_path}/key.pem",
    )
    try:
        url = f"mqtts://localhost:{broker.port}"
        good = MqttSink(Broker(url, ca_file=str(tmp_path / "cert.pem")), ["yard"], timeout_s=5)
        good.open()
        good.send(event(number=1))
        good.close()
        distrustful = MqttSink(Broker(url), ["yard"], timeout_s=0.5)
        distrustful.open()
        with pytest.raises(DeliveryError, match=r"no connection .* certificate"):
            distrustful.send(event(number=1))
        distrustful.close()
    finally:
        broker.stop()
    with pytest.raises(InputError, match=r"none\.pem: No such file"):
        MqttSink(Broker("mqtts://localhost", ca_file="none.pem"), [])


NODE = "oddframe_oddframe_yard"
# What https://www.home-assistant.io/integrations/mqtt documents: keys of any entity, and of each.
COMMON_KEYS = {
    *("availability_topic", "payload_available", "payload_not_available", "qos", "device"),
    *("origin", "unique_id", "name", "device_class", "entity_category", "state_topic"),
    *("value_template", "json_attributes_topic"),
}
KEYS = {
    "binary_sensor": COMMON_KEYS | {"payload_on", "payload_off"},
    "event": COMMON_KEYS | {"event_types"},
}
DEVICE_KEYS = {"identifiers", "name", "manufacturer", "model", "sw_version"}
BINARY_SENSOR_CLASSES = {"safety", "connectivity"}  # Two of those that there are.


def test_home_assistant_finds_each_camera_as_a_device(
    sink: MqttSink, subscriber: Subscriber
) -> None:
    wait_until(lambda: sum(t.startswith("homeassistant/") for t, _, _ in subscriber.heard) == 6)
    configs = {
        topic: json.loads(text)
        for topic, text, _ in subscriber.heard
        if topic.startswith("homeassistant/")
    }
    ids = [config["unique_id"] for config in configs.values()]
    assert len(set(ids)) == 6
    names = {config["device"]["name"] for config in configs.values()}
    assert names == {"yard", "Gate 1"}
    sink.send(event(number=1))
    sink.send(state("resolution changed", number=2))
    wait_until(lambda: subscriber.last("oddframe/yard/state") is not None)
    for topic, config in configs.items():
        _, component, node, entity, last = topic.split("/")
        assert last == "config"
        # <discovery_prefix>/<component>/[<node_id>/]<object_id>/config
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", node)
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", entity)
        assert set(config) <= KEYS[component]
        assert set(config["device"]) <= DEVICE_KEYS
        assert config["device"]["identifiers"] == [node]
        assert config["origin"]["name"] == "oddframe"  # Required with an origin.
        assert subscriber.last(config["availability_topic"]) == config["payload_available"]
        if component == "event":
            assert config["event_types"] == ["new", "update", "end"]
        else:
            assert config["device_class"] in BINARY_SENSOR_CLASSES
        if node == NODE:
            check_state(component, config, subscriber)


def check_state(component: str, config: dict, subscriber: Subscriber) -> None:
    """What Home Assistant would make of the payload, by its template."""
    jinja2 = pytest.importorskip("jinja2")
    environment = jinja2.Environment()
    environment.filters["tojson"] = json.dumps  # As Home Assistant's: no HTML escapes.
    payload = subscriber.last(config["state_topic"])
    assert payload is not None
    if "value_template" in config:
        template = environment.from_string(config["value_template"])
        payload = template.render(value_json=json.loads(payload), value=payload)
    if component == "binary_sensor":
        assert payload in (config["payload_on"], config["payload_off"])
        assert payload == "ON"  # An event goes on, and the camera is connected.
        return
    data = json.loads(payload)
    assert data["event_type"] in config["event_types"]
    assert data["id"] == event().id


def test_names_of_cameras_become_different_topics() -> None:
    names = ["yard", "Yard", "gate 1", "gate_1", "gate/1", "gate+1", "größe", "a#", "#a", "門"]
    topics = [topic_part(name) for name in names]
    assert len(set(topics)) == len(names)
    assert topics[0] == "yard"
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", topic) for topic in topics)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("mqtt://me:s3cret@host", "no user and password"),
        ("http://host", "mqtt://HOST"),
        ("host:1883", "mqtt://HOST"),
        ("mqtt://host:99999", "invalid"),
        ("mqtt://host/topic", "without a path"),
    ],
)
def test_addresses_that_are_none_are_refused_without_being_shown(url: str, text: str) -> None:
    with pytest.raises(UsageError, match=text) as error:
        MqttSink(Broker(url), [])
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("prefix", ["", "/a", "a/", "a//b", "a/#", "a+", "$SYS", "a b", "a\n"])
def test_prefixes_that_are_none_are_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="prefix"):
        MqttSink(Broker("mqtt://host"), [], prefix=prefix)
