"""The HTML that notebooks show of an object: facts and tables, without scripts and style sheets.

Titles, names and labels come from somebody's data set: every text is escaped here, and nowhere else
is HTML made for notebooks. There is no colour but the notebook's own and grey, so that it can be
read on light and on dark ground.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from recsae.core.text import one_line

LONGEST = 90
"""Letters of a text in a cell of a table: longer ones are cut."""
LONGEST_FACT = 600
GREY = "rgba(128,128,128,.35)"
BOX = f"border:1px solid {GREY};border-radius:4px;padding:8px 12px;max-width:64em;text-align:left"
CAPTION = "text-align:left;opacity:.75;padding:6px 0 2px;caption-side:top;color:inherit"
CELL = f"padding:2px 12px 2px 0;vertical-align:top;border-top:1px solid {GREY};text-align:"


class Table(NamedTuple):
    """A table with its title."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def card(title: str, facts: Mapping[str, object], tables: Sequence[Table] = ()) -> str:
    """A box with a title, facts by name, and those of the tables that have rows.

    Parameters
    ----------
    title
        Of the box.
    facts
        Those that are None are left out.
    tables
        Below one another.

    >>> card("SAE", {"of": "<b>"})[-63:]
    '<div><span style="opacity:.75">of:</span> &lt;b&gt;</div></div>'
    """
    lines = [
        f'<div><span style="opacity:.75">{_text(name)}:</span> {_text(value, LONGEST_FACT)}</div>'
        for name, value in facts.items()
        if value is not None
    ]
    shown = [_table(table) for table in tables if table.rows]
    return f'<div style="{BOX}"><b>{_text(title)}</b>{"".join([*lines, *shown])}</div>'


def _table(table: Table) -> str:
    sides = [
        "right" if _are_figures(column) else "left" for column in zip(*table.rows, strict=True)
    ]

    def row(tag: str, values: Sequence[object]) -> str:
        cells = (
            f'<{tag} style="{CELL}{side}">{_text(value)}</{tag}>'
            for value, side in zip(values, sides, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    body = "".join(row("td", values) for values in table.rows)
    return (
        '<table style="border-collapse:collapse;margin:0;color:inherit;background:transparent">'
        f'<caption style="{CAPTION}">{_text(table.title)}</caption>'
        f"<thead>{row('th', table.columns)}</thead><tbody>{body}</tbody></table>"
    )


def _are_figures(column: Sequence[object]) -> bool:
    return all(value is None or isinstance(value, int | float) for value in column)


def _text(value: object, longest: int = LONGEST) -> str:
    """A value as text that HTML shows as it is, on one line."""
    return escape(shortened(words(value), longest))


def words(value: object) -> str:
    """A value in words: figures with three digits, a dash where there is none.

    >>> words(0.12345), words(12345), words(None), words(float("nan"))
    ('0.123', '12,345', '-', '-')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:#.3g}".rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def shortened(text: str, longest: int = LONGEST) -> str:
    """The text on one line, cut where it is longer.

    >>> shortened("Toy Story", 5)
    'Toy …'
    """
    line = one_line(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
