"""Prototypes: the few snippets of its training videos that a model file carries, so that an event
can name the training clips that it looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from oddframe.timeline import FloatArray, SimilarClip

MAX_PROTOTYPES = 64
# Longer features, those that are pixels, would make a model file several times larger.
MAX_PROTOTYPE_DIM = 8192
# Longest side of a picture (pixels); JPEGs of this size have 2 to 4 KB.
PICTURE_SIDE = 96
MAX_PICTURE_BYTES = 16 * 2**10
MAX_NAME, MAX_LABEL = 4096, 256  # Letters.
FEATURES, PICTURES = "prototypes.features", "prototypes.pictures"  # Tensors of a model file.
_JPEG_START = b"\xff\xd8\xff"


class PrototypeFields(BaseModel):
    """A prototype in the header of a model file."""

    model_config = ConfigDict(strict=True)

    video: Annotated[str, Field(max_length=MAX_NAME)]
    time_s: Annotated[float, Field(allow_inf_nan=False)]
    label: Annotated[str, Field(max_length=MAX_LABEL)]
    abnormal: bool
    picture: Annotated[int, Field(ge=0, le=MAX_PICTURE_BYTES)] = 0  # Bytes of its JPEG.


PrototypeList = Annotated[list[PrototypeFields], Field(max_length=MAX_PROTOTYPES)]


@dataclass(frozen=True)
class Prototype:
    """A snippet of a training video; the fields are those of ``SimilarClip``."""

    video: str
    time_s: float
    label: str
    abnormal: bool
    picture: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class PrototypeBank:
    """The prototypes of a model.

    Attributes:
        features: (N, D) float16, standardised as the model's network reads them, of length 1.
        prototypes: What each of them is.
    """

    features: NDArray[np.float16]
    prototypes: tuple[Prototype, ...]

    @classmethod
    def of(cls, rows: NDArray[np.float32], prototypes: Sequence[Prototype]) -> PrototypeBank:
        """The bank of standardised features (N, D)."""
        return cls(unit_rows(rows).astype(np.float16), tuple(prototypes))

    def similarities(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Standardised features (T, D) -> (T, N) cosines."""
        cosines: NDArray[np.float32] = unit_rows(rows) @ self.features.T.astype(np.float32)
        return cosines.clip(-1, 1)

    def clip(self, number: int, similarity: float) -> SimilarClip:
        """A prototype as something that an event looks like."""
        each = self.prototypes[number]
        return SimilarClip(
            each.video, each.time_s, each.label, each.abnormal, similarity, each.picture
        )

    def with_pictures(self, clips: Sequence[SimilarClip]) -> tuple[SimilarClip, ...]:
        """The ``clips`` of a score file, with the pictures that it leaves out."""
        known = {(p.video, p.time_s): number for number, p in enumerate(self.prototypes)}
        numbers = [known.get((clip.video, clip.time_s)) for clip in clips]
        return tuple(
            clip if number is None else self.clip(number, clip.similarity)
            for clip, number in zip(clips, numbers, strict=True)
        )

    def thinned(self, most: int) -> PrototypeBank:
        """At most ``most`` of the prototypes, evenly spaced."""
        count = min(most, len(self.prototypes))
        kept = np.linspace(0, len(self.prototypes) - 1, count).round().astype(int)
        return PrototypeBank(self.features[kept], tuple(self.prototypes[i] for i in kept))

    def with_more(self, other: PrototypeBank) -> PrototypeBank:
        """The prototypes of both."""
        features = np.concatenate([self.features, other.features])
        return PrototypeBank(features, self.prototypes + other.prototypes)

    def header(self) -> list[dict[str, Any]]:
        """The entries of a model file's header."""
        return [{**vars(each), "picture": len(each.picture)} for each in self.prototypes]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The tensors of a model file; the pictures are one after the other."""
        pictures = np.frombuffer(b"".join(each.picture for each in self.prototypes), np.uint8)
        return {FEATURES: self.features, **({PICTURES: pictures} if len(pictures) else {})}


def bank_shapes(entries: Sequence[PrototypeFields], dim: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of a bank with these header entries; empty without any."""
    if not entries:
        return {}
    if dim > MAX_PROTOTYPE_DIM:
        raise ValueError(f"prototypes of features of length {dim}")
    size = sum(each.picture for each in entries)
    return {FEATURES: (len(entries), dim), **({PICTURES: (size,)} if size else {})}


def read_bank(
    entries: Sequence[PrototypeFields], tensors: Mapping[str, NDArray[Any]]
) -> PrototypeBank | None:
    """The bank of a model file; ValueError if its numbers or pictures cannot be used."""
    if not entries:
        return None
    features, pictures = tensors[FEATURES], tensors.get(PICTURES, np.zeros(0, np.uint8))
    if features.dtype != np.float16 or pictures.dtype != np.uint8:
        raise ValueError("its prototypes are not float16, or their pictures not bytes")
    lengths = np.linalg.norm(features.astype(np.float64), axis=1)
    if not (lengths <= 1.01).all():  # Also refuses what is not finite.
        raise ValueError("its prototypes are not of length 1")
    data, found = pictures.tobytes(), []
    for each in entries:
        picture, data = data[: each.picture], data[each.picture :]
        if picture and not picture.startswith(_JPEG_START):
            raise ValueError("a picture of its prototypes is no JPEG")
        values = each.model_dump()
        found.append(Prototype(**{**values, "picture": picture}))
    return PrototypeBank(features, tuple(found))


def unit_rows(rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Rows (T, D) scaled to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def choose_prototypes(
    rows: NDArray[np.float32],
    scores: FloatArray,
    abnormal: NDArray[np.bool_],
    most: int = MAX_PROTOTYPES,
) -> NDArray[np.int64]:
    """Which candidates, likely snippets of training videos, represent them: at most ``most``.

    Half of them are abnormal where both classes have enough. Of abnormal videos those with the
    highest scores are taken. Of normal ones, among which false alarms are what matters, those
    nearest to the centres of clusters, because similar ones would all say the same.

    Args:
        rows: (N, D) standardised features of the candidates.
        scores: (N,) their scores.
        abnormal: (N,) whether their videos are abnormal.
    """
    odd, normal = np.flatnonzero(abnormal), np.flatnonzero(~abnormal)
    n_odd = min(len(odd), max(most // 2, most - len(normal)))
    chosen_odd = odd[np.argsort(-scores[odd], kind="stable")[:n_odd]]
    order = normal[np.argsort(-scores[normal], kind="stable")]
    chosen_normal = order[_medoids(unit_rows(rows[order]), most - n_odd)]
    return np.concatenate([chosen_odd, chosen_normal])


_MAX_ROUNDS = 20  # Of k-means; it is at rest after about ten.


def _medoids(rows: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """At most ``count`` of the rows (N, D) of length 1: those nearest to the centres of k-means by
    cosine, which starts from the first row and those farthest from the ones chosen before."""
    if len(rows) <= count:
        return np.arange(len(rows))
    first = [0]
    nearest = rows @ rows[0]
    while len(first) < count:
        first.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, rows @ rows[first[-1]])
    centres, members = rows[first], np.full(len(rows), -1)
    for _ in range(_MAX_ROUNDS):
        before, members = members, (rows @ centres.T).argmax(axis=1)
        if (members == before).all():
            break
        sums = [rows[members == i].sum(axis=0) for i in range(count)]
        centres = unit_rows(np.stack(sums))
    similar = np.where(members[:, None] == np.arange(count), rows @ centres.T, -np.inf)
    return np.asarray(similar.argmax(axis=0)[np.unique(members)])
