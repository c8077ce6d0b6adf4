"""Editing along directions: shares by hand, equal norms, and a budget that holds."""

from dataclasses import replace

import numpy as np
import pytest

from helpers import toy
from helpers.runs import planted
from recsae.evaluation.control import control
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.testing.planted import PlantedRecommender

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def work(planted_run):
    return Workspace(Run(planted_run), planted(), None)


@pytest.fixture(scope="module")
def genres():
    return planted().model.genres.numpy().astype(float)


def turned(work, directions, genres):
    return control(directions, genres, work.construction, work.heldout, work.head)


def test_planted_directions_promote_their_own_genre(work, genres):
    found = turned(work, planted().directions.astype(float), genres)
    change = found.after - found.before
    own = np.eye(len(change), dtype=bool)
    assert (change[own] > 0.02).all()
    assert (change[own] > 2 * np.abs(change[~own]).reshape(len(change), -1).mean(1)).all()


def test_the_budget_found_on_construction_cases_holds_on_others(work, genres):
    construction, heldout = (
        replace(cases, targets=cases.top_items[:, 0]) for cases in (work.construction, work.heldout)
    )
    found = control(planted().directions.astype(float), genres, construction, heldout, work.head)
    assert 0 < found.edit_norm < 1
    assert found.ndcg_kept.mean() == pytest.approx(0.99, abs=0.003)


def test_the_length_of_a_direction_does_not_matter(work, genres):
    directions = planted().directions.astype(float)
    plain = turned(work, directions, genres)
    longer = turned(work, directions * np.geomspace(0.01, 100, 6)[:, None], genres)
    assert longer.after == pytest.approx(plain.after)
    assert longer.edit_norm == plain.edit_norm


def test_nothing_is_changed_along_a_direction_without_effect(work, genres):
    directions = np.r_[planted().directions[:1], np.zeros((1, 12))].astype(float)
    found = turned(work, directions, genres)
    assert found.after[1] == pytest.approx(found.before)
    assert found.ndcg_kept[1] == 1


def on_a_line(targets):
    """400 cases on a line, one in ten at 3 and the others at -1/3, so that their spread is 1.

    Items 1 to 12 lie along it: those above 0 get items 12 to 3, those below 1 to 10. The value
    asked for is that of items 11 and 12. Scores do not depend on the second dimension.
    """
    table = np.zeros((13, 2))
    table[1:, 0] = np.linspace(-1, 1, 12)
    items = PlantedRecommender(n_users=5, n_items=12, n_concepts=4, width=4).catalog
    states = np.zeros((400, 2))
    states[:, 0] = np.where(np.arange(400) % 10 == 0, 3, -1 / 3)
    wanted = np.where(states[:, 0] > 0, *targets).tolist()
    user = [i // 4 for i in range(400)]
    given = toy.cases(user, [[1]] * 400, [[1]] * 400, targets=wanted, states=states, items=items)
    values = (np.arange(13) >= 11).astype(float)[:, None]
    return control(np.eye(2), values, given, given, toy.head(table))


def test_shares_by_hand():
    """Everybody wants item 12: turning all lists round costs nothing."""
    found = on_a_line((12, 12))
    assert found.edit_norm == 1
    assert found.before == pytest.approx([0.02])
    assert found.after == pytest.approx(np.array([[0.2], [0.02]]))
    assert found.ndcg_kept == pytest.approx([10, 1])


def test_the_norm_ends_where_lists_get_worse():
    """Those below 0 want item 1, which is lost at a third of the spread."""
    found = on_a_line((12, 1))
    assert 1 / 3 - 1 / 256 < found.edit_norm <= 1 / 3
    assert found.ndcg_kept == pytest.approx([1, 1])
    assert found.after == pytest.approx(np.array([[0.02], [0.02]]))
