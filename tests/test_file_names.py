from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe._utils.files import safe_file_name, unique_stems


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["cam1.mp4", "cam2.mp4"], ["cam1", "cam2"]),
        (["a.mp4", "a.mkv"], ["a_mp4", "a_mkv"]),
        (["x/a.mp4", "y/a.mp4"], ["x_a", "y_a"]),
        (["x/1/a.mp4", "y/1/a.mp4", "b.mp4"], ["x_1_a", "y_1_a", "b"]),
        (["x/a.mp4", "y/a.mp4", "y/a.avi"], ["x_a_mp4", "y_a_mp4", "y_a_avi"]),
        (["x/A.mp4", "y/a.mp4"], ["x_A", "y_a"]),
        (["x/a.mp4", "y/a.mp4", "x_a.mp4"], ["x_a", "y_a", "x_a-2"]),
        (["x/a.mp4", "y/a.mp4", "y/A.mp4"], ["x_a", "y_a", "y_A-2"]),
        (["a.mp4", "a.mp4"], ["a", "a-2"]),
        (["/x/a.mp4", "../x/a.mp4"], ["a", "a-2"]),
    ],
)
def test_colliding_names_become_unique(paths: list[str], names: list[str]) -> None:
    result = unique_stems([Path(path) for path in paths])
    assert result == names
    assert result == unique_stems([Path(path) for path in paths])


def test_a_folder_of_frames_keeps_its_whole_name(tmp_path: Path) -> None:
    (tmp_path / "clip.v2").mkdir()
    assert unique_stems([tmp_path / "clip.v2"]) == ["clip.v2"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("-rf", "_rf"),
        (".hidden", "_hidden"),
        ('a/b\\c:d*e?f"g', "a_b_c_d_e_f_g"),
        ("Überwachung 3 (Hof)", "Überwachung 3 (Hof)"),
        ("监控", "监控"),
        ("con", "_con"),
        ("  ", "video"),
        ("bad\udcff", "bad_"),
    ],
)
def test_odd_characters_give_safe_names(name: str, safe: str) -> None:
    assert safe_file_name(name) == safe


parts = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=300)


@given(st.lists(st.lists(parts, min_size=1, max_size=3).map(lambda p: Path(*p)), max_size=8))
def test_any_paths_give_different_names_that_can_be_files(paths: list[Path]) -> None:
    names = unique_stems(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    for name in names:
        assert name
        assert len(f"{name}.annotated.mp4".encode()) <= 255
        assert not set(name) & set('/\\:*?"<>|\0')
        assert name[0] not in "-."
