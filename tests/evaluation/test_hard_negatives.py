"""Hard negatives against a search that goes through the cases one after another."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.scoring_kit import BLIND, HAS, LABELERS, WITNESS, kept_cases, scored, step_of
from helpers.toy import sparse
from recsae.core import columns as C
from recsae.evaluation import hard_negatives
from recsae.evaluation.scoring import score_concepts

EVERY_LABELER = pytest.mark.parametrize("labeler", LABELERS, ids=["blind", "sees examples"])


def expected(dictionary, made, dense, latent, rows, n_pool, n_probes, n_hard) -> float:
    """As the design says it: one latent, one case of ``rows`` after another."""
    unit = made.states / np.linalg.norm(made.states, axis=1, keepdims=True)
    label = dictionary.table.loc[latent]
    step, least = step_of(label, made)
    said = step >= least
    positives = np.flatnonzero(dense[:, latent] > 0)
    probes = positives[np.linspace(0, len(positives) - 1, n_probes).astype(int)]
    pool = np.unique(np.linspace(0, len(made) - 1, n_pool).astype(int))
    allowed = set(rows) - set(positives)
    quiet = [row for row in pool if row in allowed]
    nearest = sorted(quiet, key=lambda row: -max(float(unit[row] @ unit[p]) for p in probes))
    return float(np.mean([not said[row] for row in nearest[:n_hard]]))


@EVERY_LABELER
@pytest.mark.parametrize(("pool", "probes", "hard"), [(10_000, 32, 100), (120, 4, 10), (40, 2, 60)])
def test_they_are_the_nearest_inactive_cases(monkeypatch, labeler, pool, probes, hard):
    monkeypatch.setattr(hard_negatives, "N_POOL", pool)
    monkeypatch.setattr(hard_negatives, "N_PROBES", probes)
    monkeypatch.setattr(hard_negatives, "N_HARD", hard)
    dictionary, made, dense, table = scored(5, labeler)
    tested = table.index[table[C.N_POS] >= 20]
    assert len(tested) >= 7
    for latent in tested:
        rows = range(len(made))
        if labeler is WITNESS:
            rows = kept_cases(dictionary, latent, made)
            assert len(rows) < len(made)
        value = expected(dictionary, made, dense, latent, rows, pool, probes, hard)
        assert table[C.HARD_SPECIFICITY][latent] == pytest.approx(value)
    assert table[C.HARD_SPECIFICITY].drop(tested).isna().all()


def test_they_are_harder_where_neighbours_differ():
    """States in which the label's own attribute is visible: errors are near the positives."""
    rng = np.random.default_rng(0)
    dictionary, made, dense, _ = scored(6, n=1500, n_users=60)
    states = HAS[made.last_items].sum(1) + 0.1 * rng.normal(size=(1500, 5))
    near = replace(made, states=states.astype(np.float32))
    table = score_concepts(sparse(dense), dictionary, near, BLIND)
    assert table[C.HARD_SPECIFICITY][:5].mean() < table[C.SPECIFICITY][:5].mean()
