"""``oddframe methods``: the list, and one of them."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.cli.conftest import Answer

Run = Callable[..., Answer]


def test_methods_are_listed(oddframe: Run) -> None:
    listed = oddframe("methods").out.splitlines()
    known = json.loads(oddframe("methods", "--json").out)
    assert [line.split()[0] for line in listed[1:]] == [method["name"] for method in known]
    assert all(method["paper"] and method["supervision"] and method["checked"] for method in known)
    reads = {line.split()[0]: line for line in listed[1:]}
    assert "  snippet features  " in reads["rtfm"]
    assert "  visual and audio features  " in reads["acf"]
    assert "  5 grey frames  " in reads["lu"]
    rtfm = json.loads(oddframe("methods", "rtfm", "--json").out)
    assert {"UCF-Crime": 84.3, "XD-Violence": 77.81}.items() <= {
        f["data"]: f["value"] for f in rtfm["published"]
    }.items()
    said = oddframe("methods", "rtfm").out
    assert "ICCV 2021" in said
    assert "UCF-Crime AUC 84.3 (I3D)" in said
    assert "parity" in said


def test_an_unknown_method_is_named(oddframe: Run) -> None:
    answer = oddframe("methods", "rtmf")
    assert answer.code == 2
    assert "did you mean 'rtfm'" in answer.err
