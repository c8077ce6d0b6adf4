"""Steering files carried to another run: the same SAE in another order, and another training."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.runs import command, copy_of, planted_open
from recsae.cli.shared.matching import how_matched, migrated_row
from recsae.core import columns as C
from recsae.core.errors import ArtifactMismatch
from recsae.core.files import read_parquet, write_parquet
from recsae.explore.compare import Matching, match_runs
from recsae.explore.migration import Counterpart, _carried, _matched, check_promise, migrate
from recsae.run.record import Run
from recsae.sae.editing import Intervention, make_edit
from recsae.sae.model import SAE
from recsae.sae.statistics import Statistics
from recsae.steering.files import GoalRequest, Steering, save_steering
from recsae.steering.steps.goals import goal_of
from recsae.steering.tuning.tune import tune

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


def reordered(folder, order):
    """Let latent i of the run be what latent ``order[i]`` was, at half the size, in all files."""
    sae = SAE.load(folder / "sae")
    with torch.no_grad():
        for weights in (sae.W_enc, sae.b_enc):
            weights.copy_(weights[order] / 2)
        sae.W_dec.copy_(sae.W_dec[order] * 2)
    meta = json.loads((folder / "sae/cfg.json").read_text())
    sae.save(folder / "sae", {k: v for k, v in meta.items() if k not in ("config", "width")})
    for name in ("concepts.parquet", "scores.parquet"):
        table = read_parquet(folder / name).set_index(C.LATENT).loc[order].reset_index()
        write_parquet(folder / name, table.assign(**{C.LATENT: range(len(order))}))
    known = Statistics.load(folder)
    Statistics(known.sd[order] / 2, known.quantiles[order] / 2).save(folder)
    run = Run(folder)
    for stage in ("train", "concepts", "scoring"):
        run.keep(stage)
    return folder


@pytest.fixture
def two(tmp_path, planted_run):
    old = copy_of(planted_run, tmp_path / "old")
    order = np.random.default_rng(0).permutation(16)
    return old, reordered(copy_of(planted_run, tmp_path / "new"), order), order


STEPS = [
    Intervention((3, 5), "set", (1.5, 0.25), "both"),
    Intervention((3,), "scale", 2.0, "three"),
    Intervention((5,), "add", -0.5, "five", "active"),
]


def test_the_same_latents_in_another_order_do_the_same(two):
    """Twice as long directions and half the activations: what is done to states is the same."""
    old, new, order = two
    save_steering(Steering(STEPS, ("u1",), "a list of users"), old, old / "kept.json")
    moved = migrate(old / "kept.json", old, new)
    place = {int(was): now for now, was in enumerate(order)}
    rows = [migrated_row(latent) for latent in moved.latents]
    assert [row["now"] for row in rows] == [str(place[3]), str(place[5])]
    assert {row["by"] for row in rows} == {"latent"}
    assert (moved.steering.users, moved.steering.cohort) == (("u1",), "a list of users")
    states = torch.randn(200, 12, generator=torch.Generator().manual_seed(0)) * 2
    edits = [
        make_edit(SAE.load(folder / "sae"), steps)(states)
        for folder, steps in ((old, STEPS), (new, moved.steering.interventions))
    ]
    moved_at_all = (edits[0] != states).any(1)
    assert moved_at_all.any()
    assert float((edits[0] - edits[1]).norm(dim=1).median()) < 1e-4


def test_values_are_carried_over_in_standard_deviations():
    found = {0: Counterpart((7,), "latent", 0.95)}
    sds = np.array([2.0]), np.full(8, 3.0)
    step = Intervention((0,), "add", 1.0, "it", "active")
    assert _carried(step, found, *sds) == Intervention((7,), "add", (1.5,), "it", "active")
    step = Intervention((0,), "scale", 4.0)
    assert _carried(step, found, *sds) == Intervention((7,), "scale", (4.0,))


def test_a_name_is_turned_once_by_the_mean_and_a_counterpart_says_more():
    by_name = Counterpart((4, 5), "name", float("nan"))
    found = {0: by_name, 1: by_name, 2: Counterpart((5,), "latent", 0.9)}
    ones = np.ones(8)
    carried = _carried(Intervention((0, 1, 2), "scale", (1.0, 3.0, 9.0)), found, ones, ones)
    assert carried == Intervention((4, 5), "scale", (2.0, 9.0))


@pytest.mark.parametrize(
    ("step", "value", "carried"),
    [
        ("add", 2.0, False),
        ("set", 2.0, False),
        ("at_least", 2.0, False),
        ("set", 0.0, True),
        ("at_most", 2.0, True),
        ("scale", 2.0, True),
    ],
)
def test_no_activation_of_a_namesake_is_raised_for_everybody(step, value, carried):
    found = {0: Counterpart((4, 5), "name", float("nan"))}
    moved = _carried(Intervention((0,), step, value), found, np.ones(8), np.ones(8))
    assert (moved == Intervention((4, 5), step, (value, value))) if carried else (moved is None)


def test_the_matched_part_of_a_files_weight_by_hand():
    """Latent 0: x3 at sd 2, length 1, weighs 4; latent 1: +5 at length .2 weighs 1; latent 2: 3."""
    steps = [
        Intervention((0,), "scale", 3.0),
        Intervention((1,), "add", -5.0),
        Intervention((2,), "set", 0.0),
    ]
    sd, length = np.array([2.0, 9.0, 1.5]), [1.0, 0.2, 2.0]
    alike, named = Counterpart((7,), "latent", 0.9), Counterpart((7,), "name", float("nan"))
    nothing = named._replace(latents=())
    for found, part in (
        ((alike, alike, alike), 1.0),
        ((named, named, named), 7 / 8),  # what is added is not given to a namesake
        ((alike, alike, nothing), 5 / 8),
        ((nothing, nothing, nothing), 0.0),
    ):
        assert _matched(steps, dict(enumerate(found)), sd, length) == pytest.approx(part)


def test_what_has_no_counterpart_is_left_out():
    nothing = {0: Counterpart((), "name", float("nan"))}
    assert _carried(Intervention((0,), "set", 1.0), nothing, np.ones(1), np.ones(1)) is None


def test_names_stand_in_where_no_latent_is_alike(two, monkeypatch):
    old, new, order = two
    steps = [Intervention((3, 5), "set", 0.0)]
    save_steering(Steering(steps), old, old / "kept.json")
    monkeypatch.setattr("recsae.explore.migration.MIN_MATCHED", 0.0)
    table = read_parquet(old / "scores.parquet")
    names = read_parquet(old / "concepts.parquet")[C.NAME]
    verified = set(table.loc[table[C.STATUS] == "verified", C.LATENT])
    place = {int(was): now for now, was in enumerate(order)}
    no_pairs = (
        read_parquet(old / "scores.parquet")
        .iloc[:0]
        .assign(before=[], after=[], similarity=[], side=[])
    )
    monkeypatch.setattr(
        "recsae.explore.migration.match_runs",
        lambda *_, **__: Matching("names", False, None, "By name.", no_pairs),
    )
    moved = migrate(old / "kept.json", old, new)
    for row in map(migrated_row, moved.latents):
        same = sorted(place[j] for j in verified if names[j] == row["name"])
        assert row["now"] == (", ".join(map(str, same)) or "left out")
    assert how_matched(moved.matching) == "By name. So only names are compared."


def test_too_little_that_matches_is_refused(two, monkeypatch):
    old, new, _ = two
    goal = GoalRequest(less=("genre: g1",), max_loss=0.01)
    steps = [Intervention((3, 5), "add", (1.0, 2.0))]
    save_steering(Steering(steps, goal=goal), old, old / "kept.json")
    nothing = Matching("direction", True, None, None, match_runs(old, new).pairs.iloc[:0])
    monkeypatch.setattr("recsae.explore.migration.match_runs", lambda *_, **__: nothing)
    with pytest.raises(ArtifactMismatch, match=r"Only 0 % of what .* has a counterpart") as refused:
        migrate(old / "kept.json", old, new)
    again = f"Tune again: `recsae tune {new} --less 'genre: g1' --max-ndcg-loss 1%`."
    assert str(refused.value).endswith(again)


def test_a_tuned_file_is_measured_where_it_is_carried_to():
    """By the lists themselves: sure loss beyond what was allowed, or the wrong way, is refused."""
    work = planted_open()
    value = next(v for a, v in work.attributes.names if a == "genre")
    goal = GoalRequest(more=(value,), max_loss=0.05)
    tuned = tune(work, goal_of(work, goal), 0.05, method="latents", compare=False)
    goal = goal.model_copy(update={"ndcg_kept": tuned.result.effect.ndcg_kept[0]})
    kept = tuned.steering._replace(goal=goal)
    effect = check_promise(work, kept)
    assert effect is not None
    assert effect.ratio == pytest.approx(tuned.result.effect.ratio, rel=1e-4)
    assert effect.ndcg_kept == pytest.approx(tuned.result.effect.ndcg_kept, rel=1e-4)
    assert check_promise(work, tuned.steering) is None
    far = [replace(i, value=tuple(-50 * v for v in i.values)) for i in kept.interventions]
    with pytest.raises(ArtifactMismatch, match=r"where a loss of 5 % was allowed.*wrong way"):
        check_promise(work, kept._replace(steps=far))


def test_a_file_of_another_run(two):
    old, new, _ = two
    save_steering(Steering(STEPS), old, old / "kept.json")
    with pytest.raises(ArtifactMismatch, match="made for another SAE"):
        migrate(old / "kept.json", new, old)


def test_from_the_command_line(tmp_path, capsys, recbole_run):
    """To a copy of the same run: every latent is its own counterpart, and the effect the same."""
    old = copy_of(recbole_run, tmp_path / "old")
    new = copy_of(recbole_run, tmp_path / "new")
    assert command("steer", old, "--set", "5+=2sd", "--save", "kept", "--json") == 0
    before = json.loads(capsys.readouterr().out)
    arguments = ("steer", new, "--migrate", "kept", "--from", old, "--save", "again")
    assert command(*arguments, "--json") == 0
    after = json.loads(capsys.readouterr().out)
    assert after["left out"] == []
    assert [row["now"] for row in after["latents before"]] == ["5"]
    for one, other in zip(before["table"], after["table"], strict=True):
        assert one["after"] == pytest.approx(other["after"])
    assert command(*arguments) == 0
    out = capsys.readouterr().out
    assert "Same model and site" in out
    assert "ndcg@10" in out
    assert command("steer", new, "--with", "again") == 0
    assert command("steer", new, "--migrate", "kept") == 2
    assert "Give --migrate FILE and --from DIR together" in capsys.readouterr().err
