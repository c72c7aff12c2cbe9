from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image as PillowImage

from oddframe.errors import InputError
from oddframe.video.decoding.isolated import open_in_process
from oddframe.video.decoding.probe import probe
from oddframe.video.discover import find_videos, group_videos
from oddframe.video.source import open_source
from tests.conftest import Image, encode


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two cameras with a clip of equal name, a folder of frames, and things that are no video."""
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


def test_a_folder_with_its_subfolders(tree: Path) -> None:
    everything = ["a/2.mkv", "a/10.MKV", "a/cam.mp4", "b/cam.mp4", "frames"]
    assert names(find_videos([str(tree)]), tree) == everything


def test_names_in_a_store_are_read_as_files_on_a_disk(tree: Path) -> None:
    files = [path.relative_to(tree) for path in tree.rglob("*") if path.is_file()]
    among = group_videos(PurePosixPath(file) for file in files)
    assert [str(path) for path in among] == names(find_videos([str(tree)]), tree)
    held = [[str(file) for file in each] for each in among.values()]
    assert held[0] == ["a/2.mkv"]
    assert sorted(held[-1]) == ["frames/0.png", "frames/1.png", "frames/2.png"]


def test_a_folder_of_frames_has_no_video_in_it_or_below() -> None:
    files = ["1.png", "x/1.png", "x/y/2.JPG", "x/y/notes.txt", "z/1.png", "z/a.mp4", ".h/1.png"]
    among = group_videos(map(PurePosixPath, files))
    assert {str(path): [str(file) for file in held] for path, held in among.items()} == {
        "x/y": ["x/y/2.JPG", "x/y/notes.txt"],
        "z/a.mp4": ["z/a.mp4"],
    }
    assert list(group_videos([PurePosixPath("1.png")])) == [PurePosixPath(".")]


def test_a_folder_of_frames_is_one_input(tree: Path) -> None:
    assert names(find_videos([str(tree / "frames")]), tree) == ["frames"]


def test_a_glob_in_natural_order(tree: Path) -> None:
    assert names(find_videos([str(tree / "a" / "*.[mM][kK][vV]")]), tree) == ["a/2.mkv", "a/10.MKV"]
    assert names(find_videos([str(tree / "**" / "cam.mp4")]), tree) == ["a/cam.mp4", "b/cam.mp4"]
    assert names(find_videos([str(tree / "f*")]), tree) == ["frames"]


def test_each_input_once_in_the_order_asked_for(tree: Path) -> None:
    asked = [tree / "b" / "cam.mp4", tree, tree / "b" / ".." / "b" / "cam.mp4"]
    found = names(find_videos([str(path) for path in asked]), tree)
    assert found[0] == "b/cam.mp4"
    assert len(found) == len(set(found)) == 5


def test_a_file_is_taken_whatever_its_name(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cam[1].mp4", "-dash.mp4", "kamera.dat", "a*b.mp4"):
        (tree / name).touch()
        monkeypatch.chdir(tree)
        assert find_videos([name]) == [Path(name)]


@pytest.mark.parametrize("what", ["no.mp4", "no*.mp4", "nothing"])
def test_what_is_not_there_says_so_when_it_is_opened(tree: Path, what: str) -> None:
    (path,) = find_videos([str(tree / what)])
    with pytest.raises(InputError, match=r"no such file|neither a video nor a picture"):
        open_source(path)


def test_a_folder_that_cannot_be_listed_says_so_when_it_is_opened(
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


def test_a_link_to_a_folder_above_ends(tree: Path) -> None:
    (tree / "a" / "loop").symlink_to(tree, target_is_directory=True)
    assert len(find_videos([str(tree)])) == 5


def test_probe_a_clip(clip: Path) -> None:
    info = probe(clip)
    assert (info.width, info.height, info.fps, info.frames) == (352, 240, 25.0, 50)
    assert info.duration_s == pytest.approx(2.0, abs=0.05)
    assert (info.codec, info.rotation, info.has_audio) == ("h264", 0, True)
    assert not info.variable_frame_rate


def test_probe_sees_a_variable_rate(tmp_path: Path, clip_frames: list[Image]) -> None:
    gaps = np.random.default_rng(0).uniform(0.02, 0.1, 29)
    path = encode(tmp_path / "v.mp4", clip_frames[:30], times=np.append(0, np.cumsum(gaps)))
    assert probe(path).variable_frame_rate
    steady = encode(tmp_path / "s.mkv", clip_frames[:30], fps=29.97)
    assert not probe(steady).variable_frame_rate


def test_probe_a_folder_of_frames(tree: Path) -> None:
    info = probe(tree / "frames")
    assert (info.width, info.height, info.frames, info.codec) == (8, 8, 3, "png")
    with pytest.raises(InputError, match="without pictures"):
        probe(tree / "nothing")


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "audio_only", "no_pictures"])
def test_probe_a_bad_file(bad_video: Callable[[str], Path], kind: str) -> None:
    path = bad_video(kind)
    with pytest.raises(InputError, match=path.name):
        probe(path)
