"""The league: equal terms, resuming, failures, and the tables of its records."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oddframe.cli.research import format_training_line
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.methods.registry import method_names
from oddframe.research import grid
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.grid import GridPlan, Session, TrainingOutcome, benchmark_config, run_grid
from oddframe.research.grid_task import GridTask, find_training, record_path
from oddframe.research.leaderboard import competitors, league
from oddframe.research.leaderboard.competitors import (
    Competitor,
    group_by_features,
    list_competitors,
)
from oddframe.research.leaderboard.league import (
    ComparisonGroup,
    TimeEstimate,
    collect_league,
    count_repeats,
    has_converged,
)
from oddframe.research.leaderboard.ranking import LeagueRanking, rank_blocks, rank_leagues
from oddframe.research.leaderboard.record import (
    FailedTraining,
    League,
    LeagueEntry,
    read_league,
    read_leagues,
    write_league,
)
from oddframe.research.leaderboard.report import league_markdown, write_rank_plot
from oddframe.research.records import LossCurves, TrainingRecord, read_training
from tests.research.test_records import record
from tests.research.tiny import tiny_config, tiny_dataset, tiny_session
from tools.ship_league import shipped_results_json

ONE_PROCESS = GridPlan(1, 1)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Abnormal videos differ a little everywhere, and by much more during their events."""
    monkeypatch.setattr(competitors, "STEPS", 30)
    (tmp_path / "data").mkdir()
    dataset = tiny_dataset(tmp_path / "data")
    for video in dataset.videos:
        if video.abnormal:
            array = np.load(video.path)
            array[:, :4] += 1
            array[2:5, :4] += 3
            np.save(video.path, array)
    return tiny_session(tmp_path, dataset=dataset)


def run(session: Session, rows: tuple[Competitor, ...], told: object = None) -> League:
    group = ComparisonGroup(session, rows)
    failed = run_grid(session, group.tasks, ONE_PROCESS, told)  # type: ignore[arg-type]
    return collect_league([group], failed)


def planted(session: Session) -> tuple[Competitor, ...]:
    """One method that learns, and two that hardly change, among them UR-DMU."""
    learner, idle = list_competitors(session.config, ["linear", "sultani"])
    still = {"lr": 1e-12, "weight_decay": 0.0}
    config = tiny_config().with_recipe(**still)
    return (
        Competitor("ur_dmu", "UR-DMU", config),
        Competitor("sultani", "Sultani et al.", idle.config.with_recipe(**still)),
        Competitor("linear", "Linear top-k MIL", learner.config.with_recipe(lr=0.1)),
    )


def test_methods_share_the_recipe_except_for_their_own_part() -> None:
    config = benchmark_config("ped2", None)
    rows = list_competitors(config)
    assert [row.name for row in rows] == [*method_names(), "ur_dmu_small"]
    recipes = [row.config.full_recipe() for row in rows]
    same = {(r.steps, r.segments, r.normal_bags, r.abnormal_bags, r.average) for r in recipes}
    assert same == {(competitors.STEPS, 16, 4, 4, 0.98)}
    first, *others = group_by_features(rows)
    assert {row.config.features for row in first} == {config.features}
    assert [[row.name for row in each] for each in others] == [["hasan"], ["lu"]]
    assert [each[0].config.features.backbone for each in others] == [
        "grey_10x96x96",
        "grey_5x120x160",
    ]
    sultani = next(row for row in rows if row.name == "sultani").config.full_recipe()
    assert (sultani.optimiser, sultani.lr) == ("adagrad", 1e-3)
    # UR-DMU has its published settings; those that were chosen here are a row of their own.
    settings = {row.name: row.config.chosen_method()[1] for row in rows}
    published, small = settings["ur_dmu"], settings["ur_dmu_small"]
    assert (published.hidden, published.shortcut) == (512, False)  # type: ignore[attr-defined]
    assert (small.hidden, small.shortcut) == (128, True)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="there is no method"):
        list_competitors(config, ["rtfn"])
    with pytest.raises(UsageError, match="hasan reads frames, and this benchmark has only"):
        list_competitors(config, ["linear", "hasan"], frames=False)


