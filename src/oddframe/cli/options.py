"""Options that several verbs share, each defined once, and old names of options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from oddframe.outputs.registry import format_names

# Old names of options by verb, and the names now; "" where the verb always does what it asked for.
RENAMED_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "score": {"--again": "--fresh"},
    "extract": {"--again": "--fresh"},
    "import features": {"--again": "--fresh", "--lists": "--data"},
    "data info": {"--lists": "--data"},
    "data check": {"--lists": "--data"},
    "import checkpoint": {"--knows": "--detects"},
    "league": {"--benchmark": "--dataset"},
    "train": {"--resume": ""},
}
# Options that need not be given, so that their help shows no default.
optional = partial(typer.Option, show_default=False)
# The panels of ``--help``; options without one are in "Options".
feature_option = partial(optional, rich_help_panel="Features")
running_option = partial(typer.Option, rich_help_panel="Running")
_printing_option = partial(typer.Option, rich_help_panel="Printing")


class Device(StrEnum):
    auto, cpu, cuda = "auto", "cpu", "cuda"


class Engine(StrEnum):
    auto, openvino, torch = "auto", "openvino", "torch"


class Precision(StrEnum):
    auto, float32, bfloat16 = "auto", "float32", "bfloat16"


class ProfileChoice(StrEnum):
    best, fast = "best", "fast"


def _event_option(most: float, text: str) -> Any:
    text += " [the model's own]."
    return optional(min=0, max=most, help=text, rich_help_panel="Events")


ThresholdOption = Annotated[
    float | None, _event_option(1, "An event starts where the score reaches this value")
]
# How scores become events. A verb that finds events takes all four and makes ``events.RuleChanges``
# of them.
ReleaseOption = Annotated[
    float | None,
    _event_option(1, "An event lasts until the score is below this share of the threshold"),
]
SmoothOption = Annotated[
    float | None, _event_option(3600, "Seconds over which scores are averaged")
]
MinLengthOption = Annotated[float | None, _event_option(86400, "Seconds that an event must last")]
GapOption = Annotated[
    float | None,
    _event_option(86400, "Events that are less than this many seconds apart become one"),
]


def complete_models(incomplete: str) -> list[str]:
    """Shipped models that begin with ``incomplete``; without any, the shell completes files."""
    folder = Path(__file__).parents[1] / "models"
    return sorted(p.stem for p in folder.glob("*.safetensors") if p.stem.startswith(incomplete))


def complete_configs(incomplete: str) -> list[str]:
    """Shipped configurations, in the installed package or beside ``src``."""
    package = Path(__file__).parents[1]
    files = [*package.glob("configs/*.yaml"), *package.parents[1].glob("configs/*.yaml")]
    return sorted({file.stem for file in files if file.stem.startswith(incomplete)})


def complete_methods(incomplete: str) -> list[str]:
    """Methods for the last word of a list with commas."""
    from oddframe.methods.registry import method_names

    return _complete_list(sorted(method_names()), incomplete)


def complete_backbones(incomplete: str) -> list[str]:
    """Backbones for the last word of a list with plus signs."""
    from oddframe.backbones.registry import backbone_names

    return _complete_list(backbone_names(), incomplete, "+")


def complete_actions(incomplete: str) -> list[str]:
    """Actions of Kinetics-400 for the last name of a list with commas."""
    from oddframe.backbones.visual.i3d import kinetics_actions

    return _complete_list([name for name, _ in kinetics_actions()], incomplete)


def complete_formats(incomplete: str) -> list[str]:
    """Formats of ``score`` for the last word of a list with commas."""
    return _complete_list(format_names(), incomplete)


def _complete_list(known: Sequence[str], incomplete: str, separator: str = ",") -> list[str]:
    before, found, last = incomplete.rpartition(separator)
    return [before + found + name for name in known if name.startswith(last)]


_MODEL_HELP = "Name of a shipped model, or a model file."
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help=_MODEL_HELP, autocompletion=complete_models)
]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", help=_MODEL_HELP, autocompletion=complete_models)
]
DeviceOption = Annotated[Device, running_option(help="Where the networks run.")]
EngineOption = Annotated[Engine, running_option(help="What runs the backbone.")]
PrecisionOption = Annotated[
    Precision,
    running_option(help="Precision of the backbone; auto: bfloat16 where the processor has it."),
]
ProfileOption = Annotated[
    ProfileChoice,
    feature_option(help="best reads the whole video, fast a part of it.", show_default=True),
]
MaskOption = Annotated[
    Path | None,
    feature_option(
        help="A picture that is black where the detector must not look, or a folder with one for "
        "each camera, CAMERA.png; a camera is the folder that a video lies in.",
    ),
]
StoreOption = Annotated[
    str,
    feature_option(
        help="The feature store: features in it are not computed again.", show_default=True
    ),
]
FeaturesOption = Annotated[
    str,
    feature_option(
        help="Features of a published data set: a folder of its feature files, or the kind that "
        "was imported.",
    ),
]
SoundOption = Annotated[
    Path | None,
    feature_option(
        help="Folder of feature files of the sound, to use beside those of the picture."
    ),
]
STORE_DEFAULT = ".oddframe/features"
ConfigOption = Annotated[
    str,
    optional(
        metavar="FILE|NAME",
        help="A YAML file, or the name of a shipped configuration: fight, urdmu_published ...",
        autocompletion=complete_configs,
    ),
]
FreshOption = Annotated[
    bool, running_option("--fresh", help="Do not reuse the results of earlier runs.")
]
DataOption = Annotated[Path, typer.Option(help="Folder of the data set.")]
DataIfNamedOption = Annotated[Path | None, optional(help="Folder of the data set.")]
SeedsOption = Annotated[
    int | None,
    optional(
        min=1,
        max=1000,
        help="Repeats of the protocol, each with another seed [as the data set's protocol says].",
    ),
]
MethodsOption = Annotated[
    str,
    optional(
        help="Only these methods, separated by commas [all].", autocompletion=complete_methods
    ),
]
ViewsOption = Annotated[int | None, feature_option(help="Crops of each frame: 1, 5 or 10.")]
TilesOption = Annotated[
    str,
    feature_option(metavar="RxC", help="Cut each frame into rows x columns tiles, such as 2x3."),
]
SquaresOption = Annotated[
    int | None,
    feature_option(
        metavar="N",
        help="Look at the N small squares of the picture in which most of the motion is.",
    ),
]
RegionsOption = Annotated[
    str,
    feature_option(
        metavar="RxC",
        help="Divide I3D's features of the whole frame into rows x columns, such as 2x2; "
        "as fast as without.",
    ),
]
JobsOption = Annotated[
    int,
    running_option(
        "--jobs",
        "-j",
        min=1,
        max=1024,
        help="Number of videos or trainings that run at the same time.",
    ),
]


def _set_decoding_limit(**limit: Any) -> None:
    from oddframe.video.decoding.isolated import decoding_limits, set_decoding_limits

    set_decoding_limits(replace(decoding_limits(), **limit))


def _set_memory(gigabytes: float | None) -> float | None:
    from oddframe.video.decoding.isolated import DEFAULT_LIMITS

    memory = DEFAULT_LIMITS.memory_bytes if gigabytes is None else round(gigabytes * 1e9)
    _set_decoding_limit(memory_bytes=memory)
    return gigabytes


def _set_patience(seconds: float) -> float:
    _set_decoding_limit(timeout_s=seconds)
    return seconds


# Options of every verb that opens videos. Their callbacks set the limits of this process.
MemoryOption = Annotated[
    float | None,
    running_option(
        min=0.1,
        max=1e5,
        help="GB of memory that reading one video may take [4, or half of the machine's].",
        show_default=False,
        callback=_set_memory,
    ),
]
PatienceOption = Annotated[
    float,
    running_option(
        min=1,
        max=1e6,
        help="Seconds without a frame after which a video is given up.",
        callback=_set_patience,
    ),
]
DEFAULT_PATIENCE_S = 120.0
QuietOption = Annotated[
    bool, _printing_option("--quiet", "-q", help="Print only answers and errors.")
]
DebugOption = Annotated[bool, _printing_option("--debug", help="Show where an error came from.")]
JsonOption = Annotated[bool, _printing_option("--json", help="Print the answer as JSON.")]


def translate_old_options(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words after ``oddframe`` with the current names of options; a line for each old name."""
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
        if now:
            changed.append(now + equals + value)
        about = f"is called {now} now" if now else "is not needed: it is the default"
        notes.append(f"{name} {about}")
    return changed, notes


def split_list(text: str) -> list[str]:
    """The words of an option that takes several, with commas between."""
    return [word.strip() for word in text.split(",") if word.strip()]
