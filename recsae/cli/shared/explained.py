"""Why an item has its score, as a person reads it: two sentences, then the figures."""

from __future__ import annotations

from typing import Any

import click

from recsae.cli.shared.tables import Column, Columns, say, show_rows
from recsae.concepts.status import VERIFIED
from recsae.core.text import one_line, readable
from recsae.report.words.formats import listing, signed

N_HISTORY = 10
"""Items of the history that are shown, unless all are asked for."""
N_PUTTING = 2
"""Concepts that the first sentence names, at most."""
HISTORY: Columns = {
    "back": "back",
    "title": Column("item", readable),
    "item": Column("id", str),
}
TERMS: Columns = {
    "latent": "latent",
    "name": "concept",
    "activation": "activation",
    "contribution": "contribution",
    "centred": "centred",
    "status": Column("status", optional=True),
}
DRIVERS: Columns = {
    **HISTORY,
    "left_out": "left out",
    "left_out_activation": "activation",
    "gradients": "gradients",
}


def show_explanation(facts: dict[str, Any], top: int | None) -> None:
    """The answer in two sentences, the terms of the score, and what drives each."""
    say(where_and_why(facts))
    say(what_matters(facts))
    click.echo("")
    _show_history(facts, top)
    _show_terms(facts, top)
    for drivers in facts["drivers"]:
        _show_drivers(drivers, top, facts["baseline"])
    for note in facts["notes"]:
        say(f"\n{note}")


def where_and_why(facts: dict[str, Any]) -> str:
    """Where the item stands in the list, and the concepts that put it there."""
    item = facts["item"]
    if item["rank"] is None:
        place = "is left out of the list, because the history has it"
    else:
        place = f"has rank {item['rank']:,} of {item['of']:,}"
        if item["in_history"]:
            place += " (the history has it; --mask-seen leaves such items out)"
    up = [term for term in facts["terms"] if term["centred"] > 0][:N_PUTTING]
    down = [term for term in facts["terms"] if term["centred"] < 0][:1]
    because = [
        f"{words} most by {listing(map(_put, terms))}"
        for words, terms in (("raised", up), ("lowered", down))
        if terms
    ]
    said = f"{titled(item)} {place}, its score being {signed(item['above_mean'])} against the mean"
    rest = max(facts["rest"], key=lambda row: row["centred"], default=None)
    if rest and rest["centred"] > max([0, *(term["centred"] for term in up)]):
        more = f"{rest['name']} ({signed(rest['centred'])})"
        because.append(f"and raised more still by what no latent says, {more}")
    return f"{said}: {', '.join(because) or 'no latent is active'}."


def _put(term: dict[str, Any]) -> str:
    standing = "" if term["status"] == VERIFIED else f", {term['status']}"
    return f"{one_line(str(term['name']))} ({signed(term['centred'])}{standing})"


def what_matters(facts: dict[str, Any]) -> str:
    """Which item of the history matters most to the score."""
    drivers = next((d for d in facts["drivers"] if d["latent"] is None), None)
    rows = drivers["items"] if drivers else []
    best = {
        key: max(rows, key=lambda row: abs(row[key]))
        for key in ("left_out", "gradients")
        if rows and key in rows[0]
    }
    if not best:
        return "Which item of the history matters most cannot be said."
    if "left_out" not in best:
        return f"{_back(best['gradients'])} matters most, by gradients."
    first = best["left_out"]
    change = f"{abs(first['left_out']):.2f} {'lower' if first['left_out'] > 0 else 'higher'}"
    said = f"{_back(first)} matters most: without it the score would be {change}"
    if "gradients" not in best:
        return f"{said}."
    if best["gradients"] is first:
        return f"{said}, and gradients say so too."
    return f"{said}; by gradients it is {titled(best['gradients'])}."


def _back(row: dict[str, Any]) -> str:
    place = "the newest" if row["back"] == 1 else f"{row['back']} back"
    return f"Of the history {titled(row)}, {place},"


def _show_history(facts: dict[str, Any], top: int | None) -> None:
    history = facts["history"]
    shown = history if top is None else history[-N_HISTORY:]
    m, known = len(history), facts["n_known"]
    what = "What is known of the user is made of" if facts["per_user"] else "The model reads"
    say(
        f"{what} {m} item{'s' * (m != 1)}"
        + (f", the newest of {known}" if known > m else "")
        + (f"; the newest {len(shown)}, and --all shows all:" if len(shown) < m else ":")
    )
    show_rows(HISTORY, shown, top=None)


def _show_terms(facts: dict[str, Any], top: int | None) -> None:
    item, exact = facts["item"], facts["method"] == "exact"
    say(
        f"\nWhat its score of {item['score']:.4g} is made of, {item['above_mean']:+.4g} against "
        "the mean over items:"
        if exact
        else f"\nWhat its score of {item['score']:.4g} owes to each latent:"
    )
    terms = facts["terms"] if top is None else facts["terms"][:top]
    hidden = facts["terms"][len(terms) :]
    rows = list(terms)
    if hidden:
        both = {k: sum(t[k] for t in hidden) for k in ("contribution", "centred")}
        rows.append({"name": f"{len(hidden)} more: --all shows them", **both})
    rows += facts["rest"]
    if exact:
        rows.append({"name": "sum", **facts["sum"]})
    show_rows(TERMS, rows, top=None)
    if exact:
        say(
            "centred is the contribution less its mean over items: that moves the item in the "
            "list, and rows are sorted by its size. The sum is the model's own score, to "
            f"{facts['gap']:.0e} of the largest score."
        )
    else:
        say(
            "Scores are not linear in the states of this site. A contribution is what the score "
            "loses when the latent is set to 0, centred the same less its mean over items; they "
            "need not add up. Rows are sorted by centred."
        )


def _show_drivers(drivers: dict[str, Any], top: int | None, baseline: str) -> None:
    if drivers["latent"] is None:
        what, unit = "the score, less the mean over items", "the score"
    else:
        on = f"active at {drivers['activation']:.3g}" if drivers["activation"] else "not active"
        name = f"{drivers['name']} ({drivers['status']})"
        what, unit = f"latent {drivers['latent']}, {name}, {on}", "its pre-activation"
    say(f"\nWhat drives {what} (left out, and gradients: of {unit}):")
    columns = {key: c for key, c in DRIVERS.items() if key in drivers["items"][0]}
    show_rows(columns, drivers["items"], top=top)
    path, agreement = drivers["path"], drivers["agreement"]
    if path is not None:
        change = path["value"] - path["baseline_value"]
        adds = "add up" if path["complete"] else "do not quite add up"
        say(
            f"Gradients from {baseline} {adds} to the change from {path['baseline_value']:.4g} to "
            f"{path['value']:.4g} ({change:+.4g}): gap {path['gap']:.2%} of their size, "
            f"{path['steps']} steps."
        )
    if agreement is not None:
        spearman, kendall = (
            "-" if agreement[k] is None else f"{agreement[k]:.2f}" for k in ("spearman", "kendall")
        )
        say(
            f"Agreement of the two: Spearman {spearman}, Kendall {kendall}, {agreement['top']} of "
            f"the top {agreement['n_top']}."
        )


def titled(item: dict[str, Any]) -> str:
    """Title and id on one line."""
    title = one_line(readable(str(item["title"])))
    return title if title == item["item"] else f"{title} ({item['item']})"
