"""What adapters may do besides has a default; what one lacks is said where it enters."""

import numpy as np
import pytest
import torch

from recsae.attribution.integrated_gradients import vectors_of
from recsae.capture.fill import capture
from recsae.core.errors import CannotOpenModel
from recsae.recommender.plugins import load_recommender
from recsae.recommender.protocol import LinearHead, Recommender, as_recommender, missing_parts
from recsae.run.config import RunConfig
from recsae.run.preview import inspection
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.testing import PlantedRecommender, check_recommender

OPTIONAL = [
    *("model", "filters_seen", "max_positions"),
    *("represent_sites", "input_vectors", "represent_from", "stated_score", "user_table"),
]
REQUIRED = [
    *("name", "plugin", "dataset", "catalog", "max_length"),
    *("sequences", "evaluation", "sites", "represent", "score", "linear_head"),
    *("edit", "fingerprint", "sources", "describe"),
]


def planted() -> PlantedRecommender:
    return PlantedRecommender(n_users=30, n_items=40, n_concepts=4, width=8)


class Structural:
    """Everything that an adapter must define, and no base class."""

    def __init__(self, **parts):
        inner = planted()
        for name in REQUIRED:
            setattr(self, name, getattr(inner, name))
        for name, value in parts.items():
            setattr(self, name, value)


def batch_of(recommender):
    rows = np.arange(4)
    return recommender.sequences().batch(rows, rows * 0, rows + 2, recommender.max_length)


def test_what_an_adapter_must_define_is_listed_nowhere_else():
    assert missing_parts(object()).required == REQUIRED
    assert missing_parts(object()).optional == OPTIONAL


def test_defaults_of_what_an_adapter_need_not_define():
    recommender = planted()
    assert recommender.filters_seen is False
    assert recommender.max_positions is None
    batch = batch_of(recommender)
    for positions in (False, True):
        states = recommender.represent_sites(batch, ["sequence"], positions=positions)
        alone = recommender.represent(batch, positions=positions)
        assert list(states) == ["sequence"]
        assert torch.equal(states["sequence"], alone)
    for call in (
        lambda: recommender.input_vectors(batch),
        lambda: recommender.represent_from(batch, torch.zeros(4, 20, 8)),
    ):
        with pytest.raises(CannotOpenModel, match=r"^The plug-in of Planted cannot give it"):
            call()


def test_an_adapter_with_every_part_need_not_inherit():
    whole = Structural(**{name: getattr(planted(), name) for name in OPTIONAL})
    assert as_recommender(whole) is whole
    assert load_recommender(whole) is whole
    assert "edit changes scores" in check_recommender(whole)


SENTENCE = (
    "Structural lacks max_positions, input_vectors of the protocol of recommenders: let it inherit "
    "from recsae.recommender.Recommender, which has max_positions, input_vectors."
)


@pytest.mark.parametrize(
    "door",
    [
        as_recommender,
        load_recommender,
        inspection,
        lambda r: capture(r, np.arange(4), None),
        lambda r: vectors_of(r, batch_of(r)),
    ],
)
def test_an_adapter_that_lacks_a_default_is_refused_at_every_door(door):
    kept = [name for name in OPTIONAL if name not in ("max_positions", "input_vectors")]
    lacking = Structural(**{name: getattr(planted(), name) for name in kept})
    with pytest.raises(CannotOpenModel) as caught:
        door(lacking)
    assert str(caught.value) == SENTENCE


def test_a_run_and_the_kit_refuse_it_too(tmp_path):
    with pytest.raises(CannotOpenModel, match=r"^Structural lacks model, filters_seen, "):
        Workspace(Run(tmp_path / "run", RunConfig()), Structural())
    with pytest.raises(AssertionError, match=r"inherit from recsae\.recommender\.Recommender"):
        check_recommender(Structural())


def test_what_must_be_defined_is_named():
    class Half(Recommender):
        name, plugin = "Half", "testing"

    with pytest.raises(TypeError, match="abstract"):
        Half()

    class Forgetful(PlantedRecommender):
        def __init__(self):
            self.catalog = planted().catalog

    with pytest.raises(CannotOpenModel) as caught:
        load_recommender(Forgetful())
    assert str(caught.value) == (
        "Forgetful lacks max_length of the protocol of recommenders: let it define max_length."
    )
    with pytest.raises(CannotOpenModel, match=r"which has model, .*, and define name, plugin, "):
        as_recommender(7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("biased", [False, True])
def test_scores_of_some_items_are_those_of_all(dtype, biased):
    made = torch.Generator().manual_seed(0)
    items = torch.randn(50, 7, generator=made, dtype=dtype)
    states = torch.randn(20, 7, generator=made, dtype=dtype)
    head = LinearHead(items, torch.randn(50, generator=made, dtype=dtype) if biased else None)
    which = torch.randint(0, 50, (20, 6), generator=made)
    expected = head.score(states).gather(1, which)
    for rows in (slice(None), slice(3, 9)):  # views of others as well
        found = head.score_items(states[rows], which[rows])
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected[rows])
    found = head.score_items(states.t().contiguous().t(), which[:, ::2])
    torch.testing.assert_close(found, expected[:, ::2])
