"""Check that README and docs are true: each command runs as written, from nothing but the wheel.

The wheel is built and unpacked into a folder. Every block runs in another folder, which holds small
inputs under the names that the pages use. ``ELSEWHERE`` and ``NOT_RUN`` list what is not run, with
the reason; the options of those commands are still checked. A block of ``text`` has to be what a
command or a block of Python of the same page printed, numbers aside.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.main import get_command

from oddframe.backbones.engines import choose_runtime
from oddframe.cli.demo import DEMO_DATA
from oddframe.cli.main import app
from oddframe.features.extraction.extract_video import spec_templates
from oddframe.features.presets import get_preset
from oddframe.methods.mil.urdmu_network import UrDmuConfig, UrDmuNetwork
from oddframe.methods.registry import get_method, method_names
from oddframe.video.decoding.isolated import open_source
from tests.conftest import encode
from tests.datasets.generated import GeneratorOptions, made_up

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
README = PAGES[0].read_text()

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)

# Blocks that are no commands, by page and first words, and where they are checked.
ELSEWHERE = {
    ("extend.md", '"""Softmax pooling'): "tests/methods/test_new_method.py",
    ("extend.md", '"""The backbone ``tiny3d``'): "tests/backbones/test_extend_backbone.py",
    ("extend.md", '    "tiny3d": '): "tests/backbones/test_extend_backbone.py",
    ("extend.md", '"""Two Cameras'): "tests/datasets/test_extend_dataset.py",
    ("extend.md", '    "two_cameras": '): "tests/datasets/test_extend_dataset.py",
    ("extend.md", '"""The benchmark'): "tests/research/test_extend_benchmark.py",
    ("extend.md", '"""Events as SubRip'): "tests/outputs/test_extend_format.py",
    ("extend.md", 'OutputFormat("srt"'): "tests/outputs/test_extend_format.py",
    ("export.md", "import oddframe"): "tests/exporting/test_export.py",
    ("data.md", "clips/normal/cam1/monday.mp4"): "a picture of folders",
    ("data.md", "path,label,clicks"): "tests/training/test_docs.py",
    ("train.md", "clicks:"): "tests/training/test_docs.py",
    ("features.md", "features:"): "tests/features/test_docs.py",
    ("features.md", "name: clip_b32"): "tests/features/test_docs.py",
    ("formats.md", '{"schema": 1, "video": "cam3.mp4"'): "an abridged file",
    ("formats.md", '{"schema": 1, "video": "cam1/a.mp4"'): "an abridged file",
    ("watch.md", "03:52:50 cam3"): "tests/cli/test_watch.py",
    ("watch.md", "cam3: 40 % looked at"): "tests/watch/test_watch_sources.py",
    ("watch.md", "time_zone: Europe/Berlin"): "tests/watch/test_watch_docs.py",
    ("watch_events.md", '{"version": 1, "type": "event"'): "tests/watch/test_docs.py",
    ("watch_events.md", "automation:"): "tests/watch/test_docs.py",
    ("watch_events.md", "yard/2026-03-04/"): "tests/watch/test_docs.py",
}
_HOURS = "trains for hours"
_FETCHES = "fetches packages; here the wheel is installed instead"
_UCF_VIDEOS = "needs the videos of UCF-Crime"
# Commands that are not run, by how they begin, and why.
NOT_RUN = {
    "make test": "is what runs this",
    ". .venv/bin/activate": "the wheel is installed instead",
    "python3 -m venv": _FETCHES,
    "pip install": _FETCHES,
    "oddframe watch": "runs until Ctrl-C; tests/cli/test_watch.py",
    "oddframe extract s3://": "tests/cli/test_extract_cluster.py, with a real Ray and object store",
    "oddframe reproduce table1 table3": _HOURS,
    "oddframe reproduce table3": _HOURS,
    "oddframe reproduce settings": _HOURS,
    "oddframe reproduce figure": f"{_HOURS}; tests/cli/test_reproduce.py draws small ones",
    "oddframe report show": "shows what a table's hours write; tests/cli/test_reproduce.py",
    "oddframe league": _HOURS,
    "nohup oddframe league": _HOURS,
    "oddframe train ucf_crime:LISTS": f"{_HOURS}: 3,000 steps of the published size",
    "oddframe evaluate ucf.safetensors ucf_crime:LISTS --protocol official": _UCF_VIDEOS,
    "oddframe train fight_videos.csv": "minutes of I3D on 279 videos",
    "oddframe train ped2:DATA/ped2": "minutes of I3D on 28 videos, four squares each",
    "oddframe evaluate squares.safetensors ped2:DATA/ped2": "minutes of I3D on 28 videos",
    "oddframe train clips/ --budget 30m": "tries settings for half an hour",
    "torchrun": "tests/training/test_distributed.py runs it",
    "python tools/": "the wheel has no tools/; made-up features stand in for what they make",
}
# What a command runs, where it does more than that.
RUNS = {"make demo": "oddframe demo --out demo"}
# Runs one step after another in one process, so that networks are loaded once; each is the whole
# command line, from sys.argv to the exit code.
DRIVER = """
import json, os, sys, traceback
from pathlib import Path

def run(kind, text, words):
    if kind == "python":
        exec(compile(text, "page", "exec"), {"__name__": "page"})
        return 0
    from oddframe.cli.main import run_command_line
    sys.argv = words
    try:
        run_command_line()
    except SystemExit as end:
        return end.code or 0

if __name__ == "__main__":
    logs = Path(sys.argv[1])
    for number, step in enumerate(json.loads((logs / "steps.json").read_text())):
        for source, target in step["links"]:
            Path(target).unlink(missing_ok=True)
            Path(target).symlink_to(source)
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(logs / f"{number}.{name}", os.O_WRONLY | os.O_CREAT), stream)
        try:
            code = run(step["kind"], step["text"], step["words"])
        except BaseException:
            traceback.print_exc()
            code = -1
        sys.stdout.flush()
        sys.stderr.flush()
        (logs / f"{number}.code").write_text(str(code))
    import oddframe
    (logs / "where").write_text(oddframe.__file__)
"""


