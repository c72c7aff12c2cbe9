"""A model that looks for human actions by their names, without any training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from oddframe.backbones.visual.i3d import I3D_RGB
from oddframe.events import EventRule
from oddframe.features.extraction.extract_video import make_spec
from oddframe.methods.actions import LOOK_FOR, ActionConfig, ActionHead, find_actions
from oddframe.modelfile import Model, Profile
from oddframe.video.snippets.preprocessing import Preprocessing

# The motion square, as the shipped model ``fight`` sees it: the nine fighting actions find fights
# far better in it than in the whole picture (benchmarks/FIGHT_MODEL.md).
_SQUARE = Preprocessing(
    resize=(224, 224), filter="bicubic", crop_size=(224, 224), crops=("motion",), rate=25
)
_STRIDES = {"best": 16, "fast": 80}
# At 0.2 the fighting actions find about half of the fights; see the same page.
_RULE = EventRule(threshold=0.2, release=0.14, smooth_s=1.0, merge_gap_s=1.0)


def action_model(actions: Sequence[str]) -> Model:
    """The model that scores a snippet by the sum of the probabilities of these ``actions``.

    UsageError: I3D knows no action of that name.
    """
    names = find_actions(list(actions))
    spec = make_spec(I3D_RGB.name, _SQUARE)
    identity = "\n".join((LOOK_FOR, spec.weights_sha256, *names))
    return Model(
        name="i3d",
        method=LOOK_FOR,
        config=ActionConfig(actions=names),
        network=ActionHead(names),
        profiles={
            name: Profile(replace(spec, stride=stride), _RULE) for name, stride in _STRIDES.items()
        },
        detects=", ".join(names),
        sha256=hashlib.sha256(identity.encode()).hexdigest(),
    )
