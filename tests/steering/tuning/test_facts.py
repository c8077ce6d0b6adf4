"""Measurements of tuning: rows and sentences, by hand."""

import numpy as np
import pytest
import scipy.sparse
import torch

from helpers.frontier_cases import BASE, CASES, RANK_2, Made, N, Scores, raised, scored
from helpers.runs import planted_open
from recsae.concepts.attributes.names import HALF, UPPER
from recsae.concepts.attributes.table import ItemAttributes
from recsae.steering.frontier import BUDGETS, Outcome, Point
from recsae.steering.steps.goals import Goal
from recsae.steering.steps.kinds import Wishes
from recsae.steering.tuning.facts import (
    effects_at_losses,
    goal_effect,
    latent_settings,
    side_effects,
    verdict,
)
from recsae.steering.tuning.path import TuningPath
from recsae.steering.tuning.results import MethodResult, SideEffect
from recsae.steering.tuning.scored import Scored

pytestmark = pytest.mark.end_to_end


ONES = np.ones(2)
ITEMS = np.arange(N + 1) == 12
MORE = Goal(Wishes(more=("the last",)), ITEMS.astype(np.float32), ITEMS)


def measured(goal):
    """The cases; their lists without steering are worked out by hand as well."""
    return Scored(Scores(), goal.counted)


def test_latents_that_move_states_most_come_first():
    opened = planted_open()
    size = opened.sae.directions().norm(dim=1)
    path = TuningPath(
        torch.tensor([4, 7]),
        torch.tensor([[0.0, 0], [0.5, -0.2]]),
        torch.tensor([[0.0, 0], [1, 9]]),
    )
    first, second = latent_settings(opened, path.interventions(1.0))
    assert float(9 * size[7]) > float(size[4])
    assert (first.latent, second.latent) == (7, 4)
    assert (first.scale, first.bias) == (pytest.approx(0.8), 9)
    assert second.bias_sd == pytest.approx(1 / float(opened.statistics.sd[4]))
    assert first.verified == (7 in opened.verified)


def test_the_effect_has_intervals():
    before = Outcome(ONES, np.array([0.2, 0.4]), ONES, ONES * 2, np.zeros(3, dtype=np.int64))
    after = before._replace(ndcg=np.array([0.9, 0.8]), share=np.array([0.6, 0.6]))
    effect = goal_effect(before, after, CASES)
    assert (effect.n_users, effect.n_positions) == (2, 3)
    assert effect.ndcg_kept[0] == pytest.approx(0.85)
    assert (effect.before, effect.after) == (pytest.approx(0.15), pytest.approx(0.3))
    ratio, low, high = effect.ratio
    assert ratio == pytest.approx(2)
    assert low < ratio < high


def test_strengths_are_chosen_on_one_curve_and_measured_on_other_cases():
    """The curve loses 10 % at a strength of 2, at which item 12 is in every list."""
    points = [Point(0, 1.0, 0.0, None), Point(2, 0.9, 0.1, None)]
    rows = effects_at_losses(points, Made(raised()), measured(MORE), MORE)
    assert [row.allowed_loss for row in rows] == [0.0, *BUDGETS]
    assert [row.strength for row in rows] == pytest.approx([0, 0.1, 0.2, 0.4, 1, 2])
    assert MORE.quantity == "share of the top 10"
    assert rows[0].value == 0
    assert rows[-1].value == pytest.approx(0.1)
    assert rows[-1].ndcg_kept[0] >= 1  # it is what the second user goes on to
    assert "lists with any" not in rows[0].to_dict(MORE.quantity)


