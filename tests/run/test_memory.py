"""The peak of a block, and what is given back."""

import numpy as np

from recsae.run.memory import PeakMemory


def test_the_peak_is_that_of_the_block():
    with PeakMemory() as nothing:
        pass
    with PeakMemory() as much:
        np.ones(2**25).sum()
    with PeakMemory() as later:
        pass
    assert 200 < much.peak_mb - nothing.peak_mb < 400  # 2 ** 25 numbers are 256 MB
    assert later.peak_mb < nothing.peak_mb + 100
