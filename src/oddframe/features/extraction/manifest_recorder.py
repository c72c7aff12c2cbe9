"""Records what became of each video in the manifests of the store and of the output folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

from oddframe.features.extraction.worker import ExtractionResult
from oddframe.features.store.manifest import ManifestEntry

# Adds lines to a manifest.
AppendEntries = Callable[[Iterable[ManifestEntry]], None]
_Key = tuple[str, str, str]


class ManifestRecorder:
    """Adds a line to a manifest for each result that the manifest does not state yet.

    Args:
        entries: The lines of the store's manifest, oldest first. They are read once: there may be a
            million.
        append: Adds lines to the manifest of the store.
        append_files: Adds lines to the manifest of the folder of files by name; None: no folder.
    """

    def __init__(
        self,
        entries: Iterable[ManifestEntry],
        append: AppendEntries,
        append_files: AppendEntries | None,
    ) -> None:
        self._append, self._append_files = append, append_files
        # What holds for each video: the features that exist or, if that came later, the failure.
        self._known: defaultdict[str, set[_Key]] = defaultdict(set)
        # By content and spec, the line that names damage or notes.
        self._remarks: dict[tuple[str, str], ManifestEntry] = {}
        for entry in entries:
            others = () if entry.reason else (key for key in self._known[entry.video] if not key[2])
            self._known[entry.video] = {*others, _key(entry)}
            if _has_remarks(entry):
                self._remarks[entry.sha256, entry.spec] = entry

    def record(self, result: ExtractionResult) -> ExtractionResult:
        """Write the lines of a result; the result with the damage and notes of earlier runs.

        Raises:
            OddframeError: a manifest cannot be written.
        """
        result = replace(result, entries=tuple(map(self._with_remarks, result.entries)))
        self._append(
            [e for e in result.entries if result.new or _key(e) not in self._known[e.video]]
        )
        if self._append_files is not None:
            self._append_files(result.file_entries)
        return result

    def _with_remarks(self, entry: ManifestEntry) -> ManifestEntry:
        """Add the damage and notes of the earlier extraction to an entry of stored features."""
        old = self._remarks.get((entry.sha256, entry.spec))
        if old is None or entry.reason or _has_remarks(entry):
            return entry
        return replace(
            entry,
            damaged_packets=old.damaged_packets,
            mended_frames=old.mended_frames,
            notes=old.notes,
        )


def _has_remarks(entry: ManifestEntry) -> bool:
    return bool(entry.damaged_packets or entry.mended_frames or entry.notes)


def _key(entry: ManifestEntry) -> _Key:
    return entry.sha256, entry.spec, entry.reason
