"""Which goals a run tries by itself, and that what cannot be tried has a reason."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.sparse

from helpers.runs import planted, planted_run, recbole_run, with_pieces
from recsae.concepts.attributes.names import HALF, UPPER
from recsae.concepts.attributes.table import ItemAttributes
from recsae.core import layout
from recsae.core.errors import InvalidInput
from recsae.core.files import read_json, read_parquet
from recsae.pipeline.stages.goals import STAGE_CASES, GoalsRecord, _goals, _values, goal_stage
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.steering.obeyed.results import COLUMNS

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


@pytest.fixture
def work(planted_run):
    return Workspace(Run(planted_run), planted(), None)


@pytest.mark.parametrize("folder", [planted_run, recbole_run])
def test_a_run_tries_attributes_popularity_and_labels(folder):
    found = read_json(folder() / "goals.json")
    names = [goal["goal"] for goal in found["goals"]]
    assert names[-1] == "less popular items"
    assert 2 <= len(names) <= 3
    assert all(name.startswith("more ") for name in names[:-1])
    assert found["skipped"] == {}
    for goal in found["goals"]:
        assert {row["way"] for row in goal["ways"]} >= {"latents", "re-ranking"}
        assert goal["NDCG@10 kept"][2] > 0.8
        assert goal["method"] in {row["method"] for row in goal["choices"]}
    assert found["check"] or found["check_skipped"]


def with_values(work, shares):
    """The planted run with made attribute values."""
    matrix = scipy.sparse.csr_matrix(np.array(list(shares.values()), dtype=np.int8).T)
    attributes = ItemAttributes(matrix, tuple(shares))
    return with_pieces(work, attributes=attributes)


def chosen(work):
    return _values(work.attributes, work.heldout)


def test_the_most_frequent_value_and_the_rarest_of_the_attribute_that_says_most(work):
    """Of ten items in the lists: 6, 4, 2, 1 and 0 have a genre; all, but no others, a mood."""
    n, lists = planted().catalog.n_items, np.arange(1, 11)

    def having(*items):
        return np.isin(np.arange(n), items)

    values = {
        ("genre", "too much"): having(*range(1, 7)),
        ("genre", "much"): having(*range(1, 5), *range(20, 30)),
        ("genre", "some"): having(1, 2),
        ("genre", "little"): having(3, *range(20, 30)),
        ("genre", "none"): having(*range(20, 40)),
        ("mood", "low"): having(1, 2, 3),
        (HALF, UPPER): having(*range(100)),
    }
    work.__dict__["heldout"] = dataclasses.replace(
        work.heldout, top_items=np.tile(lists, (len(work.heldout), 1)).astype(np.int32)
    )
    assert chosen(with_values(work, values)) == ["genre: much", "genre: little"]
    assert chosen(with_values(work, {(HALF, UPPER): having(1)})) == []
    rare = {("genre", "none"): having(*range(20, 40))}
    assert chosen(with_values(work, rare)) == []


def test_fewer_goals_where_the_model_is_run_for_every_case(work):
    assert [goal.name for goal, _ in _goals(work)][-1] == "less popular items"
    work.__dict__["head"] = None
    assert len(list(_goals(work))) == 2


def test_nothing_is_tried_on_a_model_that_ranks_slowly(work, monkeypatch):
    monkeypatch.setattr(planted(), "max_positions", 1_000, raising=False)
    left = goal_stage(work)
    found = left.record.to_dict()
    assert found["goals"] == []
    assert "ranks so slowly" in found["skipped"]["all goals"]
    assert found["check_skipped"] == found["obeyed_skipped"] == found["skipped"]["all goals"]
    assert (len(left.turned), list(left.turned)) == (0, list(COLUMNS))


def test_what_cannot_be_tried_has_a_reason(work, monkeypatch):
    def refused(*arguments, **more):
        raise InvalidInput("No.")

    monkeypatch.setattr("recsae.pipeline.stages.goals.tune", refused)
    monkeypatch.setattr("recsae.pipeline.stages.goals.predictability", refused)
    monkeypatch.setattr("recsae.pipeline.stages.goals.obeyed", refused)
    left = goal_stage(work)
    found = left.record.to_dict()
    assert found["goals"] == []
    assert set(found["skipped"].values()) == {"No."}
    assert (found["check"], found["check_skipped"]) == (None, "No.")
    assert (found["obeyed"], found["obeyed_skipped"], len(left.turned)) == (None, "No.", 0)
    json.dumps(found, allow_nan=False)


def test_what_the_stage_leaves(planted_run):
    record = read_json(planted_run / layout.GOALS)
    found = GoalsRecord.from_dict(record)
    assert found.obeyed is not None
    assert found.obeyed.n_cases == STAGE_CASES
    table = read_parquet(planted_run / layout.OBEYED)
    assert list(table) == list(COLUMNS)
    dictionary = next(row for row in found.obeyed.codes if row.code == "sae")
    mine = table[table["code"] == "sae"]
    assert len(mine) == dictionary.n_readable_turned + dictionary.n_unreadable_turned
    assert (mine["readable"] & (mine["obeyed"] == "yes")).sum() == dictionary.both
    kept = read_parquet(planted_run / layout.BASELINES)
    assert {row.code for row in found.obeyed.codes} >= set(kept["code"])


def test_what_earlier_versions_left_is_read(planted_run):
    """Without a word on what is obeyed."""
    record = read_json(planted_run / layout.GOALS)
    del record["obeyed"], record["obeyed_skipped"]
    found = GoalsRecord.from_dict(record)
    assert (found.obeyed, found.obeyed_skipped) == (None, None)
    assert found.check is not None
