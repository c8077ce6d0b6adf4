"""Which concepts come back: shares and latents by hand."""

import numpy as np
import pytest

from recsae.evaluation.stability import (
    CRITERIA,
    ComparedDictionary,
    compare_dictionaries,
    latent_returns,
    return_shares,
)
from recsae.sae.matching import Nearest

ABOUT = np.array(["Horror", "Horror", "Drama", "1990s"], dtype=object)
VERIFIED = np.array([0, 1, 2])
KINDS = {"seed-1": "seeds", "seed-2": "seeds", "half-1": "halves", "chance": "chance"}


def beside(*back):
    """A dictionary in which these latents come back, by every criterion."""
    found = np.isin(np.arange(4), back)
    return ComparedDictionary(
        np.where(found, 0.95, 0.5), np.where(found, 0.8, 0.1), dict.fromkeys(CRITERIA, found)
    )


OTHERS = {
    "seed-1": beside(0, 2),
    "seed-2": beside(1),
    "half-1": beside(0, 1, 2),
    "chance": beside(),
}
AGAIN = {name: other for name, other in OTHERS.items() if name != "chance"}


@pytest.mark.parametrize(
    ("among", "n", "seeds", "halves", "every"),
    [
        ("core", 3, (2 + 1) / 6, 1, 0),
        ("latents", 4, (2 + 1) / 8, 3 / 4, 0),
        ("verified", 3, (2 + 1) / 6, 1, 0),
    ],
)
def test_shares_by_hand(among, n, seeds, halves, every):
    found = return_shares(VERIFIED, OTHERS, KINDS, 4, n_core=3)
    rows = [row for row in found if row.among == among]
    assert [row.criterion for row in rows] == list(CRITERIA)
    for row in rows:
        assert row.n == n
        assert [getattr(row, key) for key in ("seeds", "halves", "every")] == pytest.approx(
            [seeds, halves, every]
        )
        assert row.chance == 0


def test_what_was_not_compared_has_no_share():
    rows = return_shares(VERIFIED, {"chance": beside(0)}, KINDS, 4)
    assert all(row.seeds is None and row.halves is None for row in rows)
    assert all(row.every is None for row in rows)
    none_verified = return_shares(np.zeros(0, dtype=np.int64), OTHERS, KINDS, 4)
    assert {row.seeds for row in none_verified if row.among != "latents"} == {None}


def test_latents_by_hand():
    first, _, third, last = latent_returns(ABOUT, AGAIN)
    assert (first.latent, first.name) == (0, "Horror")
    assert first.back["label"] == pytest.approx(2 / 3)
    assert first.cosine == {"seed-1": 0.95, "seed-2": 0.5, "half-1": 0.95}
    assert not first.stable
    assert third.correlation == {"seed-1": 0.8, "seed-2": 0.1, "half-1": 0.8}
    assert last.back == dict.fromkeys(CRITERIA, 0)


def test_a_latent_is_stable_if_its_label_comes_back_everywhere():
    again = {"seed-1": beside(0, 1), "half-1": beside(1, 2)}
    assert [row.stable for row in latent_returns(ABOUT, again)] == [False, True, False, False]
    everything_but_the_label = dict.fromkeys(CRITERIA, np.ones(4, dtype=bool))
    everything_but_the_label["label"] = np.zeros(4, dtype=bool)
    again["half-1"] = ComparedDictionary(np.ones(4), np.ones(4), everything_but_the_label)
    assert not any(row.stable for row in latent_returns(ABOUT, again))
    assert latent_returns(ABOUT, {}) == []


def test_a_label_comes_back_with_any_latent_that_is_active_alike():
    nearest = Nearest(np.array([0, 1, 2, 3]), np.array([0.95, 0.95, 0.5, 0.89]))
    most_alike = Nearest(np.array([2, 0, 1, -1]), np.array([0.9, 0.8, 0.75, 0.7]))
    alike = np.array([0, 0, 1, 2]), np.array([2, 5, 0, 1])
    others = {0: "Comedy", 1: "Drama", 2: "1990s", 5: "Horror"}
    found = compare_dictionaries(nearest, most_alike, alike, ABOUT, others)
    assert found.back["direction"].tolist() == [True, True, False, False]
    assert found.back["activity"].tolist() == [True, True, True, False]
    assert found.back["label"].tolist() == [True, False, True, False]
