"""The answer to a goal, from results made by hand."""

from recsae.cli.shared.tuned import answer
from recsae.steering.tuning.answer import moved
from recsae.steering.tuning.results import Choice, GoalEffect, TuningResult


def effect(after, ratio=(1.3, 1.25, 1.35)):
    return GoalEffect(100, 2_000, (0.99, 0.985, 0.995), 0.1, after, ratio)


def result(
    method="latents", recommended=None, goal="more Horror", ratio=(1.3, 1.25, 1.35), **others
):
    choices = [
        Choice(name.replace("re_", "re-").replace("_", " "), 1.0, v, effect(v))
        for name, v in others.items()
    ]
    return TuningResult(
        *(goal, "share of the top 10", 0.01, 1.0, (), effect(0.13, ratio), (), ()),
        method=method,
        recommended=recommended or method,
        choices=tuple(choices),
    )


def test_what_moved_surely():
    assert moved(result())
    assert not moved(result(ratio=(1.1, 0.9, 1.3)))
    assert not moved(result(goal="less Horror"))
    assert moved(result(goal="less Horror", ratio=(0.8, 0.7, 0.9)))


def test_the_method_comes_first_and_latents_beside_it():
    assert answer(result("re-ranking", re_ranking=0.13, latents=0.11)) == (
        "More Horror by re-ranking: 10% -> 13% of the lists, with 99.0% (98.5 to 99.5) of NDCG@10 "
        "kept. Where items have no such data, latents alone reach 11% (99% kept) at that loss, "
        "where this reaches 13% (99% kept) on the same cases."
    )
    chosen = {"re_ranking": 0.13, "latents by probability": 0.12, "latents": 0.11}
    assert answer(result("re-ranking", **chosen)).endswith(
        "no such data, latents by probability reach 12% (99% kept) and latents alone reach 11% "
        "(99% kept) at that loss, where this reaches 13% (99% kept) on the same cases."
    )
    within = {"re-ranking within 50": 0.13, "latents by probability within 50": 0.12}
    said = answer(result("re-ranking within 50", **within))
    assert "no such data, latents by probability reach 12% (99% kept) at that loss" in said
    assert " no such data" not in answer(result("latents", latents=0.13, re_ranking=0.12))


def test_what_is_recommended_is_said_where_something_else_was_asked_for():
    said = answer(result("latents", "class mean", latents=0.12, class_mean=0.2))
    assert said.startswith("More Horror by latents: 10% -> 13% of the lists, with 99.0%")
    assert said.endswith(
        "kept. By class mean it is 20% at the same loss, where this reaches 12% on the same "
        "cases: leave --method out."
    )


def test_what_latents_leave_over_of_what_is_filtered():
    said = answer(result("filter", goal="never Horror", filter=0.0, latents=0.04))
    assert said.endswith(
        "Where items have no such data, latents alone reach 4.0% (99% kept) at that loss."
    )


def test_one_method_alone_and_chance():
    said = answer(result(ratio=(1.1, 0.9, 1.3), latents=0.13))
    assert said.endswith(
        "kept, which may be chance (×1.10 (0.90 to 1.30)). No other method was tried."
    )
