"""Which attributes can be read from the states at all, on planted truth."""

import dataclasses

import numpy as np
import pytest

from helpers.runs import planted
from recsae.concepts.attributes.learnable import LEARNABLE, learnable_attributes
from recsae.concepts.attributes.values import item_attributes
from recsae.run.record import Run
from recsae.run.workspace import Workspace

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def cases(planted_run):
    return Workspace(Run(planted_run), planted(), None).construction


@pytest.fixture(scope="module")
def attributes(cases):
    return item_attributes(cases.catalog, cases)


def test_planted_genres_are_readable(attributes, cases):
    kept, left_out = learnable_attributes(attributes, cases)
    assert {("genre", g) for g in planted().concepts} <= set(kept.names)
    assert not {entry.attribute for entry in left_out} & {f"genre: {g}" for g in planted().concepts}


def test_nothing_is_read_from_noise(attributes, cases):
    noise = np.random.default_rng(0).normal(size=cases.states.shape).astype(np.float32)
    kept, left_out = learnable_attributes(attributes, dataclasses.replace(cases, states=noise))
    assert not {("genre", g) for g in planted().concepts} & set(kept.names)
    assert {entry.attribute for entry in left_out} >= {f"genre: {g}" for g in planted().concepts}
    assert all(entry.low <= LEARNABLE and entry.auc < 0.6 for entry in left_out)
    assert kept.matrix.shape[1] == len(kept.names) == len(attributes.names) - len(left_out)


def test_too_few_cases_for_a_probe_leave_all_in(attributes, cases):
    kept, left_out = learnable_attributes(attributes, cases.take(np.arange(20)))
    assert (kept.names, left_out) == (attributes.names, [])
