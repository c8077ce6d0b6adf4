"""Steering by goal in sentences: the goal, what is reached, and which methods reach more."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from recsae.core.text import as_strong, more_by
from recsae.report.schema.goals import CheckedWay, LabelCheck, ReachedGoal, Turned, WayThere
from recsae.report.schema.parts import Figure
from recsae.report.schema.report import Report
from recsae.report.words.formats import interval, listing, number, percent, short, two_digits
from recsae.report.words.values import value_words

LATENTS = "latents"
RERANKING = "re-ranking"
METHODS = {
    LATENTS: "latents are turned, as far as the loss allows.",
    "latents by probability": "each place goes to an item that the model holds likely without "
    "turning, or that turned latents push up: lower places first, where a list has least to lose. "
    "Items need no attribute.",
    "latents retrieve, then ": "half of the candidates are found with latents turned, the other "
    "half without, and all are re-ranked by their probability without.",
    "filter": "items are left out of all lists.",
    RERANKING: "a constant is added to the scores of the items that are asked for.",
    "re-ranking by probability": "lists are made anew from the model’s own probabilities. It is "
    "the most that re-ranking with them can be expected to reach, and needs the attribute of every "
    "item.",
    "popularity direction": "the one direction of the states that best carries the logarithm of "
    "how often an item was consumed is added to every state, or taken off it.",
    "re-ranking by calibrated probability": "the same with probabilities that were fitted to what "
    "users went on to: powers of the model’s own, of the place in its list and of popularity.",
    "logit adjustment": "a multiple of the logarithm of how often an item was consumed is taken "
    "off its score, or added.",
    " within ": "only so many items, the first by score, can be in the list, as behind a "
    "retriever.",
    "class mean": "what sets states with the attribute apart on average is added to every state.",
    "probe": "the direction of a classifier of the attribute (a logistic probe) is added to every "
    "state.",
    "neurons": "as many single dimensions of the state are turned, found as the latents are.",
    "reconstruction steering": "the latents are turned, and what the autoencoder does not "
    "reconstruct is thrown away.",
    "random direction": "a direction drawn at random is added to every state.",
}
"""Every steering method and what it does."""
LOSSES = {"1 %": "1%", "2 %": "2%", "5 %": "5%"}
"""Losses of the table of methods, as ``report.json`` has them and as the page shows them."""


class ShownLatent(NamedTuple):
    """A latent that is turned for a goal, what is done to it in words."""

    latent: int
    promotes: str
    """What it promotes, or its name where that is not known."""
    where_active: str
    for_everybody: str
    verified: bool
    name: str


@dataclass(frozen=True)
class ShownGoal:
    """A goal as the page shows it: its name, attribute and tables, in the order shown."""

    row: ReachedGoal
    name: str
    attribute: str
    latents: list[ShownLatent]
    ways: list[WayThere]
    not_drawn: str


def goals(report: Report) -> list[ShownGoal]:
    """Return every goal that was tried, its methods the best first.

    Latents have the names that people gave them, where they did.
    """
    names = {c.latent: c.name for c in report.concepts.list}
    return [
        ShownGoal(
            row,
            *_name(report, row.goal),
            [_latent(one, names.get(one.latent, one.name)) for one in row.latents],
            sorted(row.ways, key=lambda way: -(way.area or 0.0)),
            listing(way.way for way in row.ways if way.curve and not visible(way)),
        )
        for row in (report.goals.rows if report.goals else [])
    ]


def _latent(turned: Turned, name: str) -> ShownLatent:
    return ShownLatent(
        turned.latent,
        turned.promotes or name,
        "–" if turned.times is None else as_strong(turned.times),
        "–" if turned.plus_sd is None else more_by(turned.plus_sd).replace("-", "−"),
        turned.verified,
        name,
    )


def skipped(report: Report) -> list[tuple[str, str]]:
    """Return the goals that were not tried, as headings have them, and why."""
    untried = report.goals.skipped if report.goals else {}
    return [(_name(report, goal)[0], reason) for goal, reason in untried.items()]


def _name(report: Report, goal: str) -> tuple[str, str]:
    """Split "more categories: Comedy" into "More Comedy" and "categories".

    What tells its attribute itself stands alone: "More from the 1990s".
    """
    for attribute in report.data.attributes:
        for direction in ("more", "less"):
            start = f"{direction} {attribute}: "
            if goal.startswith(start) and len(goal) > len(start):
                words, of = value_words(goal.removeprefix(f"{direction} "))
                return f"{direction.capitalize()} {words}", of
    return goal[:1].upper() + goal[1:], ""


def visible(way: WayThere, lowest: float = 0.9) -> list[tuple[float, float]]:
    """Return the part of a curve on which at least ``lowest`` of NDCG@10 is kept.

    >>> curve = [(1.0, 0.1), (0.95, 0.2), (0.85, 0.4)]
    >>> visible(WayThere(way="w", at={}, area=None, others_move=None, curve=curve))[1:]
    [(0.95, 0.2), (0.9, 0.3)]
    """
    points: list[tuple[float, float]] = []
    for kept, value in way.curve:
        if kept is None or value is None:
            continue
        if kept >= lowest:
            points.append((kept, value))
        elif points:
            last_kept, last = points[-1]
            part = (last_kept - lowest) / (last_kept - kept)
            return [*points, (lowest, round(last + part * (value - last), 12))]
    return points


def amount(value: Figure, row: ReachedGoal) -> str:
    """Return a value of a goal's quantity: a share in per cent, popularity as a number."""
    if value is None:
        return "–"
    if not is_share(row):
        return number(value, 0 if abs(value) >= 100 else 1)
    return two_digits(value)


