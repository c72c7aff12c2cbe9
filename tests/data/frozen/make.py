"""Makes the files beside it: ``python -m tests.data.frozen.make``, where the YAML and
``network.onnx``, which were written by hand, lie alone.

It was run once, before anything was renamed. Running it with later code would freeze that instead:
new kinds of files belong in functions of their own here, and are added to what there is.
"""

import json
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from oddframe.cameras import with_masks, with_thresholds
from oddframe.detector import ModelInfo, VideoResult
from oddframe.events import EventRule
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.features.presets import imported_spec
from oddframe.features.store import manifest
from oddframe.features.store.store import FeatureStore, record_import
from oddframe.modelfile import load_model, save_model
from oddframe.outputs.score_files import write_json
from oddframe.research import records as record
from oddframe.research.fold_figures import FigureColumn, FoldFigures
from oddframe.research.leaderboard import record as league
from oddframe.research.records import CodeVersion, protocol_facts, training_facts
from oddframe.timeline import Event, ScoreTrack, TileScores
from oddframe.training.config import parse_config, read_config
from oddframe.training.train import run_training
from tests import test_frozen_formats as frozen

HERE = Path(__file__).resolve().parent
SMALL = {"hidden": 8, "heads": 2, "head_dim": 4}
METHODS = {
    "urdmu": ("ur_dmu", {**SMALL, "depth": 1, "classifier_hidden": 4, "memory": "dual"}, {}),
    "linear": ("linear", {}, {}),
    "oddframe": ("oddframe", SMALL, {"standardise": True, "temper": True}),
    "normality": ("normality", {}, {}),
    "half": ("oddframe", SMALL, {"half": True, "knows": "fights", "limits": "made"}),
}


def features() -> None:
    """Features: ready-made, published, and in a store with its index and manifest."""
    rng = np.random.default_rng(5)
    for i in range(16):
        array = rng.normal(size=(5 + i % 4, 12)).astype(np.float32)
        array[2:4, :6] += 3.0 * (i % 2)
        path = HERE / "ready" / ("normal", "fight")[i % 2] / f"g{i // 2}" / f"v{i:02}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    for folder in ("published", "sound"):
        (HERE / folder).mkdir()
    for crop in range(5):
        np.save(HERE / "published" / f"v00__{crop}.npy", rng.normal(size=(4, 24)).astype("f2"))
    np.save(HERE / "sound" / "v00__vggish.npy", rng.normal(size=(4, 128)).astype("f4"))
    kept = FeatureStore(HERE / "store")
    file = kept.put(frozen.CONTENT, frozen.made_features()).relative_to(kept.root)
    numbers = {"snippets": 9, "frames": 40, "duration_s": 1.6, "seconds": 0.25}
    faults = {"damaged_packets": 1, "mended_frames": 2, "notes": ("no sound",)}
    about = {"spec": frozen.SPEC.hash(), "backbone": "i3d+aisfx", "file": str(file)}
    made = manifest.ManifestEntry(
        video="a/x.mp4", sha256=frozen.CONTENT, **about, **numbers, **faults
    )
    manifest.append_entries(
        kept.root, [made, manifest.ManifestEntry(video="b.mp4", reason="empty")]
    )
    record_import(kept, "ucf_crime", imported_spec(1024, 10))


def run() -> None:
    """A run that was interrupted in its second seed, 20 steps behind a checkpoint."""
    out = HERE / "run" / "run.safetensors"
    counter = frozen.Steps(last=120, n=4)  # Two trials and one seed come before.
    with suppress(KeyboardInterrupt):
        frozen.trained(out, counter)


def models() -> None:
    """A model of several methods each, trained in a few steps."""
    folder = HERE / "models"
    for name, (method, config, others) in METHODS.items():
        recipe = {"steps": 20, "normal_bags": 4, "abnormal_bags": 4, "segments": 8}
        about = {"method": {"name": method, "config": config}, "recipe": recipe, **others}
        path = folder / f"{name}.safetensors"
        run_training(
            frozen.ready(), parse_config(about), path, store=FeatureStore(HERE / "scratch")
        )
    model = load_model(folder / "linear.safetensors")
    card = with_thresholds(model.card, "best", {"cam1": 0.625, "cam2": 0.5})
    card = with_masks(card, "best", {"cam1": "0123456789abcdef"})
    save_model(replace(model, name="cameras", card=card), folder / "cameras.safetensors")


