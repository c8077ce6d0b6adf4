"""Lists under a steering: every kind by hand, and the same however they are asked for."""

import numpy as np
import pytest
import torch

from helpers import toy
from helpers.runs import planted_open
from recsae.core.errors import InvalidInput
from recsae.recommender.catalog import build_catalog
from recsae.sae.config import make_config
from recsae.sae.editing import Intervention
from recsae.sae.model import SAE
from recsae.steering.context import steer
from recsae.steering.files import Steering
from recsae.steering.lists import lists_before_after
from recsae.steering.steered_scores import HeadScorer
from recsae.steering.steps.applied import applied, steered_lists
from recsae.steering.steps.goals import Goal
from recsae.steering.steps.kinds import Direction, Filter, ReRanking, Wishes, in_order

ITEMS = [[0, 0], [1.0, 0], [0.9, 0], [0.8, 0], [0, 1.0], [0, 0.9], [0, 0.8]]
"""The state is (4, 2): items 1 to 6 have scores of 4, 3.6, 3.2, 2, 1.8 and 1.6."""
LATER = np.arange(7) > 3
UP = Intervention((1,), "add", 1.5)
"""Items 4, 5 and 6 have 3.5, 3.15 and 2.8."""
ALONG = Direction(name="up", vector=(0.0, 0.9), strength=2.0)
"""They have 3.8, 3.42 and 3.04."""
CONSTANT = ReRanking(by="constant", more=("later",), strength=1.7, unit=1.0)
"""They have 3.7, 3.5 and 3.3."""
LIKELY = ReRanking(by="probability", more=("later",), strength=2.0, unit=0.05, temperature=1.0)
"""p is .407, .273, .183 and .055 for item 4; the third place has .183 / 2 against .055 / 2 + .1."""
NOT_EARLY = Filter(never=("early",))


@pytest.fixture(scope="module")
def sae():
    """Latents are the dimensions."""
    made = SAE(make_config(n_latents=2, k=2, activation="topk"), 2).eval()
    with torch.no_grad():
        made.W_enc.copy_(torch.eye(2))
        made.W_dec.copy_(torch.eye(2))
    return made


@pytest.fixture(scope="module")
def scorer(sae):
    catalog = build_catalog(["[PAD]", *(f"i{i}" for i in range(1, 7))], None)
    known = {"states": np.array([[4.0, 2.0]]), "targets": [1], "items": catalog}
    return HeadScorer(toy.cases([0], [[1]], [[1]], **known), sae, toy.head(np.array(ITEMS)))


def goal_of_wishes(wishes):
    items = ~LATER if "early" in wishes.never else LATER
    counts = np.where(LATER, 20, 400) if wishes.popularity else None
    return Goal(wishes, items.astype(np.float32), items, not wishes.popularity, counts)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], [1, 2, 3]),
        ([UP], [1, 2, 4]),
        ([ALONG], [1, 4, 2]),
        ([CONSTANT], [1, 4, 2]),
        ([LIKELY], [1, 2, 4]),
        ([NOT_EARLY], [4, 5, 6]),
        ([UP, ALONG], [4, 5, 6]),  # 5.3, 4.77 and 4.24
        ([UP, CONSTANT.model_copy(update={"strength": 0.6})], [4, 1, 5]),  # 4.1, 3.75 and 3.4
        ([UP, LIKELY], [1, 4, 5]),  # place 2: .63 * .18 + .1 against .63 * .2
        ([LIKELY, UP], [1, 4, 5]),  # states come first whatever the order
        ([ReRanking(by="log popularity", popularity="-", strength=0.3, unit=1.0)], [1, 2, 3]),
        # ln 401 - ln 21 is 2.95: they gain 2.06 against the others
        ([ReRanking(by="log popularity", popularity="-", strength=0.7, unit=1.0)], [4, 1, 5]),
    ],
)
def test_every_kind_by_hand(steps, expected, sae, scorer):
    assert applied(steps, sae, goal_of_wishes).lists(scorer, 3).tolist() == [expected]


def test_the_order_of_steps():
    steps = [LIKELY, CONSTANT, NOT_EARLY, UP]
    assert in_order(steps) == [UP, NOT_EARLY, CONSTANT, LIKELY]
    with pytest.raises(InvalidInput, match="Two steps re-rank by probability"):
        in_order([LIKELY, LIKELY])


def test_wishes_in_words():
    assert Wishes(never=("a", "b")).said() == "never a or b"
    assert LIKELY.wishes == Wishes(more=("later",))


def test_a_model_gives_scores_and_no_lists():
    work = planted_open()
    with (
        pytest.raises(InvalidInput, match="this is done to lists: lists without early"),
        steer(work.recommender, work.sae, [NOT_EARLY]),
    ):
        pass


@pytest.mark.end_to_end
def test_one_list_is_that_of_everybody():
    work = planted_open()
    value = next(v for a, v in work.attributes.names if a == "genre")
    steps = [
        Intervention((3, 5), "add", (0.4, -0.4)),
        ReRanking(
            by="probability", more=(value,), strength=1.0, unit=0.01, temperature=0.5, candidates=40
        ),
        Filter(never=(work.attributes.names[-1][1],)),
    ]
    cases = work.heldout.take(np.arange(0, len(work.heldout), 97))
    lists = steered_lists(work, cases, steps)
    assert (lists != steered_lists(work, cases, [])).any()
    ids = work.recommender.catalog.external_ids
    for row, expected in enumerate(lists):
        history = [ids[i] for i in cases.history(row, n=99)]
        found = lists_before_after(work, Steering(steps), None, history, mask_seen=False)
        assert [place.after.external_id for place in found.places] == [ids[i] for i in expected]
