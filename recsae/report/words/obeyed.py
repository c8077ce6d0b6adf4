"""Readable and obeyed in sentences, and the two-by-two as the page's table has it."""

from recsae.report.schema.obeyed import Obeyed, TwoByTwo
from recsae.report.schema.report import Report
from recsae.report.words.formats import listing, two_digits
from recsae.report.words.headlines import CODE_NAMES

HEADS = (
    *("", "verified", "readable and obeyed", "readable only"),
    *("not verified", "obeyed only", "neither", "with other labels"),
)
"""Heads of the table's columns."""
OF_DICTIONARY = ("sae", "core", "found")
"""The dictionary and its parts, among the codes."""


def of_dictionary(block: Obeyed | None) -> TwoByTwo | None:
    """Return the two-by-two of the dictionary as a whole."""
    return next((row for row in block.codes if row.code == "sae"), None) if block else None


def finding(block: Obeyed | None) -> str:
    """Say how many concepts do what they say; empty where none was turned."""
    row = of_dictionary(block)
    if block is None or row is None or not row.n_readable_turned + row.n_unreadable_turned:
        return ""
    said = (_readable(row), _chance(row), _unreadable(row), _baselines(block))
    return " ".join(filter(None, said))


def _readable(row: TwoByTwo) -> str:
    n = row.n_readable_turned
    if not n:
        return "No verified concept speaks of items."
    of = f"{row.both} of {n} verified concept{'s' * (n > 1)}"
    said = f"{of} do{'es' * (row.both == 1)} what {'it says' if row.both == 1 else 'they say'}"
    said += " when turned"
    if row.readable_only:
        why = [(row.opposite, "the opposite happens"), (row.readable_only - row.opposite, _UNTOLD)]
        parts = [f"for {count} {what}" for count, what in why if count]
        are = "is" if row.readable_only == 1 else "are"
        said += f"; {row.readable_only} {are} only readable ({', '.join(parts)})"
    return f"{said}."


_UNTOLD = "no change can be told"


def _chance(row: TwoByTwo) -> str:
    if row.by_chance is None:
        return ""
    return f"With the labels of other concepts, {two_digits(row.by_chance)} would."


def _unreadable(row: TwoByTwo) -> str:
    n = row.n_unreadable_turned
    if not n:
        return ""
    of = f"Of {n} concept{'s' * (n > 1)} whose label is not verified"
    return f"{of}, {row.obeyed_only} do{'es' * (row.obeyed_only == 1)} what the label says."


def _baselines(block: Obeyed) -> str:
    """How many of the verified units of baselines do what they say."""
    rows = [row for row in block.codes if row.code not in OF_DICTIONARY and row.n_readable_turned]
    parts = [
        f"{CODE_NAMES[row.code]} {two_digits(row.both / row.n_readable_turned)}" for row in rows
    ]
    return f"Of the verified units of baselines do so: {', '.join(parts)}." if parts else ""


def table(block: Obeyed) -> list[list[str]]:
    """Return the rows of the two-by-two: the dictionary, its parts, and the baselines."""
    return [
        [
            CODE_NAMES[row.code],
            _turned(row.n_readable_turned, row.n_readable),
            _part(row.both, row.n_readable_turned),
            _part(row.readable_only, row.n_readable_turned),
            _turned(row.n_unreadable_turned, row.n_unreadable),
            _part(row.obeyed_only, row.n_unreadable_turned),
            _part(row.neither, row.n_unreadable_turned),
            two_digits(row.by_chance),
        ]
        for row in block.codes
    ]


def _turned(turned: int, there: int) -> str:
    """How many were turned, of how many where not all were.

    >>> _turned(100, 153), _turned(51, 51)
    ('100 of 153', '51')
    """
    return f"{turned:,}" if turned == there else f"{turned:,} of {there:,}"


def _part(n: int, of: int) -> str:
    """A count, and its share of those that were turned.

    >>> _part(93, 107), _part(0, 0)
    ('93 (87%)', '0')
    """
    return f"{n:,} ({two_digits(n / of)})" if of else str(n)


def without_items(block: Obeyed) -> str:
    """Say how many labels of the dictionary speak of no items; empty where all do."""
    row = of_dictionary(block)
    n = row.n_without_items if row else 0
    if not n:
        return ""
    return (
        f"{n} more concept{'s' * (n > 1)} speak{'s' * (n == 1)} of no items, but of how long a "
        "history is, of repetition or of nothing in particular: no list can show whether that is "
        "obeyed."
    )


def not_turned(block: Obeyed) -> list[str]:
    """Say which baselines were not turned, and why."""
    reasons: dict[str, list[str]] = {}
    for code, why in block.not_turned.items():
        reasons.setdefault(why, []).append(CODE_NAMES.get(code, code))  # type: ignore[call-overload]
    return [f"Not turned: {listing(names)}; {why}." for why, names in reasons.items()]


def lines(report: Report) -> list[str]:
    """Return the finding as a line of the model card."""
    said = finding(report.goals.obeyed if report.goals else None)
    return [f"Readable and obeyed. {said}"] if said else []
