"""Times of the interactions of a history that somebody asks about."""

import numpy as np
import pytest

from recsae.recommender.sequences import Sequences
from recsae_rectools.times import times_of

SEQUENCES = Sequences(
    np.array([5, 6, 7, 8, 5, 9, 1, 2], dtype=np.int32),
    np.array([0, 6, 8]),
    np.array(["ann", "bob"], dtype=object),
    np.array([1, 2]),
)
TIMES = np.array([10, 20, 30, 40, 50, 60, 1, 3])


@pytest.mark.parametrize(
    ("items", "user", "times", "at"),
    [
        ([5, 6, 7], 1, [10, 20, 30], 40),  # asked at the time of the next
        ([5], 1, [10], 20),  # the first of two alike
        ([8, 5], 1, [40, 50], 60),
        ([5, 6, 7, 8, 5, 9], 1, [10, 20, 30, 40, 50, 60], 60),  # nothing comes next
        ([5, 6, 4], 1, [10, 20, 30], 40),  # another in place of one
        ([4, 6, 7], 1, [10, 20, 30], 40),
        ([5, 7, 8], 1, [10, 30, 40], 50),  # one taken out
        ([1, 2], 2, [1, 3], 3),
        ([1, 2, 3, 4], 2, [1, 3, 3, 3], 3),  # more than there are
        ([5, 6], 0, [0, 0], 0),  # nobody's
    ],
)
def test_by_hand(items, user, times, at):
    found = times_of(np.array(items), user, SEQUENCES, TIMES)
    assert (found.times.tolist(), found.at) == (times, at)
