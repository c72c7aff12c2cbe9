"""Norms of latents and use of slots, compared with the network's own modules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from oddframe.errors import UsageError
from oddframe.features.presets import PublishedLayout
from oddframe.methods.mil.linear import LinearConfig
from oddframe.methods.mil.urdmu_network import UrDmuConfig, UrDmuNetwork
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.research.clips import BenchmarkClip, SplicedVideo
from oddframe.research.reproduce.figures import (
    figure_tasks,
    named_test_videos,
    select_videos,
    train_networks,
)
from oddframe.research.reproduce.memory_analysis import analyse_memories
from oddframe.timeline import Timebase
from tests.research.tiny import tiny_session

CONFIG = UrDmuConfig(hidden=8, heads=2, head_dim=4, depth=1, classifier_hidden=4, dropout=0.0)


def model() -> ModelNetwork:
    torch.manual_seed(0)
    return ModelNetwork(Standardise.identity(6), UrDmuNetwork(6, CONFIG)).eval()


def video(crops: int = 1, *, abnormal: bool = True, tiled: bool = False) -> SplicedVideo:
    rng = np.random.default_rng(3)
    array = rng.normal(size=(crops, 20, 6)).astype(np.float32)
    truth = np.zeros(320, dtype=bool)
    truth[100:170] = abnormal
    return SplicedVideo(
        (BenchmarkClip("a", array, Timebase(25.0, 320), abnormal, "a", truth, tiled),)
    )


def test_norms_are_of_the_fused_latents() -> None:
    network, seen = model(), video(crops=2)
    found = analyse_memories(network, CONFIG, [seen])
    inner = network.network
    assert isinstance(inner, UrDmuNetwork)
    with torch.no_grad():
        x = torch.from_numpy(seen.array)
        hidden = inner.selfatt(inner.embedding(x.transpose(1, 2)).transpose(1, 2))
        read = [inner.Amemory(hidden), inner.Nmemory(hidden)]
        fused = sum(inner.encoder_mu(each.value) for each in read)
    np.testing.assert_allclose(found.norms, fused.norm(dim=-1).mean(0).numpy(), rtol=1e-5)
    # Frames 100 to 169: snippets 7 to 9 wholly, half or more of 6 (100-111: 12 of 16) and 10.
    assert np.flatnonzero(found.abnormal).tolist() == [6, 7, 8, 9, 10]
    weights = read[0].weights.mean(0).numpy()
    expected = np.stack([weights[~found.abnormal].mean(0), weights[found.abnormal].mean(0)])
    np.testing.assert_allclose(found.usage["anomaly memory"], expected, rtol=1e-5)
    assert found.margin == 100


def test_norms_of_videos_are_those_of_the_distance_loss() -> None:
    network = model()
    odd, calm = video(), video(abnormal=False)
    found = analyse_memories(network, CONFIG, [odd, calm])
    inner = network.network
    assert isinstance(inner, UrDmuNetwork)
    with torch.no_grad():
        out = inner(torch.from_numpy(odd.array), torch.ones(1))
        for memory, length in (
            (inner.Amemory, found.video_norms[0]),
            (inner.Nmemory, found.video_norms[1]),
        ):
            reading = memory(out.hidden)
            top = reading.score[0].topk(2).indices
            expected = inner.encoder_mu(reading.value)[0, top].mean(0).norm()
            assert length == pytest.approx(float(expected), rel=1e-5)
    assert found.video_abnormal.tolist() == [True, False]


def test_the_tile_with_the_highest_score_counts() -> None:
    network, tiles = model(), video(crops=3, tiled=True)
    found = analyse_memories(network, CONFIG, [tiles])
    assert found.norms.shape == (20,)
    oddest = network.score_tiles(tiles.array).argmax(0)
    row = SplicedVideo(
        (BenchmarkClip("a", tiles.array.reshape(1, 60, 6), Timebase(25.0, 960), True, "a"),)
    )
    each = analyse_memories(network, CONFIG, [row]).norms.reshape(3, 20)
    np.testing.assert_allclose(found.norms, each[oddest, np.arange(20)], rtol=1e-5)


def test_only_a_complete_ur_dmu_can_be_analysed() -> None:
    with pytest.raises(UsageError, match="only UR-DMU"):
        analyse_memories(model(), LinearConfig(), [video()])
    part = CONFIG.model_copy(update={"memory": "normal"})
    cut = ModelNetwork(Standardise.identity(6), UrDmuNetwork(6, part))
    with pytest.raises(UsageError, match="both memories"):
        analyse_memories(cut, part, [video()])


def test_videos_of_a_figure(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, seeds=1)
    videos = named_test_videos(session)
    assert len(videos) == 6
    assert all(name.startswith("data/") for name in videos)
    listed = replace(session.source.dataset, layout=PublishedLayout(10, 30.0))
    bare = named_test_videos(replace(session, source=replace(session.source, dataset=listed)))
    assert list(bare) == [name.removeprefix("data/") for name in videos]
    names = select_videos(videos, (), "figure4")
    assert [videos[name].abnormal for name in names] == [True, True, True, False]
    assert len(select_videos(videos, (), "figure1")) == 1
    wanted = list(videos)[2]
    assert select_videos(videos, (wanted.rpartition("/")[2],), "figure1") == [wanted]
    with pytest.raises(UsageError, match="--video none"):
        select_videos(videos, ("none",), "figure1")


def test_a_stored_network_gives_the_same_scores(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, seeds=1)
    tasks = figure_tasks(session, ["ur_dmu", "linear"])
    first = train_networks(session, tasks)
    again = train_networks(session, tasks)
    array = session.clips[-1].array
    for one, other in zip(first, again, strict=True):
        assert (one.network.score_views(array) == other.network.score_views(array)).all()
    assert session.missing(tasks) == []