def test_repeats_are_draws_or_seeds() -> None:
    ped2, fall, tracks = (BENCHMARKS[n] for n in ("ped2", "ur_fall", "shanghaitech_tracks"))
    assert [count_repeats(each, None, None) for each in (ped2, fall, tracks)] == [10, 1, 3]
    assert (count_repeats(ped2, 4, None), count_repeats(fall, None, 2)) == (4, 2)
    with pytest.raises(UsageError, match="give --draws"):
        count_repeats(ped2, None, 3)
    with pytest.raises(UsageError, match="give --seeds"):
        count_repeats(fall, 3, None)


def test_a_killed_league_trains_nothing_twice(session: Session, tmp_path: Path) -> None:
    rows = planted(session)
    seen: list[tuple[str, int]] = []

    def stop(done: int, _total: int, task: GridTask, _training: TrainingRecord) -> None:
        seen.append((task.name, task.repeat))
        if done == 2:
            raise KeyboardInterrupt

    def go_on(_done: int, _total: int, task: GridTask, _training: TrainingRecord) -> None:
        seen.append((task.name, task.repeat))

    with pytest.raises(KeyboardInterrupt):
        run(session, rows, stop)
    halfway = collect_league([ComparisonGroup(session, rows)])
    assert [len(entry.figures) for entry in halfway.entries] == [1, 1, 0]
    assert len(ComparisonGroup(session, rows).missing) == 4
    run(session, rows, go_on)
    # Every row has its first repeat before any has its second.
    assert seen == [(row.title, repeat) for repeat in (0, 1) for row in rows]


def test_the_record_alone_is_enough_to_go_on(session: Session, tmp_path: Path) -> None:
    rows = planted(session)
    found = run(session, rows[1:])
    write_league(tmp_path / "league.json", found)
    shutil.rmtree(session.setting.folder)
    earlier = read_league(tmp_path / "league.json")
    group = ComparisonGroup(session, rows, earlier)
    assert [task.name for task in group.missing] == ["UR-DMU", "UR-DMU"]
    again = collect_league([group])
    assert [len(entry.trainings) for entry in again.entries] == [0, 2, 2]
    assert again.entries[1:] == found.entries
    # Another rate, other features: another training.
    other = replace(rows[2], config=rows[2].config.with_recipe(lr=0.2))
    assert len(ComparisonGroup(session, (other,), earlier).missing) == 2
    moved = replace(session, setting=replace(session.setting, features_sha256="0" * 64))
    assert len(ComparisonGroup(moved, rows[1:], earlier).missing) == 4


def test_other_rows_of_the_record_stay_if_they_are_comparable(session: Session) -> None:
    rows = planted(session)
    found = run(session, rows[:2])
    more = collect_league([ComparisonGroup(session, rows[2:], found)])
    assert [entry.name for entry in more.entries] == ["linear", "ur_dmu", "sultani"]
    assert more.entries[1:] == found.entries
    for changed in (
        replace(found, steps=7),
        replace(found, features_sha256="0" * 64),
        replace(found, protocol={**found.protocol, "smooth": 3.0}),
    ):
        alone = collect_league([ComparisonGroup(session, rows[2:], changed)])
        assert [entry.name for entry in alone.entries] == ["linear"]


def test_fewer_repeats_remove_nothing(session: Session) -> None:
    """Three seeds of the best, then one seed of a newcomer beside them: all three stay."""
    rows = planted(session)
    found = run(session, rows[1:])
    one = replace(session, parts=[part for part in session.parts if part.repeat == 0])
    group = ComparisonGroup(one, rows, found)
    assert [task.name for task in group.missing] == ["UR-DMU"]
    again = collect_league([group])
    assert again.parts == found.parts
    assert again.entries[1:] == found.entries
    # Another rate: the earlier trainings are not its.
    other = replace(rows[2], config=rows[2].config.with_recipe(lr=0.2))
    assert collect_league([ComparisonGroup(one, (other,), found)]).entries[0].trainings == ()


