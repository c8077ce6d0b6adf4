"""Readable and obeyed: latents whose labels are right, wrong, and of no consequence, by hand."""

import json

import numpy as np
import pytest

from helpers.obeyed_run import ANSWERS, hand_made, of_code
from recsae.core import columns as C
from recsae.core.errors import NotEnoughData
from recsae.core.intervals import paired_ratio
from recsae.steering.obeyed import results as R
from recsae.steering.obeyed.measure import NOT_KEPT, _paired, obeyed, threshold


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return obeyed(hand_made(tmp_path_factory.mktemp("run")))


def test_each_latent_does_what_it_does(found):
    table = found.table[found.table[R.CODE] == "sae"].set_index(C.LATENT)
    assert table[R.OBEYED].sort_index().tolist() == ANSWERS
    assert table.loc[[0, 3, 5], R.PREDICTED].tolist() == ["more", "fewer", "more"]
    right = table.loc[0]
    assert right[R.DOWN] < right[R.UNTURNED] < right[R.UP]
    assert right[R.CHANGE] == pytest.approx(right[R.UP] - right[R.DOWN])
    assert 0 < right[R.LOW] < right[R.CHANGE] < right[R.HIGH]
    still = table.loc[2]
    assert still[R.UP] == still[R.DOWN] == still[R.UNTURNED]
    assert (still[R.LOW], still[R.HIGH]) == (0, 0)


def test_all_are_turned_by_the_same_distance(found):
    """Latents 0 and 3 have one direction, of very different length."""
    table = found.table[found.table[R.CODE] == "sae"].set_index(C.LATENT)
    assert table.loc[0, R.STEP] > 100 * table.loc[3, R.STEP]
    assert table.loc[0, R.CHANGE] == table.loc[3, R.CHANGE]


def test_the_two_by_two(found):
    row = of_code(found, "sae")
    assert (row.n_readable, row.n_readable_turned) == (5, 5)
    assert (row.n_unreadable, row.n_unreadable_turned, row.n_without_items) == (2, 2, 1)
    assert (row.both, row.readable_only, row.opposite) == (2, 3, 2)
    assert (row.obeyed_only, row.neither) == (1, 1)
    baseline = of_code(found, "random")  # the same latents, as a baseline has them
    assert (baseline.both, baseline.readable_only, baseline.obeyed_only) == (2, 3, 1)
    assert found.summary.not_turned == {"neurons": NOT_KEPT, "pca": NOT_KEPT}
    assert (found.summary.n_cases, found.summary.n_users) == (300, 30)


def test_a_summary_reads_back_as_it_was_written(found):
    record = json.loads(json.dumps(found.summary.to_dict(), sort_keys=True))
    assert R.ObeyedSummary.from_dict(record) == found.summary
    rows = json.loads(json.dumps(found.to_dict()))["rows"]
    assert len(rows) == 14
    assert set(rows[0]) == set(R.COLUMNS)


def test_the_core_and_what_was_found_are_counted_apart(tmp_path):
    found = obeyed(hand_made(tmp_path, gates=2, baselines=False))
    assert [row.code for row in found.summary.codes] == ["sae", "core", "found"]
    core, rest = of_code(found, "core"), of_code(found, "found")
    assert (core.n_readable, core.both, core.readable_only) == (2, 1, 1)
    assert (rest.n_readable, rest.both, rest.readable_only) == (3, 1, 2)
    assert set(found.summary.not_turned.values()) == {NOT_KEPT}
    assert "plain" in found.summary.not_turned


def test_labels_of_other_latents(tmp_path):
    """Two kinds of items, each along a dimension: the other's label is never obeyed."""
    work = hand_made(tmp_path, baselines=False)
    labels = work.tested_dictionary.table
    labels.loc[[1, 3], C.NEGATED] = [False, False]
    work.attributes = work.attributes.including([], work.recommender.catalog)
    both = np.stack([work.attributes.items_with("kind", "first")] * 2, axis=1)
    both[:, 1] = ~both[:, 1]
    work.attributes = type(work.attributes)(
        work.attributes.matrix.__class__(both.astype(int)), (("kind", "first"), ("kind", "second"))
    )
    labels.loc[1, C.VALUE] = "second"
    keep = labels[C.LATENT].isin([0, 1])
    work.label_scores = work.label_scores[keep]
    row = of_code(obeyed(work), "sae")
    assert (row.both, row.by_chance) == (2, 0.0)


def test_fewer_are_turned_than_there_are(tmp_path):
    found = obeyed(hand_made(tmp_path), of_dictionary=2, of_baseline=1)
    row, baseline = of_code(found, "sae"), of_code(found, "random")
    assert (row.n_readable_turned, row.n_readable) == (2, 5)
    assert (row.n_unreadable_turned, row.n_unreadable) == (2, 2)
    assert (baseline.n_readable_turned, baseline.n_unreadable_turned) == (1, 1)


def test_too_few_cases(tmp_path):
    with pytest.raises(NotEnoughData, match="10 held-out cases are too few"):
        obeyed(hand_made(tmp_path, n=10))


def test_errors_are_those_of_pairs_of_users():
    rng = np.random.default_rng(0)
    group = np.sort(np.r_[np.arange(20), rng.integers(0, 20, 80)])
    difference, n = rng.normal(0.1, 1, (100, 2)), np.bincount(group).astype(float)
    change, error = _paired(difference, group, n)
    for j in range(2):
        value, low, high = paired_ratio(np.bincount(group, difference[:, j]), n)
        assert change[j] == pytest.approx(value)
        assert (high - low) / 2 == pytest.approx(1.959964 * error[j])


def test_more_must_stand_out_where_more_are_turned():
    nothing = np.random.default_rng(0).normal(size=400)
    assert (np.abs(nothing) > 1.96).sum() > 5
    assert not (np.abs(nothing) > threshold(nothing)).any()
    assert threshold(np.r_[nothing, np.full(400, 9.0)]) < threshold(nothing)
