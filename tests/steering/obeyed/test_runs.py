"""Readable and obeyed in whole runs: planted concepts are both, and it is what steering does."""

import pytest

from helpers.obeyed_run import of_code
from helpers.runs import planted
from recsae.capture.cases import spread
from recsae.core import columns as C
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.sae.editing import Intervention
from recsae.steering.obeyed import results as R
from recsae.steering.obeyed.measure import NEEDS_RUNNING, RUN, obeyed
from recsae.steering.steps.applied import steered_lists

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


@pytest.fixture
def work(planted_run):

    return Workspace(Run(planted_run), planted(), finished=True)


def test_planted_concepts_are_readable_and_obeyed(work):

    found = obeyed(work)
    rows = found.table[found.table[C.NAME].isin(planted().concepts)]
    mine = rows[rows[R.CODE] == "sae"]
    assert set(mine[C.NAME]) == set(planted().concepts)
    assert mine[R.READABLE].all()
    assert (mine[R.OBEYED] == R.YES).all()
    row = of_code(found, "sae")
    assert row.both > row.readable_only
    assert found.summary.not_turned == {}
    assert {one.code for one in found.summary.codes} >= {"neurons", "random", "pca"}


def test_it_is_what_steering_does(work):
    """The shares of one row again, by the same steering on the same cases."""

    table = obeyed(work).table
    row = table[(table[R.CODE] == "sae") & (table[R.OBEYED] == R.YES)].iloc[-1]
    cases = work.heldout.take(spread(len(work.heldout), 3_000))
    label = work.tested_dictionary.table.set_index(C.LATENT).loc[row[C.LATENT]]
    items = work.attributes.items_with(label[C.ATTRIBUTE], label[C.VALUE])
    for way, share in ((1, row[R.UP]), (-1, row[R.DOWN])):
        turned = Intervention((int(row[C.LATENT]),), "add", float(way * row[R.STEP]))
        assert items[steered_lists(work, cases, [turned])].mean() == pytest.approx(share, abs=1e-3)


def test_where_the_model_is_run(work):
    """Of the same latents much the same, on fewer cases; baselines are not turned."""
    whole = obeyed(work).table
    work.__dict__["head"] = None
    found = obeyed(work)
    assert set(found.summary.not_turned.values()) == {NEEDS_RUNNING}
    assert set(found.table[R.CODE]) == {"sae"}
    assert of_code(found, "sae").n_readable_turned <= RUN[0]
    both = found.table.merge(whole[whole[R.CODE] == "sae"], on=C.LATENT)
    sure = both[(both["obeyed_x"] != R.UNTOLD) & (both["obeyed_y"] != R.UNTOLD)]
    assert len(sure) > 3
    assert (sure["obeyed_x"] == sure["obeyed_y"]).mean() > 0.9
