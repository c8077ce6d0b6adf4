"""Readable and obeyed: which labels say what turning does, a block of the report."""

from pydantic import Field

from recsae.report.schema.parts import Code, Count, Figure, Part


class TwoByTwo(Part):
    """How many units of one code are readable, obeyed, both or neither.

    Readable: the label is verified. Obeyed: turned up rather than down, the share of the label's
    items in the top 10 changes as the label says. Labels that speak of no items are not turned.
    """

    code: Code
    n_readable: Count
    n_readable_turned: Count
    n_unreadable: Count
    n_unreadable_turned: Count
    n_without_items: Count
    both: Count
    readable_only: Count
    opposite: Count
    """Of those that are only readable: the share changes the other way."""
    obeyed_only: Count
    neither: Count
    by_chance: Figure
    """The part of the readable that would be obeyed with labels of other readable units."""


class Obeyed(Part):
    """The dictionary's two-by-two, those of its parts and of the baselines.

    ``not_turned`` has the baselines without one, and why.
    """

    n_cases: Count
    n_users: Count
    codes: list[TwoByTwo]
    not_turned: dict[str, str] = Field(default_factory=dict)
