"""Tables, facts and sentences that fit the terminal.

In a pipe a table is as wide as ``COLUMNS`` says, or 80 characters, and a sentence is one line.
Names are cut where there is no room for them, figures never.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import click

from recsae.cli.shared.output import bold
from recsae.core.text import one_line, readable

ROWS = 20
"""Rows of a table that are shown unless all are asked for."""
ENOUGH = 32
"""Characters of names for which columns that can be missed make room."""
LEAST = 8
"""Characters to which names are cut at most."""
GAP = 2
"""Blanks between columns."""
INDENT = 4
"""Blanks before the second line of a sentence that needs several."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    head: str
    say: Callable[[Any], str] | None = None
    """How its figures are said; None: as :func:`cell` says them."""
    optional: bool = False
    """Left out where there is no room; those on the right go first."""
    whole: bool = False
    """Never cut, like figures: a name that has to be typed elsewhere."""


BETWEEN = " | "
"""Between the titles of a sequence."""
Columns = Mapping[str, Column | str]
"""What is shown of records, by key."""


class _Sized(NamedTuple):
    """A column with its cells as text."""

    column: Column
    cells: list[str]
    figures: bool
    width: int

    @property
    def fixed(self) -> bool:
        """Whether it is never cut."""
        return self.figures or self.column.whole


def titles_of(titles: Iterable[str]) -> str:
    """Titles in a line, each as a person says it; ``--json`` has them as the catalog does.

    >>> titles_of(["Shadow, The (1994)", "Alien"])
    'The Shadow (1994) | Alien'
    """
    return BETWEEN.join(map(readable, titles))


def show_table(
    columns: Sequence[Column | str], rows: Sequence[Sequence[Any]], *, top: int | None = ROWS
) -> None:
    """Print aligned columns, figures to the right; at most ``top`` rows, and what was left out."""
    shown = list(rows) if top is None else list(rows[:top])
    known = [Column(c) if isinstance(c, str) else c for c in columns]
    sized = [_sized(c, [row[i] for row in shown]) for i, c in enumerate(known)]
    kept = _with_room(sized, _width())
    head, *lines = _drawn(kept, _width())
    with bold():
        click.echo(head)
    for line in lines:
        click.echo(line)
    _say_left_out(len(rows) - len(shown), [c.column.head for c in sized if c not in kept])


def show_rows(
    columns: Columns,
    rows: Sequence[Mapping[str, Any]],
    *,
    top: int | None = ROWS,
) -> None:
    """Print a table of records, of which ``columns`` says by key what is shown."""
    show_table(list(columns.values()), [[r.get(key) for key in columns] for r in rows], top=top)


def show_facts(facts: Mapping[str, Any]) -> None:
    """Print ``name: value`` lines, one level of nesting indented."""
    for key, value in facts.items():
        name = key.replace("_", " ")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            click.echo(f"{name}:")
            for entry in value:
                say("  " + ", ".join(f"{k}: {cell(v)}" for k, v in entry.items()))
        elif isinstance(value, list):
            say(f"{name}: {', '.join(map(cell, value)) or 'none'}")
        elif isinstance(value, dict):
            say(f"{name}: {cell(value)}")
        else:
            say(f"{name}: {cell(value)}")


def say(text: str = "") -> None:
    """Print a sentence; in a terminal its lines end between words."""
    for line in text.split("\n"):
        for part in _wrapped(line) if sys.stdout.isatty() else [line]:
            click.echo(part)


def cell(value: Any) -> str:
    """A value as it stands in a table.

    >>> cell(None), cell(0.12345), cell(0.0004), cell("two\\nlines"), cell(True)
    ('-', '0.123', '4e-04', 'two lines', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {cell(part)}" for key, part in value.items())
    if value is None or value != value:  # NaN
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if value == 0 or abs(value) >= 5e-4 else f"{value:.0e}"
    return one_line(str(value))


def _width() -> int:
    return shutil.get_terminal_size((80, 24)).columns


def _sized(column: Column, values: list[Any]) -> _Sized:
    from rich.cells import cell_len

    say = column.say
    cells = [cell(v) if say is None or v is None or v != v else one_line(say(v)) for v in values]
    figures = all(isinstance(v, int | float) or v is None for v in values) and bool(values)
    width = max(map(cell_len, [column.head, *cells]))
    return _Sized(column, cells, figures or say is not None, width)


def _with_room(columns: list[_Sized], width: int) -> list[_Sized]:
    """The columns that there is room for."""
    kept = list(columns)
    for column in reversed(columns):
        needed = sum(_needed(c) for c in kept)
        if needed + GAP * (len(kept) - 1) <= width:
            break
        if column.column.optional:
            kept.remove(column)
    return kept


def _needed(column: _Sized) -> int:
    """How much room a column needs; names that can be missed need more, or are not worth it."""
    if column.fixed:
        return column.width
    return min(column.width, ENOUGH + ENOUGH // 2 if column.column.optional else ENOUGH)


def _drawn(columns: list[_Sized], width: int) -> list[str]:
    """The lines of a table, the head first."""
    from io import StringIO

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = [c.width for c in columns if not c.fixed]
    room = width - GAP * (len(columns) - 1) - sum(c.width for c in columns if c.fixed)
    longest = max(names, default=0)
    while longest > LEAST and sum(min(n, longest) for n in names) > room:
        longest -= 1
    widths = [c.width if c.fixed else min(c.width, longest) for c in columns]
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for c, fixed in zip(columns, widths, strict=True):
        table.add_column(
            Text(c.column.head),
            justify="right" if c.figures else "left",
            width=fixed,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in zip(*(c.cells for c in columns), strict=True):
        table.add_row(*map(Text, row))
    drawn = StringIO()
    total = sum(widths) + GAP * len(widths)
    Console(file=drawn, width=total, color_system=None, force_terminal=False).print(table)
    return [line.rstrip() for line in drawn.getvalue().splitlines()]


def _say_left_out(n_rows: int, heads: list[str]) -> None:
    """One line on the rows and columns that are not shown, if there are any."""
    said = [f"{n_rows:,} more: --all shows them."] if n_rows else []
    if heads:
        said.append(f"Where there is room, or with --json, also: {', '.join(heads)}.")
    if said:
        say(" ".join(said))


def _wrapped(line: str) -> list[str]:
    from rich.cells import cell_len

    if cell_len(line) <= _width():
        return [line]
    from rich.console import Console
    from rich.text import Text

    indent = len(line) - len(line.lstrip()) + INDENT
    console = Console(width=_width(), color_system=None)
    first, *rest = Text(line).wrap(console, max(LEAST, _width()))
    if not rest:
        return [first.plain]
    left = line[len(first.plain) :].lstrip()
    more = Text(left).wrap(console, max(LEAST, _width() - indent))
    return [first.plain.rstrip(), *(" " * indent + part.plain.rstrip() for part in more)]
