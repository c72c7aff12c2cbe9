"""The JSON of messages: complete, readable again, and as the schema says."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from importlib.resources import files

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.watch.messages import (
    CameraEvent,
    CameraState,
    camera_part,
    from_json,
    new_event_id,
)
from tests.watch.samples import START, event, state

SCHEMA = json.loads((files("oddframe.watch") / "message.schema.json").read_text())


def validate(data: object) -> None:
    jsonschema.Draft202012Validator(
        SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(data)


@pytest.mark.parametrize(
    "message",
    [
        event(),
        event("update", before=event(), clip="yard/2026-03-04/a.mp4", announced=START, number=7),
        event("end", where=None, boxes=(), similar=()),
        state(),
        state("online", text="", number=3, announced=START),
    ],
)
def test_a_message_survives_json_and_fits_the_schema(message: CameraEvent | CameraState) -> None:
    text = json.dumps(message.to_json(), allow_nan=False)
    validate(json.loads(text))
    assert from_json(json.loads(text)) == message


def test_the_schema_knows_every_field() -> None:
    """A field that is added to the code but not to the schema fails here."""
    for data in (event(before=event()).to_json(), state().to_json()):
        branch = SCHEMA["$defs"]["event" if data["type"] == "event" else "camera"]
        assert set(branch["properties"]) == set(data) == set(branch["required"])
    before = event(before=event()).to_json()["before"]
    assert set(SCHEMA["$defs"]["before"]["properties"]) == set(before)


def test_times_keep_their_time_zone() -> None:
    local = START.astimezone(timezone(timedelta(hours=5, minutes=30)))
    data = event(start=local).to_json()
    assert data["start"] == "2026-03-05T05:29:58.250+05:30"
    with pytest.raises(ValueError, match="time zone"):
        event(start=datetime(2026, 1, 1))


def test_unknown_fields_are_ignored_and_other_versions_refused() -> None:
    data = event().to_json()
    assert from_json(data | {"mood": "calm"}) == event()
    with pytest.raises(ValueError, match="version"):
        from_json(data | {"version": 2})


@given(st.data())
def test_damaged_messages_are_a_value_error(data: st.DataObject) -> None:
    message = event(before=event()).to_json() if data.draw(st.booleans()) else state().to_json()
    key = data.draw(st.sampled_from(sorted(message)))
    junk = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
    message[key] = data.draw(junk | st.dictionaries(st.text(max_size=2), junk, max_size=2))
    try:
        read = from_json(message)
    except ValueError:
        return
    assert isinstance(read, CameraEvent | CameraState)


@given(st.text(max_size=60))
def test_ids_are_unique_and_fit_for_file_names(camera: str) -> None:
    first, second = new_event_id(camera, START), new_event_id(camera, START)
    assert first != second
    assert first.startswith(f"{camera_part(camera)}-20260304T235958Z-")
    assert not set(first) & set('/\\ :*?"<>|\0+#')
    assert not first.startswith((".", "-"))
    assert camera_part(camera)
    assert camera_part(camera)[-1] not in ". "
