"""Turning concepts and their labels: on a planted run whose labels are right, then made wrong."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers.runs import command, planted
from recsae.core import columns as C
from recsae.core.errors import InvalidInput
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.steering.label_check import ShareChange, _agrees, _rank_correlation, predictability
from recsae.steering.label_results import INTERVENTIONS, CheckSummary

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


@pytest.fixture
def work(planted_run):
    return Workspace(Run(planted_run), planted(), None)


@pytest.fixture(scope="module")
def check(planted_run):
    return predictability(Workspace(Run(planted_run), planted(), None))


def relabelled(work, change):
    """The same run with other labels."""
    tested_dictionary = work.tested_dictionary
    work.__dict__["tested_dictionary"] = replace(
        tested_dictionary, table=change(tested_dictionary.table.copy())
    )
    return work


def test_planted_labels_say_what_happens(check):
    assert list(check.summary.by_intervention) == list(INTERVENTIONS)
    for summary in check.summary.by_intervention.values():
        assert summary.right_signs > 0.8
        assert summary.n_agree > 3 * summary.n_disagree
        assert summary.right_signs > summary.right_signs_shuffled + 0.2
    planted_ones = [row for row in check.rows if row.name in planted().concepts]
    assert len(planted_ones) == len(planted().concepts) * len(INTERVENTIONS)
    assert all(row.agrees for row in planted_ones)


def test_a_summary_reads_back_as_it_was_written(check):
    record = json.loads(json.dumps(check.summary.to_dict(), sort_keys=True))
    assert CheckSummary.from_dict(record) == check.summary


def test_rows_are_of_every_latent_and_intervention(check):
    n = check.summary.n_checked
    assert 2 <= n <= check.summary.n_verified
    rows = check.to_dict()["rows"]
    table = pd.DataFrame(rows)
    assert (table.groupby("latent").size() == len(INTERVENTIONS)).all()
    assert len(table) == n * len(INTERVENTIONS)
    json.dumps(rows)  # plain values


def test_what_is_added_for_everybody_is_what_steering_does(work, check):
    """The change of one row again, by steering the recommender itself on the same cases."""
    from recsae.capture.cases import spread
    from recsae.sae.editing import Intervention
    from recsae.sae.statistics import Statistics
    from recsae.steering.context import steer

    row = next(r for r in check.rows if r.intervention == "+1 sd")
    cases = work.heldout.take(spread(len(work.heldout), 3_000))
    label = work.tested_dictionary.table.set_index(C.LATENT).loc[row.latent]
    items = work.attributes.items_with(label[C.ATTRIBUTE], label[C.VALUE])
    ends = cases.position.astype(np.int64) + 1
    starts = np.maximum(0, ends - planted().max_length)
    batch = (
        planted()
        .sequences()
        .batch(cases.sequence.astype(np.int64), starts, ends, planted().max_length)
    )
    sd = float(Statistics.of(work.sae_codes[0]).sd[row.latent])

    def share():
        from recsae.recommender.lists import best_items

        lists = best_items(planted().score(batch), planted().catalog, 10, cases.seen)
        return items[lists.numpy()].mean()

    before = share()
    with steer(planted(), work.sae, [Intervention((row.latent,), "add", sd)]):
        after = share()
    assert after - before == pytest.approx(row.change[0], abs=1e-3)


def test_wrong_labels_are_found_out(work, check):
    """Every label says that its items are absent: now nearly all are wrong."""
    wrong = relabelled(work, lambda table: table.assign(**{C.NEGATED: ~table[C.NEGATED]}))
    turned = predictability(wrong).summary.by_intervention
    for name, summary in check.summary.by_intervention.items():
        assert turned[name].right_signs == pytest.approx(1 - summary.right_signs)
        assert turned[name].n_agree == summary.n_disagree


def test_agreement_needs_an_interval_and_enough_cases():
    up, down, unsure = (0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (0.1, -0.1, 0.3)
    none = np.zeros(1)
    assert _agrees(ShareChange(up, none, 50), 1) is True
    assert _agrees(ShareChange(down, none, 50), 1) is False
    assert _agrees(ShareChange(down, none, 50), -1) is True
    assert _agrees(ShareChange(unsure, none, 50), 1) is None
    assert _agrees(ShareChange(up, none, 19), 1) is None


def test_rank_correlation_with_its_interval():
    r, low, high = _rank_correlation(np.arange(50.0), np.arange(50.0) ** 3)
    assert r == pytest.approx(1)
    assert 0.9 < low <= high <= 1
    assert _rank_correlation(np.arange(3.0), np.arange(3.0)) is None
    assert _rank_correlation(np.ones(9), np.arange(9.0)) is None


def test_where_there_is_no_head_the_model_is_run(work, check):
    """This one has a head: of the same latents turned, the same changes, on fewer cases."""
    work.__dict__["head"] = None
    ran = predictability(work).summary.by_intervention
    for name, summary in check.summary.by_intervention.items():
        assert ran[name].right_signs == pytest.approx(summary.right_signs, abs=0.15)
        assert -1 <= ran[name].rank_correlation[0] <= 1
    few = predictability(work, max_latents=2, max_cases=1).summary
    assert few.n_checked == 2


def test_where_nothing_is_verified(work):
    nothing = relabelled(work, lambda table: table.assign(**{C.ATTRIBUTE: None}))
    with pytest.raises(InvalidInput, match="0 verified concepts of this run speak of items"):
        predictability(nothing)


def test_from_the_command_line(capsys, recbole_run):
    assert command("steer", recbole_run, "--check") == 0
    out = capsys.readouterr().out
    assert "verified concepts that speak of items were turned" in out
    assert out.index("readable only") < out.index("x10 where active")  # the answer first
    assert "do what they say when turned" in out.split("\n")[0]
    assert "x10 where active" in out
    assert command("steer", recbole_run, "--check", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == {"obeyed", "rows", "summary"}
