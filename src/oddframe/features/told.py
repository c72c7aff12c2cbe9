"""Networks that send a heartbeat with each call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from oddframe.backbones.base import Backbone, Ear, Eye

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def telling(backbone: Backbone, tell: Callable[[], None]) -> Backbone:
    """The same networks, which tell of each call: some take long, and none is a decoder's."""

    def told(call: Callable[[_In], _Out]) -> Callable[[_In], _Out]:
        def calling(batch: _In) -> _Out:
            tell()
            return call(batch)

        return calling

    eyes = tuple(Eye(told(eye.see), eye.batch) for eye in backbone.eyes)
    ears = tuple(Ear(told(ear.hear), ear.rate, ear.window) for ear in backbone.ears)
    return replace(backbone, eyes=eyes, ears=ears)
