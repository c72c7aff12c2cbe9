"""The prototypes of a trained model: which snippets of its training videos the model file carries,
and their pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oddframe._utils.progress import ProgressCallback, ignore_progress
from oddframe.datasets.precomputed import has_precomputed_features
from oddframe.features.spec import Features
from oddframe.methods.head import Head
from oddframe.modelfile import Model, short_digest
from oddframe.prototypes import (
    MAX_LABEL,
    MAX_NAME,
    MAX_PICTURE_BYTES,
    MAX_PROTOTYPE_DIM,
    MAX_PROTOTYPES,
    PICTURE_SIDE,
    Prototype,
    PrototypeBank,
    choose_prototypes,
)
from oddframe.timeline import Box
from oddframe.training.config import TrainConfig
from oddframe.training.data.features import VideoFeatures
from oddframe.video.decoding.isolated import open_source
from oddframe.video.frame import Image
from oddframe.video.mask import Masks

# Videos of each class that are looked at, and candidates of each class at least, where there are
# fewer videos: more than become prototypes, and one a video where there are many.
_VIDEOS, _CANDIDATES = 2 * MAX_PROTOTYPES, MAX_PROTOTYPES
_JPEG_QUALITY = 70

# Whether a model file may carry pictures of a training video.
PicturesOf = Callable[[Path], bool]


def make_bank(
    model: Model,
    config: TrainConfig,
    videos: Sequence[VideoFeatures],
    *,
    pictures_of: PicturesOf = lambda _: False,
    masks: Masks = Masks(),  # noqa: B008 - frozen
    progress: ProgressCallback = ignore_progress,
    most: int = MAX_PROTOTYPES,
) -> PrototypeBank | None:
    """At most ``most`` prototypes of the ``videos`` that the model was trained on.

    None: there are none, or the features are so long that they would swell the file.
    """
    learned_from = frozenset(model.card.get("learned_from", ()))
    known = [each for each in videos if short_digest(each.sha256) in learned_from]
    spec = model.profiles["best"].spec
    if not known or spec.dim > MAX_PROTOTYPE_DIM:
        return None
    section = next(iter(config.training_views().values()))
    candidates = [
        _Candidate(each, each.features[section], row, snippet, score, features)
        for some in _split(known)
        for each in _evenly(some, _VIDEOS)
        for row, snippet, score, features in likely_snippets(
            model.network, each.features[section], math.ceil(_CANDIDATES / len(some))
        )
    ]
    chosen = choose_prototypes(
        np.stack([each.standardised for each in candidates]),
        np.array([each.score for each in candidates]),
        np.array([each.video.video.abnormal for each in candidates]),
        most,
    )
    kept = [candidates[i] for i in chosen]
    shots = {
        i: each.shot()
        for i, each in enumerate(kept)
        if pictures_of(each.path) and not has_precomputed_features(each.video.video)
    }
    pictures = _take_pictures([each.path for each in kept], shots, masks, progress)
    names = _names_inside([each.video.path for each in videos])
    return PrototypeBank.of(
        np.stack([each.standardised for each in kept]),
        [
            Prototype(
                names[each.path],
                float(each.features.timebase.snippet_times()[each.snippet, 0]),
                each.video.video.label[:MAX_LABEL],
                each.video.video.abnormal,
                pictures.get(i, b""),
            )
            for i, each in enumerate(kept)
        ],
    )


def likely_snippets(
    network: Head, features: Features, count: int
) -> list[tuple[int, int, float, NDArray[np.float32]]]:
    """The snippet with the highest score in each of ``count`` parts of a video: its tile (0 where
    there are none), its number, its score and its standardised features (D,). Of several views the
    first is looked at."""
    array = features.array
    if features.spec.tiles is None:
        rows = np.asarray(array[0], dtype=np.float32)[None]
        scores = network.score_views(rows)[None]
    else:
        rows = np.asarray(array, dtype=np.float32)
        scores = network.score_tiles(rows)
    found = []
    for part in np.array_split(np.arange(scores.shape[1]), min(count, scores.shape[1])):
        row, offset = np.unravel_index(scores[:, part].argmax(), (len(scores), len(part)))
        snippet = int(part[offset])
        standardised = network.standardise_rows(rows[row, snippet][None])[0]
        found.append((int(row), snippet, float(scores[row, snippet]), standardised))
    return found


class _Candidate:
    """A snippet that may become a prototype."""

    def __init__(
        self,
        video: VideoFeatures,
        features: Features,
        row: int,
        snippet: int,
        score: float,
        standardised: NDArray[np.float32],
    ) -> None:
        self.video, self.features, self.row, self.snippet = video, features, row, snippet
        self.score, self.standardised = score, standardised

    @property
    def path(self) -> Path:
        return self.video.video.path

    def shot(self) -> tuple[float, Box | None]:
        """When its picture is taken, in seconds, and the motion square in it."""
        base, boxes = self.features.timebase, self.features.boxes
        start_s = base.snippet_times()[self.snippet, 0]
        middle_s = float(start_s + base.snippet_frames / (base.rate or base.fps) / 2)
        if boxes is None:
            return middle_s, None
        box = boxes[self.snippet] if boxes.ndim == 2 else boxes[self.snippet, self.row]
        left, top, right, bottom = box.tolist()
        return middle_s, (left, top, right, bottom)


def _split(videos: Sequence[VideoFeatures]) -> list[list[VideoFeatures]]:
    """The abnormal videos and the normal ones, without an empty class."""
    classes = [[v for v in videos if v.video.abnormal is odd] for odd in (True, False)]
    return [some for some in classes if some]


def _evenly(videos: Sequence[VideoFeatures], most: int) -> list[VideoFeatures]:
    """At most ``most`` of the videos, evenly spaced."""
    count = min(most, len(videos))
    return [videos[i] for i in np.linspace(0, len(videos) - 1, count).round().astype(int)]


def _names_inside(paths: Sequence[Path]) -> dict[Path, str]:
    """The paths inside the folder that all lie in: a shared model should not show what is above."""
    try:
        root = Path(os.path.commonpath([path.absolute().parent for path in paths]))
        names = {path: path.absolute().relative_to(root).as_posix() for path in paths}
    except ValueError:  # On several drives.
        names = {path: path.name for path in paths}
    # File names may hold bytes that are no text.
    return {p: os.fsencode(name).decode(errors="replace")[-MAX_NAME:] for p, name in names.items()}


def _take_pictures(
    paths: Sequence[Path],
    shots: Mapping[int, tuple[float, Box | None]],
    masks: Masks,
    progress: ProgressCallback,
) -> dict[int, bytes]:
    """The JPEG of each shot, by its number; each video is decoded up to the last one of it."""
    found: dict[int, bytes] = {}
    for path in dict.fromkeys(paths[i] for i in shots):
        waiting = sorted((i for i in shots if paths[i] == path), key=lambda i: shots[i][0])
        mask, last = masks.for_video(path), None
        frames = open_source(path).frames()
        for frame in frames:
            image = frame.image if frame.time_s >= shots[waiting[0]][0] else None
            while image is not None and waiting and frame.time_s >= shots[waiting[0]][0]:
                picture = image if mask is None else mask.apply(image)
                number = waiting.pop(0)
                found[number] = small_jpeg(picture, shots[number][1])
            last = frame
            if not waiting:
                break
        if waiting and last is not None:
            picture = last.image if mask is None else mask.apply(last.image)
            found |= {i: small_jpeg(picture, shots[i][1]) for i in waiting}
        progress(len(found), len(shots), f"pictures: {path.name}")
    return found


def small_jpeg(image: Image, box: Box | None) -> bytes:
    """A small JPEG of a picture (h, w, 3), or of what lies in ``box`` (shares of the picture)."""
    height, width = image.shape[:2]
    if box is not None:
        x, y = round(box[0] * width), round(box[1] * height)
        image = image[y : max(y + 1, round(box[3] * height)), x : max(x + 1, round(box[2] * width))]
        height, width = image.shape[:2]
    scale = PICTURE_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small: NDArray[np.uint8] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
    return data if len(data) <= MAX_PICTURE_BYTES else b""
