"""The registry of backbones: get, load and list them by name.

To add a backbone, write its module and add one line to ``_BACKBONES``. Other modules are imported
inside functions, so that the command line can list names at once.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal
from weakref import WeakValueDictionary

from oddframe.errors import UsageError, nearest_name

if TYPE_CHECKING:
    from oddframe.backbones.base import Backbone, BackboneSpec, WeightsOrigin
    from oddframe.backbones.engines import DeviceName, EngineName, PrecisionName
    from oddframe.video.snippets.preprocessing import Preprocessing

# By name, the ``BackboneSpec`` as ``module:attribute``; the default comes first.
_BACKBONES = {
    "i3d": "oddframe.backbones.visual.i3d:I3D_RGB",
    "i3d_flow": "oddframe.backbones.visual.i3d:I3D_FLOW",
    "efficientnet_lite0": "oddframe.backbones.visual.efficientnet:EFFICIENTNET_LITE0",
    "grey_10x96x96": "oddframe.backbones.visual.grey:GREY_10X96X96",
    "grey_10x227x227": "oddframe.backbones.visual.grey:GREY_10X227X227",
    "grey_5x120x160": "oddframe.backbones.visual.grey:GREY_5X120X160",
    "aisfx": "oddframe.backbones.audio:AISFX",
    "vggish": "oddframe.backbones.audio:VGGISH",
}
DEFAULT_BACKBONE = next(iter(_BACKBONES))

_YAML_SUFFIXES = (".yaml", ".yml")

# Backbones in use, by everything that they depend on: compiling I3D takes seconds and 200 MB.
_LOADED: MutableMapping[object, Backbone] = WeakValueDictionary()


@dataclass(frozen=True)
class BackboneSummary:
    """A backbone, as ``list_backbones`` lists it.

    Attributes:
        name: As in ``features.backbone`` of a configuration, or after ``--backbone``.
        title: One line that describes it.
        reads: Whether it encodes the picture or the sound.
        dim: Length of a feature.
        window_frames: Frames of a snippet that it reads for a feature; None: it reads the sound.
        window_s: Seconds of sound that it reads for a feature; None: it reads the picture.
        weights: ``shipped`` with oddframe, from the ``user``, or ``none``.
        license: Licence of the weights; "": not known, or there are no weights.
    """

    name: str
    title: str
    reads: Literal["picture", "sound"]
    dim: int
    window_frames: int | None
    window_s: float | None
    weights: WeightsOrigin
    license: str


def list_backbones() -> tuple[BackboneSummary, ...]:
    """List the built-in backbones, the default first, and those of YAML files of the user.

    Examples:
        >>> from oddframe import list_backbones
        >>> [each.name for each in list_backbones() if each.reads == "sound"]
        ['aisfx', 'vggish']
        >>> i3d = list_backbones()[0]
        >>> i3d.name, i3d.dim, i3d.window_frames, i3d.weights, i3d.license
        ('i3d', 1024, 16, 'shipped', 'Apache-2.0')

    Raises:
        UsageError: a YAML file in the weights folder is wrong.
    """
    return tuple(
        BackboneSummary(
            name=spec.name,
            title=spec.title,
            reads="sound" if spec.is_audio else "picture",
            dim=spec.dim,
            window_frames=spec.window_frames,
            window_s=spec.window_s,
            weights=spec.weights_origin,
            license=spec.license,
        )
        for spec in known_backbones()
    )


def backbone_names() -> tuple[str, ...]:
    """Names of the built-in backbones, the default first."""
    return tuple(_BACKBONES)


def known_backbones() -> tuple[BackboneSpec, ...]:
    """Get the specs of the built-in backbones, and of the YAML files in the weights folder."""
    from oddframe.backbones.visual.onnx import OnnxSpec
    from oddframe.backbones.weights import weights_dir

    folder = weights_dir()
    files = folder.glob("*.y*ml") if folder.is_dir() else ()
    own = [OnnxSpec(file) for file in sorted(files) if file.suffix in _YAML_SUFFIXES]
    return (*(_get_backbone(name) for name in _BACKBONES), *own)


def get_backbones(names: str) -> tuple[BackboneSpec, ...]:
    """Get the specs of ``i3d``, ``i3d+aisfx`` or ``clip.yaml``.

    If a name is not that of a built-in backbone, ``NAME.yaml`` in the weights folder is used.
    UsageError if a name is unknown or repeated, or an audio backbone comes before a visual one.
    """
    specs = tuple(_get_backbone(name) for name in names.split("+"))
    if len({spec.name for spec in specs}) < len(specs):
        raise UsageError(f"the backbones {names} name one twice")
    ordered = sorted(specs, key=lambda spec: spec.is_audio)
    if list(specs) != ordered:
        proper = "+".join(spec.name for spec in ordered)
        raise UsageError(f"of the backbones {names}, the visual ones come first: {proper}")
    return specs


def load_backbone(
    names: str = DEFAULT_BACKBONE,
    preprocessing: Preprocessing | None = None,
    *,
    weights: Path | None = None,
    device: DeviceName = "auto",
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
) -> Backbone:
    """Load a backbone, or several (``i3d+aisfx``) whose features are concatenated.

    Default of ``preprocessing``: that of the first backbone. ``weights``: other weights than the
    default ones, of a single backbone. Audio backbones always compute in float32. While a backbone
    is in use, loading it again returns the same object.
    """
    from oddframe.backbones.base import Backbone, VisualEncoder
    from oddframe.backbones.engines import choose_runtime
    from oddframe.video.snippets.preprocessing import region_grid

    specs = get_backbones(names)
    if weights is not None and len(specs) > 1:
        raise UsageError(f"weights are of one backbone, and {names} are several")
    preprocessing = preprocessing or specs[0].preprocessing
    if region_grid(preprocessing.crops):
        for spec in specs:
            if not (spec.supports_regions or spec.is_audio):
                raise UsageError(f"{spec.name} has no features of regions; ask for tiles instead")
    runtime = choose_runtime(engine, device, precision)
    audio_runtime = choose_runtime(engine, device, "float32")
    files = [weights or spec.find_weights() for spec in specs]
    hashes = [spec.hash_weights(file) for spec, file in zip(specs, files, strict=True)]
    key = (names, weights, *hashes, preprocessing, runtime, audio_runtime)
    if (shared := _LOADED.get(key)) is not None:
        return shared
    visual, audio = [], []
    for spec, file in zip(specs, files, strict=True):
        loaded = spec.load(file, preprocessing, audio_runtime if spec.is_audio else runtime)
        if isinstance(loaded, VisualEncoder):
            visual.append(loaded)
        else:
            audio.append(loaded)
    backbone = Backbone(
        "+".join(spec.name for spec in specs),
        tuple(spec.dim for spec in specs),
        "+".join(hashes),
        runtime if visual else audio_runtime,
        tuple(visual),
        tuple(audio),
    )
    _LOADED[key] = backbone
    return backbone


def _get_backbone(name: str) -> BackboneSpec:
    from oddframe.backbones.visual.onnx import OnnxSpec
    from oddframe.backbones.weights import weights_dir

    if name in _BACKBONES:
        spec: BackboneSpec = resolve_name(_BACKBONES[name])
        return spec
    if Path(name).suffix in _YAML_SUFFIXES:
        own = OnnxSpec(Path(name))
        if own.name in _BACKBONES:
            raise UsageError(f"{name}: the name {own.name} is taken; give it another in the YAML")
        return own
    folder = weights_dir()
    for suffix in _YAML_SUFFIXES:
        if (file := folder / f"{name}{suffix}").is_file():
            return OnnxSpec(file)
    near = nearest_name(name, _BACKBONES)
    advice = f"did you mean {near}?" if near else f"there are {', '.join(_BACKBONES)},"
    raise UsageError(
        f"no backbone is called {name!r}; {advice} or the YAML of an ONNX file by its path, "
        f"or by its name in {folder}"
    )