def test_strengths_of_what_is_unlearned_and_of_popularity():
    points = [Point(0, 1.0, 0.0, None), Point(2, 0.9, 0.1, None)]
    first = np.arange(N + 1) == 1
    never = Goal(
        Wishes(never=("the first",)), -first.astype(np.float32), first, False, unlearned=True
    )
    lower = scored("lower", lambda part, s: BASE[part] - 6 * s * torch.from_numpy(first))
    rows = effects_at_losses(points, Made(lower), measured(never), never)
    assert [rows[0].lists_with_any, rows[-1].lists_with_any] == [1, 0]
    assert rows[0].ndcg_kept[0] == 1
    popular = Goal(
        Wishes(popularity="-"), -first.astype(np.float32), first, False, np.arange(N + 1) * 1
    )
    row = effects_at_losses(points, Made(lower), measured(popular), popular)[0]
    assert popular.quantity == "average popularity of the top 10"
    assert row.value == pytest.approx(5.5)  # items 1 to 10
    assert row.head_share == pytest.approx(0.1)
    assert row.gini == pytest.approx(1 - 10 / 12)
    assert RANK_2 < 1


def test_side_effects_are_of_the_items_own_other_values():
    matrix = np.zeros((N + 1, 4), dtype=np.int8)
    matrix[12, 0] = matrix[1:7, 1] = matrix[2:4, 2] = matrix[:, 3] = 1
    names = (("kind", "last"), ("kind", "low"), ("kind", "lowest"), (HALF, UPPER))
    attributes = ItemAttributes(scipy.sparse.csr_matrix(matrix), names)
    sums = (ONES, ONES, ONES, ONES)
    before = Outcome(*sums, np.array([0, *[1] * 10, 0, 0]))
    after = Outcome(*sums, np.array([0, 0, 0, *[1] * 8, 0, 2]))
    assert side_effects(attributes, MORE, before, after) == [
        SideEffect("kind: low", before=0.6, after=0.4),
        SideEffect("kind: lowest", before=0.2, after=0.1),
    ]


def rows(**areas):
    return [MethodResult(name.replace("_", " "), {}, area, 0.0, ()) for name, area in areas.items()]


def test_the_verdict_says_where_latents_add_to_re_ranking_within_candidates():
    def reached(*values):
        return dict(zip(BUDGETS, values, strict=True))

    alone = reached(0.1, 0.2, 0.3, 0.4, 0.5)
    for both, words in (
        (reached(0.2, 0.3, 0.4, 0.5, 0.6), "few: of 100 at every loss."),
        (reached(0.1, 0.2, 0.3, 0.4, 0.5005), " adds nothing to re-ranking them."),
        (reached(0.0, 0.1, 0.3, 0.5, 0.6), "few: of 100 at a loss of 5 %, 10 %."),
    ):
        methods = [
            MethodResult("latents", alone, 0.3, 0.0, ()),
            MethodResult("re-ranking within 100", alone, 0.2, 0.0, ()),
            MethodResult("latents retrieve, then re-ranking within 100", both, 0.2, 0.0, ()),
        ]
        said = verdict(methods, MORE)
        assert " To let turned latents find half of the candidates adds " in said
        assert said.endswith(words)
    assert "To let" not in verdict(methods[:2], MORE)


def test_the_verdict_names_what_lies_above():
    best = verdict(rows(latents=0.3, probe=0.2, neurons=0.1), MORE)
    assert best == "The latents' curve (area 0.3) lies above 2 of 2 other ways."
    below = verdict(rows(latents=0.3, probe=0.2, neurons=0.35, class_mean=0.4), MORE)
    assert "above 1 of 3 other ways, below class mean (0.4), neurons (0.35)." in below
    assert "Re-ranking" not in below
    ranked = [MethodResult("re-ranking", {}, 0.5, 0.0, ())]
    assert "needs the attribute of every item" in verdict([*rows(latents=0.3), *ranked], MORE)
    popular = Goal(Wishes(popularity="-"), -MORE.weights, ITEMS, False, np.arange(N + 1))
    assert "needs how popular every item is" in verdict([*rows(latents=0.3), *ranked], popular)
    never = Goal(Wishes(never=("it",)), -MORE.weights, ITEMS, False, unlearned=True)
    assert "filter" in verdict([*rows(latents=0.3), *ranked], never)
