from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import av
import pytest
from PIL import Image as PillowImage

from oddframe.errors import InputError
from oddframe.video import discover
from oddframe.video.decoding.isolated import open_in_process, open_source
from oddframe.video.discover import GENERATED_MARK, find_videos, group_videos, is_generated


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two cameras with clips of the same name, a folder of frames, and files that are no videos."""
    for name in ("a/cam.mp4", "b/cam.mp4", "a/2.mkv", "a/10.MKV", "a/notes.txt", "a/.hidden.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "frames").mkdir()
    for number in range(3):
        PillowImage.new("RGB", (8, 8)).save(tmp_path / "frames" / f"{number}.png")
    PillowImage.new("RGB", (8, 8)).save(tmp_path / "a" / "thumbnail.png")
    (tmp_path / "nothing").mkdir()
    return tmp_path


def names(paths: list[Path], root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in paths]


def test_a_folder_is_searched_recursively(tree: Path) -> None:
    everything = ["a/2.mkv", "a/10.MKV", "a/cam.mp4", "b/cam.mp4", "frames"]
    assert names(find_videos([str(tree)]), tree) == everything


def test_group_videos_finds_what_find_videos_finds(tree: Path) -> None:
    files = [path.relative_to(tree) for path in tree.rglob("*") if path.is_file()]
    among = group_videos(PurePosixPath(file) for file in files)
    assert [str(path) for path in among] == names(find_videos([str(tree)]), tree)
    held = [[str(file) for file in each] for each in among.values()]
    assert held[0] == ["a/2.mkv"]
    assert sorted(held[-1]) == ["frames/0.png", "frames/1.png", "frames/2.png"]


def test_a_folder_of_frames_contains_no_video_at_any_depth() -> None:
    files = ["1.png", "x/1.png", "x/y/2.JPG", "x/y/notes.txt", "z/1.png", "z/a.mp4", ".h/1.png"]
    among = group_videos(map(PurePosixPath, files))
    assert {str(path): [str(file) for file in held] for path, held in among.items()} == {
        "x/y": ["x/y/2.JPG", "x/y/notes.txt"],
        "z/a.mp4": ["z/a.mp4"],
    }
    assert list(group_videos([PurePosixPath("1.png")])) == [PurePosixPath(".")]


def test_a_folder_of_frames_is_one_video(tree: Path) -> None:
    assert names(find_videos([str(tree / "frames")]), tree) == ["frames"]


def test_a_glob_is_expanded_in_natural_order(tree: Path) -> None:
    assert names(find_videos([str(tree / "a" / "*.[mM][kK][vV]")]), tree) == ["a/2.mkv", "a/10.MKV"]
    assert names(find_videos([str(tree / "**" / "cam.mp4")]), tree) == ["a/cam.mp4", "b/cam.mp4"]
    assert names(find_videos([str(tree / "f*")]), tree) == ["frames"]


def test_each_video_is_returned_once_in_the_given_order(tree: Path) -> None:
    asked = [tree / "b" / "cam.mp4", tree, tree / "b" / ".." / "b" / "cam.mp4"]
    found = names(find_videos([str(path) for path in asked]), tree)
    assert found[0] == "b/cam.mp4"
    assert len(found) == len(set(found)) == 5


def test_a_file_is_found_whatever_its_name(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cam[1].mp4", "-dash.mp4", "kamera.dat", "a*b.mp4"):
        (tree / name).touch()
        monkeypatch.chdir(tree)
        assert find_videos([name]) == [Path(name)]


@pytest.mark.parametrize("what", ["no.mp4", "no*.mp4", "nothing"])
def test_a_missing_path_is_reported_when_it_is_opened(tree: Path, what: str) -> None:
    (path,) = find_videos([str(tree / what)])
    with pytest.raises(InputError, match=r"no such file|neither a video nor a picture"):
        open_source(path)


def test_an_unreadable_folder_is_reported_when_it_is_opened(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = Path.iterdir

    def closed(self: Path):
        if self.name == "a":
            raise PermissionError(13, "Permission denied")
        return listing(self)

    monkeypatch.setattr(Path, "iterdir", closed)
    assert names(find_videos([str(tree)]), tree) == ["a", "b/cam.mp4", "frames"]
    with pytest.raises(InputError, match="a: cannot be listed"):
        open_in_process(tree / "a")


def test_a_link_to_a_parent_folder_is_not_followed(tree: Path) -> None:
    (tree / "a" / "loop").symlink_to(tree, target_is_directory=True)
    assert len(find_videos([str(tree)])) == 5


def test_generated_videos_are_recognized_by_name_and_mark(tmp_path: Path) -> None:
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
        monkeypatch.setattr(discover, "_BLOCK_BYTES", block)
        for before in (0, 1, 63, 64, 99):
            path.write_bytes(b"x" * before + GENERATED_MARK.encode() + b"y")
            assert is_generated(path), (block, before)


def test_is_generated_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
