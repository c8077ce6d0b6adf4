"""The file of corrections as people see it: made, brought up to date, and what it changes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.concepts.corrections import (
    FILE,
    MERGED,
    REJECTED,
    RENAMED,
    Entry,
    Placed,
    corrected,
    keep,
    remember,
)
from recsae.concepts.dictionary import ConceptDictionary
from recsae.concepts.status import VERIFIED
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.errors import InvalidInput
from recsae.core.files import read_parquet, write_atomically
from recsae.core.text import one_line

if TYPE_CHECKING:
    import pandas as pd

BEFORE = "corrections.before.toml"
LOST = "# lost: "
HEAD = """\
# Corrections to the concepts of this run. Every command that shows concepts reads this file; it
# may be edited at any time. What was measured stays as it is: figures and counts are those of the
# labels that were tested.
#
# Latents are given by their numbers. If the SAE is trained anew, they are found by direction.
"""
MERGE = """
# Latents that are one concept, under one name:   "Dark comedies" = [17, 88]
[merge]
"""
REJECT = """
# What is no concept, and why; it loses its name:   41 = "two things at once"
[reject]
"""
RENAME = """
# A name of your own:   203 = "Slow thrillers"
[rename]
"""
VERIFIED_LINES = """\
# The verified concepts and their F1, best first. To rename one, remove the "#" before its number.
"""


def prepare(folder: Path) -> str | None:
    """Make the file where there is none; renumber it where its latents have other numbers now.

    Returns
    -------
    str or None
        A remark for the person where the file was renumbered. A file that cannot be read is left
        as it is.
    """
    path = folder / FILE
    if not path.exists():
        _write(path, _text(folder, [], []))
        return None
    try:
        placed = remember(folder)
    except InvalidInput:
        return None
    if all(p.latent == p.entry.latent for p in placed):
        return None
    before = path.read_text(encoding="utf-8")
    lost = [line for line in before.splitlines() if line.startswith(LOST)]
    lost += [_lost(p) for p in placed if p.latent is None]
    kept = [
        Entry(p.latent, p.entry.correction, p.entry.text) for p in placed if p.latent is not None
    ]
    _write(folder / BEFORE, before)
    _write(path, _text(folder, kept, lost))
    keep(folder, {})  # the numbers are those of the present SAE again
    remember(folder)
    return (
        f"The SAE has changed: {len(kept)} of {len(placed)} entries were found again and "
        f"renumbered. The file as it was is {folder / BEFORE}."
    )


def _write(path: Path, text: str) -> None:
    write_atomically(path, partial(Path.write_text, data=text, encoding="utf-8"))


def _lost(placed: Placed) -> str:
    entry = placed.entry
    return (
        f"{LOST}latent {entry.latent}, {entry.correction}: {_quoted(entry.text)} "
        f"(nearest direction: cosine {placed.cosine:.2f})"
    )


def _text(folder: Path, entries: list[Entry], lost: list[str]) -> str:
    merged: dict[str, list[int]] = {}
    for entry in entries:
        if entry.correction == MERGED:
            merged.setdefault(entry.text, []).append(entry.latent)
    # one latent is left of a merged concept: a name of its own
    alone = {latents[0]: name for name, latents in merged.items() if len(latents) == 1}
    renamed = {e.latent: e.text for e in entries if e.correction == RENAMED} | alone
    rejected = {e.latent: e.text for e in entries if e.correction == REJECTED}
    lines = [f"{_quoted(k)} = {v}" for k, v in merged.items() if len(v) > 1]
    parts = [HEAD, *(f"{line}\n" for line in lost), MERGE, *(f"{line}\n" for line in lines)]
    for head, table in ((REJECT, rejected), (RENAME, renamed)):
        parts += [head, *(f"{latent} = {_quoted(text)}\n" for latent, text in table.items())]
    return "".join([*parts, VERIFIED_LINES, *_verified_lines(folder)])


def _verified_lines(folder: Path) -> list[str]:
    table = ConceptDictionary.load(folder).table
    table = table.merge(read_parquet(folder / layout.SCORES), on=C.LATENT)
    best = table[table[C.STATUS] == VERIFIED].sort_values(C.F1, ascending=False)
    best = best[[C.LATENT, C.NAME, C.F1, C.LABEL]]
    width = max((len(_quoted(name)) for name in best[C.NAME]), default=0)
    return [
        f"# {latent} = {_quoted(name).ljust(width)}  # {f1:.2f}  {one_line(label)}\n"
        for latent, name, f1, label in best.itertuples(index=False)
    ]


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's as well."""
    return json.dumps(one_line(text), ensure_ascii=False)


def changes(folder: Path) -> list[dict[str, Any]]:
    """What the file changes: one row per entry (latent, correction, name, tested_as, status, note).

    Raises
    ------
    InvalidInput
        The file is wrong.
    """
    placed = remember(folder)
    table = ConceptDictionary.load(folder).table.set_index(C.LATENT)
    shown = corrected(ConceptDictionary.load(folder), folder).table
    status = read_parquet(folder / layout.SCORES).set_index(C.LATENT)[C.STATUS]
    rows = []
    for placing in placed:
        entry, latent = placing.entry, placing.latent
        rows.append(
            {
                C.LATENT: entry.latent if latent is None else latent,
                "correction": "lost" if latent is None else entry.correction,
                C.NAME: entry.text,
                "tested as": None if latent is None else str(table.loc[latent, C.NAME]),
                "tested": None if latent is None else str(status[latent]),
                "note": _note(placing, shown),
            }
        )
    return rows


def _note(placing: Placed, shown: pd.DataFrame) -> str:
    entry = placing.entry
    if placing.latent is None:
        return f"no latent has its direction any more (nearest: cosine {placing.cosine:.2f})"
    if placing.latent != entry.latent:
        return f"was latent {entry.latent} (cosine {placing.cosine:.2f})"
    if entry.correction != RENAMED:
        return ""
    others = shown[(shown[C.NAME] == entry.text.strip()) & (shown[C.LATENT] != placing.latent)]
    return f"{len(others)} more have this name" if len(others) else ""
