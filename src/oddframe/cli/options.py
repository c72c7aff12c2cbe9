"""Options that several verbs share, each written once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


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


ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A shipped model's name, or a model file.")
]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="A shipped model's name, or a model file.")
]
DeviceOption = Annotated[Device, typer.Option(help="Where the networks run.")]
EngineOption = Annotated[Engine, typer.Option(help="What runs the backbone.")]
PrecisionOption = Annotated[
    Precision, typer.Option(help="Of the backbone; auto: bfloat16 where the processor has it.")
]
ProfileOption = Annotated[
    ProfileName, typer.Option(help="best looks at everything, fast at less of it.")
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
        help="Folder of feature files of the sound, to go beside those of --features.",
        show_default=False,
    ),
]
FEATURES = Path(".oddframe/features")
JobsOption = Annotated[
    int, typer.Option("--jobs", "-j", min=1, max=1024, help="Videos at the same time.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only answers and errors.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def listed(text: str) -> list[str]:
    """The words of an option that takes several, with commas between."""
    return [word.strip() for word in text.split(",") if word.strip()]