def test_the_planted_winner_wins(session: Session, tmp_path: Path) -> None:
    found = run(session, planted(session))
    stands = rank_leagues([found])
    assert stands.ranking is not None
    assert stands.ranking.names[0] == next(iter(stands.titles)) == "linear"
    assert stands.ranking.rank("linear") == 1.0
    assert stands.ranking.blocks == 2
    assert stands.by_benchmark is None
    assert stands.differences["linear"].value > 0
    apart = stands.differences["linear"]
    assert apart.low < 0 < apart.high  # Two trainings show nothing yet.
    assert "ur_dmu" not in stands.differences
    png = tmp_path / "ranks.png"
    write_rank_plot(stands, png)
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in png.with_suffix(".svg").read_text()


def test_the_table_shows_the_figures_of_the_records(session: Session) -> None:
    rows = planted(session)
    found = run(session, rows)
    text = league_markdown([found], rank_leagues([found]), "ranks.png")
    section = text[text.index(f"## {found.title}") :]
    for row in rows:
        paths = [
            record_path(task, session.setting) for task in ComparisonGroup(session, (row,)).tasks
        ]
        kept = [read_training(path) for path in paths]
        (line,) = re.findall(rf"^\| {re.escape(row.title)} \|.* 2 of 2 \|$", section, re.MULTILINE)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for column, cell in zip(found.columns, cells[1:], strict=False):
            values = [column.scale * getattr(each.figures, column.field) for each in kept]
            below = sum(value < 50 for value in values) if column is found.lead else 0
            inverted = f" ({below} of 2 inverted)" if below else ""
            assert cell == f"{np.mean(values):.1f} ± {np.std(values):.1f}{inverted}"
        costs = [each.cost for each in kept if each.cost is not None]
        assert cells[-4] == f"{costs[0].parameters:,}"
        assert cells[-3] == f"{np.median([cost.training_s for cost in costs]):.0f}"
        assert cells[-2] == f"{np.median([cost.head_ms for cost in costs]):.0f}"
    auc = [[e.figures.auc for e in _kept(session, rows[i])] for i in (2, 0)]
    apart = 100 * (np.mean(auc[0]) - np.mean(auc[1]))
    minus = section[section.index("| minus UR-DMU") :]
    assert f"| Linear top-k MIL | {apart:.1f} (" in minus  # And its interval.
    assert "76.21 (I3D)" in text
    assert "![Mean ranks and critical difference](ranks.png)" in text


def test_unpublished_methods_have_no_published_figures(session: Session) -> None:
    """UR-DMU with a linear path has neither the parity nor the figures of the published code."""
    published, *others = run(session, planted(session)).entries
    ours = replace(published, name="ur_dmu_small", title="UR-DMU, small")
    found = replace(
        collect_league([ComparisonGroup(session, ())]), entries=(published, ours, *others)
    )
    text = league_markdown([found], rank_leagues([found]), "")
    top, recipes = text[: text.index("## ")], text[text.rindex("## ") :]
    (line,) = re.findall(r"^\| UR-DMU, small \|.*$", top, re.MULTILINE)
    assert " | ours | " in line
    assert "86.97" not in line
    (line,) = re.findall(r"^\| UR-DMU \|.*$", top, re.MULTILINE)
    assert " | parity | " in line
    assert "86.97 (I3D)" in line
    (line,) = re.findall(r"^\| UR-DMU, small \|.*$", recipes, re.MULTILINE)
    assert "3,000 steps" not in line


def test_the_rank_plot_is_as_wide_as_its_names(tmp_path: Path) -> None:
    """Long names must not be cut off at the edge."""
    ranked = rank_blocks({name: [float(i)] for i, name in enumerate("abcd")})
    widths = []
    for words in ("short", "a method whose name is a whole line of words (halves of the picture)"):
        png = tmp_path / "ranks.png"
        titles = dict.fromkeys("abcd", words)
        stands = LeagueRanking(titles, ranked, ranked, ranked, {}, {}, ())
        write_rank_plot(stands, png)
        with Image.open(png) as opened:
            found = np.array(opened.convert("L"))
        for edge in (found[:, 0], found[:, -1], found[0], found[-1]):
            assert (edge == 255).all()
        widths.append(found.shape[1])
    assert widths[1] > widths[0] + 200


def _kept(session: Session, row: Competitor) -> list[TrainingRecord]:
    found = [
        find_training(task, session.setting) for task in ComparisonGroup(session, (row,)).tasks
    ]
    return [each for each in found if each is not None]


