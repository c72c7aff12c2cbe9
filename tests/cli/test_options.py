"""Options have the same name and sentence in every verb; the shell completes them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from oddframe.cli.main import app
from oddframe.cli.options import (
    RENAMED_OPTIONS,
    complete_configs,
    complete_formats,
    complete_methods,
    complete_models,
    translate_old_options,
)
from oddframe.methods.registry import method_names
from oddframe.modelfile import shipped_models
from oddframe.outputs.registry import format_names
from oddframe.training.configure import shipped_configs
from tests.cli.conftest import Answer
from tests.conftest import ROOT

Run = Callable[..., Answer]

# Options that are not the same in every verb that has them, and why.
DIFFERENT = {
    "--data": "data info and check need it only where DATA is a published set's name",
    "--dataset": "each verb has its own data sets to choose from",
    "--features": "score takes files; data check, which reads every file, no imported kind",
    "--format": "each verb writes other files",
    "--json": "watch prints messages, one a line",
    "--jobs": "extract has another default on a cluster",
    "--mask": "extract keeps features of one kind, so it takes one mask for all videos",
    "--model": "extract needs none: what it does without one is another backbone",
    "--out": "each verb writes something else",
    "--profile": "train does not use a profile but makes one",
    "--seeds": "train chooses among seeds, the others repeat a protocol",
}


def options() -> Iterator[tuple[str, str, Any]]:
    """(verb, name, option) of every verb."""

    def walk(command: Any, verb: tuple[str, ...]) -> Iterator[tuple[str, str, Any]]:
        for name, inside in getattr(command, "commands", {}).items():
            yield from walk(inside, (*verb, name))
        for option in command.params:
            if option.param_type_name == "option":
                yield " ".join(verb), option.opts[0], option

    yield from walk(get_command(app), ())


def test_an_option_is_the_same_in_every_verb() -> None:
    found: dict[str, dict[tuple[str, ...], list[str]]] = defaultdict(lambda: defaultdict(list))
    for verb, name, option in options():
        kind = vars(option).get("type_descriptor", vars(option).get("type"))  # By version of Typer.
        kind = repr(getattr(kind, "annotation", kind))
        limits = str([vars(option).get(name) for name in ("min", "max", "required", "hidden")])
        facts = (str(option.help), repr(option.default), kind, limits, *option.opts)
        found[name][facts].append(verb)
    several = {name: facts for name, facts in found.items() if len(facts) > 1}
    unlike = {name: list(facts.values()) for name, facts in several.items()}
    assert unlike.keys() == DIFFERENT.keys(), {
        n: v for n, v in unlike.items() if n not in DIFFERENT
    }


def test_one_sentence_has_one_name() -> None:
    names: dict[str, set[str]] = defaultdict(set)
    for _, name, option in options():
        names[option.help].add(name)
    assert [each for each in names.values() if len(each) > 1] == []


@pytest.mark.parametrize("verb", RENAMED_OPTIONS)
def test_old_names_are_accepted_and_not_shown(verb: str) -> None:
    there = {name for owner, name, _ in options() if owner == verb}
    for old, now in RENAMED_OPTIONS[verb].items():
        assert old not in there
        words, notes = translate_old_options([*verb.split(), old, "x", f"{old}=y", "--", old])
        moved = [*verb.split(), now, "x", f"{now}=y", "--", old]
        assert words == (moved if now else [*verb.split(), "x", "--", old])
        assert len(notes) == 2
        assert now in there or not now


def test_an_old_name_works_and_is_reported(oddframe: Run, clip: Path, tmp_path: Path) -> None:
    words = ("score", "--profile", "fast", "--out", tmp_path, clip)
    assert oddframe(*words).code == 0
    answer = oddframe(*words, "--again")
    assert answer.code == 0
    assert "oddframe: --again is called --fresh now" in answer.err
    assert "scored before" not in answer.out
    # The same word in another verb, or behind --, is none of these options.
    assert oddframe("info", clip, "--again").code == 2
    assert "--again: no such" in oddframe("score", "--", "--again").err


# --- The shell. ---


def complete(words: str, folder: Path) -> list[str]:
    """What ``oddframe`` answers bash for a line that ends where the cursor is."""
    line = f"oddframe {words}"
    count = len(line.split()) - (0 if line.endswith(" ") else 1)
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(count), "_ODDFRAME_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-m", "oddframe"],
        env={**os.environ, **asked}, cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "some"),
    [
        ("sco", {"score"}),
        ("score --prof", {"--profile"}),
        ("score --profile ", {"best", "fast"}),
        ("score --model fi", {"fight", "fight_urdmu"}),
        ("score --format json,c", {"json,csv"}),
        ("methods hl", {"hl_net"}),
        ("info fi", set()),
        ("calibrate f", {"fight", "fight_urdmu"}),
        ("train clips --method rt", {"rtfm"}),
        ("train clips --config figh", {"fight", "fight_sound", "fight_urdmu"}),
        ("league --methods rtfm,ur", {"rtfm,ur_dmu"}),
        ("reproduce table1 --dataset ucf", {"ucf_crime"}),
        ("features export --format pa", {"parquet"}),
    ],
)
def test_bash_completion_offers_the_choices(words: str, some: set[str], tmp_path: Path) -> None:
    assert set(complete(words, tmp_path)) == some


def test_completion_offers_everything_that_exists() -> None:
    assert complete_methods("") == sorted(method_names())
    assert complete_models("") == list(shipped_models())
    assert complete_formats("") == list(format_names())
    assert complete_configs("") == sorted(shipped_configs())
    assert shipped_configs().keys() == {path.stem for path in (ROOT / "configs").glob("*.yaml")}


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_with_the_script_that_is_shown(tmp_path: Path) -> None:
    program = tmp_path / "oddframe"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m oddframe "$@"\n')
    program.chmod(0o755)
    shell = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # --show-completion SHELL.
    env = {**os.environ, **shell, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = (
        'eval "$(oddframe --show-completion bash)"\n'
        "COMP_WORDS=(oddframe calib) COMP_CWORD=1\n"
        "_oddframe_completion oddframe\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    words = ["bash", "-c", script]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "calibrate", done.stderr


def test_completion_imports_nothing_heavy() -> None:
    code = (
        "import sys; from oddframe.cli.options import complete_methods, complete_models,"
        " complete_configs; complete_methods(''); complete_models(''); complete_configs('');"
        "import oddframe.cli.main; sys.exit(bool({'torch', 'numpy', 'av'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
