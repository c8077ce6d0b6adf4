"""What the stage of goals leaves, made up for the tests."""

from __future__ import annotations


def way(name, gain, *, start=1.0, base=0.1):
    """A way whose curve goes straight, as the stage leaves it."""
    curve = [[start - loss, base + gain * loss] for loss in (0.0, 0.02, 0.06, 0.14)]
    reached = {f"{100 * loss:g} %": base + gain * loss for loss in (0.005, 0.01, 0.02, 0.05, 0.1)}
    return {"way": name, **reached, "area": 0.05 * gain, "others move": 0.004, "curve": curve}


def raw_goal(**other):
    """One goal, with its keys in no order, as ``goals.json`` has them."""
    figures = {"NDCG@10 kept": 0.99, "low": 0.98, "high": 1.0, "share of the top 10": 0.2}
    return {
        "verdict": "The latents' curve lies above 1 of 3 other ways.",
        "goal": "more genre: Horror",
        "quantity": "share of the top 10",
        "allowed loss": 0.01,
        "strength": 0.7,
        "held-out users": 1187,
        "positions": 30_000,
        "before": 0.1234,
        "after": 0.2468,
        "times": [2.0, 1.9, 2.1],
        "NDCG@10 kept": [0.986, 0.977, 0.995],
        "strengths": [
            {"allowed loss": loss, "strength": 60 * loss, "times": 2.0, **figures}
            for loss in (0.0, 0.01)
        ],
        "latents": [
            {"latent": 3, "name": "Horror", "verified": True, "times": 1.25, "plus": 0.5,
             "plus sd": 0.4, "promotes": "Slasher"},
            {"latent": 900, "name": "of old", "verified": False, "times": 1.0, "plus": -0.1,
             "plus sd": None},
        ],
        "side effects": [{"value": "genre: War", "before": 0.3, "after": 0.25}],
        "ways": [
            way("latents", 2.0),
            way("re-ranking", 2.5),
            way("random direction", 0.1),
            way("reconstruction steering", 1.0, start=0.8),
        ],
        **other,
    }  # fmt: skip


def raw_groups(**other):
    """What a goal costs and gives two groups of users, unevenly."""
    rows = [
        {"by": "gender", "value": value, "users": "women or men", "held-out users": n,
         "NDCG@10 before": 0.1234, "NDCG@10 kept": kept, "before": 0.1, "after": 0.2, **times}
        for value, n, kept, times in (
            ("F", 300, [0.95, 0.93, 0.97], {"times": [2.0, 1.9, 2.1]}),
            ("M", 887, [0.995, 0.99, 1.0], {}),
        )
    ]  # fmt: skip
    return {
        "quantity": "share of the top 10",
        "rows": rows,
        "warnings": ["Uneven by gender: women lose 5.0% of NDCG@10, men lose 0.5%."],
        "pairs compared": 1,
        "told from chance": 0.021,
        "left out": {"zip_code": "976 different values"},
        **other,
    }


def raw_popularity():
    """The goal of less popular items."""
    goal = raw_goal(goal="less popular items", quantity="average popularity of the top 10")
    strengths = [
        {"allowed loss": 0.02, "strength": 1.0, "NDCG@10 kept": 0.98, "low": 0.97, "high": 0.99,
         "average popularity of the top 10": 61.4, "times": 0.6, "Gini coefficient": 0.7123,
         "head: share of lists": 0.6543}
    ]  # fmt: skip
    popularity = [
        {"measure": "Gini coefficient", "before": 0.7986, "after": 0.7679},
        {"measure": "long tail: share of lists", "before": 0.105, "after": 0.203},
    ]
    ways = [way("latents", -300.0, base=204.0), way("re-ranking", -200.0, base=204.0)]
    for one in ways:
        one["area"] = -one["area"]
    changed = {"strengths": strengths, "popularity": popularity, "ways": ways}
    return {**goal, **changed, "before": 204.3, "after": 61.4, "times": [0.3, 0.295, 0.305]}


def raw():
    """What the stage may leave in ``goals.json``."""
    told: dict[str, object] = {
        "agree": 46,
        "disagree": 32,
        "cannot be told": 22,
        "right signs": 0.54,
    }
    told |= {"right signs, shuffled": 0.36, "rank correlation": [0.69, 0.57, 0.78]}
    less = told | {"right signs": 0.7, "right signs, shuffled": 0.5, "rank correlation": None}
    return {
        "goals": [raw_goal(), raw_popularity()],
        "skipped": {"more genre: War": "No item that can be recommended is one of 'War'."},
        "check": {"-1 sd": less, "n_tried": 100, "n_verified": 458, "x10 where active": told},
        "check_skipped": None,
    }
