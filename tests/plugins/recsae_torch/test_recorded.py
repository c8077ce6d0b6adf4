"""Models in torch read what ``make_batch`` makes of lists of numbers, which cannot be recorded."""

import pytest
import torch

from helpers.recent import attached
from recsae.recommender.recorded.names import LOWERING
from recsae.recommender.recorded.recorder import CannotRecord, Recorder, plain_operations
from recsae.recommender.sequences import pad


def test_it_is_refused_in_words():
    recommender = attached()
    batch = pad([[1, 2]], recommender.max_length)
    recorder = Recorder(batch.items, batch.lengths, LOWERING)
    with pytest.raises(CannotRecord, match="number by number in Python"):  # noqa: SIM117
        with torch.no_grad(), plain_operations(), recorder:
            recommender.represent(batch)
