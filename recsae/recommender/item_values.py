"""Cells of an item table as values: what separates them is decided by the cells of each column."""

from __future__ import annotations

import ast
import csv
import html
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHOLE = "none"
"""What to say as a separator where every cell is one value."""
OFTEN = 0.2
"""Of this share of the cells a mark is a separator, whatever it separates."""
MOST = 0.5
"""Of this share of the cells a column is taken for lists or quoted values; and so many parts must
come again for a mark that is rarer."""
MAX_READ = 50_000
"""Cells by which it is decided what separates values, evenly spread: bounds the time."""
ODD_CELLS = 0.05
"""Odd words in this share of the cells with blanks show that blanks separate nothing; a cell with
odd words is never split at blanks."""
SINGLE_NAMES = frozenset(
    {"brand", "type", "mpaa", "director", "country", "language", "publisher", "author"}
    | {"developer"}
)
"""Columns of one value each, in which blanks are of names."""
MARKS = {
    "|": r"\|",
    ";": ";",
    ", ": r",(?!_)",
    " / ": r"\s/\s",
    " > ": r"\s>\s",
    **{mark: re.escape(mark) for mark in ("\n", "::", "•", "·")},
}
"""What separates values, the surest first. In ``Clothing,_Shoes`` the comma is of the value."""
WEAK_MARKS = {mark: re.escape(mark) for mark in ("/", " - ", "+", "#", "~", "^")}
"""What may be of a value as well, as in ``AC/DC`` and ``C#``; see :func:`_in_several_cells`."""
FOREMOST = 5
"""Of values that stand in each item by their weight, as tags by how often they were given, only so
many count: of twenty tags the last are the opinion of one person."""
LONG_LISTS, SHARE_OF_LONG = 50, 0.1
"""So many different cells, and this share of those with values, must have more than those."""
LISTS_READ = 2_000
"""So many are looked at."""
NEAR, FAR = 2, 5
"""Places between two values of a cell that are near to each other, at most, or far, at least."""
MIN_PAIRS = 400
"""Pairs of values that several cells have, at least, of those that are near to each other and of
those that are far: fewer agree by chance."""
ALWAYS = 0.85
"""Above this cells agree on which of two near values is first, in front or behind, as in the order
of the alphabet, of a tree or of numbers."""
BY_WEIGHT = 0.05
"""Cells agree by so much more on values that are far from each other: weights that are near change
places. In no order distance means nothing."""
WORDS = {", ": "commas", " ": "blanks", "\n": "line breaks"}
NO_VALUES = frozenset({"nan", "none", "null", "n/a", "<na>", "\\n"})
"""What programs write where there is no value, in lower case."""
_ODD = frozenset({"&", "+", "-", "–", "—", "/", ">", "and", "or", "of", "the", "for", "und", "et"})
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_BETWEEN_QUOTES = re.compile(r"""['"][\s,]+['"]""")
_SOME_QUOTES = re.compile(r"""(?:(?:^|,)\s*(?:"[^"]*"|[^"',]*)\s*)+""")
_WITHOUT_COMMA = re.compile(r"""['"]\s+['"]""")

Values = tuple[str, ...]
Split = Callable[[str], Sequence[str]]


class Cells(NamedTuple):
    """The values of each cell, and how they were told apart, in words and whether as expected."""

    values: list[Values]
    how: str
    expected: bool


def values_of(
    cells: Sequence[str],
    *,
    separator: str | None = None,
    expected: str = " ",
    kind: str = "",
    name: str = "",
) -> Cells:
    """Split the cells of one column.

    Parameters
    ----------
    separator
        What a person says separates values, "none" if nothing does; None: the cells decide.
    expected
        What the file's own settings say.
    kind
        What the file says of the column, as RecBole's ``token`` (one value) and ``token_seq``.
    name
        The column's, which says whether blanks are likely to separate.
    """
    code, distinct = pd.factorize(np.asarray(cells, dtype=object))
    found = _values_of_distinct(distinct.tolist(), code, separator, expected, kind, name)
    return found._replace(values=[found.values[i] for i in code.tolist()])


