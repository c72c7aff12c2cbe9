"""What docs/watch_events.md shows is what is sent and written."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from oddframe.watch.delivery import FIRST_WAIT_S, MAX_BYTES, MAX_WAIT_S
from oddframe.watch.event_files import EventFiles
from oddframe.watch.messages import CameraEvent, from_json
from oddframe.watch.mqtt import PREFIX, Broker, MqttSink
from oddframe.watch.webhook import ANSWER_TIMEOUT_S
from tests.conftest import ROOT
from tests.watch.samples import state
from tests.watch.test_messages import validate

PAGE = (ROOT / "docs" / "watch_events.md").read_text()
BLOCKS = dict(re.findall(r"^```(json|yaml)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


def example() -> CameraEvent:
    message = from_json(json.loads(BLOCKS["json"]))
    assert isinstance(message, CameraEvent)
    return message


def test_the_message_is_one() -> None:
    validate(json.loads(BLOCKS["json"]))
    assert example().to_json() == json.loads(BLOCKS["json"])


def test_each_field_is_explained() -> None:
    rows = "\n".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    for field in example().to_json():
        assert f"`{field}`" in rows, field
    for field in state().to_json():
        assert f"`{field}`" in PAGE, field


def test_the_files_are_named_as_shown() -> None:
    names = re.findall(r"^yard/.*\.(?:mp4|jpg)$", PAGE, re.MULTILINE)
    files = EventFiles(Path("out"))
    assert [files._name(example(), name[-3:]) for name in names] == names
    assert names[1] == example().picture


def test_the_limits_are_those_of_the_code() -> None:
    assert (MAX_BYTES, FIRST_WAIT_S, MAX_WAIT_S, ANSWER_TIMEOUT_S) == (64 * 2**20, 1.0, 300.0, 10.0)
    assert MAX_BYTES / len(json.dumps(example().to_json())) > 50_000


def test_the_topics_of_the_table_and_the_automation_are_published() -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    sink = MqttSink(Broker("mqtt://host"), ["yard"])
    published: list[tuple[str, bool]] = [(topic, True) for topic in sink._retained]

    def publish(topic: str, _payload: str, qos: int, retain: bool = False) -> None:
        assert qos == 1
        published.append((topic, retain))

    sink._client.publish = publish
    sink._publish(example())
    sink._publish(state())
    table = dict(re.findall(r"^\| `(PREFIX/\S+)` \|.*\| (yes|no) \|$", PAGE, re.MULTILINE))
    topics = {(topic, retained == "yes") for topic, retained in table.items()}
    assert {
        (topic.replace(PREFIX, "PREFIX", 1).replace("yard", "CAMERA"), retained)
        for topic, retained in published
        if topic.startswith(f"{PREFIX}/")
    } == topics
    (automation,) = yaml.safe_load(BLOCKS["yaml"])["automation"]
    (trigger,) = automation["triggers"]
    assert (trigger["topic"], False) in published
    data = example().to_json()
    assert trigger["payload"] in ("new", "update", "end")
    message = automation["actions"][0]["data"]["message"]
    assert all(field in data for field in re.findall(r"payload_json\.(\w+)", message))
    assert datetime.fromisoformat(data["start"]).utcoffset() is not None
