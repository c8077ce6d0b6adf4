"""Turning latents: by hand on two of them, and on a model that must come back unchanged."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from helpers.runs import planted
from helpers.toy import UserTable, sequences
from recsae.core.errors import InvalidInput, SiteNotFound
from recsae.recommender.evaluation import restrict, top_lists
from recsae.recommender.protocol import EvaluationCases
from recsae.recommender.sequences import pad
from recsae.sae.config import make_config
from recsae.sae.editing import Intervention, make_edit
from recsae.sae.model import SAE
from recsae.steering.context import steer

# -- the edit, by hand -----------------------------------------------------------------------------


def two_latents():
    """z = TopK(ReLU([x1 - 1, x2])) of x = (h - (1, 0)) / 2, decoder rows (1, 0), (0, 1)."""
    sae = SAE(make_config(n_latents=2, k=2), width=2)
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(2))
        sae.W_dec.copy_(torch.eye(2))
        sae.b_enc.copy_(torch.tensor([-1.0, 0.0]))
        sae.mean.copy_(torch.tensor([1.0, 0.0]))
        sae.scale.fill_(2.0)
    return sae.eval()


# x = (2, 1), (0.5, 3), (0, -1): z = (1, 1), (0, 3), (0, 0)
STATES = torch.tensor([[5.0, 2.0], [2.0, 6.0], [1.0, -2.0]])


def edited(*steps):
    return make_edit(two_latents(), [Intervention(*step) for step in steps])(STATES)


def test_the_activations_of_the_hand_made_sae():
    assert two_latents().encode(STATES).tolist() == [[1, 1], [0, 3], [0, 0]]


@pytest.mark.parametrize(
    ("steps", "moved"),
    [
        # one unit of a latent moves the raw state by scale = 2 along its decoder row
        ([((0,), "set", 3.0)], [[4, 0], [6, 0], [6, 0]]),  # set reaches every sequence
        ([((0,), "scale", 3.0)], [[4, 0], [0, 0], [0, 0]]),  # scale only the active
        ([((0,), "set", 0.0)], [[-2, 0], [0, 0], [0, 0]]),
        ([((1,), "scale", 0.0)], [[0, -2], [0, -6], [0, 0]]),
        ([((1,), "set", -1.0)], [[0, -4], [0, -8], [0, -2]]),
        ([((0, 1), "scale", 2.0)], [[2, 2], [0, 6], [0, 0]]),
        ([((0,), "set", 2.0), ((1,), "scale", 0.5)], [[2, -1], [4, -3], [4, 0]]),
        ([((0,), "add", 1.0)], [[2, 0], [2, 0], [2, 0]]),
        ([((0,), "add", -1.0, "", "active")], [[-2, 0], [0, 0], [0, 0]]),
        ([((1,), "at_most", 2.0)], [[0, 0], [0, -2], [0, 0]]),
        ([((0,), "at_least", 0.5)], [[0, 0], [1, 0], [1, 0]]),
        ([((1,), "at_least", 2.0, "", "active")], [[0, 2], [0, 0], [0, 0]]),
        ([((0, 1), "set", (2.0, 3.0))], [[2, 4], [4, 0], [4, 6]]),
        # in order: set, then scaled; and the other way round
        ([((0,), "set", 2.0), ((0,), "scale", 3.0)], [[10, 0], [12, 0], [12, 0]]),
        ([((0,), "scale", 3.0), ((0,), "set", 2.0)], [[2, 0], [4, 0], [4, 0]]),
    ],
)
def test_edits_by_hand(steps, moved):
    assert torch.equal(edited(*steps), STATES + torch.tensor(moved, dtype=torch.float32))


def test_what_the_sae_does_not_reconstruct_stays():
    sae = two_latents()
    after = edited(((0,), "set", 3.0))
    with torch.no_grad():
        error = STATES - sae(STATES)
        rebuilt = sae.decode(torch.tensor([[3.0, 1], [3, 3], [3, 0]]))
    assert float(error.abs().max()) > 0
    assert torch.equal(after - rebuilt, error)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [((0, 1), "scale", 1.0)],
        [((1,), "scale", 2.0), ((1,), "scale", 0.5)],
    ],
)
def test_no_change_is_bit_equal(steps):
    torch.manual_seed(0)
    states = torch.randn(50, 2)
    edit = make_edit(two_latents(), [Intervention(*step) for step in steps])
    assert torch.equal(edit(states), states)


def test_setting_to_the_value_that_is_there_is_bit_equal():
    """The states of one row come out as they went in, those of the others do not."""
    states = torch.randn(20, 8, generator=torch.Generator().manual_seed(0)) * 3
    sae = SAE(make_config(n_latents=6, k=2), width=8).eval()
    code = sae.encode_sparse(states)
    latent, value = int(code.indices[4, 0]), float(code.values[4, 0])
    after = make_edit(sae, [Intervention((latent,), "set", value)])(states)
    assert torch.equal(after[4], states[4])
    assert not torch.equal(after, states)


def test_as_many_values_as_latents():
    with pytest.raises(InvalidInput, match="1 values for 2 latents: give one, or as many"):
        make_edit(two_latents(), [Intervention((0, 1), "set", (1.0,))])


def test_states_of_every_position():
    edit = make_edit(two_latents(), [Intervention((0,), "set", 3.0)])
    assert torch.equal(edit(STATES.reshape(1, 3, 2)), edit(STATES).reshape(1, 3, 2))


@pytest.mark.parametrize("latent", [-1, 2, 99])
def test_an_unknown_latent(latent):
    with pytest.raises(InvalidInput, match=f"There is no latent {latent}: the SAE has 2, from 0"):
        make_edit(
            two_latents(), [Intervention((0,), "set", 1.0), Intervention((latent,), "set", 1.0)]
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e300, -2e9])
@pytest.mark.parametrize("op", ["set", "scale"])
def test_values_that_are_no_numbers(op, value):
    with pytest.raises(InvalidInput, match=r"cannot be turned by .* give a number between"):
        make_edit(two_latents(), [Intervention((0,), op, value)])


def test_values_that_would_overflow_together():
    with pytest.raises(InvalidInput, match=r"larger than 1e\+09: .*activations here reach 3\)"):
        edited(*[((1,), "scale", 1e8)] * 9)


# -- steering a recommender ------------------------------------------------------------------------


def batch():
    recommender = planted()
    rows = np.arange(60)
    ends = recommender.sequences().lengths[rows]
    return recommender.sequences().batch(rows, np.maximum(0, ends - 10), ends, 10)


def small_sae(seed=0):
    return SAE(make_config(n_latents=24, k=4, seed=seed), width=12).eval()


def test_scores_move_by_the_direction_times_the_item_vectors():
    recommender, sae = planted(), small_sae()
    before, activation = recommender.score(batch()), sae.encode(recommender.represent(batch()))
    with steer(recommender, sae, {5: 2.0}) as steered:
        assert steered is recommender
        after = recommender.score(batch())
    direction = sae.directions()[5] @ recommender.model.items.T
    expected = (2 - activation[:, 5:6]) * direction
    torch.testing.assert_close(after - before, expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(recommender.score(batch()), before)


def test_a_state_is_edited_where_it_is_read():
    recommender, sae = planted(), small_sae()
    states = recommender.represent(batch())
    with steer(recommender, sae, [Intervention((3,), "set", 1.0)], site="sequence"):
        inside = recommender.represent(batch())
    expected = make_edit(sae, [Intervention((3,), "set", 1.0)])(states)
    assert torch.equal(inside, expected)
    assert not torch.equal(inside, states)


def test_the_model_is_as_before_also_after_an_exception():
    recommender = planted()
    before, own = recommender.score(batch()), dict(vars(recommender.model))

    def stopped():
        with steer(recommender, small_sae(), {1: 5.0}):
            assert not torch.equal(recommender.score(batch()), before)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stopped()
    assert torch.equal(recommender.score(batch()), before)
    assert vars(recommender.model) == own


def test_nested_steering_adds_up():
    recommender, sae = planted(), small_sae()
    with steer(recommender, sae, {1: 5.0}):
        once = recommender.score(batch())
        with steer(recommender, sae, {2: 0.0}):
            pass
        assert torch.equal(recommender.score(batch()), once)


def test_no_such_site():
    with (
        pytest.raises(SiteNotFound, match="has no site 'layer 9'"),
        steer(planted(), small_sae(), {1: 5.0}, site="layer 9"),
    ):
        pass


STEPS = st.builds(
    Intervention,
    st.lists(st.integers(0, 23), min_size=1, max_size=3, unique=True).map(tuple),
    st.sampled_from(["set", "scale", "add", "at_most", "at_least"]),
    st.floats(-1e9, 1e9) | st.floats(-100, 100),
    where=st.sampled_from(["everyone", "active"]),
)


@pytest.mark.end_to_end
@settings(max_examples=300)
@given(st.lists(STEPS, max_size=4), st.integers(0, 3))
def test_whatever_is_turned_lists_are_of_items_and_the_model_stays(steps, seed):
    recommender, fits = planted(), True
    before = recommender.score(batch())
    try:
        with steer(recommender, small_sae(seed), steps):
            scores = recommender.score(batch())
            lists = top_lists(recommender, restrict(recommender.evaluation(), np.arange(400) < 40))
    except InvalidInput:
        fits = False
    assert torch.equal(recommender.score(batch()), before)
    assume(fits)
    assert bool(torch.isfinite(scores).all())
    assert recommender.catalog.recommendable[lists].all()
    assert all(len(set(row)) == 10 for row in lists.tolist())


# -- cases, by hand --------------------------------------------------------------------------------


def evaluation_cases(rows, targets, candidates=None, metrics=("recall",), topk=(2,)):
    n = len(rows)
    return EvaluationCases(
        np.array(rows),
        np.arange(1, n + 1),
        np.array(targets),
        np.arange(n),
        candidates,
        metrics,
        topk,
        "by hand",
    )


def test_restrict_by_hand():
    cases = evaluation_cases([3, 4, 4], [1, 2, 5], candidates=np.array([[0, 1], [1, 2]]))
    kept = restrict(cases, np.array([True, False, True]))
    assert kept.rows.tolist() == [3, 4]
    assert kept.ends.tolist() == [1, 3]
    assert kept.targets.tolist() == [1, 5]
    assert kept.groups.tolist() == [0, 1]
    assert kept.candidates is None
    assert kept.metrics == ("recall", "ndcg")
    assert restrict(kept, np.array([True, True])).metrics == ("recall", "ndcg")


def test_restricted_groups_stay_together():
    cases = replace(evaluation_cases([3, 4, 4, 5], [1, 2, 5, 6]), groups=np.array([0, 1, 1, 2]))
    kept = restrict(cases, np.array([False, True, True, True]))
    assert kept.groups.tolist() == [0, 0, 1]
    assert kept.group_rows.tolist() == [4, 5]
    sampled = replace(cases, candidates=np.array([[0, 1]]))
    keep = np.array([False, True, True, True])
    assert restrict(sampled, keep).groups.tolist() == [0, 1, 2]  # each scored by its own prefix
    of_users = replace(sampled, filters_seen=True)
    assert restrict(of_users, keep).groups.tolist() == [0, 0, 1]


def test_lists_of_users_leave_out_the_history_but_not_the_targets():
    table = [[9, 9], *([i, -i] for i in range(1, 9))]
    histories = sequences([8, 7, 3, 6, 8], [2, 1, 2, 4])
    model = UserTable(histories, [3, 2], [[0, 0], [1, 0], [0, 1]], table)
    lists = top_lists(model, model.evaluation())
    assert lists.tolist() == [[8, 6, 5, 4, 2, 1, 0, 0], [2, 3, 4, 5, 6, 7, 8, 0]]
    with model.edit(lambda h: -h):
        assert top_lists(model, model.evaluation())[0, :3].tolist() == [1, 2, 4]


def test_top_lists_are_those_of_the_model():
    recommender = planted()
    cases = restrict(recommender.evaluation(), np.arange(400) % 7 == 0)
    lists = top_lists(recommender, cases)
    for row, list_ in zip(cases.rows[:5], lists[:5], strict=True):
        history = recommender.sequences()[row][:-1].tolist()
        scores = recommender.score(pad([history], 10))[0]
        scores[0] = -torch.inf
        assert list_.tolist() == scores.sort(descending=True, stable=True).indices[:10].tolist()
    assert lists.shape == (len(cases.rows), 10)
