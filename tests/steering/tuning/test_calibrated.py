"""Powers that make better probabilities: those that were planted are found again."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recsae.steering.steps.kinds import Powers
from recsae.steering.steps.pools import CalibratedP
from recsae.steering.tuning.calibrated import (
    UNCALIBRATED,
    popularity_by_others,
    powers_of,
)

N_ITEMS, N_CASES, TEMPERATURE = 60, 20_000, 0.5
RNG = np.random.default_rng(0)
POPULARITY = RNG.integers(1, 4_000, N_ITEMS)
POPULARITY[0] = 0
SCORES = torch.from_numpy(RNG.normal(size=(N_CASES, N_ITEMS))).float()
REAL = np.arange(N_ITEMS) > 0


def scorer(targets):
    catalog = SimpleNamespace(n_items=N_ITEMS, recommendable=REAL)
    rows = np.arange(len(targets))

    class Cases:
        seen = None

        def __len__(self):
            return len(rows)

    cases = Cases()
    cases.catalog, cases.targets = catalog, targets
    return SimpleNamespace(cases=cases, at_once=True, scores=lambda part: SCORES[part].clone())


def next_items(powers):
    """Items drawn with calibrated probabilities; nothing is outside of the first here."""
    scores = SCORES.clone()
    scores[:, ~REAL] = float("-inf")
    prior = powers.popularity * torch.from_numpy(np.log1p(POPULARITY)).float()
    log_p, items = torch.log_softmax(scores / TEMPERATURE, 1).sort(dim=1, descending=True)
    p = CalibratedP(powers.p, powers.place, prior).of(log_p, items)
    places = torch.multinomial(p, 1, generator=torch.Generator().manual_seed(0))
    return items.gather(1, places)[:, 0].numpy()


@pytest.mark.parametrize(
    "powers",
    [
        UNCALIBRATED,
        Powers(p=1.3, place=0.3, popularity=0.2),
        Powers(p=0.6, place=0, popularity=-0.1),
    ],
)
def test_planted_powers_are_found(powers):
    found = powers_of(scorer(next_items(powers)), TEMPERATURE, POPULARITY)
    for name, value in powers.model_dump().items():
        assert getattr(found, name) == pytest.approx(value, abs=0.06)


def test_what_one_consumed_is_no_sign_of_its_own_popularity():
    of_all, own = np.array([0, 6, 1, 1]), np.array([0, 2, 1, 0])
    assert popularity_by_others(of_all, own).tolist() == [0, 4 * 8 / 5, 0, 8 / 5]
    assert popularity_by_others(own, own).tolist() == [0, 0, 0, 0]


def test_with_few_next_items_nothing_is_changed():
    assert powers_of(scorer(np.ones(50, np.int64)), TEMPERATURE, POPULARITY) == UNCALIBRATED


def test_where_all_items_are_alike_popular_nothing_is_changed():
    targets = RNG.integers(1, N_ITEMS, 2_000)
    assert powers_of(scorer(targets), TEMPERATURE, np.full(N_ITEMS, 9.0)) == UNCALIBRATED