@dataclass(frozen=True)
class Step:
    """A command, or a block of Python, on a page."""

    page: str
    kind: str
    text: str

    @property
    def reason(self) -> str:
        """Why it is not run here; "": it is."""
        return next((why for start, why in NOT_RUN.items() if self.text.startswith(start)), "")


@dataclass(frozen=True)
class Ran:
    """What became of a step."""

    step: Step
    code: int
    out: str
    err: str


def name_of(page: Path) -> str:
    """``README.md``, or the path below ``docs/``."""
    return str(page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT))


def blocks() -> Iterator[tuple[str, str, str]]:
    """(page, language, text) of every block."""
    for page in PAGES:
        for found in BLOCK.finditer(page.read_text()):
            yield name_of(page), found[1], found[2]


def is_elsewhere(page: str, text: str) -> bool:
    return any(page == name and text.startswith(start) for name, start in ELSEWHERE)


def steps() -> list[Step]:
    """Everything that there is to type, in the order of the pages."""
    found = []
    for page, language, text in blocks():
        if is_elsewhere(page, text) or language == "text":
            continue
        if language == "python":
            found.append(Step(page, "python", text))
            continue
        assert language in ("", "console"), f"{page}: a block of {language} that nothing checks"
        for line in text.splitlines():
            assert language == "" or line.startswith("$ "), f"{page}: {line}"
            command = line.removeprefix("$ ") if language else line
            # Columns beside a command say what it does.
            found.append(Step(page, "command", re.split(r" {2,}", command)[0]))
    return found


RUN = [step for step in steps() if not step.reason]


def test_what_is_not_run_is_there_and_says_why() -> None:
    pages = [(page, text) for page, _, text in blocks()]
    for name, start in ELSEWHERE:
        assert any(page == name and text.startswith(start) for page, text in pages), start
    for start in NOT_RUN:
        assert any(step.text.startswith(start) for step in steps()), start
    kinds = {RUNS.get(step.text, step.text).split()[0] for step in RUN if step.kind == "command"}
    assert kinds == {"oddframe"}
    assert len(RUN) >= 35