def test_a_failed_method_is_a_row_with_the_reason(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = grid.train_task

    def broken(task: GridTask, *rest: object) -> TrainingRecord:
        if task.name == "Sultani et al.":
            raise OddframeError("the loss term 'rank' is nan")
        if task.name == "UR-DMU":
            raise IndexError("a bag is shorter than the window")
        return whole(task, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(grid, "train_task", broken)
    rows = planted(session)
    told: list[tuple[int, str]] = []

    def tell(done: int, total: int, task: GridTask, outcome: TrainingOutcome) -> None:
        told.append((done, format_training_line(done, total, task, outcome)))

    found = run(session, rows, tell)
    assert [done for done, _ in told] == [1, 2, 3, 4, 5, 6]  # Failures, too, and at once.
    assert told[1][1] == (
        "2 of 6: Sultani et al., repeat 0, fold 0: failed: the loss term 'rank' is nan"
    )
    assert [len(entry.figures) for entry in found.entries] == [0, 0, 2]
    stands = rank_leagues([found])
    assert stands.ranking is not None
    ranks = [stands.ranking.rank(name) for name in ("linear", "sultani", "ur_dmu")]
    assert ranks == [1.0, 2.5, 2.5]
    text = league_markdown([found], stands, "")
    assert "- Sultani et al.: no figures of repeat 1, fold 0: the loss term 'rank' is nan" in text
    assert "a fault in oddframe: IndexError: a bag is shorter than the window" in text


def test_records_are_read_back_and_the_table_has_all_benchmarks(
    session: Session, tmp_path: Path
) -> None:
    found = run(session, planted(session)[1:])
    folder = tmp_path / "run"
    write_league(folder / f"{found.dataset}.json", found)
    again = read_league(folder / f"{found.dataset}.json")
    assert again.entries[0].costs == found.entries[0].costs
    assert [e.figures_by_part.keys() for e in again.entries] == [
        e.figures_by_part.keys() for e in found.entries
    ]
    assert (again.columns, again.parts, again.lead) == (found.columns, found.parts, found.lead)
    write_league(folder / "ped2.json", replace(found, dataset="ped2", title="Another"))
    (folder / "table3.json").write_text("{}")  # Of another command.
    both = read_leagues(folder)
    assert [each.dataset for each in both] == ["ped2", "ucf_crime"]
    stands = rank_leagues(both)
    assert len(stands.blocks) == 4
    assert league_markdown(both, stands, "").count("\n## ") == 3
    (folder / "ped2.json").write_text("{}")
    with pytest.raises(InputError, match="not the record of a league"):
        read_leagues(folder)


def test_only_common_trainings_are_ranked(session: Session) -> None:
    found = run(session, planted(session))
    fewer = [
        replace(found.entries[2], trainings=found.entries[2].trainings[:1]),
        *found.entries[:2],
    ]
    stands = rank_leagues([replace(found, entries=tuple(fewer))])
    assert stands.blocks == ((found.dataset, (0, 0)),)
    alone = rank_leagues([replace(found, entries=found.entries[:1])])
    assert alone.ranking is None
    # A row of one benchmark alone stands last in the common table, without a rank.
    other = replace(found, dataset="ped2", entries=found.entries[1:])
    both = rank_leagues([found, other])
    assert both.ranking is not None
    assert [both.ranking.rank(name) is None for name in both.titles] == [False, False, True]
    assert list(both.titles)[-1] == "ur_dmu"


def test_extra_repeats_of_some_rows_are_a_table_of_their_own(session: Session) -> None:
    """Means over other folds and seeds than the other rows' are not comparable."""
    still, idle, learner = run(session, planted(session)).entries
    once = tuple(each.restricted_to([(0, 0)]) for each in (still, idle))
    failed = replace(
        idle.restricted_to([(0, 0)]), failed=(FailedTraining(1, 0, "the loss is nan"),)
    )
    found = replace(collect_league([ComparisonGroup(session, ())]), entries=(*once, learner))
    assert found.on_equal_terms.parts == ((0, 0),)
    assert found.on_equal_terms.entries == (*once, learner.restricted_to([(0, 0)]))
    assert found.with_extra_repeats is not None
    assert (found.with_extra_repeats.parts, found.with_extra_repeats.entries) == (
        ((0, 0), (1, 0)),
        (learner,),
    )
    # A failed training counts as attempted; without extra repeats there is no second table.
    assert replace(found, entries=(still, failed, learner)).with_extra_repeats is None
    assert replace(found, entries=(still, failed, learner)).on_equal_terms.entries[1] == failed

    text = league_markdown([found], rank_leagues([found]), "")
    first, second = (100 * figures.auc for figures in learner.figures)
    top, section, further = re.split("\n###? .*\n", text)[:3]
    assert f"| {first:.1f} |" in re.findall(r"^\| Linear top-k MIL .*$", top, re.MULTILINE)[0]
    assert f"| Linear top-k MIL | {first:.1f} |" in section
    mean, std = np.mean([first, second]), np.std([first, second])
    assert f"| Linear top-k MIL | {mean:.1f} ± {std:.1f} |" in further
    assert "Sultani" in section
    assert "Sultani" not in further
    (shipped,) = json.loads(shipped_results_json([found]))["linear"]
    assert (shipped["mean"], shipped["trainings"]) == (round(float(first), 1), 1)


def test_differences_over_benchmarks_are_of_all_common_trainings(session: Session) -> None:
    still, idle, learner = run(session, planted(session)).entries
    once = [replace(idle.restricted_to([(0, 0)]), name=f"other{i}") for i in range(3)]
    found = replace(collect_league([ComparisonGroup(session, ())]), entries=(still, learner, *once))
    alone = replace(found, entries=(still, learner))
    apart = [
        rank_leagues([each]).differences["linear"].value
        for each in (found, alone, found.on_equal_terms)
    ]
    assert apart[0] == apart[1] != apart[2]
    # A third repeat is begun: the second table has what both rows have.
    last = learner.trainings[-1]
    third = replace(last, figures=replace(last.figures, repeat=2))
    begun = replace(learner, trainings=(*learner.trainings, third))
    parts = (*found.parts, third.figures.part_id)
    further = replace(found, parts=parts, entries=(still, begun, *once)).with_extra_repeats
    assert further == replace(alone, entries=(still, learner))


def test_the_own_method_is_compared_with_every_other(session: Session) -> None:
    found = run(session, planted(session))
    ours = replace(found.entries[2], name="oddframe", title="oddframe")
    with_ours = replace(found, entries=(*found.entries, ours))
    stands = rank_leagues([with_ours])
    assert set(stands.own_differences) == {"ur_dmu", "sultani", "linear"}
    assert stands.own_differences["linear"].value == 0
    assert stands.own_differences["ur_dmu"].value == stands.differences["oddframe"].value > 0
    assert "oddframe, minus it (95 %)" in league_markdown([with_ours], stands, "")
    assert "minus it" not in league_markdown([found], rank_leagues([found]), "")


def test_the_conclusion_comes_first(session: Session) -> None:
    """By the interval of each difference; two benchmarks of two trainings each."""
    still, idle, learner = run(session, planted(session)).entries

    def at(row: LeagueEntry, name: str, title: str, *values: float) -> LeagueEntry:
        pairs = zip(row.trainings, values, strict=True)
        trainings = [replace(kept, figures=replace(kept.figures, auc=v)) for kept, v in pairs]
        return replace(row, name=name, title=title, trainings=tuple(trainings))

    def first(*rows: LeagueEntry) -> str:
        found = replace(collect_league([ComparisonGroup(session, ())]), entries=rows)
        both = [found, replace(found, dataset="ped2", title="Another")]
        text = league_markdown(both, rank_leagues(both), "")
        return text.split("\n\n")[1].replace("\n", " ")

    ours = at(learner, "oddframe", "oddframe", 0.90, 0.91)
    level = at(learner, "linear", "Linear top-k MIL", 0.92, 0.88)
    behind = at(idle, "sultani", "Sultani et al.", 0.51, 0.50)
    ahead = at(still, "ur_dmu", "UR-DMU", 0.98, 0.98)
    text = first(ours, level, behind)
    assert "On these 2 benchmarks of small data, in 30 steps, `oddframe` is level with" in text
    assert "and ahead of 1 of 1 published methods.**" in text
    text = first(ours, replace(ahead, name="linear"), behind, ahead)
    assert "`oddframe` is behind the linear baseline" in text
    assert "ahead of 1 of 2 published methods, not ahead of UR-DMU.**" in text
    assert "`oddframe` is ahead of the linear" in first(ours, replace(behind, name="linear"), ahead)
    # Without oddframe's own, or the baseline, there is nothing to say.
    assert first(level, behind).startswith("Every method is trained")
    assert first(ours, behind).startswith("Every method is trained")


def test_inverted_trainings_are_named_in_the_table(session: Session) -> None:
    (row,) = run(session, planted(session)[2:]).entries
    one, other = row.trainings
    inverted = replace(other, figures=replace(other.figures, auc=0.0741))
    good = replace(one, figures=replace(one.figures, auc=0.9))
    found = replace(
        collect_league([ComparisonGroup(session, ())]),
        entries=(replace(row, trainings=(good, inverted)),),
    )
    text = league_markdown([found], rank_leagues([found]), "")
    assert text.count("| 48.7 ± 41.3 (1 of 2 inverted) |") == 2  # In both tables.
    assert "inverted, AUC below 50, in 1 of 2 trainings: 7.4 (repeat 1, fold 0)\n" in text


def test_times_of_a_processor_and_of_a_card_are_not_mixed(session: Session) -> None:
    found = run(session, planted(session)[2:])
    (entry,) = found.entries
    costs = [replace(entry.costs[0], training_s=7.0)]
    costs += [replace(cost, device="cuda", training_s=1e6) for cost in entry.costs[1:]]
    pairs = zip(entry.trainings, costs, strict=True)
    mixed = replace(entry, trainings=tuple(replace(kept, cost=cost) for kept, cost in pairs))
    text = league_markdown([replace(found, entries=(mixed,))], rank_leagues([found]), "")
    assert "median of the 1 trainings that ran on a processor, 1 ran on a card;" in text
    assert re.search(r"\| Linear top-k MIL \|.*\| 7 \|", text)


@pytest.mark.parametrize(
    ("loss", "converged"),
    [
        (np.linspace(1, 0, 100), False),
        (np.exp(-np.arange(100) / 8), True),
        (np.ones(100), True),
        (np.linspace(1, 0, 10), True),  # Too few points to tell.
    ],
)
def test_whether_a_loss_has_converged(loss: np.ndarray, converged: bool) -> None:
    learning = LossCurves(tuple(range(1, len(loss) + 1)), {"loss": tuple(loss.tolist())})
    assert has_converged(replace(record(), learning=learning)) is converged


def test_a_method_without_steps_has_a_row(session: Session) -> None:
    (row,) = list_competitors(session.config, ["normality"])
    found = run(session, (row,))
    assert [len(entry.figures) for entry in found.entries] == [2]
    (training, _) = _kept(session, row)
    assert training.steps == 0
    assert training.learning == LossCurves((), {})
    assert found.entries[0].recipe == "none"
    assert not found.entries[0].notes


def test_the_remaining_time_is_estimated(session: Session) -> None:
    rows = planted(session)
    group = ComparisonGroup(session, rows)
    estimate = TimeEstimate([group], jobs=2)
    estimated = [(name, number) for name, _, number in estimate.measure()]
    assert estimated == [(row.title, 2) for row in rows]
    assert not session.setting.folder.exists()  # Trainings for the estimate are not recorded.
    assert not estimate.measured
    estimate.measured["UR-DMU"] += [10.0, 20.0]
    missing = [task for task in group.missing if task.name == "UR-DMU"]
    assert estimate.remaining(missing) == 15.0


def test_rows_that_were_trained_before_are_not_timed(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = planted(session)[2:]
    group = ComparisonGroup(session, rows)
    first, second = group.tasks
    run_grid(session, [first], ONE_PROCESS)
    monkeypatch.setattr(league, "estimate_seconds", lambda *_: pytest.fail("it was timed"))
    kept = find_training(first, session.setting)
    assert kept is not None
    assert list(TimeEstimate([group]).measure()) == [(second.name, kept.seconds, 1)]
