"""What steering does, as a person reads it: to one list, to everybody's, and beside the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.tables import (
    ROWS,
    Column,
    Columns,
    cell,
    say,
    show_facts,
    show_rows,
    titles_of,
)
from recsae.cli.shared.user_groups import show_groups, show_warnings
from recsae.core.text import readable
from recsae.report.words.formats import correlation, points, times, two_digits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recsae.steering.effects import MeasureChange, SteeringEffect
    from recsae.steering.label_results import LabelCheck, LatentCheck
    from recsae.steering.lists import ListChange, Push

N_WRONG = 10
"""How many of the labels that are wrong are shown, unless all are asked for."""
PLACES: Columns = {
    "place": Column("place", str),
    "before": "before",
    "after": "after",
    "was": Column("was", str),
    "by": Column("by", str),
    "id": Column("id", optional=True),
}
MEASURES: Columns = {
    "measure": "measure",
    "before": Column("before", str),
    "after": Column("after", str),
    "times": Column("times", times),
}
CHECKED: Columns = {
    "intervention": "intervention",
    "agree": "agree",
    "disagree": "against",
    "undecided": Column("neither"),
    "signs": Column("signs", two_digits),
    "shuffled": Column("shuffled", two_digits),
    "correlation": Column("rank correlation", correlation),
}
WRONG: Columns = {
    "latent": "latent",
    "name": "name",
    "intervention": "intervention",
    "predicted": "predicted",
    "change": Column("points", str),
    "cases": Column("cases", optional=True),
}
MIGRATED: Columns = {
    "latent": "latent",
    "name": "name",
    "now": "now",
    "by": "by",
    "similarity": "similarity",
    "names now": Column("names now", optional=True),
}


def show_list_change(changed: ListChange) -> None:
    """One list before and after, and which latents moved what."""
    record = changed.to_dict() | {"history": titles_of(changed.history)}
    show_facts({k: v for k, v in record.items() if k not in ("table", "left the list")})
    click.echo("")
    rows = [
        {
            "place": place.place,
            "before": readable(place.before.title),
            "after": readable(place.after.title),
            "was": place.place_before,
            "by": _pushed(place.pushes),
            "id": place.after.external_id,
        }
        for place in changed.places
    ]
    known = any(place.pushes is not None for place in changed.places)
    columns = {key: column for key, column in PLACES.items() if known or key != "by"}
    show_rows(columns, rows)
    if changed.removed:
        click.echo("\nLeft the list:")
        gone = [{"item": readable(x.item.title), "by": _pushed(x.pushes)} for x in changed.removed]
        left: Columns = {"item": "item", "by": PLACES["by"]} if known else {"item": "item"}
        show_rows(left, gone)
    sets = [*(place.pushes for place in changed.places), *(x.pushes for x in changed.removed)]
    names = {push.latent: push.name for pushes in sets for push in pushes or ()}
    if names:
        said = "; ".join(_named(*one, changed.promoted) for one in sorted(names.items()))
        say(f"\nby: latents, and how far each moved the score of the item against all. {said}.")


def _named(latent: int, name: str, promoted: Mapping[int, str | None]) -> str:
    what = promoted.get(latent)
    return f"{latent} promotes {what} ({name})" if what else f"{latent} is {name}"


def _pushed(pushes: tuple[Push, ...] | None) -> str | None:
    """The latents that moved an item, and how far."""
    return ", ".join(f"{push.latent} {push.size:+.2f}" for push in pushes or ()) or None


def show_effect(effect: SteeringEffect, *, everything: bool) -> None:
    """Measures of everybody's lists before and after."""
    record = effect.to_dict()
    record["lists that changed"] = two_digits(effect.lists_changed)
    show_facts({k: v for k, v in record.items() if k not in ("table", "positions", "user groups")})
    if effect.groups is not None:
        show_warnings(effect.groups)
    click.echo("\nOn the model's own test:")
    _show_measures(effect.own_test, everything=everything)
    if effect.at_positions:
        click.echo("\nAt every held-out position that has a next item:")
        _show_measures(effect.at_positions, everything=everything)
        say("\nThe two tables are of different cases, so that their figures of one measure differ.")
    if effect.groups is not None and everything:
        show_groups(effect.groups, everything=True)


def _show_measures(changes: Sequence[MeasureChange], *, everything: bool) -> None:
    rows: list[dict[str, Any]] = []
    for one in changes:
        said = two_digits if one.measure.startswith("share of ") else cell
        before, after = said(one.before), said(one.after)
        rows.append({"measure": one.measure, "before": before, "after": after, "times": one.ratio})
    show_rows(MEASURES, rows, top=None if everything else ROWS)


def show_check(check: LabelCheck, *, everything: bool) -> None:
    """How often labels say what turning their latents does, and where the opposite happens."""
    summary = check.summary
    say(
        f"{summary.n_checked} of {summary.n_verified} verified concepts that speak of items "
        "were turned, one at a time. Signs: changes that go where the label says; shuffled: with "
        "the label of another latent.\n"
    )
    rows = [
        {
            "intervention": name,
            "agree": one.n_agree,
            "disagree": one.n_disagree,
            "undecided": one.n_undecided,
            "signs": one.right_signs,
            "shuffled": one.right_signs_shuffled,
            "correlation": one.rank_correlation,
        }
        for name, one in summary.by_intervention.items()
    ]
    show_rows(CHECKED, rows)
    wrong = sorted((r for r in check.rows if r.agrees is False), key=lambda r: -abs(r.change[0]))
    if wrong:
        click.echo("\nWhere the opposite of the label happens, in points of the share of lists:")
        show_rows(WRONG, [_wrong(row) for row in wrong], top=None if everything else N_WRONG)


def _wrong(row: LatentCheck) -> dict[str, Any]:
    change, low, high = map(points, row.change)
    return row.to_dict() | {"change": f"{change} ({low} to {high})"}


def show_migrated(record: dict[str, Any], *, everything: bool) -> None:
    """What became of a steering file of another run."""
    say(record["how"] + "\n")
    show_rows(MIGRATED, record["latents before"], top=None if everything else ROWS)
    said: dict[str, Any] = {key: record[key] for key in ("matched", "goal") if key in record}
    if "goal" in said:
        shares = ("NDCG@10 kept", "allowed loss")
        said["goal"] = said["goal"] | {key: two_digits(said["goal"][key]) for key in shares}
    show_facts(said)
    click.echo("")
