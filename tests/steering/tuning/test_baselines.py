"""Methods of steering: each does what its name says, on the same cases."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.two_directions import FIRST, WEIGHTS, cases, table
from recsae.sae.config import make_config
from recsae.sae.editing import make_edit
from recsae.sae.model import SAE
from recsae.steering.steered_scores import HeadScorer, Nearby, activations
from recsae.steering.steps.applied import applied, state_edit
from recsae.steering.steps.goals import Goal
from recsae.steering.steps.kinds import Powers, Wishes
from recsae.steering.tuning.baselines import (
    BY_PROBABILITY,
    CALIBRATED,
    LOGIT,
    RERANKING,
    MethodMaker,
    directions_to,
    scale_of,
)
from recsae.steering.tuning.path import natural_path, temperature_of

GOAL = Goal(Wishes(more=("the first",)), WEIGHTS, FIRST)
EVERY = slice(0, 300)
NEAR = Nearby(table())
STATES = torch.from_numpy(cases().states)


@pytest.fixture(scope="module")
def sae():
    return SAE(make_config(n_latents=12, k=3, seed=2), 3).eval()


@pytest.fixture(scope="module")
def maker(sae):
    z = activations(sae, STATES, torch.arange(12))
    path = natural_path(WEIGHTS, cases(), z, sae.directions(), NEAR, n_latents=6)
    return MethodMaker(GOAL, sae, path, scale_of(scorer(sae)))


def scorer(sae, some=None):
    return HeadScorer(some or cases(), sae, table())


def keepable(maker):
    latents, constant = maker.latents(), maker.re_ranking(RERANKING)
    return [
        latents,
        constant,
        maker.re_ranking(BY_PROBABILITY),
        maker.re_ranking(RERANKING, 12),
        maker.along("probe", torch.tensor([1.0, 0.5, 0.0])),
        maker.placed(3.0),
        maker.placed(3.0, 20),
        maker.retrieved(2.0, 21),
    ]


def best(scores, k=10):
    return scores.index_fill(1, torch.tensor([0]), float("-inf")).topk(k).indices.numpy()


def test_latents_do_what_their_interventions_do(maker, sae):
    with torch.no_grad():
        edited = make_edit(sae, maker.path.interventions(4.0))(STATES)
    at = maker.latents().at(4.0)
    torch.testing.assert_close(
        scorer(sae).scores(EVERY, at.edit, at.latents), table().score(edited)
    )


@pytest.mark.parametrize("strength", [0.0, 0.4, 3.0])
def test_what_is_kept_of_a_method_gives_its_lists(strength, maker, sae):
    """From the steps alone, as a steering file has them, and with what is kept between strengths
    thrown away."""
    for hides in (False, True):
        some = replace(cases(), filters_seen=hides)
        for method in keepable(maker):
            on = method.on(scorer(sae, some))
            on.lists(1.5, 10)  # what is kept of another strength does not show
            steps = method.steps(strength)
            again = applied(steps, sae, lambda _: GOAL).lists(scorer(sae, some), 10)
            assert np.array_equal(on.lists(strength, 10), again), method.name
            edited = state_edit(sae, steps)(STATES)
            by_states = applied(steps, sae, lambda _: GOAL)
            if by_states.needs_own:  # and so is not made of edited states alone
                continue
            moved = replace(some, states=edited.detach().numpy(), counted={})
            found = by_states._replace(edit=None).lists(scorer(sae, moved), 10)
            assert np.array_equal(found, again), method.name


def test_two_queries_by_hand(maker, sae):
    """Half of the candidates by each, and all of them placed by their unedited probability."""
    states = torch.from_numpy(cases().states)
    own = table().score(states).index_fill(1, torch.tensor([0]), float("-inf"))
    with torch.no_grad():
        edited = make_edit(sae, maker.path.interventions(4.0))(states)
    turned = table().score(edited).index_fill(1, torch.tensor([0]), float("-inf"))
    temperature, unit = maker.scale.temperature, maker.scale.last_place
    found = {
        "pushes": maker.placed(4.0, 24).on(scorer(sae)).lists(2.0, 10),
        "goal": maker.retrieved(2.0, 24).on(scorer(sae)).lists(2.0, 10),  # twice as far
    }
    changed = 0
    for n in range(20):
        among = set(own[n].topk(12).indices.tolist()) | set(turned[n].topk(12).indices.tolist())
        mine = sorted(among)
        p = torch.softmax(own[n, mine] / temperature, 0)
        pushes = (turned[n, mine] - own[n, mine]) / temperature
        for kind, weights in (("pushes", pushes), ("goal", torch.from_numpy(WEIGHTS)[mine])):
            left, places = list(range(len(mine))), []
            for place in range(10):
                value = [float(p[i] / np.log2(place + 2) + 2 * unit * weights[i]) for i in left]
                places.append(left.pop(int(np.argmax(value))))
            likely = sorted(places, key=lambda i: -float(p[i]))
            assert found[kind][n].tolist() == [mine[i] for i in likely], kind
            changed += found[kind][n].tolist() != own[n].topk(10).indices.tolist()
    assert changed > 20


def test_reconstructions_lose_what_is_not_reconstructed(maker, sae):
    with torch.no_grad():
        rebuilt = table().score(sae(STATES))
    at = maker.reconstruction().at(0.0)
    torch.testing.assert_close(scorer(sae).scores(EVERY, at.edit, at.latents), rebuilt)


def test_re_ranking_adds_the_same_to_every_item_of_the_goal(maker, sae):
    plain = table().score(STATES)
    added = plain + 0.5 * plain[:, 1:].std() * torch.from_numpy(WEIGHTS)
    found = maker.re_ranking(RERANKING).on(scorer(sae)).lists(0.5, 10)
    assert np.array_equal(found, best(added))
    assert not np.array_equal(found, best(plain))


def test_nothing_changes_at_a_strength_of_0(maker, sae):
    plain = best(table().score(STATES))
    for method in [*keepable(maker), maker.neurons(cases(), NEAR)]:
        lists = method.on(scorer(sae)).lists(0.0, 10)
        assert np.array_equal(lists, plain), method.name  # all have at least ten candidates
    random = maker.reconstruction()
    assert not random.identity_at_zero


def test_the_units_are_those_of_the_scores(maker):
    known = table().score(STATES).index_fill(1, torch.tensor([0]), float("-inf"))
    temperature = temperature_of(known, cases().targets)
    p = torch.softmax(known / temperature, 1)
    assert maker.scale.spread == pytest.approx(float(known[:, 1:].std()))
    assert maker.scale.temperature == temperature
    last = float(p.sort(1, descending=True).values[:, 9].mean()) / np.log2(11)
    assert maker.scale.last_place == pytest.approx(last)


def test_re_ranking_by_probability_by_hand(maker, sae):
    """The best list out of all 40 items, place by place, and then in the order of p."""
    found = maker.re_ranking(BY_PROBABILITY).on(scorer(sae)).lists(0.5, 10)
    known = table().score(STATES).index_fill(1, torch.tensor([0]), float("-inf"))
    p = torch.softmax(known / maker.scale.temperature, 1)
    gain = 0.5 * maker.scale.last_place * torch.from_numpy(WEIGHTS)
    left, taken = p > 0, []
    for place in range(10):
        value = p / np.log2(place + 2) + gain
        first = value.masked_fill(~left, float("-inf")).argmax(1)
        taken.append(first)
        left[torch.arange(300), first] = False
    lists = torch.stack(taken, 1)
    order = p.gather(1, lists).argsort(dim=1, descending=True, stable=True)
    assert np.array_equal(lists.gather(1, order), found)


def test_calibrated_probabilities_know_popularity_whatever_the_goal(maker):
    counts = np.arange(40) * 5
    popular = Goal(Wishes(popularity="+"), counts.astype(np.float32), FIRST, True, counts)
    powers = Powers(p=1.2, place=0.1, popularity=0.4)
    method = maker._replace(powers=powers, popular=popular).re_ranking(CALIBRATED)
    (step,) = method.steps(2.0)
    assert step.powers == powers
    assert str(step) == "re-ranked by calibrated probability: more the first (strength 2)"
    assert not method.identity_at_zero  # lists by better probabilities are not the model's own
    (reorder,) = method.at(2.0).ranking.reorders
    assert np.array_equal(reorder.weights, WEIGHTS)
    torch.testing.assert_close(
        reorder.calibrated.prior, 0.4 * torch.from_numpy(np.log1p(counts)).float()
    )


def test_logit_adjustment_subtracts_a_multiple_of_log_popularity(sae, maker):
    counts = np.arange(41) ** 2
    goal = Goal(Wishes(popularity="-"), -counts.astype(np.float32), FIRST, False, counts)
    method = MethodMaker(goal, sae, maker.path, maker.scale).re_ranking(LOGIT)
    (step,) = method.steps(0.3)
    assert (step.unit, step.by) == (1.0, "log popularity")
    adjusted = table().score(STATES) - 0.3 * torch.from_numpy(np.log1p(counts)).float()
    assert np.array_equal(method.on(scorer(sae)).lists(0.3, 10), best(adjusted))


def test_a_filter_leaves_out_what_is_never_wanted(sae, maker):
    never = Goal(Wishes(never=("the first",)), -WEIGHTS, FIRST, False, unlearned=True)
    method = MethodMaker(never, sae, maker.path, maker.scale).filter()
    plain = table().score(STATES)
    assert np.array_equal(method.on(scorer(sae)).lists(0.0, 10), best(plain))
    without = plain.masked_fill(torch.from_numpy(FIRST), float("-inf"))
    assert np.array_equal(method.on(scorer(sae)).lists(1.0, 10), best(without))


def test_directions_are_as_long_as_states_spread_and_point_at_the_goal():
    """Users with a high first dimension had items of the first kind last: so they are told."""
    known = cases()
    known.last_items[:, 0] = np.where(known.states[:, 0] > 0, 30, 5)
    for wishes, more, sign in ((Wishes(more=("it",)), True, 1), (Wishes(less=("it",)), False, -1)):
        vectors = directions_to(Goal(wishes, WEIGHTS, FIRST, more), known, STATES)
        for name in ("class mean", "probe"):
            assert sign * float(vectors[name][0]) > 0.9 * float(vectors[name].norm())
        sizes = [float(v.norm()) for v in vectors.values()]
        assert sizes == pytest.approx([float(STATES.std(0).norm())] * 3)


def test_what_nobody_had_has_no_supervised_direction():
    none = Goal(Wishes(more=("nothing",)), WEIGHTS, np.zeros_like(FIRST))
    assert set(directions_to(none, cases(), STATES)) == {"random direction"}