def records() -> None:
    """Records with every field, one figure of them undefined."""
    folder = HERE / "records"
    figures = FoldFigures(1, 2, 0.9, 0.8, 0.81, 0.7, 0.6, 0.05, math.nan, 1.5, 0.91, 0.92)
    code, cost = CodeVersion("0.1.0", "c0ffee", "ab" * 32), record.Cost(123, 4.5, 6.75, "cpu")
    facts, protocol = training_facts(frozen.run_config()), frozen.protocols()["inner"]
    best = record.BestOnTest("auc", 20, figures, (20, 30), (0.9, math.nan))
    learning = record.LossCurves((10, 20), {"loss": (1.0, 0.5), "bce": (0.75, 0.25)})
    where = {"torch": "2.9.0", "device": "cpu", "threads": 2, "seconds": 12.5}
    run = {"config": frozen.run_config().model_dump(mode="json"), "steps": 20, "seed": 7}
    of = {"facts": facts, "protocol": protocol_facts(protocol), "features_sha256": "cd" * 32}
    rest = {"code": code, "learning": learning, "best_on_test": best, "cost": cost}
    rest |= {"dataset": "ped2", "figures": figures, "warnings": ("w",)}
    made = record.TrainingRecord(**run, **of, **where, **rest)
    record.write_training(folder / "training.json", made)
    kept = league.EntryTraining(figures, cost, ("noted",), "ab" * 32)
    row = ("linear", "Linear", "linear", "Adam", "ef" * 32, (kept, replace(kept, cost=None)))
    entry = league.LeagueEntry(
        *row, notes=("n",), failed=(league.FailedTraining(1, 0, "not finite"),)
    )
    columns = (FigureColumn("auc", "AUC"), FigureColumn("far", "FAR", 1.0))
    about = ("ped2", "Ped2", columns, ((0, 0), (1, 2)), 20, 8, (4, 6), 0.9, True)
    rows = league.League(*about, protocol_facts(protocol), "cd" * 32, code, (entry,))
    league.write_league(folder / "league.json", rows)


def results() -> None:
    """A score file with every field, and an extraction that was stopped after two chunks."""
    pts = np.arange(40) / 25.0 + 0.5 + (np.arange(40) >= 20)
    base = frozen.SPEC.timebase(25.0, 40, pts, gaps=(20,))
    scores = np.linspace(0.1, 0.9, base.n_snippets)
    track = ScoreTrack(scores, base, TileScores((1, 2), np.stack([scores, scores / 2])))
    info = ModelInfo("made", "5e" * 32, "ur_dmu", "fights", "i3d 8x8", "best", "openvino", "0.1.0")
    events = (Event(0.5, 1.0, 0.75, 0.875, (0.0, 0.0, 0.5, 1.0)),)
    rule = EventRule(0.5, 0.25, 1.0, 0.5, 2.0)
    about = (1, ((0.5, 0.9),), "ab12", 2, "ef01")
    result = VideoResult("x.mp4", track, events, rule, info, *about)
    write_json(result, HERE / "score.json", {"x.csv": "ab" * 32})
    partial = PartialFeatures(HERE / "partial", chunk=2)
    partial.load(2, 4)
    partial.add(np.arange(48, dtype=np.float32).reshape(6, 2, 4)[:5])


if __name__ == "__main__":
    for make in (features, run, models, records, results):
        make()
    for path in (*HERE.rglob("*.lock"), *HERE.glob("models/*.jsonl"), *HERE.glob("run/*2022.log*")):
        path.unlink()
    made = sorted((HERE / "models").glob("*"))
    whole = {
        "digests": frozen.digests(),
        "options": frozen.options(),
        "answers": frozen.answers(),
        "config": json.loads(read_config(HERE / "config.yaml").model_dump_json()),
        "scores": {path.stem: frozen.scores_of(path) for path in made},
        "tensors": {path.stem: sorted(frozen.load_file(path)) for path in made},
        "card": frozen.card_of_the_run(),
    }
    (HERE / "golden.json").write_text(json.dumps(whole, indent=1) + "\n")
