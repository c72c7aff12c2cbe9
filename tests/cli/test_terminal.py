"""Control characters in texts from files are escaped before they reach the terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oddframe.modelfile import save_model
from tests.cli.conftest import Answer
from tests.test_modelfile import made_model

Run = Callable[..., Answer]


def test_texts_of_a_model_do_not_drive_the_terminal(
    oddframe: Run, clip: Path, tmp_path: Path
) -> None:
    texts = "\x1b[2J\x1b]0;owned\x07\r\nfights: 0\u202e\x9b"
    spec = replace(made_model().profiles["best"].spec, crop_size=(64, 48), resize=(64, 48))
    made = made_model("linear", spec=replace(spec, dim=1024))
    path = tmp_path / "odd\x1b[31m.safetensors"
    card = {texts: {texts: texts}, "limits": texts}
    save_model(replace(made, detects=texts, card=card, version=texts[:20]), path)
    data = tmp_path / "list.csv"
    np.save(tmp_path / "a.npy", np.zeros((4, 1024), np.float32))
    data.write_text(f"path,label\n{clip},fight\na.npy,normal\n")
    for words in (("info", path), ("score", clip, "--model", path), ("evaluate", path, data)):
        answer = oddframe(*words)
        written = answer.out + answer.err
        assert "\\x1b[2J" in written or words[0] != "info"
        assert all(c.isprintable() or c == "\n" for c in written), words
        assert not any(line.startswith("fights: 0") for line in written.splitlines())


def test_the_files_of_the_attack(oddframe: Run, shared_data: Path, tmp_path: Path) -> None:
    attack = shared_data / "attack"
    if not attack.is_dir():
        pytest.skip("no files of the attack in the shared data")
    answer = oddframe("train", tmp_path, "--config", attack / "anchor_bomb.yaml")
    assert answer.code == 2
    assert "anchors" in answer.err
    answer = oddframe("info", attack / "model_escape_codes.safetensors")
    assert answer.code == 0
    assert all(c.isprintable() or c == "\n" for c in answer.out + answer.err)
