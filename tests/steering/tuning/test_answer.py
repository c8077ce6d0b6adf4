"""The answer to a goal, from results made by hand."""

import pytest

from recsae.cli.shared.tuned import answer
from recsae.steering.tuning.answer import better_method, moved
from recsae.steering.tuning.results import GoalEffect, MethodResult, TuningResult

LOSSES = (0.005, 0.01, 0.02, 0.05, 0.10)
LATENTS = (0.11, 0.13, 0.15, 0.2, 0.3)


def way(name, values, area):
    return MethodResult(name, dict(zip(LOSSES, values, strict=True)), area, 0.0, ())


def result(*others, goal="more Horror", ratio=(1.3, 1.25, 1.35), after=0.13, loss=0.01):
    methods = (way("latents", LATENTS, 0.05), *others) if others else ()
    effect = GoalEffect(100, 2_000, (0.99, 0.985, 0.995), 0.1, after, ratio)
    quantity = "share of the top 10"
    return TuningResult(goal, quantity, loss, 1.0, (), effect, (), (), methods=methods)


def test_what_moved_surely():
    assert moved(result())
    assert not moved(result(ratio=(1.1, 0.9, 1.3)))
    assert not moved(result(goal="less Horror"))
    assert moved(result(goal="less Horror", ratio=(0.8, 0.7, 0.9)))


def test_a_method_that_reaches_more_at_half_the_loss():
    better = better_method(result(way("re-ranking", (0.14, 0.2, 0.3, 0.4, 0.5), 0.2)))
    assert (better.method, better.value, better.loss) == ("re-ranking", 0.14, 0.005)
    assert (better.latents_value, better.latents_loss, better.by_lists) == (0.13, 0.01, True)


@pytest.mark.parametrize(
    ("values", "area"),
    [
        ((0.12, 0.134, 0.5, 0.5, 0.5), 0.2),  # within half the interval, which is .1 * .1 / 2
        ((0.2, 0.2, 0.2, 0.2, 0.2), 0.04),  # more here, and not over all losses
    ],
)
def test_what_is_not_clearly_better(values, area):
    assert better_method(result(way("re-ranking", values, area))) is None


def test_re_ranking_comes_first_and_less_is_better_where_less_is_wanted():
    far = (0.01, 0.01, 0.01, 0.01, 0.01)
    found = better_method(
        result(
            *(way("neurons", far, 0.3), way("re-ranking by probability", (0.05,) * 5, 0.2)),
            goal="less Horror",
            ratio=(0.8, 0.75, 0.85),
        )
    )
    assert found.method == "re-ranking by probability"
    only = result(way("neurons", far, 0.3), goal="less Horror", ratio=(0.8, 0.75, 0.85))
    assert not better_method(only).by_lists


def test_nothing_is_compared_where_less_was_allowed_than_any_curve_has():
    assert better_method(result(way("re-ranking", (1.0,) * 5, 0.9), loss=0.001)) is None
    assert better_method(result()) is None


def test_in_words():
    better = way("re-ranking", (0.14, 0.2, 0.3, 0.4, 0.5), 0.2)
    assert answer(result(better)) == (
        "More Horror: 10% -> 13% of the lists, with 99.0% (98.5 to 99.5) of NDCG@10 kept. With "
        "re-ranking it is 14% at a loss of 0.5%, where latents reach 13% on the same cases at "
        "1%: use that where lists can be re-ranked."
    )
    assert answer(result()).endswith("kept. Other ways were not tried.")
    same = way("re-ranking", LATENTS, 0.05)
    assert answer(result(same)).endswith(
        "No other way that was tried reaches clearly more at that loss."
    )
    unsure = answer(result(ratio=(1.1, 0.9, 1.3)))
    assert "kept, which may be chance (×1.10 (0.90 to 1.30))." in unsure
