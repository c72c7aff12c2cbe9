"""Writing a result in every format, completely or not at all."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from oddframe._utils import files
from oddframe.detector import VideoResult
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.events import EventRule
from oddframe.outputs import encode
from oddframe.outputs import write as write_module
from oddframe.outputs.pages import report
from oddframe.outputs.pages.report import Media, write_html
from oddframe.outputs.registry import format_names
from oddframe.outputs.score_files import read_score_file, write_json
from oddframe.outputs.write import find_wrong_files, output_path, write
from oddframe.video.discover import is_generated
from oddframe.video.mask import Mask

MakeResult = Callable[..., VideoResult]


def embedded_video(page: Path) -> bytes:
    found = re.search(r"data:video/\w+;base64,([^\"]+)", page.read_text(encoding="utf-8"))
    assert found is not None
    return base64.b64decode(found[1])


def test_all_formats_of_a_real_clip_from_one_decoding(
    make_result: MakeResult, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    real = write_module.open_source
    monkeypatch.setattr(
        write_module, "open_source", lambda *a, **k: opened.append(a) or real(*a, **k)
    )
    result = make_result(50, 25.0, [(0.6, 1.2)], video=str(clip))
    files = write(result, format_names(), tmp_path / "new" / "out", "cam 3")
    assert [file.name for file in files] == [
        "cam 3.json",
        "cam 3.csv",
        "cam 3.vtt",
        "cam 3.png",
        "cam 3.html",
        "cam 3.annotated.mp4",
    ]
    assert files == [
        output_path(tmp_path / "new" / "out", "cam 3", name) for name in format_names()
    ]
    assert sorted(files) == sorted((tmp_path / "new" / "out").iterdir())
    assert len(opened) == 1
    with av.open(str(files[-1])) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50
    with av.open(io.BytesIO(embedded_video(files[4]))) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(50) / 25, atol=1e-4)
    assert "data:image/jpeg;base64," in files[4].read_text()
    assert np.asarray(Image.open(files[3]).convert("RGB")).shape[1] == 1600


def test_a_folder_for_one_video_has_fixed_names(make_result: MakeResult, tmp_path: Path) -> None:
    files = write(make_result(), ["json", "csv", "vtt"], tmp_path, None)
    assert [file.name for file in files] == ["scores.json", "scores.csv", "events.vtt"]


def test_frames_in_memory_can_be_shown(make_result: MakeResult, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), dtype=np.uint8)
    files = write(
        make_result(20, 10.0, video="array"), ["html", "mp4"], tmp_path, "a", source=frames
    )
    with av.open(str(files[1])) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(20) / 10, atol=1e-4)


def test_ignored_parts_are_grey(make_result: MakeResult, clip: Path, tmp_path: Path) -> None:
    ignored = np.zeros((240, 352), dtype=np.bool_)
    ignored[:120] = True
    write(make_result(50, video=str(clip)), ["mp4"], tmp_path, "a", mask=Mask(ignored))
    with av.open(str(tmp_path / "a.annotated.mp4")) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(image[10:110].astype(int) - 128).max() < 12
    assert image[130:230].std() > 20


def test_without_the_video_figure_and_page_go_without_pictures(
    make_result: MakeResult, tmp_path: Path
) -> None:
    result = make_result(500, video="gone.mp4")
    files = write(result, ["png", "html"], tmp_path, "a")
    assert "not at hand" in files[1].read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"gone\.mp4"):
        write(result, ["mp4"], tmp_path, "a")
    assert not (tmp_path / "a.annotated.mp4").exists()


def test_the_page_of_a_long_video_links_it(
    make_result: MakeResult,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_video: Callable[..., Path],
) -> None:
    monkeypatch.setattr(report, "MAX_EMBEDDED_S", 1.0)
    (tmp_path / "in put").mkdir()
    known = tmp_path / "in put" / "a.mp4"
    known.write_bytes(clip.read_bytes())
    files = write(make_result(50, video=str(known)), ["html"], tmp_path / "out", "a")
    assert 'src="../in%20put/a.mp4"' in files[0].read_text(encoding="utf-8")
    assert len(files) == 1

    grey = [np.full((48, 64, 3), 90, dtype=np.uint8)] * 50
    unknown = write_video(tmp_path / "b.avi", grey, codec="mjpeg", options={})
    page, copy = write(make_result(50, video=str(unknown)), ["html"], tmp_path / "out", "b")
    assert copy.name == "b.preview.mp4"
    assert 'src="b.preview.mp4"' in page.read_text(encoding="utf-8")
    assert encode.plays_in_browsers(copy)
    assert is_generated(copy)


def test_without_h264_the_page_gets_a_webm(
    make_result: MakeResult, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "_has", lambda codec: codec != "libx264")
    (page,) = write(make_result(50, video=str(clip)), ["html"], tmp_path, "a")
    with av.open(io.BytesIO(embedded_video(page))) as container:
        assert container.streams.video[0].codec_context.name == "vp8"
        assert sum(1 for _ in container.decode(video=0)) == 50
    monkeypatch.setattr(encode, "_has", lambda _: False)
    with pytest.raises(OddframeError, match="no video encoder"):
        write(make_result(50, video=str(clip)), ["html"], tmp_path, "b")


def test_an_unknown_format_names_the_nearest(make_result: MakeResult, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean json"):
        write(make_result(), ["jsn"], tmp_path, "a")


def test_the_video_itself_is_never_overwritten(
    make_result: MakeResult, clip: Path, tmp_path: Path
) -> None:
    video = tmp_path / "a.annotated.mp4"
    video.write_bytes(clip.read_bytes())
    with pytest.raises(UsageError, match="the video itself"):
        write(make_result(50, video=str(video)), ["mp4"], tmp_path, "a")
    assert video.read_bytes() == clip.read_bytes()


class Disk:
    """Stands in for a full disk: every write of a file fails."""

    @staticmethod
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_a_one_line_error_and_keeps_the_old_file(
    make_result: MakeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = write(make_result(50), ["json"], tmp_path, "a")
    monkeypatch.setattr(Path, "write_bytes", Disk.full)
    with pytest.raises(OddframeError, match=r"a\.json: .*no space left") as refused:
        write(make_result(80), ["json"], tmp_path, "a")
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [path]
    assert read_score_file(path).result.track.timebase.n_frames == 50


def test_a_disk_that_fills_while_encoding_leaves_nothing(
    make_result: MakeResult, clip: Path, tmp_path: Path
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    (tmp_path / "part").symlink_to("/dev/full")
    writer = encode.VideoWriter(
        tmp_path / "part", encode.VideoEncoder("libx264", "mp4"), 320, 240, 25.0
    )
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)

    def fill() -> None:
        for i in range(200):
            writer.add(noise, i / 25)
        writer.close()

    with pytest.raises(OddframeError, match="no space left"):
        fill()
    writer.close(complete=False)


def test_a_video_that_ends_in_an_error_leaves_nothing(
    make_result: MakeResult, tmp_path: Path
) -> None:
    def frames() -> Iterator[np.typing.NDArray[np.uint8]]:
        yield np.zeros((48, 64, 3), dtype=np.uint8)
        raise InputError("camera unplugged")

    with pytest.raises(InputError, match="camera unplugged"):
        write(make_result(50), ["png", "html", "mp4"], tmp_path, "a", source=frames())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error(make_result: MakeResult, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OddframeError, match="cannot be written"):
        write(make_result(), ["json"], tmp_path / "file" / "out", "a")
    with pytest.raises(OddframeError, match="cannot be written"):
        write_json(make_result(), tmp_path / "file" / "a.json")


def test_an_interrupt_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with files.atomic_write(path) as part:
            part.write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_score_file_lists_the_files_of_its_result_and_comes_last(
    make_result: MakeResult, clip: Path, tmp_path: Path
) -> None:
    result = make_result(50, 25.0, [(0.6, 1.2)], video=str(clip))
    written = write(result, format_names(), tmp_path, "a")
    found = read_score_file(tmp_path / "a.json")
    assert found.intact is True
    assert found.files == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in written[1:]
    }
    assert all(path.stat().st_mtime_ns <= written[0].stat().st_mtime_ns for path in written)
    assert find_wrong_files(found, format_names(), tmp_path, "a") == {}


def test_files_of_the_same_result_stay_listed_and_outdated_ones_go(
    make_result: MakeResult, tmp_path: Path
) -> None:
    result = make_result(90, 25.0, [(1.0, 2.0)])
    write(result, ["json", "csv", "vtt"], tmp_path, "a")
    write(result, ["json", "html"], tmp_path, "a")
    assert set(read_score_file(tmp_path / "a.json").files) == {"a.csv", "a.vtt", "a.html"}
    (tmp_path / "a.vtt").write_text("WEBVTT\n\nNOTE mine now\n")
    (tmp_path / "mine.txt").write_text("mine")
    other = make_result(90, 25.0, [(1.0, 2.0)], rule=EventRule(threshold=0.95, release=0.9))
    write(other, ["json", "csv"], tmp_path, "a")
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "a.csv", "a.vtt", "mine.txt"}
    found = read_score_file(tmp_path / "a.json")
    assert set(found.files) == {"a.csv"}
    assert find_wrong_files(found, ["json", "csv", "vtt", "html"], tmp_path, "a") == {
        "vtt": "was of other scores",
        "html": "added",
    }


def test_a_score_file_from_elsewhere_cannot_have_other_files_removed(
    make_result: MakeResult, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for path in (tmp_path / "outside.csv", folder / "b.csv"):
        path.write_text("precious")
    digest = hashlib.sha256(b"precious").hexdigest()
    listed = {"../outside.csv": digest, "b.csv": digest}
    write_json(make_result(50), folder / "a.json", listed)
    write(make_result(80), ["json"], folder, "a")
    assert (tmp_path / "outside.csv").read_text() == "precious"
    assert (folder / "b.csv").read_text() == "precious"


def test_a_video_that_is_scored_is_not_removed_as_outdated(
    make_result: MakeResult, clip: Path, tmp_path: Path
) -> None:
    """Someone may score an annotated video that lies among the results."""
    write(make_result(50, video=str(clip)), ["json", "mp4"], tmp_path, "a")
    video = tmp_path / "a.annotated.mp4"
    write(make_result(50, video=str(video)), ["json"], tmp_path, "a")
    assert video.exists()


def test_a_page_with_a_damaged_preview_must_be_written_again(
    make_result: MakeResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_video: Callable[..., Path],
) -> None:
    monkeypatch.setattr(report, "MAX_EMBEDDED_S", 1.0)
    grey = [np.full((48, 64, 3), 90, dtype=np.uint8)] * 50
    video = write_video(tmp_path / "b.avi", grey, codec="mjpeg", options={})
    write(make_result(50, video=str(video)), ["json", "html"], tmp_path, "b")
    found = read_score_file(tmp_path / "b.json")
    assert set(found.files) == {"b.html", "b.preview.mp4"}
    (tmp_path / "b.preview.mp4").write_bytes(b"torn")
    assert find_wrong_files(found, ["json", "html"], tmp_path, "b") == {
        "html": "was changed or damaged"
    }


def test_a_name_with_bytes_that_are_not_text_is_written_and_read(
    make_result: MakeResult, tmp_path: Path
) -> None:
    result = make_result(90, video="caf\udce9/cam\udce9.mp4")
    write(result, ["json", "html"], tmp_path, "a")
    found = read_score_file(tmp_path / "a.json")
    assert found.intact is True
    assert find_wrong_files(found, ["json", "html"], tmp_path, "a") == {}
    write_html(result, tmp_path / "b.html", Media.linked(result.video))
    assert 'src="caf%E9/cam%E9.mp4"' in (tmp_path / "b.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("intact", [True, False])
def test_an_edited_score_file_is_recognised(
    make_result: MakeResult, tmp_path: Path, intact: bool
) -> None:
    path = tmp_path / "a.json"
    write_json(make_result(90, 25.0, [(1.0, 2.0)]), path)
    data = json.loads(path.read_text(encoding="utf-8"))
    if not intact:
        data["events"] = []
    path.write_text(json.dumps(data, indent=4, sort_keys=True), encoding="utf-8")
    assert read_score_file(path).intact is intact
