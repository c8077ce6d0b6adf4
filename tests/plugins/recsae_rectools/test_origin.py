"""Whether the model has seen what its evaluation asks for."""

import pytest

pytest.importorskip("rectools")

from rectools.dataset import Dataset
from rectools.models import BERT4RecModel, SASRecModel

from helpers.rectools_kit import attached, before_last, dataset, fit, interactions
from recsae_rectools.boundary import rectools_boundary
from recsae_rectools.open import open_model
from recsae_rectools.origin import SEEN, UNKNOWN

pytestmark = pytest.mark.rectools


def constructed(table):
    with rectools_boundary():
        return Dataset.construct(table)


def notes(model, data):
    return set(open_model(model, dataset=data).catalog.notes) & {SEEN, UNKNOWN}


@pytest.mark.parametrize("model_class", [SASRecModel, BERT4RecModel])
def test_all_was_seen_or_all_but_the_last_or_nobody_knows(model_class):
    everything = interactions()
    rest, _ = before_last(everything)
    less, _ = before_last(rest)
    assert notes(fit(model_class, constructed(everything)), dataset()) == {SEEN}
    assert notes(fit(model_class, constructed(rest)), dataset()) == set()
    assert notes(fit(model_class, constructed(less)), dataset()) == {UNKNOWN}


def last_ones(table, n=1):
    """What RecTools keeps to validate on, in a function that a checkpoint can name."""
    return (table["datetime"].groupby(table["user_id"]).rank(ascending=False) <= n).to_numpy()


def test_interactions_that_validate_are_none_of_the_training():
    model = fit(SASRecModel, dataset(), get_val_mask_func=last_ones)
    assert notes(model, dataset()) == {SEEN}  # they had a say when training ended
    rest, _ = before_last(interactions())
    model = fit(SASRecModel, constructed(rest), get_val_mask_func=last_ones)
    assert notes(model, dataset()) == set()


def test_a_fitted_model_of_the_kit_has_seen_everything():
    assert SEEN in attached().catalog.notes
