"""Which concepts do what they say when turned, as a person reads it in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsae.cli.shared.tables import ROWS, Column, Columns, say, show_rows, show_table
from recsae.core import columns as C
from recsae.report.schema.obeyed import Obeyed as Block
from recsae.report.words import obeyed as words
from recsae.report.words.formats import two_digits
from recsae.steering.obeyed import results as R

if TYPE_CHECKING:
    import pandas as pd

    from recsae.steering.obeyed.results import Obeyed

TWO_BY_TWO = (
    *("units", "verified", "obeyed too", "readable only"),
    *(
        Column("not verified", optional=True),
        "obeyed only",
        Column("neither", optional=True),
        "by chance",
    ),
)
ONLY_READABLE: Columns = {
    C.LATENT: "latent",
    C.NAME: "name",
    R.PREDICTED: "label says",
    R.UP: Column("turned up", two_digits),
    R.DOWN: Column("down", two_digits),
    R.OBEYED: "does it",
}


def show_obeyed(obeyed: Obeyed, *, everything: bool) -> None:
    """The two-by-twos, and the verified concepts that do not do what they say."""
    block = Block.model_validate(obeyed.summary.to_dict())
    say(f"{words.finding(block) or 'No concept that was tested speaks of items.'}\n")
    show_table(TWO_BY_TWO, words.table(block), top=None)
    say("\nBy chance: with the labels of other verified units.")
    for said in filter(None, (words.without_items(block), *words.not_turned(block))):
        say(f"\n{said}")
    only = _only_readable(obeyed.table)
    if len(only):
        say("\nOnly readable, with the share of their items in the top 10:")
        records = [{str(k): v for k, v in row.items()} for row in only.to_dict("records")]
        show_rows(ONLY_READABLE, records, top=None if everything else ROWS)
    say("")


def _only_readable(table: pd.DataFrame) -> pd.DataFrame:
    """The verified concepts that are not obeyed, the opposite first."""
    mine = table[(table[R.CODE] == "sae") & table[R.READABLE] & (table[R.OBEYED] != R.YES)]
    return mine.sort_values(R.OBEYED, key=lambda said: said != R.NO, kind="stable")
