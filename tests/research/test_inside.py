"""Inside a network: lengths of latents and use of slots, against the network's own parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from oddframe.errors import UsageError
from oddframe.features.presets import PublishedLayout
from oddframe.methods.mil.linear import LinearConfig
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.methods.urdmu.config import UrDmuConfig
from oddframe.methods.urdmu.network import UrDmuNetwork
from oddframe.research.reproduce.figures import chosen, figure_tasks, trained, unseen_videos
from oddframe.research.reproduce.memory_analysis import look_inside
from oddframe.research.splice import Clip, Spliced
from oddframe.timeline import Timebase
from tests.research.tiny import tiny_session

CONFIG = UrDmuConfig(hidden=8, heads=2, head_dim=4, depth=1, classifier_hidden=4, dropout=0.0)


def model() -> ModelNetwork:
    torch.manual_seed(0)
    return ModelNetwork(Standardise.identity(6), UrDmuNetwork(6, CONFIG)).eval()


def video(crops: int = 1, *, abnormal: bool = True, tiled: bool = False) -> Spliced:
    rng = np.random.default_rng(3)
    array = rng.normal(size=(crops, 20, 6)).astype(np.float32)
    truth = np.zeros(320, dtype=bool)
    truth[100:170] = abnormal
    return Spliced((Clip("a", array, Timebase(25.0, 320), abnormal, "a", truth, tiled),))


def test_lengths_are_of_the_fused_latents() -> None:
    network, seen = model(), video(crops=2)
    inside = look_inside(network, CONFIG, [seen])
    inner = network.network
    assert isinstance(inner, UrDmuNetwork)
    with torch.no_grad():
        x = torch.from_numpy(seen.array)
        hidden = inner.selfatt(inner.embedding(x.transpose(1, 2)).transpose(1, 2))
        read = [inner.Amemory(hidden), inner.Nmemory(hidden)]
        fused = sum(inner.encoder_mu(each.value) for each in read)
    np.testing.assert_allclose(inside.lengths, fused.norm(dim=-1).mean(0).numpy(), rtol=1e-5)
    # Frames 100 to 169: snippets 7 to 9 wholly, half or more of 6 (100-111: 12 of 16) and 10.
    assert np.flatnonzero(inside.odd).tolist() == [6, 7, 8, 9, 10]
    weights = read[0].weights.mean(0).numpy()
    expected = np.stack([weights[~inside.odd].mean(0), weights[inside.odd].mean(0)])
    np.testing.assert_allclose(inside.usage["anomaly memory"], expected, rtol=1e-5)
    assert inside.margin == 100


def test_lengths_of_videos_are_those_of_the_distance_loss() -> None:
    network = model()
    odd, calm = video(), video(abnormal=False)
    inside = look_inside(network, CONFIG, [odd, calm])
    inner = network.network
    assert isinstance(inner, UrDmuNetwork)
    with torch.no_grad():
        out = inner(torch.from_numpy(odd.array), torch.ones(1))
        for memory, length in (
            (inner.Amemory, inside.video_lengths[0]),
            (inner.Nmemory, inside.video_lengths[1]),
        ):
            reading = memory(out.hidden)
            top = reading.score[0].topk(2).indices
            expected = inner.encoder_mu(reading.value)[0, top].mean(0).norm()
            assert length == pytest.approx(float(expected), rel=1e-5)
    assert inside.video_odd.tolist() == [True, False]


def test_of_tiles_the_oddest_counts() -> None:
    network, tiles = model(), video(crops=3, tiled=True)
    inside = look_inside(network, CONFIG, [tiles])
    assert inside.lengths.shape == (20,)
    oddest = network.score_tiles(tiles.array).argmax(0)
    row = Spliced((Clip("a", tiles.array.reshape(1, 60, 6), Timebase(25.0, 960), True, "a"),))
    each = look_inside(network, CONFIG, [row]).lengths.reshape(3, 20)
    np.testing.assert_allclose(inside.lengths, each[oddest, np.arange(20)], rtol=1e-5)


def test_only_the_whole_ur_dmu_can_be_looked_into() -> None:
    with pytest.raises(UsageError, match="only UR-DMU"):
        look_inside(model(), LinearConfig(), [video()])
    part = CONFIG.model_copy(update={"memory": "normal"})
    cut = ModelNetwork(Standardise.identity(6), UrDmuNetwork(6, part))
    with pytest.raises(UsageError, match="both memories"):
        look_inside(cut, part, [video()])


def test_videos_of_a_figure(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, seeds=1)
    videos = unseen_videos(session)
    assert len(videos) == 6
    assert all(name.startswith("data/") for name in videos)
    listed = replace(session.source.dataset, layout=PublishedLayout(10, 30.0))
    bare = unseen_videos(replace(session, source=replace(session.source, dataset=listed)))
    assert list(bare) == [name.removeprefix("data/") for name in videos]
    names = chosen(videos, (), "figure4")
    assert [videos[name].abnormal for name in names] == [True, True, True, False]
    assert len(chosen(videos, (), "figure1")) == 1
    wanted = list(videos)[2]
    assert chosen(videos, (wanted.rpartition("/")[2],), "figure1") == [wanted]
    with pytest.raises(UsageError, match="--video none"):
        chosen(videos, ("none",), "figure1")


def test_a_network_that_was_kept_scores_as_its_record_says(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, seeds=1)
    tasks = figure_tasks(session, ["ur_dmu", "linear"])
    first = trained(session, tasks)
    again = trained(session, tasks)
    array = session.clips[-1].array
    for one, other in zip(first, again, strict=True):
        assert (one.network.score_views(array) == other.network.score_views(array)).all()
    assert session.missing(tasks) == 0
