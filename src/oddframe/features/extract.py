"""``oddframe.extract``: compute the features of many videos and keep them in a feature store."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from oddframe._utils.child_process import PATIENCE_HINT
from oddframe._utils.files import make_folder, unique_stems
from oddframe._utils.progress import MessageCallback, ProgressCallback, ignore_message
from oddframe._utils.worker_pool import WorkerFailure, WorkerPool, share_cores
from oddframe.backbones.engines import DeviceName, EngineName, PrecisionName, choose_runtime
from oddframe.backbones.registry import DEFAULT_BACKBONE, get_backbones
from oddframe.errors import InputError, UsageError
from oddframe.features.extraction.extract_video import spec_templates
from oddframe.features.extraction.file_layout import FeatureFileFormat, previous_outputs
from oddframe.features.extraction.results import ManifestRecorder, ProgressTracker, ResultCallback
from oddframe.features.extraction.worker import (
    ExtractionRequest,
    ExtractionResult,
    ExtractionWorker,
    VideoJob,
    video_size,
)
from oddframe.features.presets import get_preset
from oddframe.features.spec import FeatureSpec
from oddframe.features.store.manifest import ManifestEntry, append_entries, read_entries
from oddframe.features.store.store import FeatureStore
from oddframe.video.decoding.isolated import DecodingLimits, decoding_limits
from oddframe.video.discover import find_videos, is_generated
from oddframe.video.mask import Mask, mask_digest, read_mask
from oddframe.video.snippets.preprocessing import (
    Preprocessing,
    parse_grid,
    reorder_crops,
    with_crops,
    with_regions,
    with_squares,
    with_tiles,
    with_views,
)

_CLUSTER_ADDRESS = re.compile(r"local|(ray://)?[^/\s]+:\d+")

_Results = Generator[tuple[int, ExtractionResult], None, None]


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction did.

    Attributes:
        store: The feature store, as it was given.
        results: The result of each video, in the order of the inputs.
        frames: Frames that were decoded.
        seconds: Time that it took.
    """

    store: str
    results: tuple[ExtractionResult, ...]
    frames: int
    seconds: float

    @property
    def extracted(self) -> tuple[str, ...]:
        """Videos of which features were computed."""
        return tuple(result.entries[0].video for result in self.results if result.new)

    @property
    def already_stored(self) -> tuple[str, ...]:
        """Videos whose features were in the store."""
        done = (result for result in self.results if not result.new and not result.exit_code)
        return tuple(result.entries[0].video for result in done)

    @property
    def failed(self) -> dict[str, str]:
        """The reason of each failure, by video."""
        failures = (result.entries[0] for result in self.results if result.exit_code)
        return {entry.video: entry.reason for entry in failures}

    @property
    def entries(self) -> tuple[ManifestEntry, ...]:
        """One entry for each video and backbone, and one for each failure."""
        return tuple(entry for result in self.results for entry in result.entries)

    @property
    def files(self) -> tuple[str, ...]:
        """The feature files in the store, in the order of ``entries``."""
        return tuple(f"{self.store.rstrip('/')}/{e.file}" for e in self.entries if e.file)

    @property
    def exit_code(self) -> int:
        """The exit code of ``oddframe extract``: 0 if nothing failed."""
        return max((result.exit_code for result in self.results), default=0)