def is_share(row: ReachedGoal) -> bool:
    """Tell whether a goal's quantity is a share of the lists."""
    return row.quantity.startswith("share")


def from_to(row: ReachedGoal) -> str:
    """Say where a goal's quantity was and where it is."""
    said = f"{amount(row.before, row)} → {amount(row.after, row)}"
    return f"{said} of the top 10" if is_share(row) else f"average popularity {said}"


def beside_heading(row: ReachedGoal) -> str:
    """Say why the table of methods has another figure for the goal's method than the heading.

    Empty where it has the same, or no figure at that loss.
    """
    ours = next((way for way in row.ways if way.way == row.method), None)
    value = ours.at.get(f"{100 * row.allowed_loss:g} %") if ours and row.allowed_loss else None
    kept, allowed = row.ndcg_kept[0], f"{100 * (row.allowed_loss or 0):g}%"
    if value is None or kept is None or amount(value, row) == amount(row.after, row):
        return ""
    lost = f"{100 * (1 - kept):.1f}%" if kept < 1 else "nothing"
    return (
        f"Why {amount(row.after, row)} above and {amount(value, row)} for {row.method} in the "
        f"table: above, {allowed} may be lost by the users on whom it was set, and held-out users "
        f"lose {lost}; in the table held-out users themselves lose {allowed} at most, on fewer of "
        "their positions."
    )


def area(value: Figure, row: ReachedGoal) -> str:
    """Return the area under a method's curve, rounded as the goal's verdict rounds it."""
    digits = 3 if is_share(row) else 1
    return number(value if value is None else round(value, digits) + 0.0, digits)  # no "-0.0"


def sentence(shown: ShownGoal) -> str:
    """Say what the goal is, by which method, and what is reached."""
    row = shown.row
    return (
        f"{short(shown.name)} by {row.method}: {from_to(row)} at {interval(row.ndcg_kept)} of "
        f"NDCG@10, {row.n_users:,} held-out users"
    )


def better(row: ReachedGoal) -> list[WayThere]:
    """Return the methods that reach more than latents over all losses to 10 %, the best first."""
    ours = next((way.area for way in row.ways if way.way == LATENTS), None)
    if ours is None:
        return []
    more = [way for way in row.ways if way.area is not None and way.area > ours]
    return sorted(more, key=lambda way: -(way.area or 0.0))


def steering_line(report: Report) -> str:
    """Say in one line what is reached for the first goal, and what reaches more; may be empty.

    Re-ranking is named before other methods: everybody can have it.
    """
    shown = goals(report)
    if not shown:
        return ""
    row = shown[0].row
    how = "turning concepts" if row.method == LATENTS else row.method
    said = f"{short(shown[0].name)} by {how}: {from_to(row)} at "
    said += f"{interval(row.ndcg_kept)} of NDCG@10"
    if row.method != LATENTS:
        return f"{said}."
    if not any(way.way == LATENTS for way in row.ways):
        return f"{said}."
    ahead = better(row)
    if any(way.way.startswith(RERANKING) for way in ahead):
        return f"{said}; re-ranking reaches more."
    if ahead:
        return f"{said}; another way ({ahead[0].way}) reaches more."
    return f"{said}; none of {len(row.ways) - 1} other ways reaches more."


def steering_lines(report: Report) -> list[str]:
    """Say what every goal reaches, what reaches more, and whether labels say what turning does."""
    shown = goals(report)
    lines = []
    if shown:
        lines.append(f"Steering by goal. {'; '.join(map(sentence, shown))}.")
    for one in shown:
        if one.row.groups and one.row.groups.warnings:
            lines.append(f"{short(one.name)}: {' '.join(one.row.groups.warnings)}")
    tried = [s.row for s in shown if s.row.ways]
    if tried:
        by_lists = sum(any(w.way.startswith(RERANKING) for w in better(row)) for row in tried)
        lines.append(
            f"Re-ranking by what is known of every item reaches more than turning latents, at the "
            f"same loss, for {by_lists} of {len(tried)} goal{'s' * (len(tried) > 1)}."
        )
    if report.goals and report.goals.check and (said := check_says(report.goals.check)):
        lines.append(f"Do labels say what turning does? {said}")
    return lines


def check_says(check: LabelCheck) -> str:
    """Say how often labels are right about what turning does, and how often by chance."""
    rows = [r for r in check.rows if None not in (r.right_signs, r.right_signs_shuffled)]
    if not rows:
        return ""
    ahead = sum((r.right_signs or 0) > (r.right_signs_shuffled or 0) for r in rows)
    said = (
        f"What happens has the sign that the label says for {_range(r.right_signs for r in rows)} "
        f"of the latents, depending on how they are turned; with the labels of other latents "
        f"for {_range(r.right_signs_shuffled for r in rows)}. "
    )
    said += (
        "Each time the latent’s own label does better. "
        if ahead == len(rows)
        else f"The latent’s own label does better in {ahead} of {len(rows)} cases. "
    )
    return f"{said}{_ranks(check.rows)}".strip()


def _ranks(rows: list[CheckedWay]) -> str:
    known = [r.rank_correlation[0] for r in rows if r.rank_correlation is not None]
    correlations = [r for r in known if r is not None]
    if not correlations:
        return ""
    low, high = number(min(correlations)), number(max(correlations))
    between = low if low == high else f"{low} to {high}"
    return f"How much it changes ranks as worked out beforehand: rank correlation {between}."


def _range(shares: Iterable[Figure]) -> str:
    known = [s for s in shares if s is not None]
    low, high = percent(min(known)), percent(max(known))
    return low if low == high else f"{low} to {high}"
