"""Compares the features of the same videos in two stores or folders of feature files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oddframe._utils.file_names import unique_stems
from oddframe.errors import InputError
from oddframe.features.store.collection import (
    Difference,
    SharedVideos,
    compare_shared,
    find_shared,
    is_comparable,
    open_collection,
    specs_to_compare,
)


@dataclass(frozen=True)
class Comparison:
    """Two collections of features of one kind.

    Attributes:
        spec: Start of the hash of their spec; None: only one kind is compared.
        shared: Which videos both have.
        differences: How the features of each of these differ, or why they cannot be compared. They
            are read as this is iterated over.
    """

    spec: str | None
    shared: SharedVideos
    differences: Iterator[Difference | InputError]


def compare_features_in(a: Path, b: Path, spec: str | None = None) -> Iterator[Comparison]:
    """Compare the features of the same videos, one kind of features after the other.

    Two stores are compared by the contents of videos; if one is a folder of files, by name. Of
    stores with several kinds of features, each kind that both have is compared.

    Args:
        a: A store, or a folder of feature files.
        b: Another one.
        spec: Start of the hash of a spec; ``START:START`` for A and B.

    Raises:
        InputError: they have no video, or no features of one dimension, in common.
        UsageError: ``spec`` does not choose a spec.
    """
    pairs, compared = specs_to_compare(a, b, spec), 0
    for first, second in pairs:
        ours = open_collection(a, first, unique_stems)
        theirs = open_collection(b, second, unique_stems)
        shared = find_shared(ours, theirs)
        if len(pairs) > 1 and not is_comparable(ours, theirs, shared):
            continue
        compared += 1
        if not shared.common:
            raise InputError(
                f"{a} and {b} have no video in common: {len(shared.only_a)} and "
                f"{len(shared.only_b)} others, such as {(shared.only_a or ('none',))[0]} and "
                f"{(shared.only_b or ('none',))[0]}"
            )
        name = first or second if len(pairs) > 1 else None
        yield Comparison(name, shared, compare_shared(ours, theirs, shared))
    if not compared:
        raise InputError(f"{a} and {b} have no video in common with features of one length")
