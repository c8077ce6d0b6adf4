"""What tuning towards a goal reached, as a person reads it: the answer first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.tables import ROWS, Column, Columns, cell, say, show_facts, show_rows
from recsae.cli.shared.user_groups import amount_of, popular, show_groups, show_warnings
from recsae.concepts.wording import concept_name
from recsae.report.words.formats import interval, number, points, times, two_digits
from recsae.steering.tuning.answer import moved
from recsae.steering.tuning.results import loss_key

if TYPE_CHECKING:
    from recsae.steering.tuning.results import TuningResult

PLACED = "latents by probability"
LATENTS = (PLACED, "latents")
"""Methods that need nothing of the items."""
BOTH = "latents+re-ranking"
NOTHING = "nothing: at any strength more is lost than is allowed"
TURNED: Columns = {
    "latent": "latent",
    "promotes": "promotes",
    "where active": Column("where it is active", whole=True),
    "for everybody": Column("for everybody", whole=True),
    "verified": "verified",
    "name": Column("name", optional=True),
}
SIDE: Columns = {
    "value": "value",
    "before": Column("before", two_digits),
    "after": Column("after", two_digits),
}
POPULARITY: Columns = {
    "measure": "measure",
    "before": Column("before", str),
    "after": Column("after", str),
}


def show_tuned(result: TuningResult, *, everything: bool) -> None:
    """The answer, then what was done and measured."""
    effect, amount = result.effect, _amount(result)
    say(answer(result))
    if result.groups is not None:
        show_warnings(result.groups)
    click.echo("")
    show_facts(
        {
            "goal": result.goal,
            "done": "; ".join(result.done) or NOTHING,
            "strength": f"{result.strength:.2f}, for a loss of at most "
            f"{_loss(result.allowed_loss)} on construction users",
            "held-out users": f"{effect.n_users:,}, {effect.n_positions:,} positions",
            "NDCG@10 kept": interval(effect.ndcg_kept),
            result.quantity: f"{amount(effect.before)} -> {amount(effect.after)}, "
            f"{times(effect.ratio)}",
        }
    )
    _show_choices(result)
    if result.latents:
        click.echo("\nLatents, those turned most first:")
        latents = [one.to_dict() | {"promotes": one.promotes or one.name} for one in result.latents]
        show_rows(TURNED, latents, top=None if everything else ROWS)
    if result.at_losses:
        _show_losses(result)
    if result.popularity:
        click.echo("\nPopularity:")
        show_rows(POPULARITY, _popularity(result))
    if result.groups is not None:
        show_groups(result.groups, everything=everything)
    if result.side_effects:
        click.echo("\nSide effects, shares of the lists:")
        show_rows(SIDE, [vars(x) | {"value": _said(x.value)} for x in result.side_effects])
    if result.methods:
        _show_methods(result)
    if result.ranked_in_full is not None:
        say(
            f"\nFor {two_digits(result.ranked_in_full)} of the steered lists all items were "
            "ranked, and else the first 500 without steering, as no other can come in."
        )
    if result.verdict:
        say(f"\n{result.verdict}")


def answer(result: TuningResult) -> str:
    """Which method, what it reaches at what loss, and what latents reach beside it."""
    effect, amount = result.effect, _amount(result)
    said = f"{amount(effect.before)} -> {amount(effect.after)}"
    said = f"{said} of the lists" if _is_share(result) else f"average popularity {said}"
    said = (
        f"{result.goal[:1].upper()}{result.goal[1:]} by {result.method}: {said}, with "
        f"{interval(effect.ndcg_kept)} of NDCG@10 kept"
    )
    if not moved(result):
        said += f", which may be chance ({times(effect.ratio)})"
    return " ".join([f"{said}.", *_beside(result)])


def _beside(result: TuningResult) -> list[str]:
    """What is recommended instead, and what latents reach."""
    amount = _amount(result)
    by_method = {one.method: one for one in result.choices}
    within = {name.partition(" within ")[0]: one for name, one in by_method.items()}
    if len(by_method) < 2:
        return ["No other method was tried."]
    said = []
    mine = by_method[result.method]
    if result.recommended != result.method:
        best = by_method[result.recommended]
        said.append(
            f"By {best.method} it is {amount(best.effect.after)} at the same loss, where this "
            f"reaches {amount(mine.effect.after)} on the same cases: leave --method out."
        )
    without = [
        f"{method if method == PLACED else 'latents alone'} reach {amount(effect.after)} "
        f"({two_digits(effect.ndcg_kept[0])} kept)"
        for method, effect in ((m, within[m].effect) for m in LATENTS if m in within)
        if within[method].method not in (result.method, result.recommended)
    ]
    if without:
        needs = result.method == "filter" or "re-ranking" in result.method
        where = "Where items have no such data, " if needs and _is_share(result) else ""
        words = f"{where}{' and '.join(without)} at that loss"
        if not said and result.method != "filter":  # what the answer begins with is set anew
            words += f", where this reaches {amount(mine.effect.after)}"
            words += f" ({two_digits(mine.effect.ndcg_kept[0])} kept) on the same cases"
        words += "."
        said.append(words[:1].upper() + words[1:])
    return said


def _show_choices(result: TuningResult) -> None:
    amount = _amount(result)
    if len(result.choices) < 2:
        return
    rows = [
        {
            "method": _short(one.method) + (" *" if one.method == result.recommended else ""),
            "construction": one.on_construction,
            "reached": one.effect.after,
            "kept": one.effect.ndcg_kept,
        }
        for one in result.choices
    ]
    columns: Columns = {
        "method": Column("method", whole=True),
        "construction": Column("on others", amount, optional=True),
        "reached": Column("reached", amount),
        "kept": Column("NDCG@10 kept", interval),
    }
    say(
        f"\nWhat each method reaches that --method and --save can keep, at a loss of "
        f"{_loss(result.allowed_loss)} on construction users. * is what reaches most on these "
        "others; the rest is measured on held-out users, of whom fewer cases than above are taken:"
    )
    show_rows(columns, rows)


def _short(method: str) -> str:
    """A method's name in a table, as ``--method`` has it.

    >>> _short("latents retrieve, then re-ranking by probability within 100")
    'latents+re-ranking within 100'
    """
    if method.startswith("latents retrieve, then "):
        return f"{BOTH} within {method.rpartition(' within ')[2]}"
    return method.replace("re-ranking by ", "")


def _loss(value: float) -> str:
    """A loss that was chosen, as it was typed.

    >>> _loss(0.005), _loss(0.02)
    ('0.5%', '2%')
    """
    return f"{100 * value:g}%"


def _is_share(result: TuningResult) -> bool:
    return result.quantity.startswith("share")


def _amount(result: TuningResult) -> Callable[[float | None], str]:
    """How values of the goal's quantity are said."""
    return amount_of(result.quantity)


