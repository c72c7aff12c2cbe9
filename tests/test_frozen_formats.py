"""Digests and files of an earlier version: what renamed code must still find, read and write alike.

``tests/data/frozen`` was made once, by ``make.py`` there. Never make it anew because this test
fails: then stores, models, records and interrupted trainings that people have would be lost. Keep
the old name in the digest or file instead, and the new one in the code.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from safetensors import safe_open
from safetensors.numpy import load_file
from typer.main import get_command
from typer.testing import CliRunner

from oddframe.backbones.engines import Runtime
from oddframe.backbones.registry import get_backbones
from oddframe.backbones.visual.onnx import OnnxSpec
from oddframe.cameras import camera_rule, mask_warning
from oddframe.cli.main import app
from oddframe.cli.options import translate_old_options
from oddframe.datasets.labelled import Dataset, GroundTruth, LabelledVideo
from oddframe.datasets.precomputed import load_precomputed_features
from oddframe.datasets.precomputed import video_digest as video_digest
from oddframe.datasets.read import read_dataset
from oddframe.events import EventRule
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.features.formats.feature_file import content_digest, read_any_features
from oddframe.features.formats.published import FeatureFolder
from oddframe.features.presets import PublishedLayout, get_preset, imported_spec
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.index import Index
from oddframe.features.store.manifest import append_entries, read_entries
from oddframe.features.store.store import FeatureStore, import_key, imported_specs, record_import
from oddframe.methods.registry import get_method, method_names
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.modelfile import find_model, load_model, save_model
from oddframe.outputs.score_files import read_score_file, write_json
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.grid_task import GridSetting, GridTask, record_path, training_digest
from oddframe.research.leaderboard.competitors import (
    list_competitors,
    read_rates,
    with_rates,
    write_rates,
)
from oddframe.research.leaderboard.record import read_league, write_league
from oddframe.research.protocol import (
    BenchmarkProtocol,
    Folds,
    InnerFolds,
    OwnSplit,
    RandomDraws,
    SpliceRule,
)
from oddframe.research.published_results import shipped_results
from oddframe.research.records import (
    facts_digest,
    protocol_facts,
    read_training,
    training_facts,
    videos_digest,
    write_training,
)
from oddframe.training.config import TrainConfig, parse_config, read_config
from oddframe.training.data.features import VideoFeatures
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.run_files import TrainingIdentity, load_checkpoint, save_checkpoint
from oddframe.training.search import Budget, TrialLog
from oddframe.training.train import TrainedModel, run_training
from oddframe.training.trainer import training_data_digest as training_data_digest
from oddframe.training.trainer import training_features_digest as seen_digest
from oddframe.video.mask import Mask
from oddframe.video.snippets.preprocessing import with_regions, with_tiles, with_views

ROOT = Path(__file__).resolve().parent.parent
FROZEN = ROOT / "tests" / "data" / "frozen"
CONTENT = "ab" * 32
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
LEAGUES = sorted((ROOT / "benchmarks" / "league").glob("*.json"))
LAYOUT = PublishedLayout(crops=5, fps=25.0, dim=24, audio_dim=128)

SPEC = FeatureSpec(
    resize=(32, 24),
    filter="bicubic",
    jpeg_quality=95,
    crop_size=(16, 16),
    crops=("center", "top_left_mirrored"),
    snippet_frames=8,
    stride=4,
    rate=12.5,
    backbone="i3d+aisfx",
    weights_sha256="ab12+cd34",
    dim=6,
    precision="bfloat16",
    mask="0123456789abcdef",
)
# Fields of a configuration and its sections, as YAML files have them.
SECTIONS = {
    "features": "preset backbone resize filter jpeg_quality crop_size crops crop_order "
    "snippet_frames stride rate tiles regions",
    "fast": "resize crop_size crops stride rate",
    "training_features": "crops stride mirrored",
    "method": "name config",
    "recipe": "lr weight_decay steps normal_bags abnormal_bags segments average clip_norm "
    "feature_noise feature_dropout seed",
    "bags": "mode clips abnormal",
    "calibration": "share groups false_alarms_per_hour",
    "search": "lr steps mirrored folds",
    "events": "threshold fast_threshold release smooth_s min_duration_s merge_gap_s",
}
# The model and configuration that the golden data call ``fight``, as they were called then.
GOLDEN_FIGHT = "fight_urdmu"
# Verbs that answer with JSON, run in a copy of the frozen files.
ANSWERS = (
    "info fight",
    "info models/linear.safetensors",
    "info published/v00__0.npy",
    "info ../fi150.mp4",
    "methods linear",
    "data info ready",
    "data check ready",
    "features ls store",
    "train ready --config run.yaml --seeds 2 --out trained.safetensors",
    "evaluate models/linear.safetensors ready",
    "score --features ready/fight/g0/v01.npy --model models/linear.safetensors --out scores",
)
SINGLE = "leave_out standardise temper half knows limits"


def sha256(data: bytes | str) -> str:
    return hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()


def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FROZEN / "golden.json").read_text())
    return found


def header_text(path: Path) -> str:
    with safe_open(path, framework="np") as file:
        return str(file.metadata()["oddframe"])


def ready() -> Dataset:
    """Eight normal videos and eight others, as features of length 12, two in each group."""
    return read_dataset(FROZEN / "ready")


def run_config() -> TrainConfig:
    return read_config(FROZEN / "run.yaml")


class Steps:
    """Remembers the steps that were taken, and stops after the step ``last`` of training ``n``."""

    def __init__(self, last: int = 0, n: int = 0) -> None:
        self.taken: list[int] = []
        self.stop = last, n

    def __call__(self, step: int, _: int | None, text: str, /) -> None:
        """Remember, or stop."""
        if not text.startswith("training"):
            return
        self.taken.append(step)
        if (step, self.taken.count(step)) == self.stop:
            raise KeyboardInterrupt


def trained(out: Path, progress: Steps) -> TrainedModel:
    """The run that was interrupted; it had two settings to try, and two seeds to train."""
    store = FeatureStore(out.parent / "store")
    return run_training(
        ready(), run_config(), out, store=store, progress=progress, budget=Budget(1e6), seeds=2
    )


def specs() -> dict[str, FeatureSpec]:
    found = {
        f"preset {name}": get_preset(name).preprocessing for name in ("ucf-crime", "xd-violence")
    }
    plain = replace(SPEC, crops=("full",), rate=None, mask="", precision="float32")
    found |= {"tiles": with_tiles(plain, 2, 3), "regions": with_regions(plain, 2, 3)}
    made = {
        name: replace(
            SPEC, **{key: getattr(how, key) for key in asdict(SPEC.preprocessing)}, mask=""
        )
        for name, how in found.items()
    }
    made |= {f"{views} views": with_views(plain, views) for views in (1, 5, 10)}
    made |= {"ours": SPEC, "plain": plain, "imported": imported_spec(1024, 10)}
    return made | {"imported with sound": imported_spec(1024, 5, 128)}


def gathered() -> list[VideoFeatures]:
    features = Features(np.zeros((2, 5, 6), np.float32), SPEC, SPEC.timebase(25.0, 45))
    truth = (GroundTruth(((3.0, 7.5),), "seconds"), None)
    return [
        VideoFeatures(
            LabelledVideo(Path(f"x/{i}.mp4"), bool(i), ("normal", "fight")[i], f"g{i}", each, part),
            f"{i}" * 64,
            {parse_config({}).features: features},
        )
        for i, (each, part) in enumerate(zip(truth, ("train", "test"), strict=True))
    ]


def protocols() -> dict[str, BenchmarkProtocol]:
    rule = SpliceRule((2, 3), (1, 2), 4, 5, snippets=6)
    found = {
        "folds": BenchmarkProtocol(Folds(3), 2, "spliced", rule, rule, True, 7, 1.5, 3),
        "given": BenchmarkProtocol(
            OwnSplit(frozenset({"a/x.mp4", "a/y.mp4"})), 1, "clips", test_videos=None
        ),
        "inner": BenchmarkProtocol(InnerFolds(RandomDraws(normal=4, abnormal=6), 2)),
    }
    return found | {f"of {name}": each.protocol for name, each in BENCHMARKS.items()}


def digests() -> dict[str, str]:
    """All that names code may have changed, as short texts."""
    found = {f"spec {name}": spec.hash() for name, spec in specs().items()}
    found["spec fields"] = json.dumps(SPEC.to_dict())
    found["place in a store"] = str(FeatureStore(Path()).path(CONTENT, SPEC))
    found["imported key"] = import_key("ucf_crime", "Abuse001_x264")
    found["mask"] = Mask(np.arange(30).reshape(5, 6) % 7 == 0).digest
    found["onnx"] = OnnxSpec(FROZEN / "onnx.yaml").hash_weights(FROZEN / "network.onnx")
    found["onnx preprocessing"] = repr(
        asdict(get_backbones(str(FROZEN / "onnx.yaml"))[0].preprocessing)
    )
    # Scored videos whose fingerprint has changed are scored anew.
    found["fingerprint of a rule"] = repr(EventRule(0.5, 0.25, 1.0, 2.0, 3.0))
    found["fingerprint of a choice"] = repr(Runtime("openvino", "cpu", "float32"))
    found["unfinished choice"] = str(Runtime("openvino", "cpu", "float32"))
    for path in [*CONFIGS, FROZEN / "config.yaml"]:
        config = read_config(path)
        name = {GOLDEN_FIGHT: "fight", "fight": "new fight"}.get(path.stem, path.stem)
        found[f"config {name}"] = sha256(config.model_dump_json())
        found[f"facts {name}"] = facts_digest(training_facts(config))
    for name in method_names():
        method = get_method(name)
        found[f"method {name}"] = sha256(method.Config().model_dump_json())
        found[f"facts of {name}"] = facts_digest(
            training_facts(parse_config({"method": {"name": name}}))
        )
        dim = sum(kind.dim for kind in get_backbones((method.backbones or ("i3d+vggish",))[0]))
        with torch.device("meta"):
            network = ModelNetwork(Standardise.identity(dim), method.network(dim, method.Config()))
        tensors = {key: list(value.shape) for key, value in network.state_dict().items()}
        found[f"tensors of {name}"] = facts_digest(tensors)
    for name, protocol in protocols().items():
        found[f"protocol {name}"] = facts_digest(protocol_facts(protocol))
        setting = GridSetting("ucf_crime", protocol, "auc", "ef" * 32, Path("out"))
        task = GridTask("a", run_config(), 1, 2)
        found[f"record {name}"] = str(record_path(task, setting))
    videos = gathered()
    found["features of a benchmark"] = videos_digest(videos)
    found["training data"] = training_data_digest(videos)
    found["features of a trial"] = seen_digest(videos, [SPEC])
    generated = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
    bags = [TrainingVideo((generated[0],), True, 2)]
    found["identity of a training"] = TrainingIdentity(bags, None).of(run_config())
    for path in sorted((FROZEN / "ready").rglob("*.npy"))[:2]:
        video = LabelledVideo(path, False, "normal", "g")
        found[f"ready {path.name}"] = video_digest(video)
        found[f"ready features {path.name}"] = content_digest(
            load_precomputed_features(video).array
        )
    files, _ = FeatureFolder.scan(FROZEN / "published").find(
        "v00", LAYOUT, sound=FeatureFolder.scan(FROZEN / "sound")
    )
    assert files is not None
    found["published"] = files.digest()
    found["published spec"] = files.open().spec.hash()
    found["published features"] = content_digest(files.open().array)
    shipped = load_model(GOLDEN_FIGHT)
    found["shipped file"] = sha256(find_model(GOLDEN_FIGHT).read_bytes())
    found["shipped model"] = shipped.sha256
    found["shipped config"] = sha256(shipped.config.model_dump_json())
    for name, profile in shipped.profiles.items():
        found[f"shipped spec {name}"] = profile.spec.hash()
        found[f"shipped rule {name}"] = repr(list(vars(profile.rule).values()))
    found["shipped words"] = repr((shipped.method, shipped.detects, sorted(shipped.card)))
    found["shipped league"] = repr([[*vars(each).values()] for each in shipped_results("oddframe")])
    return found


def options() -> dict[str, list[str]]:
    """The names of every verb's options."""

    def walk(command: Any, verb: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
        for name, inside in getattr(command, "commands", {}).items():
            yield from walk(inside, (*verb, name))
        names = (n for param in command.params for n in (*param.opts, *param.secondary_opts))
        yield " ".join(verb), sorted(name for name in names if name.startswith("-"))

    return dict(walk(get_command(app), ()))


def answers() -> dict[str, Any]:
    """The keys of what each verb answers to a program."""
    found = {}
    with TemporaryDirectory() as name:
        shutil.copytree(FROZEN.parent, Path(name, "data"))
        for words in ANSWERS:
            with chdir(Path(name, "data", "frozen")):
                asked = [GOLDEN_FIGHT if word == "fight" else word for word in words.split()]
                answer = CliRunner().invoke(app, [*asked, "--json"])
            assert answer.exit_code == 0, (words, answer.output)
            found[words] = shape_of(json.loads(answer.stdout))
    return found


def scores_of(path: Path) -> dict[str, list[float]]:
    """What a model file gives for each of the ready-made videos."""
    model = load_model(path)
    found = {}
    for video in ready().videos[::5]:
        found[video.path.name] = model.score(read_any_features(video.path)).scores.tolist()
    return found


def test_digests_stay() -> None:
    found, kept = digests(), golden()["digests"]
    changed = {name: found.get(name) for name in kept if found.get(name) != kept[name]}
    assert not changed, changed


def test_options_stay() -> None:
    now = options()
    for verb, names in golden()["options"].items():
        assert verb in now, verb
        for name in names:
            words, _ = translate_old_options([*verb.split(), name])
            rest = words[len(verb.split()) :]
            assert not rest or rest[0].split("=")[0] in now[verb], f"{verb} {name}"


def missing_keys(found: Any, kept: Any, where: str = "") -> list[str]:
    """The keys of ``kept`` that ``found`` lacks; it may have more."""
    if not isinstance(kept, dict):
        return [] if found == kept else [f"{where}: {found}, not {kept}"]
    if not isinstance(found, dict):
        return [where]
    return [
        line
        for key, value in kept.items()
        for line in (
            missing_keys(found[key], value, f"{where}/{key}")
            if key in found
            else [f"{where}/{key}"]
        )
    ]


def test_answers_keep_their_keys() -> None:
    found = answers()
    for words, keys in golden()["answers"].items():
        assert not missing_keys(found[words], keys), words


@pytest.mark.parametrize("name", ["fight", GOLDEN_FIGHT])
def test_a_shipped_model_is_written_as_it_is(name: str, tmp_path: Path) -> None:
    path = find_model(name)
    model = replace(load_model(path), name="fight")  # Both had that name when they were written.
    save_model(model, tmp_path / path.name, fp16=True)
    assert header_text(tmp_path / path.name) == header_text(path)
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_store_is_found_and_read(tmp_path: Path) -> None:
    root = tmp_path / "store"
    shutil.copytree(FROZEN / "store", root)
    store = FeatureStore(root)
    kept = store.get(CONTENT, SPEC)
    assert kept is not None
    np.testing.assert_array_equal(kept.array, made_features().array)
    assert kept.timebase == made_features().timebase
    (entry,) = Index(root).find(CONTENT)
    assert root / entry.file == store.path(CONTENT, SPEC)
    (of,) = Index(root).specs()
    assert (of.spec, of.videos, of.snippets) == (SPEC, 1, kept.timebase.n_snippets)
    assert imported_specs(store, "ucf_crime") == {"i3d": imported_spec(1024, 10)}
    # What is written today is what was written then.
    other = FeatureStore(tmp_path / "other")
    written = other.put(CONTENT, kept)
    assert written.read_bytes() == store.path(CONTENT, SPEC).read_bytes()
    append_entries(other.root, read_entries(root))
    assert (other.root / "manifest.jsonl").read_text() == (root / "manifest.jsonl").read_text()
    record_import(other, "ucf_crime", imported_spec(1024, 10))
    name = Path("imported", "ucf_crime", "i3d.json")
    assert (other.root / name).read_text() == (root / name).read_text()
    rows = [table(folder / "index.sqlite") for folder in (FROZEN / "store", other.root)]
    assert rows[0] == rows[1]


def table(path: Path) -> list[Any]:
    """The rows of an index, by the names that its tables have had."""
    db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    found = list(db.execute("SELECT content, spec, snippets, bytes FROM entries"))
    found += list(db.execute("SELECT hash, json FROM specs"))
    db.close()
    return found


def made_features() -> Features:
    time = SPEC.timebase(25.0, 40, np.arange(40) / 25.0 + 0.5)
    shape = (2, time.n_snippets, SPEC.dim)
    return Features(np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 8, SPEC, time)


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    outs = [tmp_path / name / "run.safetensors" for name in ("resumed", "anew")]
    for out in outs:
        shutil.copytree(FROZEN / "run", out.parent)
    (outs[1].parent / "run.training" / "seed-2023.checkpoint.safetensors").unlink()
    resumed, anew = Steps(), Steps()
    models = [trained(outs[0], resumed), trained(outs[1], anew)]
    steps = run_config().recipe.steps
    assert resumed.taken == list(range(101, steps + 1)), "the trials and one seed were done"
    assert anew.taken == list(range(1, steps + 1))
    logs = [load_log(out.with_name("run.seed-2023.log.jsonl")) for out in outs]
    before = load_log(FROZEN / "run" / "run.seed-2023.log.jsonl")
    assert [row.keys() for row in logs[0]] == [before[0].keys()] * steps
    for one, other in zip(*logs, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)
    kept, other = (model.model.network.state_dict() for model in models)
    for name, tensor in kept.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-4, atol=1e-4)
    assert shape_of(dict(models[0].model.card)) == golden()["card"]


