"""Everything that is known of one latent, as a person reads it."""

from __future__ import annotations

from typing import Any

import click

from recsae.cli.shared.tables import BETWEEN, say, show_facts, titles_of
from recsae.core import columns as C
from recsae.core.text import readable
from recsae.report.words.formats import floor_percent, number, two_digits

VIEWS = {
    "last": ("after", "after {}"),
    "last5": ("among the last five", "with {} among the last five"),
    "top1": ("first recommendation", "first recommendation {}"),
}
"""How a line, and a phrase about one title, says where an item stands."""
N_PHRASES = 3
"""Items of each view that one latent's line names; ``--json`` and ``--audit`` have all."""
ORIGINS = {
    "core": "of the core: made for this statement",
    "found": "found by training, named afterwards",
}
OBEYED = {
    "yes": "yes",
    "no": "no, the opposite happens",
    "cannot be told": "no change can be told",
}
NEIGHBOURS = (("fires_with", "active together with"), ("fires_instead", "rarely with"))
SECTIONS = {
    "examples": "\nWhere it is active (the strongest, then at quantiles):",
    "missed": "\nThe label says active, and it is not:",
    "unexpected": "\nIt is active, and the label says no:",
}


def show_latent(facts: dict[str, Any]) -> None:
    """What it is active on first, then figures, what it does, and sequences for and against."""
    say(f"active on: {_active_on(facts.get('active_on', []))}")
    show_facts({k: v for k, v in _said(facts).items() if v is not None})
    for key in ("promotes", "demotes"):
        say(f"{key}: {titles_of(facts[key]) or 'unknown'}")
    for key, words in NEIGHBOURS:
        for other in facts.get(key, []):
            say(
                f"{words}: {other['latent']} {other['name']} ({other['n_together']:,} times, "
                f"{other['lift']:.2g} x chance, correlation {other['phi']:.2f})"
            )
    for key, title in SECTIONS.items():
        if facts.get(key):
            click.echo(title)
            for case in facts[key]:
                _show_case(case)


def rate(value: float | None, low: float | None) -> str | None:
    """A share and its lower bound.

    >>> rate(0.781, 0.7549), rate(None, None)
    ('78% (at least 75%)', None)
    """
    if value is None:
        return None
    return two_digits(value) + ("" if low is None else f" (at least {floor_percent(low)})")


def _said(facts: dict[str, Any]) -> dict[str, Any]:
    """Names of facts in words, with their values; None is left out."""
    n, firing = facts.get(C.N_POS), facts.get("firing")
    tested = facts.get(C.PRECISION) is not None
    explains = facts.get(C.EXPLAINS)
    return {
        "latent": f"{facts[C.LATENT]}, {ORIGINS.get(facts[C.ORIGIN], facts[C.ORIGIN])}",
        "name": facts[C.NAME],
        "corrected by people": facts.get(C.CORRECTION),
        "tested as": facts.get(C.TESTED_AS),
        "label": facts[C.LABEL],
        "other side": facts.get("other_side"),
        "status": facts[C.STATUS],
        "precision": rate(facts.get(C.PRECISION), facts.get(C.PRECISION_LOW)),
        "recall": rate(facts.get(C.RECALL), facts.get(C.RECALL_LOW)),
        "F1": number(facts.get(C.F1)) if tested else None,
        "AUC": number(facts.get(C.AUC)) if facts.get(C.AUC) is not None else None,
        "tested on": None
        if n is None or not n
        else f"{n:,} active and {facts[C.N_NEG]:,} other cases, active ones of "
        f"{facts[C.N_USERS_POS]:,} users",
        "explains": None if explains is None else f"{two_digits(explains)} of the scores' variance",
        "comes back": facts.get("comes_back"),
        "does what it says when turned": OBEYED.get(facts.get("obeyed", "")),
        "active on held-out users": firing
        and f"{two_digits(firing['fire_rate'])} of positions, {two_digits(firing['user_share'])} "
        f"of users; mean activation where active {firing['mean_activation']:.2f}",
    }


def _active_on(items: list[dict[str, Any]]) -> str:
    """The items in one line; the first figure says that it counts times."""
    times = iter([" times"])
    phrases = [
        [
            f"{phrase.format(readable(x['title']))} {x['n_active']} of {x['n_cases']}"
            f"{next(times, '')}"
            for x in items
            if x["view"] == view
        ]
        for view, (_, phrase) in VIEWS.items()
    ]
    line = "; ".join(", ".join(of_view[:N_PHRASES]) for of_view in phrases if of_view)
    return line or "no item in particular"


def _show_case(case: dict[str, Any]) -> None:
    why = f" ({case['why']})" if "why" in case else ""
    say(f"  {case['activation']:.2f}, user {case['user']}{why}:")
    say(f"      {titles_of(case['items'].split(BETWEEN))}  ->  {readable(case['then'])}")
