"""Options that several verbs share, each written once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from oddframe.outputs.formats import format_names

# Options that had another name, by verb; "" where the option has become what happens anyway.
RENAMED_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "score": {"--again": "--fresh"},
    "extract": {"--again": "--fresh"},
    "import features": {"--again": "--fresh", "--lists": "--data"},
    "data info": {"--lists": "--data"},
    "data check": {"--lists": "--data"},
    "league": {"--benchmark": "--dataset"},
    "train": {"--resume": ""},
}
_METHOD = re.compile(r'^    name(?:, title, year)? = "([a-z0-9_]+)"', re.MULTILINE)


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Engine(StrEnum):
    auto = "auto"
    openvino = "openvino"
    torch = "torch"


class Precision(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class ProfileName(StrEnum):
    best = "best"
    fast = "fast"


class EventOptions:
    """How scores become events: options of every verb where events decide something.

    A verb takes all four and makes ``events.RuleChanges`` of them with ``changed_rule``.
    """

    Release = Annotated[
        float | None,
        typer.Option(
            "--release",
            min=0,
            max=1,
            help="An event lasts until the score is below this share of the threshold "
            "[the model's own].",
            show_default=False,
        ),
    ]
    Smooth = Annotated[
        float | None,
        typer.Option(
            "--smooth",
            min=0,
            max=3600,
            help="Seconds over which scores are averaged [the model's own].",
            show_default=False,
        ),
    ]
    MinLength = Annotated[
        float | None,
        typer.Option(
            "--min-length",
            min=0,
            max=86400,
            help="Seconds that an event must last [the model's own].",
            show_default=False,
        ),
    ]
    Gap = Annotated[
        float | None,
        typer.Option(
            "--gap",
            min=0,
            max=86400,
            help="Events closer than so many seconds are one [the model's own].",
            show_default=False,
        ),
    ]


def complete_models(incomplete: str) -> list[str]:
    """Shipped models that begin so; the shell completes files where there are none."""
    folder = Path(__file__).parents[1] / "models"
    return sorted(p.stem for p in folder.glob("*.safetensors") if p.stem.startswith(incomplete))


def complete_configs(incomplete: str) -> list[str]:
    """Shipped configurations that begin so."""
    from oddframe.training.config_files import shipped_configs

    return sorted(name for name in shipped_configs() if name.startswith(incomplete))


def complete_methods(incomplete: str) -> list[str]:
    """Methods that begin as the last word of a list with commas does.

    Their names are read from the modules' text: importing them takes seconds.
    """
    folder = Path(__file__).parents[1] / "methods"
    texts = (path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    names = sorted(name for text in texts for name in _METHOD.findall(text))
    return _last_of_list(names, incomplete)


def complete_formats(incomplete: str) -> list[str]:
    """Formats of ``score`` that begin as the last word of a list with commas does."""
    return _last_of_list(format_names(), incomplete)


def _last_of_list(known: Sequence[str], incomplete: str) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in known if name.startswith(last)]


ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A shipped model's name, or a model file.",
        autocompletion=complete_models,
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A shipped model's name, or a model file.",
        autocompletion=complete_models,
    ),
]
DeviceOption = Annotated[Device, typer.Option(help="Where the networks run.")]
EngineOption = Annotated[Engine, typer.Option(help="What runs the backbone.")]
PrecisionOption = Annotated[
    Precision, typer.Option(help="Of the backbone; auto: bfloat16 where the processor has it.")
]
ProfileOption = Annotated[
    ProfileName, typer.Option(help="best looks at everything, fast at less of it.")
]
MaskOption = Annotated[
    Path | None,
    typer.Option(
        "--mask",
        help="A picture, black where to look away, or a folder with one a camera, CAMERA.png; a "
        "camera is the folder that a video lies in.",
        show_default=False,
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold", min=0, max=1, help="Instead of the model's own.", show_default=False
    ),
]
StoreOption = Annotated[
    Path, typer.Option("--store", help="Where features are kept: a second run starts at once.")
]
FeaturesOption = Annotated[
    str,
    typer.Option(
        "--features",
        help="Of a published set: a folder of its feature files, or the kind that was imported.",
        show_default=False,
    ),
]
SoundOption = Annotated[
    Path | None,
    typer.Option(
        "--sound",
        help="Folder of feature files of the sound, to go beside those of the picture.",
        show_default=False,
    ),
]
DEFAULT_STORE = Path(".oddframe/features")
ConfigOption = Annotated[
    str,
    typer.Option(
        "--config",
        metavar="FILE|NAME",
        help="A YAML file, or a shipped configuration by its name, as fight or urdmu_published.",
        show_default=False,
        autocompletion=complete_configs,
    ),
]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Do anew what an earlier run has done already.")
]
DataOption = Annotated[Path, typer.Option("--data", help="The data set's folder.")]
DataIfNamedOption = Annotated[
    Path | None, typer.Option("--data", help="The data set's folder.", show_default=False)
]
SeedsOption = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        min=1,
        max=1000,
        help="Repeats of the protocol, each with another seed [as the data set's protocol says].",
        show_default=False,
    ),
]
MethodsOption = Annotated[
    str,
    typer.Option(
        "--methods",
        help="Only these methods, with commas between [all].",
        show_default=False,
        autocompletion=complete_methods,
    ),
]
ViewsOption = Annotated[
    int | None,
    typer.Option("--views", help="Crops of the picture: 1, 5 or 10.", show_default=False),
]
TilesOption = Annotated[
    str,
    typer.Option(
        "--tiles",
        metavar="RxC",
        help="Cut the picture into rows x columns, as 2x3.",
        show_default=False,
    ),
]
RegionsOption = Annotated[
    str,
    typer.Option(
        "--regions",
        metavar="RxC",
        help="The same of I3D's features of the whole picture, at no cost: 2x2.",
        show_default=False,
    ),
]
JobsOption = Annotated[
    int,
    typer.Option("--jobs", "-j", min=1, max=1024, help="Videos, or trainings, at the same time."),
]


def _set_memory(gigabytes: float | None) -> float | None:
    from oddframe.video.decoding.isolated import (
        DEFAULT_LIMITS,
        decoding_limits,
        set_decoding_limits,
    )

    memory = DEFAULT_LIMITS.memory_bytes if gigabytes is None else round(gigabytes * 1e9)
    set_decoding_limits(replace(decoding_limits(), memory_bytes=memory))
    return gigabytes


def _set_patience(seconds: float) -> float:
    from oddframe.video.decoding.isolated import decoding_limits, set_decoding_limits

    set_decoding_limits(replace(decoding_limits(), timeout_s=seconds))
    return seconds


# Options of every verb that opens videos. Their callbacks set the limits of this process.
MemoryOption = Annotated[
    float | None,
    typer.Option(
        "--memory",
        min=0.1,
        max=1e5,
        help="GB of memory that reading one video may take [4, or half of the machine's].",
        show_default=False,
        callback=_set_memory,
    ),
]
PatienceOption = Annotated[
    float,
    typer.Option(
        "--patience",
        min=1,
        max=1e6,
        help="Seconds without a frame until a video is given up.",
        callback=_set_patience,
    ),
]
DEFAULT_PATIENCE_S = 120.0
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only answers and errors.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def translate_old_options(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line with the current names of its options, and a line for each that had another.

    Args:
        words: What follows ``oddframe``.
    """
    verbs = [word for word in words if not word.startswith("-")]
    renamed = next(
        (RENAMED_OPTIONS[v] for v in (" ".join(verbs[:2]), *verbs[:1]) if v in RENAMED_OPTIONS), {}
    )
    changed: list[str] = []
    notes: list[str] = []
    for number, word in enumerate(words):
        if word == "--":  # Paths from here on.
            return [*changed, *words[number:]], notes
        name, equals, value = word.partition("=")
        now = renamed.get(name, name)
        if now == name:
            changed.append(word)
            continue
        notes.append(f"{name} is called {now} now" if now else f"{name} is what happens anyway")
        if now:
            changed.append(now + equals + value)
    return changed, notes


def split_list(text: str) -> list[str]:
    """The words of an option that takes several, with commas between."""
    return [word.strip() for word in text.split(",") if word.strip()]