def card_of_the_run() -> Any:
    """The keys of the card that the interrupted run's model gets."""
    with TemporaryDirectory() as folder:
        shutil.copytree(FROZEN / "run", Path(folder, "run"))
        return shape_of(dict(trained(Path(folder, "run", "run.safetensors"), Steps()).model.card))


def load_log(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def shape_of(value: Any) -> Any:
    """The keys of JSON types, at every depth."""
    if isinstance(value, dict):
        return {name: shape_of(each) for name, each in sorted(value.items())}
    return [shape_of(value[0])] if isinstance(value, list | tuple) and value else None


def test_checkpoints_and_trials_are_written_as_they_were(tmp_path: Path) -> None:
    folder = FROZEN / "run" / "run.training"
    path = folder / "seed-2023.checkpoint.safetensors"
    save_checkpoint(load_checkpoint(path), tmp_path / path.name)
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    kept, again = TrialLog(folder / "trials.jsonl"), TrialLog(tmp_path / "trials.jsonl")
    assert len(kept)
    for line in (folder / "trials.jsonl").read_text().splitlines():
        key = json.loads(line)["key"]
        trial = kept.get(key)
        assert trial is not None
        again.add(key, trial)
    assert again.path.read_text() == kept.path.read_text()


@pytest.mark.parametrize("path", sorted((FROZEN / "models").glob("*")), ids=lambda path: path.stem)
def test_models_give_the_same_scores_and_are_written_as_they_were(
    path: Path, tmp_path: Path
) -> None:
    for name, scores in golden()["scores"][path.stem].items():
        np.testing.assert_allclose(scores_of(path)[name], scores, rtol=0, atol=1e-6)
    model = load_model(path)
    save_model(model, tmp_path / path.name, fp16="half" in path.stem)
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert (
        parse_config(model.card["configuration"]).model_dump(mode="json")
        == (model.card["configuration"])
    )


def test_thresholds_and_masks_of_cameras_are_found() -> None:
    model = load_model(FROZEN / "models" / "cameras.safetensors")
    rule, path = model.profiles["best"].rule, Path("cam1/x.mp4")
    assert camera_rule(model.card, "best", rule, path).threshold == 0.625
    assert mask_warning(model.card, "best", "", path, "0123456789abcdef") is None
    assert mask_warning(model.card, "best", "", path, "") is not None


@pytest.mark.parametrize("path", LEAGUES, ids=lambda path: path.stem)
def test_records_of_the_league_are_written_as_they_were(path: Path, tmp_path: Path) -> None:
    if path.stem == "rates":
        rates = read_rates(path)
        assert rates is not None
        write_rates(tmp_path / path.name, rates)
    else:
        write_league(tmp_path / path.name, read_league(path))
    assert json.loads((tmp_path / path.name).read_text()) == json.loads(path.read_text())


@pytest.mark.parametrize("name", ["ped2", "ur_fall", "surveillance_fight"])
def test_trainings_that_the_league_has_are_not_made_again(name: str) -> None:
    path = ROOT / "benchmarks" / "league" / f"{name}.json"
    if not path.exists():
        pytest.skip("no records of the league here")
    league, benchmark = read_league(path), BENCHMARKS[name]
    assert facts_digest(league.protocol) == facts_digest(protocol_facts(benchmark.protocol))
    config = read_config(ROOT / "configs" / f"{benchmark.config}.yaml")
    setting = GridSetting(name, benchmark.protocol, "auc", league.features_sha256, Path("out"))
    rates = read_rates(path.with_name("rates.json"))
    assert rates is not None
    for row in with_rates(list_competitors(config), rates):
        entry = league.entry(row.name)
        # Those that look at frames have features of their own, which the record does not name.
        if entry is not None and not get_method(entry.method).backbones:
            assert training_digest(row.config, setting) == entry.digest, row.name


def test_records_are_written_as_they_were(tmp_path: Path) -> None:
    folder = FROZEN / "records"
    write_training(tmp_path / "training.json", read_training(folder / "training.json"))
    write_league(tmp_path / "league.json", read_league(folder / "league.json"))
    for path in folder.glob("*.json"):
        assert (tmp_path / path.name).read_text() == path.read_text(), path.name


def test_a_score_file_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    path = FROZEN / "score.json"
    found = read_score_file(path)
    assert found.intact
    write_json(found.result, tmp_path / path.name, found.files)
    assert (tmp_path / path.name).read_text() == path.read_text()


def test_an_unfinished_extraction_goes_on(tmp_path: Path) -> None:
    shutil.copytree(FROZEN / "partial", tmp_path / "p")
    partial = PartialFeatures(tmp_path / "p", chunk=2)
    rows = np.arange(48, dtype=np.float32).reshape(6, 2, 4)
    np.testing.assert_array_equal(partial.load(2, 4), rows[:4])
    partial.add(rows[4:])
    np.testing.assert_array_equal(partial.finish(2, 4), rows.swapaxes(0, 1))
    again = PartialFeatures(tmp_path / "again", chunk=2)
    again.load(2, 4)
    again.add(rows)
    for path in (tmp_path / "p").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_every_key_of_a_configuration_is_read() -> None:
    config = read_config(FROZEN / "config.yaml")
    kept = golden()["config"]
    assert json.loads(config.model_dump_json()) == kept
    for section, names in SECTIONS.items():
        for name in names.split():
            if (section, name) not in {("features", "preset"), ("features", "crop_order")}:
                assert name in kept[section], f"{section}.{name}"
    assert set(kept) == {*SECTIONS, *SINGLE.split()}
    other = {"preset": "ucf-crime", "crop_order": "extractor"}
    assert len(parse_config({"features": other}).features.crops) == 10
    for key in ("tiles", "regions"):
        assert (
            parse_config({"features": {"crops": ["full"], key: [2, 3]}}).features.grid_kind == key
        )
    assert isinstance(config, BaseModel)


def test_tensors_have_their_names() -> None:
    for path in (FROZEN / "models").glob("*"):
        assert sorted(load_file(path)) == golden()["tensors"][path.stem], path.stem
