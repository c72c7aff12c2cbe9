"""Crops: which parts of a frame the backbone looks at, by name and in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeVar

from oddframe.errors import UsageError
from oddframe.video.frame import Image
from oddframe.video.preprocessing import Preprocessing

Cut = TypeVar("Cut", bound=Preprocessing)

# Where a crop lies between the left or top edge (0) and the right or bottom one (1).
_PLACES = {
    "center": (0.5, 0.5),
    "top_left": (0.0, 0.0),
    "top_right": (1.0, 0.0),
    "bottom_left": (0.0, 1.0),
    "bottom_right": (1.0, 1.0),
}
_FULL = "full"
_MIRRORED = "_mirrored"
_ORDERS = {
    "published": ("center", "top_left", "top_right", "bottom_left", "bottom_right"),
    "extractor": ("top_left", "top_right", "center", "bottom_left", "bottom_right"),
}


def crop_names(
    views: Literal[1, 5, 10], order: Literal["published", "extractor"] = "published"
) -> tuple[str, ...]:
    """Names of one (the centre), five (and the corners) or ten (and mirrored) crops.

    Two orders are about: ``published`` feature files of UCF-Crime and XD-Violence have the centre
    first; the ``extractor`` of the authors writes it third.

    Raises:
        UsageError: there is no such number of views or no such order.
    """
    if views not in (1, 5, 10) or order not in _ORDERS:
        raise UsageError(
            f"views are 1, 5 or 10, in order published or extractor: not {views} {order}"
        )
    if views == 1:
        return ("center",)
    names = _ORDERS[order]
    return names if views == 5 else names + tuple(name + _MIRRORED for name in names)


def with_views(how: Cut, views: Literal[1, 5, 10]) -> Cut:
    """The same picture in one, five or ten crops, in the order of the published files.

    Where the one crop is the full frame, the five are cut from a frame an eighth larger.

    Raises:
        UsageError: there is no such number of views.
    """
    if how.crops[0] == _FULL and views == 1:
        return replace(how, resize=how.crop_size, crops=(_FULL,))
    larger = (round(how.crop_size[0] * 8 / 7), round(how.crop_size[1] * 8 / 7))
    resize = larger if how.resize == how.crop_size else how.resize
    return replace(how, resize=resize, crops=crop_names(views))


def check_views(how: Preprocessing) -> None:
    """Say no to crops that cannot be cut.

    Raises:
        UsageError: a name is unknown, a crop is larger than the frame, or ``full`` is another size.
    """
    known = {_FULL, *_PLACES}
    for name in how.crops:
        place = name.removesuffix(_MIRRORED)
        if place not in known:
            raise UsageError(f"no crop is called {name}: there are {', '.join(sorted(known))}")
        if place == _FULL and how.resize != how.crop_size:
            raise UsageError(
                f"the full frame is {how.resize}, but crops are to be {how.crop_size}: "
                "make them equal, or crop the center"
            )
    if not how.crops:
        raise UsageError("there must be at least one crop")
    if how.crop_size[0] > how.resize[0] or how.crop_size[1] > how.resize[1]:
        raise UsageError(f"crops of {how.crop_size} do not fit into frames of {how.resize}")


def cut(frames: Image, name: str, crop_size: tuple[int, int]) -> Image:
    """Frames (T, h, w, 3) -> their crop ``name`` (T, crop height, crop width, 3), as a view.

    ``top_left_mirrored`` is the top left of the mirrored frame, as in the authors' extractor.
    """
    place = name.removesuffix(_MIRRORED)
    if name.endswith(_MIRRORED):
        frames = frames[:, :, ::-1]
    if place == _FULL:
        return frames
    width, height = crop_size
    across, down = _PLACES[place]
    left = int((frames.shape[2] - width) * across)
    top = int((frames.shape[1] - height) * down)
    return frames[:, top : top + height, left : left + width]
