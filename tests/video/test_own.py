from __future__ import annotations

import os
from pathlib import Path

import av
import pytest

from oddframe.video import discover as own
from oddframe.video.discover import GENERATED_MARK, is_generated


def test_the_mark_counts_under_names_that_oddframe_gives(tmp_path: Path) -> None:
    for name, text, answer in (
        ("a.annotated.mp4", GENERATED_MARK, True),
        ("a.preview.webm", GENERATED_MARK, True),
        ("a.annotated.mp4", GENERATED_MARK[:-1], False),
        ("a.mp4", GENERATED_MARK, False),
        ("a.annotated.mp4", "", False),
    ):
        (tmp_path / name).write_bytes(b"\0" * 999 + text.encode() + b"\0" if text else b"")
        assert is_generated(tmp_path / name) is answer, name


def test_the_mark_is_found_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.preview.mp4"
    for block in (1, 7, len(GENERATED_MARK), 64, 100):
        monkeypatch.setattr(own, "_BLOCK", block)
        for before in (0, 1, 63, 64, 99):
            path.write_bytes(b"x" * before + GENERATED_MARK.encode() + b"y")
            assert is_generated(path), (block, before)


def test_nothing_is_decoded_to_know_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deadly(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(av, "open", deadly)
    noise = tmp_path / "noise.annotated.mp4"
    noise.write_bytes(b"\0\0\0\x20ftypisom" + bytes(range(256)) * 8)
    pipe, folder = tmp_path / "pipe.preview.mp4", tmp_path / "frames.annotated.mp4"
    os.mkfifo(pipe)
    folder.mkdir()
    missing = tmp_path / "missing.annotated.mp4"
    assert not any(map(is_generated, (noise, pipe, folder, missing)))
