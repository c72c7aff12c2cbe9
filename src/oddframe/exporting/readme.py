"""The page beside exported networks, written from the model's spec and rule."""

from __future__ import annotations

from oddframe._utils.version import VERSION
from oddframe.backbones.registry import get_backbones
from oddframe.events import EventRule
from oddframe.exporting.graphs import SUFFIXES, ExportTarget
from oddframe.features.spec import FeatureSpec
from oddframe.modelfile import Model
from oddframe.video.snippets.motion import SQUARE_SIDES
from oddframe.video.snippets.preprocessing import has_motion, region_grid

_RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}
_EXAMPLE = """\
```python
from score import score_file

times, scores = score_file("clip.mp4")
for (start, end), score in zip(times, scores):
    print(f"{start:.2f} to {end:.2f} s: {score:.4f}")
```
"""


def readme_text(model: Model, profile: str, to: ExportTarget, note: str) -> str:
    """``README.md``; ``note`` says why there is no backbone, "" if there is one."""
    spec, rule = model.profiles[profile].spec, model.profiles[profile].rule
    ending, runtime = SUFFIXES[to], _RUNTIMES[to]
    lines = [
        f"# {model.name}, exported by oddframe {VERSION}",
        "",
        f"Detects: {model.detects}. Method `{model.method}`, profile `{profile}`; sha256 of the "
        f"model file {model.sha256 or 'unknown'}.",
        "",
    ]
    if not note:
        width, height = spec.crop_size
        rows = "N R" if region_grid(spec.crops) else "N"
        lines += [
            f"- **`backbone{ending}`**: `snippets` (N, {spec.snippet_frames}, {height}, {width}, "
            f"3) uint8, RGB from 0 to 255, to features ({rows}, {spec.dim}) float32, for any N. "
            "It scales pixels to [-1, 1] itself."
            + (" R regions of a snippet follow one another." if rows == "N R" else ""),
        ]
    lines += [
        f"- **`head{ending}`**: `features` (C, T, {spec.dim}) float32, C crops of T snippets, to "
        f"scores (T,) float32 in [0, 1], for any T of a whole video.{_merging(spec)}",
        f"- **Snippets**: {_sampling(spec)}",
        f"- **Times**: {_times(spec)}",
    ]
    if spec.has_picture:
        lines += [f"- **Pictures**: {_pictures(spec)}"]
    lines += [
        f"- **Events**: {_events(rule)}",
        f"- **Features** come from {_origin(spec)}",
        "- `model.json` has all of this for programs.",
        "",
    ]
    if note:
        return "\n".join([*lines, f"There is no backbone here: {note}.", ""])
    lines += [
        f"With `pip install numpy av opencv-python-headless {runtime}`, in this folder:",
        "",
    ]
    return "\n".join(lines) + "\n" + _EXAMPLE


def _merging(spec: FeatureSpec) -> str:
    if spec.tiles is not None:
        return (
            " The crops are parts of the picture, and a score is the highest of them; give at most "
            "2,048 snippets at once."
        )
    return " A score is the mean of the crops." if len(spec.crops) > 1 else ""


def _sampling(spec: FeatureSpec) -> str:
    ticks = "frames of the video"
    if spec.rate is not None:
        ticks = f"ticks of {spec.rate:g} a second; a tick has the frame that is shown then"
    return (
        f"{spec.snippet_frames} {ticks}. Snippet i begins at frame or tick {spec.stride} i; the "
        "last frame is repeated where the video ends first."
    )


def _times(spec: FeatureSpec) -> str:
    covered = max(spec.stride, spec.snippet_frames)
    if spec.rate is None:
        return f"snippet i covers frames {spec.stride} i to {spec.stride} i + {covered}."
    return (
        f"snippet i covers {spec.step_s(spec.rate):g} i to {spec.step_s(spec.rate):g} i + "
        f"{covered / spec.rate:g} s from the first frame on. Cut recordings with gaps at the gaps."
    )


def _pictures(spec: FeatureSpec) -> str:
    width, height = spec.resize
    how = {"bicubic": "FFmpeg's bicubic filter (PyAV)", "lanczos": "Pillow's Lanczos filter"}
    parts = []
    if spec.jpeg_quality:
        parts.append(f"each frame is saved as JPEG of quality {spec.jpeg_quality} and read again")
    if has_motion(spec.crops):
        sides = ", ".join(f"{share:.0%}" for share in SQUARE_SIDES)
        parts.append(
            "the motion square: the smallest square with 60 % of what changes in a snippet, with a "
            f"side of {sides} of the short side, cut and scaled to {spec.crop_size[0]} pixels "
            "(`motion.py` has it exactly)"
        )
    if not all(name.startswith(("motion", "square")) for name in spec.crops):
        parts.append(f"frames are resized to {width}x{height} by {how[spec.filter]}")
    names = ", ".join(spec.crops[:10])
    more = f" and {len(spec.crops) - 10} more" if len(spec.crops) > 10 else ""
    size = "x".join(map(str, spec.crop_size))
    return f"{'; '.join(parts)}. Crops of {size}, in this order: {names}{more}."


def _events(rule: EventRule) -> str:
    smooth = f", averaged over {rule.smooth_s:g} s," if rule.smooth_s else ""
    short = f", those shorter than {rule.min_duration_s:g} s are none"
    return (
        f"one begins where the scores of frames{smooth} reach {rule.threshold:g}, and lasts while "
        f"they are at least {rule.release:g}; those less than {rule.merge_gap_s:g} s apart are one"
        f"{short if rule.min_duration_s else ''}."
    )


def _origin(spec: FeatureSpec) -> str:
    sha256 = spec.weights_sha256 or "unknown"
    licence = ""
    if not spec.imported:
        known = [each.license for each in get_backbones(spec.backbone)]
        licence = f", licence {' and '.join(each or 'not known' for each in known)}"
    return f"`{spec.backbone}`, weights of sha256 {sha256}{licence}."
