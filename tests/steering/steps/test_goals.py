"""Goals by name: attributes, concepts, and what is neither."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from helpers import toy
from helpers.runs import planted
from recsae.concepts.attributes.names import ITEM_ITSELF, LENGTH, LENGTHS
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.dictionary import ConceptDictionary
from recsae.core import columns as C
from recsae.core.errors import InvalidInput
from recsae.steering.steps.goals import goal_of, items_of, popularity_goal, popularity_of
from recsae.steering.steps.kinds import Wishes

LONG = next(iter(LENGTHS))
ATTRIBUTES = ItemAttributes(
    scipy.sparse.csr_matrix(
        np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0]], dtype=np.int8)
    ),
    (("genre", "Horror"), ("genre", "Comedy"), ("mood", "comedy"), (LENGTH, LONG)),
)
LABELS = pd.DataFrame(
    {
        C.LATENT: [0, 1],
        C.NAME: ["scary", "patient"],
        C.ABOUT: ["scary", "patient"],
        C.ATTRIBUTE: ["genre", LENGTH],
        C.VALUE: ["Horror", LONG],
        C.SECOND_ATTRIBUTE: ["mood", None],
        C.SECOND_VALUE: ["comedy", None],
        C.THIRD_ATTRIBUTE: [None, None],
        C.THIRD_VALUE: [None, None],
    }
)
RUN = SimpleNamespace(
    recommender=planted(),
    dictionary=ConceptDictionary(LABELS, pd.DataFrame()),
    attributes=ATTRIBUTES,
    verified=np.array([0]),
)


def test_by_an_attributes_value_whatever_the_case():
    assert items_of(RUN, "horror").tolist() == [False, True, True, False]
    assert items_of(RUN, "Genre: Comedy").tolist() == [False, False, True, True]
    assert items_of(RUN, "mood: comedy").tolist() == [False, False, False, True]


def test_a_number_alone_is_a_latent_even_where_an_item_has_that_id():
    matrix = scipy.sparse.hstack([ATTRIBUTES.matrix, np.array([[0], [0], [0], [1]])], format="csr")
    table = ItemAttributes(matrix, (*ATTRIBUTES.names, (ITEM_ITSELF, "0")))
    run = SimpleNamespace(**vars(RUN) | {"attributes": table})
    assert items_of(run, "0").tolist() == items_of(run, "scary").tolist()
    assert items_of(run, "item: 0").tolist() == [False, False, False, True]


def test_by_a_concepts_name_all_that_its_label_speaks_of():
    assert items_of(RUN, "scary").tolist() == [False, True, True, True]


def test_weights_count_what_is_wanted_and_unwanted():
    goal = goal_of(RUN, Wishes(more=("Horror",), less=("genre: Comedy",)))
    assert goal.weights.tolist() == [0, 1, 0, -1]
    assert goal.items.tolist() == [False, True, True, False]
    assert (goal.name, goal.more) == ("more Horror, less genre: Comedy", True)
    with pytest.raises(InvalidInput, match="both more and less of 'Horror': leave one out"):
        goal_of(RUN, Wishes(more=("Horror",), less=("genre: Comedy", "Horror")))
    less = goal_of(RUN, Wishes(less=("Horror",)))
    assert less.weights.tolist() == [0, -1, -1, 0]
    assert (less.more, less.items.tolist()) == (False, [False, True, True, False])


def test_what_is_never_to_be_recommended_costs_no_accuracy():
    goal = goal_of(RUN, Wishes(never=("Horror", "mood: comedy")))
    assert goal.weights.tolist() == [0, -1, -1, -1]
    assert (goal.name, goal.more) == ("never Horror or mood: comedy", False)
    np.testing.assert_array_equal(goal.counted.no_loss, goal.items)
    assert goal_of(RUN, Wishes(less=("Horror",))).counted.no_loss is None
    with pytest.raises(InvalidInput, match="Give --never, or --more and --less"):
        goal_of(RUN, Wishes(more=("Horror",), never=("genre: Comedy",)))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("Comedy", "Several attributes have the value 'Comedy': say 'genre: Comedy' or 'mood: co"),
        ("Horor", "No attribute value and no concept is named 'Horor'. Did you mean 'Horror'"),
        ("patient", "The label of 'patient' speaks of the history"),
    ],
)
def test_names_that_do_not_do(name, match):
    with pytest.raises(InvalidInput, match=match):
        items_of(RUN, name)


def test_no_goal():
    with pytest.raises(InvalidInput, match="Say what there should be more or less of"):
        goal_of(RUN, Wishes())


# six users of two cases each: items 1 (9 times), 2 (twice) and 3 (once)
NEXT = [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3]
CASES = toy.cases(np.repeat(np.arange(6), 2).tolist(), [[1]] * 12, [[1]] * 12, targets=NEXT)
POPULARITY = popularity_of(CASES)


def test_how_often_items_came_next():
    assert POPULARITY.tolist() == [0, 9, 2, 1, 0, 0, 0, 0, 0]


def test_popularity_as_a_goal():
    real = CASES.catalog.recommendable
    less, more = (popularity_goal(POPULARITY, real, more=m) for m in (False, True))
    np.testing.assert_allclose(more.weights[:4], [0, 1, 2 / 9, 1 / 9], rtol=1e-6)
    np.testing.assert_array_equal(less.weights, -more.weights)
    assert np.flatnonzero(less.items).tolist() == [1]  # a fifth of eight items
    assert (less.more, less.name) == (False, "less popular items")
    assert less.by_popularity is POPULARITY
    np.testing.assert_allclose(less.log_popularity[:3], [0, -np.log(10), -np.log(3)], rtol=1e-6)
    np.testing.assert_array_equal(more.log_popularity, -less.log_popularity)
    assert goal_of(RUN, Wishes(more=("Horror",))).log_popularity is None