def _said(name: str) -> str:
    """An attribute's value in words.

    >>> _said("before decade: 1970s"), _said("genres: Drama")
    ('before the 1970s', 'Drama')
    """
    attribute, _, value = name.partition(": ")
    return concept_name(attribute, value, {})


def _show_losses(result: TuningResult) -> None:
    rows = [
        {
            "loss": one.allowed_loss,
            "strength": one.strength,
            "kept": one.ndcg_kept,
            "value": one.value,
            "times": one.ratio,
            "any": one.lists_with_any,
            "gini": one.gini,
            "head": one.head_share,
        }
        for one in result.at_losses
    ]
    columns: Columns = {
        "loss": Column("loss", _loss),
        "strength": Column("strength", number),
        "kept": Column("NDCG@10 kept", interval),
        "value": Column("share" if _is_share(result) else "popularity", _amount(result)),
        "times": Column("times", number),
        "any": Column("lists with any", two_digits),
        "gini": Column("Gini", number),
        "head": Column("head's share", two_digits),
    }
    known = {key: c for key, c in columns.items() if any(r[key] is not None for r in rows)}
    say(
        "\nWhat is reached at what loss. The strength is chosen on construction users, who lose so "
        "much; the rest is measured on held-out users, of whom fewer cases than above are taken:"
    )
    show_rows(known, rows)


def _popularity(result: TuningResult) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for one in result.popularity:
        shares = one.measure.startswith("long tail")
        said = two_digits if shares else popular if one.before >= 1 else cell
        before, after = said(one.before), said(one.after)
        rows.append({"measure": one.measure, "before": before, "after": after})
    return rows


def _show_methods(result: TuningResult) -> None:
    amount = _amount(result)
    losses = list(result.methods[0].at_loss)
    columns: Columns = {
        "way": Column("way", whole=True),
        **{loss_key(loss): Column(_loss(loss), amount) for loss in losses},
        "area": Column("area", lambda area: f"{area + 0.0:.3g}"),
        "others move": Column("others move", points, optional=True),
    }

    say(
        f"\n{result.quantity.capitalize()} at a loss of NDCG@10 of at most so much, by way. Here a "
        "loss is what these held-out cases lose themselves, so that the latents' figures are not "
        "those above. Area: the mean gain over all losses to 10 %; others move: how far the shares "
        "of other attributes do at 5 %:"
    )
    rows = [method.to_dict() | {"way": _short(method.method)} for method in result.methods]
    show_rows(columns, rows)
