"""oddframe finds abnormal events in video.

The public names are below. Each is imported when it is first used, so that ``import oddframe``
takes no time.
"""

from __future__ import annotations

import sys

from oddframe._utils.version import VERSION

TYPE_CHECKING = False  # Importing typing takes time in which Ctrl-C is not handled.

if TYPE_CHECKING:
    from typing import Any

    from oddframe.api import calibrate as calibrate
    from oddframe.api import evaluate as evaluate
    from oddframe.api import train as train
    from oddframe.backbones.registry import list_backbones as list_backbones
    from oddframe.detector import Detector as Detector
    from oddframe.events import EventRule as EventRule
    from oddframe.events import RuleChanges as RuleChanges
    from oddframe.events import find_events as find_events
    from oddframe.exporting.export import export as export
    from oddframe.features.extract import extract as extract
    from oddframe.features.formats.feature_file import read_features as read_features
    from oddframe.features.spec import Features as Features
    from oddframe.features.spec import FeatureSpec as FeatureSpec
    from oddframe.methods.registry import list_methods as list_methods
    from oddframe.outputs.write import write as write
    from oddframe.scoring import score as score
    from oddframe.stream import Stream as Stream
    from oddframe.stream import StreamUpdate as StreamUpdate
    from oddframe.timeline import Event as Event
    from oddframe.timeline import ScoreTrack as ScoreTrack
    from oddframe.timeline import Timebase as Timebase
    from oddframe.video.mask import read_mask as read_mask

_MODULES = {
    "Detector": "oddframe.detector",
    "Event": "oddframe.timeline",
    "EventRule": "oddframe.events",
    "FeatureSpec": "oddframe.features.spec",
    "Features": "oddframe.features.spec",
    "RuleChanges": "oddframe.events",
    "ScoreTrack": "oddframe.timeline",
    "Stream": "oddframe.stream",
    "StreamUpdate": "oddframe.stream",
    "Timebase": "oddframe.timeline",
    "calibrate": "oddframe.api",
    "evaluate": "oddframe.api",
    "export": "oddframe.exporting.export",
    "extract": "oddframe.features.extract",
    "find_events": "oddframe.events",
    "list_backbones": "oddframe.backbones.registry",
    "list_methods": "oddframe.methods.registry",
    "read_features": "oddframe.features.formats.feature_file",
    "read_mask": "oddframe.video.mask",
    "score": "oddframe.scoring",
    "train": "oddframe.api",
    "write": "oddframe.outputs.write",
}
__version__ = VERSION
__all__ = ["__version__", *sorted(_MODULES)]


def _block_telemetry() -> None:
    """Keep OpenVINO from reporting its use, also where the caller imported it before oddframe.

    Where it can import ``openvino_telemetry``, it sends events and writes a client id into the home
    folder. Every process that runs oddframe, workers included, imports this module first.
    """
    loaded = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # Importing it now fails.
    if loaded is None:
        return
    from importlib import import_module

    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get("tm") is loaded:
            module.tm = import_module("openvino.tools.ovc.telemetry_stub")  # type: ignore[attr-defined]


_block_telemetry()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'oddframe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