@pytest.mark.parametrize("step", [step for step in steps() if step.reason], ids=lambda s: s.text)
def test_options_of_what_is_not_run_are_there(step: Step) -> None:
    words = shlex.split(re.sub(r" >.*", "", step.text.removeprefix("nohup ")))
    if "oddframe" not in words:
        return
    command: Any = get_command(app)
    words = words[words.index("oddframe") + 1 :]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("oddframe", words)  # Reads the words, runs nothing.


# --- The folder in which they run. ---


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked: what is installed, without the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def env(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    return {**os.environ, "PYTHONPATH": str(site), "HOME": str(home)}


def cut(source: Path, target: Path, frames: int) -> None:
    """The first frames of a clip."""
    images = [frame.image for frame in open_source(source).frames((128, 96))]
    target.parent.mkdir(parents=True, exist_ok=True)
    encode(target, images[:frames])


def fill(desk: Path) -> None:
    """What the commands speak of: small, under the names that the pages use."""
    fight, normal = (ROOT / f"tests/data/{name}.mp4" for name in ("fi150", "nofi079"))
    shutil.copy(fight, desk / "cam3.mp4")
    for name in ("recordings/monday.mp4", "videos/a.mp4"):
        cut(normal, desk / name, 17)
    (desk / "frames").mkdir()
    for i, frame in enumerate(open_source(fight).frames((176, 120))):
        if i < 20:
            cv2.imwrite(str(desk / f"frames/{i:03d}.jpg"), frame.image[:, :, ::-1])
    zones = np.full((24, 32), 255, np.uint8)
    zones[:6] = 0
    cv2.imwrite(str(desk / "zones.png"), zones)
    with (DEMO_DATA / "clips.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            place = desk / "clips" / row["label"] / row["recording"]
            place.mkdir(parents=True, exist_ok=True)
            if len(list(place.iterdir())) < 2:
                shutil.copy(DEMO_DATA / row["clip"], place)
    (desk / "normal_days").mkdir()
    for clip in sorted((desk / "clips/normal").rglob("*.mp4")):
        shutil.copy(clip, desk / "normal_days")
    for name, label in {fight: "fight", normal: "normal"}.items():
        (desk / "held_out" / label).mkdir(parents=True)
        shutil.copy(name, desk / "held_out" / label)
    for folder in ("quiet_day", "normal/cam3"):
        (desk / folder).mkdir(parents=True)
        shutil.copy(normal, desk / folder)


def fill_published(desk: Path, shared_data: Path) -> dict[str, list[tuple[str, str]]]:
    """Made-up features with the published names; what LISTS and others are, by data set."""
    (desk / "DATA").mkdir()
    for name in ("ped2", "ur_fall"):
        (desk / "DATA" / name).symlink_to(shared_data / name)
    torch.manual_seed(1)
    torch.save(UrDmuNetwork(1024, UrDmuConfig()).state_dict(), desk / "ucf_final.pkl")
    links: dict[str, list[tuple[str, str]]] = {}
    for name in ("ucf_crime", "xd_violence"):
        made = made_up(
            name, shared_data, desk / "made" / name, GeneratorOptions(scale=0.01, videos=2)
        )
        folder = "FEATURES" if name == "ucf_crime" else "RGB"
        links[name] = [(str(made.lists), "LISTS"), (str(made.features), folder)]
        if made.sound.is_dir():
            links[name].append((str(made.sound), "VGGISH"))
    (desk / "made_up").symlink_to(desk / "made" / "ucf_crime")
    return links


@pytest.fixture(scope="module")
def ran(
    env: dict[str, str], shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Ran]:
    """Every step, run in order."""
    desk, logs = tmp_path_factory.mktemp("desk"), tmp_path_factory.mktemp("logs")
    fill(desk)
    links = fill_published(desk, shared_data)
    (desk / "STORE").symlink_to(desk / ".oddframe/features")
    # What pages take for given: somebody's features, which here are ours, and a model.
    before = [
        "oddframe extract videos/ --preset ucf-crime --out published --quiet",
        "oddframe import checkpoint ucf_final.pkl --out ucf.safetensors",
    ]
    (part,) = spec_templates("i3d", get_preset("ucf-crime").preprocessing)
    spec = part.spec(choose_runtime("auto", "auto", "auto").precision)
    told = []
    for step in [*(Step("", "command", text) for text in before), *RUN]:
        text = (
            RUNS.get(step.text, step.text)
            .replace("/data/", "DATA/")
            .replace("d3f5", spec.hash()[:4])
        )
        words = shlex.split(text) if step.kind == "command" else []
        used = next((links[name] for name in links if name in text), links["ucf_crime"])
        told.append({"kind": step.kind, "text": text, "words": words, "links": used})
    (logs / "steps.json").write_text(json.dumps(told))
    (logs / "driver.py").write_text(DRIVER)
    words = [sys.executable, str(logs / "driver.py"), str(logs)]
    subprocess.run(words, cwd=desk, env=env, check=True)
    assert Path((logs / "where").read_text()).is_relative_to(env["PYTHONPATH"]), "not the wheel"
    return [
        Ran(
            step,
            int((logs / f"{number}.code").read_text()),
            (logs / f"{number}.out").read_text(),
            (logs / f"{number}.err").read_text(),
        )
        for number, step in enumerate(RUN, start=len(before))
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", sorted({step.page for step in RUN}))
def test_a_page_runs_as_written(page: str, ran: list[Ran]) -> None:
    for each in ran:
        if each.step.page == page:
            assert each.code == 0, f"{each.step.text}\n{each.out}\n{each.err}"
            assert each.out or each.step.kind == "python", each.step.text


def masked(text: str) -> str:
    """Without its numbers, which differ between machines, and the spaces between columns."""
    return re.sub(r" +", " ", re.sub(r"\d+(\.\d+)?", "#", text)).strip()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_printed_output_is_what_is_printed(ran: list[Ran]) -> None:
    outputs = [
        (page, text)
        for page, language, text in blocks()
        if language == "text" and not is_elsewhere(page, text)
    ]
    assert len(outputs) >= 3
    for page, text in outputs:
        printed = [masked(each.out) for each in ran if each.step.page == page]
        assert any(masked(text) in out for out in printed), f"{page}: {text}"


@pytest.mark.slow
def test_the_program_of_the_wheel_finds_configurations_by_name(
    env: dict[str, str], tmp_path: Path
) -> None:
    script = (
        "import sys; from importlib.metadata import distribution as of;"
        "sys.exit(of('oddframe').entry_points['oddframe'].load()())"
    )
    words = [sys.executable, "-c", script, "train", "clips", "--config", "figth"]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("did you mean fight?")


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and mkdocs make it."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(text) for text in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
        if "://" not in target:
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(path), f"{page.name}: {target}#{anchor}"


def test_make_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:\$ |`)make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_readme_is_short() -> None:
    """A word is anything between spaces with a letter or digit in it; code and tables count."""
    words = [word for word in README.split() if re.search(r"\w", word)]
    assert 800 <= len(words) <= 1000


@pytest.mark.parametrize("name", method_names())
def test_every_method_has_a_page_and_a_row_in_the_overview(name: str) -> None:
    method = get_method(name)
    page = DOCS / "methods" / f"{name}.md"
    assert f"`{name}`" in page.read_text().splitlines()[0]
    (row,) = re.findall(
        rf"^\| \[`{name}`\]\(methods/{name}\.md\) .*$",
        (DOCS / "methods.md").read_text(),
        re.MULTILINE,
    )
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == f"{re.sub(r' [(].*', '', method.title)}, {method.year}"
    assert cells[3:5] == [method.supervision, method.info.checked]


def test_the_overview_lists_nothing_else() -> None:
    pages = sorted(page.stem for page in (DOCS / "methods").glob("*.md"))
    assert pages == sorted(method_names())
