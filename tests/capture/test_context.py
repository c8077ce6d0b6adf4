"""What states lose where windows give them less context."""

import functools

import numpy as np
import torch

from recsae.capture.context import short_context
from recsae.capture.forward import forward_all
from recsae.capture.windows import plan_windows
from recsae.testing.planted import PLANTED_SITE, PlantedRecommender


class Counting(PlantedRecommender):
    """States with the number of items that were read in their first place."""

    def represent(self, batch, site=None, *, positions=False):
        states = super().represent(batch, site, positions=positions).clone()
        n = torch.arange(1, batch.items.shape[1] + 1) if positions else batch.lengths
        states[..., 0] += 0.1 * n
        return states


@functools.cache
def model():
    return Counting(n_users=100, seed=3)


def planned(**options):
    sequences = model().sequences()
    options = {"every_position": True, "limit": None, "seed": 0, **options}
    return plan_windows(sequences, np.arange(len(sequences)), model().max_length, **options)


def test_both_states_are_those_of_the_model():
    windows = planned()
    made = short_context(model(), PLANTED_SITE, windows, seed=0)
    sequences, n = model().sequences(), len(made.short.position)
    assert np.array_equal(made.short.position, made.whole.position)
    assert np.array_equal(made.short.sequence, made.whole.sequence)
    for i in range(0, n, 50):
        row, end = int(made.whole.sequence[i]), int(made.whole.position[i]) + 1
        batch = sequences.batch(
            np.array([row]),
            np.array([max(0, end - model().max_length)]),
            np.array([end]),
            model().max_length,
        )
        own = model().represent(batch)
        assert torch.allclose(
            own[0], torch.from_numpy(made.whole.states[PLANTED_SITE][i]), atol=1e-5
        )


def test_short_states_are_those_that_a_store_holds():
    windows = planned()
    made = short_context(model(), PLANTED_SITE, windows, seed=0)
    stored = forward_all(model(), [PLANTED_SITE], windows)
    at = {pair: i for i, pair in enumerate(zip(stored.sequence, stored.position, strict=True))}
    rows = [at[pair] for pair in zip(made.short.sequence, made.short.position, strict=True)]
    assert np.allclose(
        made.short.states[PLANTED_SITE], stored.states[PLANTED_SITE][rows], atol=1e-5
    )
    gap = made.whole.states[PLANTED_SITE] - made.short.states[PLANTED_SITE]
    assert (gap[:, 0] > 0.05).all()
    assert np.allclose(gap[:, 1:], 0, atol=1e-5)


def test_share_of_positions_with_less_context():
    windows, length = planned(), model().max_length
    context = [
        (p, p - start + 1)
        for start, end, first in zip(windows.starts, windows.ends, windows.kept_from, strict=True)
        for p in range(first, end)
    ]
    less = np.mean([items < min(length, p + 1) for p, items in context])
    assert 0.2 < less < 0.8
    assert np.isclose(short_context(model(), PLANTED_SITE, windows, seed=0).share, less)


def test_nothing_to_compare_where_every_state_has_all():
    assert short_context(model(), PLANTED_SITE, planned(exact=True), seed=0) is None
    assert short_context(model(), PLANTED_SITE, planned(every_position=False), seed=0) is None
