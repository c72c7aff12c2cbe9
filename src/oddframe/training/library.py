"""Features of the videos that a training run works with, more of them when more are asked for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from oddframe.datasets.labelled import LabelledVideo
from oddframe.datasets.ready import is_ready
from oddframe.features.spec import Features, FeatureSpec
from oddframe.training.bags import TrainingVideo
from oddframe.training.feature_section import FeatureSection
from oddframe.training.gather import Extractor, Gathered, Progress, Request, gather
from oddframe.training.segmented import pre_segmented


class Library:
    """Videos with their features.

    Attributes:
        failed: Why videos could not be read, by path.
    """

    def __init__(self, extractor: Extractor, jobs: int, progress: Progress):
        self.failed: dict[str, str] = {}
        self._extractor, self._jobs, self._progress = extractor, jobs, progress
        self._found: dict[LabelledVideo, Gathered] = {}
        self._snippet_s: float | None = None

    @property
    def ready_made(self) -> bool:
        """Whether there are files of features, of which no other ones can be made."""
        return any(is_ready(video) for video in self._found)

    def add(self, requests: Sequence[Request]) -> None:
        """Gather what is not there yet; what cannot be read is in ``failed`` from then on."""
        wanted = (self._lacking(request) for request in requests)
        lacking = [request for request in wanted if request.sections]
        if not lacking:
            return
        gathered, failed = gather(lacking, self._extractor, self._jobs, self._progress)
        self.failed |= failed
        for each in gathered:
            before = self._found.get(each.video)
            features = each.features if before is None else before.features | each.features
            self._found[each.video] = replace(each, features=features)

    def of(self, videos: Iterable[LabelledVideo]) -> list[Gathered]:
        """Those of ``videos`` that could be read, in order."""
        readable = (v for v in videos if str(v.path) not in self.failed)
        return [self._found[video] for video in readable if video in self._found]

    def spec(self, section: FeatureSection) -> FeatureSpec:
        """What features of ``section`` are; where a data set comes with features, those."""
        for video, each in self._found.items():
            if is_ready(video) and section in each.features:
                return each.features[section].spec
        return self._extractor.spec(section)

    def segmented(
        self,
        training: Sequence[TrainingVideo],
        seen: Sequence[Sequence[Features]],
        videos: Sequence[Gathered],
        n: int,
    ) -> list[TrainingVideo]:
        """``training`` with bags of ``n`` segments, where its features lie on disk.

        Args:
            training: What training sees of ``videos``.
            seen: The features that it is made of.
            videos: The videos.
            n: Segments of a bag.

        Raises:
            InputError: features cannot be read.
            OddframeError: bags cannot be written.
        """
        digests = [each.sha256 for each in videos]
        root, tell = self._extractor.store.root, self._progress.videos
        return pre_segmented(training, seen, digests, n, root, tell)

    def cost(self, requests: Sequence[Request]) -> float:
        """Seconds that ``add`` would take; 0 where everything is kept.

        Measured, where it is not yet known, on the two shortest videos. Other features with as many
        snippets must be there.
        """
        unmade = [one for request in requests for one in self._unmade(request)]
        if self._snippet_s is None and len(unmade) > 1:
            unmade.sort(key=self._snippets)
            self.add(unmade[:1])  # Loads the backbone.
            began = time.monotonic()
            self.add(unmade[1:2])
            self._snippet_s = (time.monotonic() - began) / self._snippets(unmade[1])
            unmade = unmade[2:]
        return (self._snippet_s or 0.0) * sum(map(self._snippets, unmade))

    def _lacking(self, request: Request) -> Request:
        """What is not in memory of what is wanted."""
        if str(request.video.path) in self.failed:
            return replace(request, sections=())
        found = self._found.get(request.video)
        known = {} if found is None else found.features
        return replace(request, sections=tuple(s for s in request.sections if s not in known))

    def _unmade(self, request: Request) -> list[Request]:
        """What is neither in memory nor in the store, one request a section."""
        video = request.video
        if is_ready(video):
            return []
        return [
            Request(video, (section,))
            for section in self._lacking(request).sections
            if not self._extractor.kept(video, self._found[video].sha256, section)
        ]

    def _snippets(self, request: Request) -> int:
        """Snippets of all crops that the one section of ``request`` asks for."""
        (section,) = request.sections
        lengths = (
            features.timebase.n_snippets
            for other, features in self._found[request.video].features.items()
            if (other.stride, other.rate) == (section.stride, section.rate)
        )
        return next(lengths) * len(section.crops)