def _values_of_distinct(
    distinct: list[str],
    code: NDArray[np.int64],
    separator: str | None,
    expected: str,
    kind: str,
    name: str,
) -> Cells:
    """Values of each distinct cell; ``code`` says which of them every cell is."""
    cells = [html.unescape(cell).strip() if "&" in cell else cell.strip() for cell in distinct]
    cells = ["" if cell.casefold() in NO_VALUES else cell for cell in cells]
    split: Split
    if separator is not None:
        split = _by(re.escape(separator)) if separator != WHOLE else _one
        return Cells([_clean(split(cell)) for cell in cells], f"{separator!r}", True)
    some = np.linspace(0, len(code) - 1, min(len(code), MAX_READ)).astype(np.int64)
    full = [cells[i] for i in code[some].tolist() if cells[i]]
    whole = kind == "token" or (kind == "" and name in SINGLE_NAMES)
    split, how, as_expected = _decided(full, expected, whole, kind == "token")
    return Cells([_clean(split(cell)) for cell in cells], how, as_expected)


def by_weight(cells: Sequence[Values]) -> bool:
    """Whether the values of each cell stand by their weight in it, the largest first.

    Of two values that several cells have, now one is first and now the other, in front and behind,
    but the less so the farther they are from each other.

    >>> by_weight([tuple("abcdef")] * 60)
    False
    """
    there = sum(1 for cell in cells if cell)
    long = [cell for cell in dict.fromkeys(cells) if len(cell) > FOREMOST]
    if len(long) < max(LONG_LISTS, SHARE_OF_LONG * there):
        return False
    read = [cell[: 2 * FOREMOST] for cell in long[:: -(-len(long) // LISTS_READ)]]
    front, _ = _agreement(read, lambda i, j: j - i <= NEAR and j < FOREMOST)
    behind, _ = _agreement(read, lambda i, j: j - i <= NEAR and i >= FOREMOST - 1)
    near, n_near = _agreement(read, lambda i, j: j - i <= NEAR)
    far, n_far = _agreement(read, lambda i, j: j - i >= FAR)
    enough = min(n_near, n_far) >= MIN_PAIRS
    return enough and max(front, behind) <= ALWAYS and far - near >= BY_WEIGHT


def _agreement(cells: Sequence[Values], counts: Callable[[int, int], bool]) -> tuple[float, int]:
    """How often two cells agree which of two values is first, and of how many pairs that is known.

    About .5 in no order. ``counts`` says of which places ``(i, j)``, i being the first.
    """
    orders = Counter(
        (cell[i], cell[j])
        for cell in cells
        for i, j in combinations(range(len(cell)), 2)
        if counts(i, j)
    )
    alike, pairs = 0.0, 0
    for (one, other), times in orders.items():
        back = orders.get((other, one), 0)
        both = times + back
        if both > 1 and (one < other or not back):
            alike += (times * (times - 1) + back * (back - 1)) / (both - 1)
            pairs += both
    return alike / max(pairs, 1), pairs


def _decided(
    full: list[str], expected: str, whole: bool, declared: bool
) -> tuple[Split, str, bool]:
    if _share(full, _is_list) >= MOST:
        return _listed, "lists in brackets", False
    if _share(full, _is_quoted) >= MOST:
        return _quoted, "quotes", False
    if expected.strip() and not declared and any(expected in cell for cell in full):
        return _by(re.escape(expected)), f"{expected!r}", True
    for mark, pattern in MARKS.items():
        if declared and mark == ", ":  # as in "Clothing, Shoes & Jewelry"
            continue
        if _separates(full, _by(pattern)):
            return _by(pattern), _shown(mark), mark == expected
    for mark, pattern in () if whole else WEAK_MARKS.items():
        if _in_several_cells(full, _by(pattern)):
            return _by(pattern), _shown(mark), mark == expected
    if whole:
        return _one, "nothing", True
    if not _blanks_separate(full):
        return _one, "nothing", False
    return _at_blanks, WORDS[" "], True


def _share(full: list[str], test: Callable[[str], bool]) -> float:
    return sum(map(test, full)) / max(1, len(full))


def _separates(full: list[str], split: Split) -> bool:
    """Whether a mark is in many cells or, if in few, between values that are elsewhere too."""
    values_by_cell = {cell: _clean(split(cell)) for cell in dict.fromkeys(full)}
    parts = [values_by_cell[cell] for cell in full]
    several = [values for values in parts if len(values) > 1]
    if not several:
        return False
    if len(several) >= OFTEN * len(full):
        return True
    times = Counter(value for values in parts for value in values)
    again = [times[value] > 1 for values in several for value in values]
    return sum(again) >= MOST * len(again)


def _in_several_cells(full: list[str], split: Split) -> bool:
    """Whether nearly all that a mark sets apart is found in other cells, beside something else."""
    parts = [set(_clean(split(cell))) for cell in dict.fromkeys(full)]
    several = [values for values in parts if len(values) > 1]
    times = Counter(value for values in parts for value in values)
    again = [times[value] > 1 for values in several for value in values]
    return len(several) > 1 and sum(again) >= (1 - OFTEN) * len(again)


def _shown(mark: str) -> str:
    return WORDS.get(mark, f"'{mark}'")


def _blanks_separate(full: list[str]) -> bool:
    """Whether blanks are between values: not where words such as ``&`` stand alone, nor where no
    word of several is in another cell."""
    blanks = [cell for cell in full if " " in cell]
    odd = sum(map(_is_odd, blanks))
    if odd and odd >= ODD_CELLS * len(blanks):
        return False
    distinct = [cell.split() for cell in dict.fromkeys(full)]
    several = [words for words in distinct if len(words) > 1]
    times = Counter(word for words in distinct for word in set(words))
    again = [any(times[word] > 1 for word in words) for words in several]
    return len(several) < 3 or any(again)


def _is_odd(cell: str) -> bool:
    words = cell.split()
    odd = any(word.casefold() in _ODD or word.endswith(",") for word in words)
    return odd and len(words) > 1


def _at_blanks(cell: str) -> list[str]:
    return [cell] if _is_odd(cell) else cell.split(" ")


def _by(pattern: str) -> Callable[[str], list[str]]:
    compiled = re.compile(pattern)
    return lambda cell: compiled.split(cell)


def _one(cell: str) -> list[str]:
    return [cell]


def _is_list(cell: str) -> bool:
    return len(cell) > 1 and _BRACKETS.get(cell[0]) == cell[-1]


def _is_quoted(cell: str) -> bool:
    return len(cell) > 2 and cell[0] in "'\"" and cell[-1] in "'\""


def _listed(cell: str) -> list[str]:
    """Values of a list as Python, JSON or NumPy write it; of dicts their ``name``."""
    if not _is_list(cell):
        return [cell]
    if not _WITHOUT_COMMA.search(cell):
        for read in (ast.literal_eval, json.loads):
            try:
                found: Any = read(cell)
            except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                continue
            if isinstance(found, dict):
                found = [found] if "name" in found else list(found)
            if isinstance(found, list | tuple | set | frozenset):
                return _names(sorted(found, key=str) if isinstance(found, set) else found)
    inner = cell[1:-1].strip()
    if '"' in inner and _in_some_quotes(inner):  # as PostgreSQL writes arrays
        return next(csv.reader([inner], skipinitialspace=True))
    return _quoted(inner) if _is_quoted(inner) else inner.split(",")


def _in_some_quotes(inner: str) -> bool:
    """Whether some of the values between commas stand in double quotes, and the others in none."""
    return bool(_SOME_QUOTES.fullmatch(inner))


def _names(found: Any) -> list[str]:
    names: list[str] = []
    for entry in found:
        value = entry.get("name") if isinstance(entry, dict) else entry
        if isinstance(value, list | tuple | set | frozenset):  # paths of categories
            names += _names(value)
        elif value is not None and value == value:
            names.append(str(value))
    return names


def _quoted(cell: str) -> list[str]:
    if not _is_quoted(cell):
        return re.split(MARKS[", "], cell)
    return _BETWEEN_QUOTES.split(cell[1:-1])


def _clean(parts: Sequence[str]) -> Values:
    shown = (part.replace("_", " ").strip() for part in parts)
    return tuple(dict.fromkeys(p for p in shown if p and p.casefold() not in NO_VALUES))