def extract(
    inputs: str | Path | Sequence[str | Path],
    backbone: str | None = None,
    *,
    spec: FeatureSpec | None = None,
    preset: str | None = None,
    views: int | None = None,
    tiles: str = "",
    regions: str = "",
    squares: int | None = None,
    crops: str = "",
    crop_order: Literal["published", "extractor"] | None = None,
    stride: int | None = None,
    rate: float | None = None,
    jpeg_quality: int | None = None,
    mask: str | Path | Mask | None = None,
    store: str | Path = ".oddframe/features",
    out: str | Path | None = None,
    format: FeatureFileFormat = "npy",
    device: DeviceName = "auto",
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    jobs: int | None = None,
    cluster: str | None = None,
    memory_bytes: int | None = None,
    timeout_s: float | None = None,
    fresh: bool = False,
    progress: ProgressCallback | None = None,
    on_result: ResultCallback | None = None,
    message: MessageCallback = ignore_message,
) -> ExtractionSummary:
    """Compute the features of videos and keep them in a feature store.

    A store finds features by the content of the video and by their spec. Features that are in it
    are not computed again, so that the same call resumes where an earlier one was stopped, by
    Ctrl-C or otherwise. ``manifest.jsonl`` in the store lists what became of each video. A video
    that fails does not stop the others.

    Examples:
        >>> import oddframe
        >>> from pathlib import Path
        >>> summary = oddframe.extract("fight.mp4", "efficientnet_lite0", store="features")
        >>> summary.extracted, summary.failed
        (('fight.mp4',), {})
        >>> features = oddframe.read_features(Path(summary.files[0]))
        >>> features.array.shape  # (crops, snippets, dimensions)
        (1, 4, 1280)
        >>> oddframe.extract("fight.mp4", "efficientnet_lite0", store="features").already_stored
        ('fight.mp4',)

    Args:
        inputs: Videos, folders of videos, folders of frames, or patterns such as ``cam*/*.mp4``;
            on a cluster also addresses such as ``s3://bucket/videos``.
        backbone: Name of a backbone or of several, ``i3d+vggish``, or the YAML file of an ONNX
            backbone. Default: that of ``preset``, else ``i3d``.
        spec: Extract features like these, for example ``Detector.load("fight").spec``, instead of
            ``backbone`` and ``preset``.
        preset: How a published data set was extracted: ``ucf-crime`` or ``xd-violence``.
        views: Crops of the picture: 1, 5 or 10.
        tiles: Cut the picture into rows x columns, as ``2x3``.
        regions: Rows x columns of regions of I3D's features of the whole picture.
        squares: Number of small squares of the picture in which most of the motion is.
        crops: Crops by name, separated by commas: ``full,motion``.
        crop_order: Order of five or ten crops: as in ``published`` files, or as the authors'
            ``extractor`` writes them.
        stride: Frames from one snippet to the next.
        rate: Frames a second to which videos are resampled.
        jpeg_quality: Compress frames as JPEG first, as the authors' extractor does (95); 0: do not.
        mask: A picture that is black where all videos are to be ignored.
        store: The feature store; on a cluster also an address.
        out: Folder, or on a cluster an address, for files that are named after the videos; None:
            none are written.
        format: Format of those files: ``npy``, an array a crop as published, or ``safetensors``.
        device: Where the networks run.
        engine: What runs the backbone.
        precision: What the backbone computes in.
        jobs: Videos at the same time. Default: 1; on a cluster one for each graphics card, or else
            for each processor core.
        cluster: Extract on many machines with Ray: ``local``, ``HOST:PORT`` on a machine of the
            cluster, or ``ray://HOST:PORT``.
        memory_bytes: Memory that one video may take besides the networks. Default: the limit of
            this process.
        timeout_s: Seconds without a frame after which a video is given up. Default: the limit of
            this process.
        fresh: Extract again what is in the store.
        progress: Called with (bytes of video done, bytes of all videos, what is being done).
        on_result: Called with the result of each video when it is finished, and the estimated
            seconds left (None: unknown, or none is left).
        message: Called with lines for the user, for example about videos that are left out.

    Raises:
        UsageError: the arguments contradict each other, or a backbone, engine or device is not
            available. Nothing was extracted.
        InputError: all inputs are videos that oddframe wrote itself, or weights or the mask cannot
            be read.
        OddframeError: the store or the output folder cannot be written, or the cluster was lost.
    """
    if cluster is not None and not _CLUSTER_ADDRESS.fullmatch(cluster):
        raise UsageError(f"--cluster {cluster}: local, HOST:PORT or ray://HOST:PORT")
    for path in (str(store), str(out or "")):
        if cluster is None and "://" in path:
            raise UsageError(f"{path}: only with --cluster, which may be 'local'")
    names, preprocessing = _choose_backbones(backbone, spec, preset)
    preprocessing = _change_crops(preprocessing, views, tiles, regions, squares, crops, crop_order)
    changes: dict[str, Any] = {"stride": stride, "rate": rate, "jpeg_quality": jpeg_quality}
    preprocessing = replace(preprocessing, **{k: v for k, v in changes.items() if v is not None})
    preprocessing.check()
    if mask is not None and not isinstance(mask, Mask):
        mask = read_mask(mask)
    request = ExtractionRequest(
        templates=spec_templates(names, preprocessing, mask_digest(mask)),
        device=device,
        engine=engine,
        precision=precision,
        store=Path(store),
        out=None if out is None else Path(out),
        format=format,
        fresh=fresh,
        mask=mask,
    )
    limits = decoding_limits()
    limits = DecodingLimits(memory_bytes or limits.memory_bytes, timeout_s or limits.timeout_s)
    texts = [str(each) for each in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]
    if cluster is None:
        return _extract_locally(texts, request, limits, jobs or 1, progress, on_result, message)
    from oddframe.features.cluster.run import open_cluster_run

    with open_cluster_run(texts, str(store), None if out is None else str(out)) as run:
        tracker = ProgressTracker([i.video.size for i in run.items], progress, on_result)
        results = run.extract(cluster, request, limits, jobs, tracker, message)
        return _record(results, run.recorder, tracker, str(store))


def _extract_locally(
    inputs: Sequence[str],
    request: ExtractionRequest,
    limits: DecodingLimits,
    jobs: int,
    progress: ProgressCallback | None,
    on_result: ResultCallback | None,
    message: MessageCallback,
) -> ExtractionSummary:
    precision = choose_runtime(request.engine, request.device, request.precision).precision
    specs = [template.spec(precision) for template in request.templates]
    make_folder(request.store)
    FeatureStore(request.store).sweep()
    recorder = ManifestRecorder(
        read_entries(request.store),
        partial(append_entries, request.store),
        None if request.out is None else partial(append_entries, request.out),
    )
    paths = find_recordings(inputs, message)
    stems = unique_stems(paths)
    previous = previous_outputs([] if request.out is None else read_entries(request.out), stems)
    videos = [VideoJob(path, stem, previous[stem]) for path, stem in zip(paths, stems, strict=True)]
    message(
        f"{len(videos)} videos, {', '.join(f'{s.backbone} ({s.hash()})' for s in specs)}, "
        f"into {request.store}"
    )
    tracker = ProgressTracker([video_size(path) for path in paths], progress, on_result)
    results = _extract_in_pool(videos, request, limits, jobs, tracker, message)
    return _record(results, recorder, tracker, str(request.store))


