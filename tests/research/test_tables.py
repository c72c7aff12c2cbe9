"""The configuration and the published figures of each row of a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oddframe.errors import UsageError
from oddframe.methods.mil.urdmu_network import PAPER_SETTINGS, UrDmuConfig
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.published_results import load_published
from oddframe.research.reproduce.tables import SETTINGS_TABLE, TABLE_NAMES, table_spec
from oddframe.training.config import TrainConfig, read_config
from oddframe.training.configure import shipped_config, with_method
from tests.research.tiny import tiny_config


def settings(name: str, dataset: str = "ped2") -> dict[str, UrDmuConfig]:
    spec = table_spec(name, dataset, tiny_config())
    found = {}
    for row in spec.rows:
        if row.config is not None:
            config = row.config.chosen_method()[1]
            assert isinstance(config, UrDmuConfig)
            found[row.key] = config
    return found


def test_single_memories() -> None:
    found = settings("table3")
    assert {key: each.memory for key, each in found.items()} == {
        "10": "anomaly",
        "01": "normal",
        "11": "dual",
    }


def test_sizes_of_the_memories() -> None:
    found = settings("table4")
    assert list(found) == [str(n) for n in range(20, 101, 10)]
    assert all(each.anomaly_slots == each.normal_slots == int(k) for k, each in found.items())


def test_subsets_of_the_loss() -> None:
    found = settings("table5")
    assert len(found) == 8
    for key, each in found.items():
        weights = each.loss_weights
        for on, weight in zip(
            key, (weights.dm, weights.trip, weights.kl, weights.dis), strict=True
        ):
            assert (weight > 0) == (on == "1")
        assert weights.cls == 1


def test_modules() -> None:
    found = {key: (each.memory, each.uncertainty) for key, each in settings("table6").items()}
    assert found == {
        "100": ("none", False),
        "110": ("dual", False),
        "101": ("none", True),
        "111": ("dual", True),
    }


def test_settings_differ_from_the_published_code_one_at_a_time() -> None:
    found = settings("settings")
    whole = found["official"].model_dump()
    for name, value in PAPER_SETTINGS.items():
        apart = found[f"{name}_{value}"].model_dump()
        assert {k for k in whole if whole[k] != apart[k]} == {name}
    assert all(getattr(found["paper"], name) == value for name, value in PAPER_SETTINGS.items())


@pytest.mark.parametrize("name", ["table3", "table4", "table5", "table6"])
def test_the_reference_is_the_configured_method(name: str) -> None:
    spec, plain = table_spec(name, "ped2", tiny_config()), tiny_config().chosen_method()[1]
    assert settings(name)[spec.reference] == plain
    assert len({row.name for row in spec.rows}) == len(spec.rows)


def test_comparisons_have_published_rows_and_ours() -> None:
    spec = table_spec("table1", "ucf_crime", tiny_config())
    theirs = [row for row in spec.rows if row.config is None]
    assert len(theirs) == 16
    assert theirs[-1].published == {"ucf_auc": 86.97}
    assert [row.key for row in spec.rows if row.config][:3] == ["ur_dmu", "paper", "oddframe"]
    assert any(
        row.published == {"auc": 93.2} for row in table_spec("table1", "ped2", tiny_config()).rows
    )


@pytest.mark.parametrize(
    ("name", "dataset", "config", "words"),
    [
        ("table9", "ped2", tiny_config(), "there is no table 'table9'"),
        ("table1", "xd_violence", tiny_config(), "xd_violence is in table2"),
        ("table2", "ucf_crime", tiny_config(), "ucf_crime is in table1"),
        ("table3", "ped2", with_method(TrainConfig(), "linear"), "is about UR-DMU"),
    ],
)
def test_impossible_tables_are_refused(
    name: str, dataset: str, config: TrainConfig, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        table_spec(name, dataset, config)


@pytest.mark.parametrize("dataset", BENCHMARKS)
def test_every_data_set_has_its_configuration_and_tables(dataset: str) -> None:
    config = read_config(shipped_config(BENCHMARKS[dataset].config))
    for name in TABLE_NAMES:
        if (name, dataset) not in {("table1", "xd_violence"), ("table2", "ucf_crime")}:
            assert table_spec(name, dataset, config).rows


def test_published_recipes_are_the_authors() -> None:
    for name, crops in (("urdmu_published", 10), ("urdmu_published_xd", 5)):
        config = read_config(shipped_config(name))
        recipe = config.full_recipe()
        assert (recipe.optimiser, recipe.lr, recipe.weight_decay) == ("adam", 1e-4, 5e-5)
        assert (recipe.steps, recipe.normal_bags, recipe.abnormal_bags) == (3000, 64, 64)
        assert (recipe.segments, recipe.average, recipe.clip_norm) == (200, 0, None)
        assert len(config.features.crops) == crops
        assert config.chosen_method()[1] == UrDmuConfig()
        assert not config.standardise
        assert not config.temperature_scaling


def test_an_unknown_configuration_is_named() -> None:
    with pytest.raises(UsageError, match="ped2"):
        shipped_config("ped3")


def test_published_figures_equal_the_collected_ones(shared_data: Path) -> None:
    theirs = json.loads((shared_data.parent / "spec" / "published_results.json").read_text())
    tables = load_published().tables
    ours = [[*row.labels, row.figures["ucf_auc"]] for row in tables["table1"].rows]
    assert ours == [[*map(str, row[:-1]), row[-1]] for row in theirs["table1_ucf_auc"]]
    ours = [[*row.labels, row.figures["xd_ap"]] for row in tables["table2"].rows]
    assert ours == [[*map(str, row[:-1]), row[-1]] for row in theirs["table2_xd_ap"]]
    names = {"10": "single_abnormal", "01": "single_normal", "11": "dual"}
    for row in tables["table3"].rows:
        assert list(row.figures.values()) == theirs["table3_memory"][names[row.key]]
    for row in tables["table4"].rows:
        assert list(row.figures.values()) == theirs["table4_memory_sizes"][row.key]
    for name, other in (("table5", "table5_loss_terms"), ("table6", "table6_modules")):
        rows = [[*map(int, row.key), *row.figures.values()] for row in tables[name].rows]
        assert rows == theirs[other]["rows"]
        columns = [*tables[name].rows[0].figures]
        assert columns == theirs[other]["columns"][-len(columns) :]


@pytest.mark.parametrize("name", ["table3", "table4", "table5", "table6", SETTINGS_TABLE])
@pytest.mark.parametrize("dataset", ["ped2", "ur_fall", "surveillance_fight"])
def test_parts_are_left_out_of_the_published_network(name: str, dataset: str) -> None:
    config = read_config(shipped_config(BENCHMARKS[dataset].config))
    whole = config.chosen_method()[1]
    assert isinstance(whole, UrDmuConfig)
    assert whole.shortcut
    for row in table_spec(name, dataset, config).rows:
        assert row.config is not None
        method = row.config.chosen_method()[1]
        assert isinstance(method, UrDmuConfig)
        assert not method.shortcut
        assert method.hidden == whole.hidden
