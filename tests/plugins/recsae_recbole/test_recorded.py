"""RecBole's sequential models, recorded on one history and run on others without RecBole."""

import numpy as np
import pytest
import torch

from helpers.recbole_kit import FOLDER, SEQUENTIAL, small_checkpoint
from recsae.recommender.recorded.names import LOWERING
from recsae.recommender.recorded.recorder import CannotRecord, Recorder, plain_operations
from recsae.recommender.sequences import pad
from recsae_recbole.open import open_checkpoint

pytestmark = pytest.mark.recbole
REFUSED = {
    "BERT4Rec": "number by number",
    "Caser": "convolution",
    "NextItNet": "convolution",
    "FEARec": "_fft_r2c",
    "DIEN": "_pack_padded_sequence",
    "DIN": "_native_batch_norm",
    "KSR": "as many values as the history decides",
}
OTHERWISE = ("GCSAN", "HRM", "SRGNN")
"""Models that reckon with the history outside of torch, which other histories bring to light."""


def opened(model):
    return open_checkpoint(small_checkpoint(FOLDER / f"recorded-{model}.pth", model), trust=True)


def recorded(recommender):
    batch = pad([[1, 2, 3]], recommender.max_length)
    recorder = Recorder(batch.items, batch.lengths, LOWERING)
    with torch.no_grad(), plain_operations(), recorder:
        states = recommender.represent(batch)
    return recorder.graph(states)


def largest_error(recommender, graph):
    """Of states of histories of any length, relative to the largest entry."""
    drawn, length = np.random.default_rng(0), recommender.max_length
    real = np.flatnonzero(recommender.catalog.recommendable)
    errors = []
    for n in (1, 2, 3, length - 1, length, length + 3):
        history = [*drawn.choice(real, n), real[0], real[0]][-n:]
        state = recommender.represent(pad([history], length))[0].double().numpy()
        errors.append(np.abs(graph.run(history)[0] - state).max() / np.abs(state).max())
    return max(errors)


@pytest.mark.parametrize("model", SEQUENTIAL)
def test_states_are_the_models_or_it_is_refused(model):
    recommender = opened(model)
    if model in REFUSED:
        with pytest.raises(CannotRecord, match=REFUSED[model]):
            recorded(recommender)
        return
    error = largest_error(recommender, recorded(recommender))
    assert error > 1e-2 if model in OTHERWISE else error < 1e-5