def _extract_in_pool(
    videos: Sequence[VideoJob],
    request: ExtractionRequest,
    limits: DecodingLimits,
    jobs: int,
    tracker: ProgressTracker,
    message: MessageCallback,
) -> _Results:
    """Yield (index, result) of each video as it is finished.

    A video that another process is extracting is tried again after the others, until it is done.
    """
    processes = max(1, min(jobs, len(videos)))
    pool: WorkerPool[VideoJob, ExtractionResult] = WorkerPool(
        partial(ExtractionWorker, request, limits.memory_bytes),
        processes,
        limits.timeout_s,
        keep=True,
        advice=PATIENCE_HINT,
    )
    remaining, notified = list(range(len(videos))), False
    with share_cores(processes):
        try:
            while remaining:
                busy: list[int] = []
                for answer in pool.run([videos[index] for index in remaining]):
                    tracker.report_running(
                        (remaining[number], *frames) for number, frames in pool.done.items()
                    )
                    if answer is None:
                        continue
                    index, result = remaining[answer[0]], answer[1]
                    if isinstance(result, WorkerFailure):
                        entry = ManifestEntry(video=str(videos[index].path), reason=result.reason)
                        result = ExtractionResult((entry,), exit_code=InputError.exit_code)
                    if result.busy:
                        busy.append(index)
                    else:
                        yield index, result
                if busy and not notified:
                    message(f"waiting for another process, which extracts {len(busy)} of them")
                remaining, notified = busy, True
        finally:
            pool.end()


def _record(
    results: _Results, recorder: ManifestRecorder, tracker: ProgressTracker, store: str
) -> ExtractionSummary:
    """Record results in the manifests as they come."""
    recorded: dict[int, ExtractionResult] = {}
    with closing(results):
        for index, result in results:
            recorded[index] = recorder.record(result)
            tracker.finish(index, recorded[index])
    ordered = tuple(recorded[index] for index in sorted(recorded))
    return ExtractionSummary(store, ordered, tracker.frames, tracker.seconds)


def find_recordings(inputs: Sequence[str], message: MessageCallback) -> list[Path]:
    """The videos that ``inputs`` name, without annotated videos and previews of oddframe itself.

    InputError if oddframe has written all of them.
    """
    found = find_videos(inputs)
    generated = [path for path in found if is_generated(path)]
    if not generated:
        return found
    more = f" and {len(generated) - 1} more" if len(generated) > 1 else ""
    line = f"{generated[0]}{more}: written by oddframe itself"
    if len(generated) == len(found):
        raise InputError(f"{line}; name the videos that it was made of")
    message(f"left out: {line}")
    return [path for path in found if path not in generated]


def _choose_backbones(
    backbone: str | None, spec: FeatureSpec | None, preset: str | None
) -> tuple[str, Preprocessing]:
    """Names of the backbones, and the preprocessing before any change."""
    if spec is not None:
        if backbone is not None or preset is not None:
            raise UsageError(
                "--model sets backbone and preprocessing: leave out --backbone and --preset"
            )
        if spec.imported:
            raise UsageError("imported features cannot be extracted from videos")
        return spec.backbone, spec.preprocessing
    if preset is not None:
        known = get_preset(preset)
        return backbone or known.backbone, known.preprocessing
    names = backbone or DEFAULT_BACKBONE
    return names, get_backbones(names)[0].preprocessing


def _change_crops(
    preprocessing: Preprocessing,
    views: int | None,
    tiles: str,
    regions: str,
    squares: int | None,
    crops: str,
    crop_order: Literal["published", "extractor"] | None,
) -> Preprocessing:
    options = {
        "--views": views,
        "--tiles": tiles,
        "--regions": regions,
        "--squares": squares,
        "--crops": crops,
    }
    given = [f"{name} {value}" for name, value in options.items() if value not in (None, "")]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)}: one of them")
    if views is not None:
        if views not in (1, 5, 10):
            raise UsageError(f"--views {views}: choose 1, 5 or 10")
        preprocessing = with_views(preprocessing, views)  # type: ignore[arg-type]
    if tiles:
        preprocessing = with_tiles(preprocessing, *parse_grid(tiles))
    if regions:
        preprocessing = with_regions(preprocessing, *parse_grid(regions))
    if squares is not None:
        preprocessing = with_squares(preprocessing, squares)
    if crops:
        preprocessing = with_crops(preprocessing, crops)
    if crop_order is None:
        return preprocessing
    return replace(preprocessing, crops=reorder_crops(preprocessing.crops, crop_order))
