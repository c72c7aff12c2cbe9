"""Backbones by name: ``i3d``, several as ``i3d+aisfx``, or the YAML of a user's own ONNX file."""

from __future__ import annotations

from pathlib import Path

from oddframe.backbones.audio.aisfx import AisfxSpec
from oddframe.backbones.audio.vggish import VGGishSpec
from oddframe.backbones.base import Backbone, BackboneSpec, VisualEncoder
from oddframe.backbones.engines import DeviceName, EngineName, PrecisionName, choose_runtime
from oddframe.backbones.visual.efficientnet import EfficientNetLite0Spec
from oddframe.backbones.visual.grey import GreySpec
from oddframe.backbones.visual.i3d_flow import I3DFlowSpec
from oddframe.backbones.visual.i3d_rgb import I3DRgbSpec
from oddframe.backbones.visual.onnx import OnnxSpec
from oddframe.backbones.weights import weights_dir
from oddframe.errors import UsageError, nearest_name
from oddframe.video.snippets.crops import region_grid
from oddframe.video.snippets.transforms import Preprocessing

_BACKBONES: dict[str, BackboneSpec] = {
    kind.name: kind
    for kind in (
        I3DRgbSpec(),
        I3DFlowSpec(),
        EfficientNetLite0Spec(),
        GreySpec(10, 96, 96),
        GreySpec(10, 227, 227),
        GreySpec(5, 120, 160),
        AisfxSpec(),
        VGGishSpec(),
    )
}
_YAML = (".yaml", ".yml")


def known_backbones() -> tuple[BackboneSpec, ...]:
    """Those that are part of oddframe, and those whose YAML is in the weights folder.

    Raises:
        UsageError: such a YAML is wrong.
    """
    folder = weights_dir()
    files = sorted(p for p in folder.glob("*.y*ml") if p.suffix in _YAML) if folder.is_dir() else []
    return (*_BACKBONES.values(), *(OnnxSpec(file) for file in files))


def get_backbones(names: str) -> tuple[BackboneSpec, ...]:
    """What ``i3d``, ``i3d+aisfx`` or ``clip.yaml`` stands for.

    A name that is not one of ours is looked for as ``NAME.yaml`` in the weights folder.

    Raises:
        UsageError: no backbone has this name, one is named twice, or one that listens comes before
            one that looks.
    """
    kinds = tuple(_get_backbone(name) for name in names.split("+"))
    if len({kind.name for kind in kinds}) < len(kinds):
        raise UsageError(f"the backbones {names} name one twice")
    ordered = sorted(kinds, key=lambda kind: kind.is_audio)
    if list(kinds) != ordered:
        proper = "+".join(kind.name for kind in ordered)
        raise UsageError(f"of the backbones {names}, those that look come first: {proper}")
    return kinds


def load_backbone(
    names: str = "i3d",
    preprocessing: Preprocessing | None = None,
    *,
    weights: Path | None = None,
    device: DeviceName = "auto",
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
) -> Backbone:
    """Load a backbone, or several whose features stand side by side.

    Args:
        names: Of one, or of several with ``+`` between them.
        preprocessing: The snippets that it is for; None: those that suit it (the first, of
        several).
        weights: Instead of those that are used otherwise; of one backbone only.
        device: Where it runs.
        engine: What it runs on; networks that listen compute in float32 whatever ``precision`` is.
        precision: What it computes in.

    Raises:
        UsageError: an unknown name, or an engine or device that is not there.
        InputError: the weights cannot be read.
    """
    kinds = get_backbones(names)
    if weights is not None and len(kinds) > 1:
        raise UsageError(f"weights are of one backbone, and {names} are several")
    preprocessing = preprocessing or kinds[0].preprocessing
    if region_grid(preprocessing.crops) and (
        without := [k.name for k in kinds if not _gives_regions(k)]
    ):
        raise UsageError(f"{without[0]} has no features of regions; ask for tiles instead")
    choice = choose_runtime(engine, device, precision)
    exact = choose_runtime(engine, device, "float32")
    eyes, ears, hashes = [], [], []
    for kind in kinds:
        file = weights or kind.weights()
        hashes.append(kind.sha256(file))
        loaded = kind.load(file, preprocessing, exact if kind.is_audio else choice)
        if isinstance(loaded, VisualEncoder):
            eyes.append(loaded)
        else:
            ears.append(loaded)
    return Backbone(
        "+".join(kind.name for kind in kinds),
        tuple(kind.dim for kind in kinds),
        "+".join(hashes),
        choice if eyes else exact,
        tuple(eyes),
        tuple(ears),
    )


def _gives_regions(kind: BackboneSpec) -> bool:
    # What is heard is the same in all of them.
    return kind.supports_regions or kind.is_audio


def _get_backbone(name: str) -> BackboneSpec:
    if Path(name).suffix in _YAML:
        kind = OnnxSpec(Path(name))
        if kind.name in _BACKBONES:
            raise UsageError(f"{name}: the name {kind.name} is taken; give it another in the YAML")
        return kind
    if name in _BACKBONES:
        return _BACKBONES[name]
    folder = weights_dir()
    for suffix in _YAML:
        if (file := folder / f"{name}{suffix}").is_file():
            return OnnxSpec(file)
    near = nearest_name(name, _BACKBONES)
    advice = f"did you mean {near}?" if near else f"there are {', '.join(_BACKBONES)},"
    raise UsageError(
        f"no backbone is called {name!r}; {advice} or the YAML of an ONNX file by its path, "
        f"or by its name in {folder}"
    )
