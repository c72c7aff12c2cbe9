"""A killed extraction is resumed, with the same result."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
from numpy.typing import NDArray

from oddframe.backbones.base import VisualEncoder
from oddframe.backbones.registry import load_backbone
from oddframe.features.extraction.extract_video import backbone_spec, extract_video
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.video.decoding.isolated import open_source
from oddframe.video.snippets.preprocessing import Preprocessing

HOW = Preprocessing(
    resize=(64, 48), filter="bicubic", crop_size=(64, 48), crops=("full", "full_mirrored"), stride=4
)

HOLDING = """
import sys
from pathlib import Path
from oddframe.features.extraction.partial import PartialFeatures
assert PartialFeatures(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


class KilledError(Exception):
    pass


@pytest.mark.parametrize("after", [1, 5, 9])
def test_a_killed_extraction_resumes_with_the_same_result(
    after: int, clip: Path, tmp_path: Path
) -> None:
    backbone = load_backbone("i3d", HOW)
    spec = backbone_spec(backbone, HOW)
    whole = extract_video(open_source(clip), spec, backbone).features
    calls = 0

    def counted(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal calls
        calls += 1
        return backbone.visual_encoders[0].encode(snippets)

    def killed(done: int, _: int | None) -> None:
        if done == after:
            raise KilledError

    counting = replace(backbone, visual_encoders=(VisualEncoder(counted),))
    partial = PartialFeatures(tmp_path / "p", chunk=2)
    with pytest.raises(KilledError):
        extract_video(open_source(clip), spec, backbone, progress=killed, partial=partial)
    again = PartialFeatures(tmp_path / "p", chunk=2)
    resumed = extract_video(open_source(clip), spec, counting, partial=again).features
    assert calls == whole.timebase.n_snippets - after // 2 * 2
    np.testing.assert_array_equal(resumed.array, whole.array)
    again.discard()
    assert not (tmp_path / "p").exists()


def test_rows_from_a_damaged_chunk_on_are_ignored(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(6, 1, 8)).astype(np.float32)
    first = PartialFeatures(tmp_path, chunk=2)
    first.load(1, 8)
    first.add(rows)
    np.testing.assert_array_equal(PartialFeatures(tmp_path, chunk=2).load(1, 8), rows)
    assert len(PartialFeatures(tmp_path, chunk=2).load(2, 8)) == 0, "another number of crops"
    with (tmp_path / "000.rows").open("ab") as file:
        file.write(b"a write that was cut off")
    again = PartialFeatures(tmp_path, chunk=2)
    np.testing.assert_array_equal(again.load(1, 8), rows)
    again.add(rows[:3])
    whole = np.asarray(again.finish(1, 8))
    np.testing.assert_array_equal(whole[0], np.concatenate([rows, rows[:3]])[:, 0])
    np.testing.assert_array_equal(PartialFeatures(tmp_path, chunk=2).load(1, 8)[6:], rows[:2])
    os.truncate(tmp_path / "000.rows", 3 * 8 * 4)
    np.testing.assert_array_equal(PartialFeatures(tmp_path, chunk=2).load(1, 8), rows[:2])
    (tmp_path / "done.json").write_text('{"rows": "no"')
    assert len(PartialFeatures(tmp_path, chunk=2).load(1, 8)) == 0


def test_old_folders_are_removed_unless_they_are_locked(tmp_path: Path) -> None:
    rows, root = np.zeros((2, 1, 8), np.float32), tmp_path
    tmp_path = root / "unfinished"
    tmp_path.mkdir()
    names = {name: f"{number:024x}.partial" for number, name in enumerate(["dead", "new", "alive"])}
    partials = {name: PartialFeatures(tmp_path / folder, chunk=2) for name, folder in names.items()}
    for partial in partials.values():
        partial.add(rows)
    for folder in ("dead", "alive"):
        os.utime(tmp_path / names[folder], (0, 0))
    (tmp_path / f"{9:024x}.partial.lock").write_text("1\n")
    (tmp_path / f"{8:024x}").mkdir()  # Of an earlier version.
    os.utime(tmp_path / f"{8:024x}", (0, 0))
    (tmp_path / "notes.partial").mkdir()
    os.utime(tmp_path / "notes.partial", (0, 0))
    alive = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path / names["alive"])], stdin=PIPE, stdout=PIPE
    )
    with alive:
        assert alive.stdout is not None
        assert alive.stdout.readline() == b"held\n"
        partial = PartialFeatures(tmp_path / "other")
        assert partial.acquire()
        partial.release()
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {names["new"], names["alive"], names["alive"] + ".lock", "notes.partial"}
        assert not partials["alive"].acquire()
        alive.kill()
    assert partials["alive"].acquire()
    assert partials["alive"].count_rows(1, 8) == 2
    partials["alive"].discard()
    partials["alive"].release()
    assert {path.name for path in tmp_path.iterdir()} == {names["new"], "notes.partial"}
