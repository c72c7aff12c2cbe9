"""Reading the user's data sets: folders, CSVs, and a clear message for each problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from oddframe.datasets.labelled import Dataset, GroundTruth, TimeLabels
from oddframe.datasets.published.video_files import read_surveillance_fight
from oddframe.datasets.read import read_dataset, survey_path
from oddframe.errors import InputError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_dataset(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def by_name(dataset: Dataset) -> dict[str, tuple[bool, str, str]]:
    return {v.path.name: (v.abnormal, v.label, v.group) for v in dataset.videos}


class TestFolder:
    def test_classes_and_groups_are_read(self, tmp_path: Path) -> None:
        touch(
            tmp_path / "Normal" / "cam1" / "a.mp4",
            tmp_path / "Normal" / "b.mp4",
            tmp_path / "fight" / "cam1" / "c.avi",
            tmp_path / "fight" / "d.mp4",
            tmp_path / "fall" / "site" / "cam2" / "e.mkv",
        )
        dataset = read_dataset(tmp_path)
        assert by_name(dataset) == {
            "a.mp4": (False, "normal", "cam1"),
            "b.mp4": (False, "normal", "Normal/b.mp4"),
            "c.avi": (True, "fight", "cam1"),
            "d.mp4": (True, "fight", "fight/d.mp4"),
            "e.mkv": (True, "fall", "site/cam2"),
        }
        assert dataset.classes == ("fall", "fight")
        assert dataset.name == tmp_path.name

    def test_a_folder_of_frames_is_one_video(self, tmp_path: Path) -> None:
        touch(tmp_path / "fight" / "a.mp4")
        touch(*(tmp_path / "normal" / "clip" / f"{i:03}.jpg" for i in range(20)))
        dataset = read_dataset(tmp_path)
        assert by_name(dataset)["clip"] == (False, "normal", "normal/clip")
        assert len(dataset) == 2

    def test_a_missing_normal_class_is_an_error(self, tmp_path: Path) -> None:
        touch(tmp_path / "noFight" / "a.mp4", tmp_path / "fight" / "b.mp4")
        assert "'normal'" in refused(tmp_path)
        assert "'fight', 'noFight'" in refused(tmp_path)

    def test_only_normal(self, tmp_path: Path) -> None:
        touch(tmp_path / "normal" / "a.mp4")
        assert read_dataset(tmp_path).classes == ()

    def test_two_spellings(self, tmp_path: Path) -> None:
        touch(
            tmp_path / "normal" / "a.mp4", tmp_path / "Normal" / "b.mp4", tmp_path / "x" / "c.mp4"
        )
        assert 'spelled two ways, "Normal"' in refused(tmp_path)

    def test_an_empty_class_is_named(self, tmp_path: Path) -> None:
        touch(tmp_path / "fight" / "a.mp4")
        (tmp_path / "normal").mkdir()
        assert f"{tmp_path / 'normal'}: no videos" in refused(tmp_path)
        touch(tmp_path / "normal" / "notes.txt")
        assert f"{tmp_path / 'normal'}: no videos" in refused(tmp_path)

    def test_feature_files_count_as_videos(self, tmp_path: Path) -> None:
        touch(tmp_path / "normal" / "a.npy", tmp_path / "fall" / "cam" / "b.npy")
        assert by_name(read_dataset(tmp_path)) == {
            "a.npy": (False, "normal", "normal/a.npy"),
            "b.npy": (True, "fall", "cam"),
        }

    def test_events_beside_the_classes_are_read(self, tmp_path: Path) -> None:
        touch(*(tmp_path / name for name in ("normal/a.mp4", "fight/b.mp4", "fight/c.mp4")))
        (tmp_path / "events.csv").write_text("path,events\nfight/b.mp4,0:03-5; 7-9\n")
        truths = {v.path.name: v.truth for v in read_dataset(tmp_path).videos}
        assert truths == {
            "a.mp4": GroundTruth((), "seconds"),
            "b.mp4": GroundTruth(((3, 5), (7, 9)), "seconds"),
            "c.mp4": None,
        }

    def test_clicks_beside_the_classes_are_read(self, tmp_path: Path) -> None:
        touch(*(tmp_path / name for name in ("normal/a.mp4", "fight/b.mp4", "fight/c.mp4")))
        (tmp_path / "events.csv").write_text(
            "path,clicks,rejected\nfight/b.mp4,47; 12.5,\nnormal/a.mp4,,1:05;3;3\n"
        )
        videos = {v.path.name: v for v in read_dataset(tmp_path).videos}
        assert videos["a.mp4"].time_labels == TimeLabels((), (3, 65))
        assert videos["b.mp4"].time_labels == TimeLabels((12.5, 47))
        assert not videos["c.mp4"].time_labels
        assert all(video.truth is None for video in videos.values())  # It is no list of events.

    def test_a_video_on_two_lines_and_a_list_without_times_are_refused(
        self, tmp_path: Path
    ) -> None:
        touch(tmp_path / "normal" / "a.mp4", tmp_path / "fight" / "b.mp4")
        table = tmp_path / "events.csv"
        table.write_text("path,clicks\nfight/b.mp4,1\n./fight/b.mp4,2\n")
        assert "line 3: ./fight/b.mp4 is on line 2 already; write all its times in one row" in (
            refused(tmp_path)
        )
        table.write_text("path,times\nfight/b.mp4,1\n")
        assert "none of the columns events, clicks, rejected" in refused(tmp_path)

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ("fight/x.mp4,1-2", "line 2: fight/x.mp4 is no video of this data set"),
            ("normal/a.mp4,1-2", "line 2: normal/a.mp4 is labelled normal"),
            ("fight/b.mp4,2-1", 'line 2: the interval "2-1" ends before it starts'),
        ],
    )
    def test_impossible_events_are_refused(self, tmp_path: Path, row: str, said: str) -> None:
        touch(tmp_path / "normal" / "a.mp4", tmp_path / "fight" / "b.mp4")
        (tmp_path / "events.csv").write_text(f"path,events\n{row}\n")
        assert said in refused(tmp_path)

    def test_further_problems_are_counted(self, tmp_path: Path) -> None:
        touch(tmp_path / "nromal" / "a.mp4")
        (tmp_path / "fight").mkdir()
        assert f"(and 1 more: oddframe data check {tmp_path})" in refused(tmp_path)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        assert "no folders and no videos in it" in refused(tmp_path)

    def test_videos_without_class_folders_are_normal(self, tmp_path: Path) -> None:
        touch(tmp_path / "monday.mp4", tmp_path / "tuesday.mp4", tmp_path / "notes.txt")
        dataset = read_dataset(tmp_path)
        assert [(v.path.name, v.abnormal, v.group) for v in dataset.videos] == [
            ("monday.mp4", False, "monday.mp4"),
            ("tuesday.mp4", False, "tuesday.mp4"),
        ]
        assert all(v.fallback_group for v in dataset.videos), "places are looked for"
        assert dataset.notes == ("no class folders: all 2 videos are taken as normal",)

    def test_videos_beside_class_folders_are_noted(self, tmp_path: Path) -> None:
        touch(tmp_path / "normal" / "a.mp4", tmp_path / "b.mp4")
        dataset = read_dataset(tmp_path)
        assert [video.path.name for video in dataset.videos] == ["a.mp4"]
        assert dataset.notes == ("beside the class folders, and left out: 1 videos, such as b.mp4",)

    def test_a_missing_path_is_an_error(self, tmp_path: Path) -> None:
        assert "no such" in refused(tmp_path / "none")
        touch(tmp_path / "video.mp4")
        assert "neither a folder" in refused(tmp_path / "video.mp4")


class TestTable:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        touch(*(tmp_path / f"{name}.mp4" for name in "abcde"))
        return tmp_path

    def write(self, folder: Path, text: str, encoding: str = "utf-8") -> Path:
        path = folder / "list.csv"
        path.write_bytes(text.encode(encoding))
        return path

    def test_rows_are_read(self, folder: Path) -> None:
        table = self.write(
            folder, "path,label,group\na.mp4,normal,x\nb.mp4,fight,\nc.mp4, fight ,x\n"
        )
        message = refused(table)  # " fight " is another spelling of "fight".
        assert 'spelled two ways, "fight" on line 3 and " fight " on line 4' in message
        table = self.write(
            folder, "path,label,group\na.mp4,Normal,x\nb.mp4,fight,\nc.mp4,fight,x\n"
        )
        dataset = read_dataset(table)
        assert by_name(dataset) == {
            "a.mp4": (False, "normal", "x"),
            "b.mp4": (True, "fight", "b.mp4"),
            "c.mp4": (True, "fight", "x"),
        }
        assert dataset.name == "list"
        assert all(video.path.exists() for video in dataset.videos)

    def test_a_byte_order_mark_and_further_columns_are_accepted(self, folder: Path) -> None:
        table = self.write(folder, "label,path,note\nnormal,a.mp4,x\nfight,b.mp4,y\n", "utf-8-sig")
        assert len(read_dataset(table)) == 2

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("path,label\na.mp4,Normal\nb.mp4,normal \nc.mp4,fight\n", "two ways"),
            ("path,label\na.mp4,nromal\nb.mp4,fight\n", "misspelt 'normal'"),
            ("path,label\na.mp4,normal\nb.mp4,\n", "no label on line 3"),
            ("path,label\na.mp4,normal\n,fight\n", "no path on line 3"),
            ("path,label\na.mp4,normal\nb.mp4\n", "no label on line 3"),
            ("path,label\na.mp4,fight\nb.mp4,noFight\n", "only 'fight', 'noFight'"),
            (
                "path,label,part\na.mp4,normal,train\nb.mp4,fight,tset\n",
                'line 3: the part is "tset"',
            ),
            ("path,label,part\na.mp4,normal,train\nb.mp4,fight,\n", "line 3 has no part"),
            ("path,label,events\na.mp4,normal,1-2\nb.mp4,fight,\n", "line 2: labelled normal"),
            ("path,label,events\na.mp4,normal,\nb.mp4,fight,1 to 2\n", 'line 3: "1 to 2" is no'),
            (
                "path,label,clicks\na.mp4,normal,3\nb.mp4,fight,\n",
                "line 2: labelled normal, but there is a click in it",
            ),
            (
                "path,label,clicks\na.mp4,normal,\nb.mp4,fight,3 s\n",
                'line 3: "3 s" is no time; write seconds, as in 12.5; 47',
            ),
            (
                "path,label,clicks,rejected\na.mp4,normal,,\nb.mp4,fight,3,1;3\n",
                "line 3: 3 s is both a click and a rejected time",
            ),
            (
                "path,label,clicks,events\na.mp4,normal,,\nb.mp4,fight,1.5;47,1-2\n",
                "line 3: the click at 47 s is in none of the events",
            ),
            (
                "path,label,rejected,events\na.mp4,normal,,\nb.mp4,fight,1.5,1-2\n",
                "line 3: the rejected time 1.5 s is in an event",
            ),
            ("path,label\na.mp4,normal\nb.mp4,fight\na.mp4,fight\n", "line 2 and again on line 4"),
            ("path,label\na.mp4,normal\n./a.mp4,normal\nb.mp4,fight\n", "again on line 3"),
            ("path,class\na.mp4,normal\n", "no column label, only path, class"),
            ("path;label\na.mp4;normal\n", "with commas"),
            ("path,label\n", "no rows"),
            ("", "empty"),
            ('path,label\na.mp4,"normal\n', "not a CSV"),
        ],
    )
    def test_each_problem_of_a_table_has_a_message(
        self, folder: Path, text: str, said: str
    ) -> None:
        table = self.write(folder, text)
        assert said in refused(table)
        assert str(table) in refused(table)

    def test_a_source_is_a_group(self, folder: Path) -> None:
        table = self.write(folder, "path,label,source\na.mp4,normal,s1\nb.mp4,fight,s2\n")
        assert read_dataset(table).groups == ("s1", "s2")

    def test_parts_and_events(self, folder: Path) -> None:
        table = self.write(
            folder,
            "path,label,part,events\na.mp4,normal,train,\nb.mp4,fight,Test,1.5-2;1-1.7\n"
            "c.mp4,fight,test,\n",
        )
        dataset = read_dataset(table)
        assert [v.part for v in dataset.videos] == ["train", "test", "test"]
        assert [v.truth for v in dataset.videos] == [
            GroundTruth((), "seconds"),
            GroundTruth(((1, 2),), "seconds"),
            None,
        ]
        assert len(dataset.select_part("test")) == 2

    def test_abnormal_is_a_label_like_any_other(self, folder: Path) -> None:
        table = self.write(folder, "path,label\na.mp4,normal\nb.mp4,abnormal\n")
        assert read_dataset(table).classes == ("abnormal",)

    def test_missing_files_are_counted_and_three_are_named(self, folder: Path) -> None:
        rows = "".join(f"no{i}.mp4,fight\n" for i in range(5))
        message = refused(self.write(folder, f"path,label\na.mp4,normal\n{rows}"))
        assert "5 of 6 files are missing: no0.mp4, no1.mp4, no2.mp4 ..." in message
        assert "no3" not in message

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
    def test_a_wrong_encoding_is_reported_with_its_line(self, folder: Path, encoding: str) -> None:
        table = self.write(folder, "path,label\na.mp4,normal\nbäh.mp4,fight\n", encoding)
        line = 3 if encoding == "latin-1" else 1
        assert f"line {line} is not UTF-8" in refused(table)


def test_surveillance_fight_is_read(shared_data: Path) -> None:
    dataset = read_surveillance_fight(shared_data / "surveillance_fight")
    assert (len(dataset), int(dataset.abnormal.sum())) == (264, 130)
    assert len(dataset.groups) == 37
    assert dataset.classes == ("fight",)


def test_circular_links_are_missing_files(tmp_path: Path, clip: Path) -> None:
    for folder in ("normal", "odd"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "good.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "odd" / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "list.csv").write_text(
        "path,label\nnormal/good.mp4,normal\nodd/good.mp4,odd\nodd/loop.mp4,odd\n"
    )
    (problem,) = survey_path(tmp_path / "list.csv").problems
    assert "1 of 3 files are missing: odd/loop.mp4" in problem
    (tmp_path / "events.csv").write_text("path,events\nodd/loop.mp4,0-1\n")
    assert len(survey_path(tmp_path).dataset) == 3  # Opening the link says what is wrong with it.
