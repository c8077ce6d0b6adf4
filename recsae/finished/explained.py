"""Why an item has its score, with the titles of items and the names of concepts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from recsae.attribution.explanation import Drivers, Explanation, explain
from recsae.attribution.integrated_gradients import Baseline
from recsae.core import columns as C
from recsae.core.notebook.cells import Table, card
from recsae.run.open import list_request
from recsae.steering.lists import ListedItem

if TYPE_CHECKING:
    from recsae.attribution.explanation import Method
    from recsae.recommender.catalog import ItemCatalog
    from recsae.run.workspace import Workspace

N_SHOWN = 8
"""Rows of each table that a notebook shows."""


@dataclass(frozen=True)
class ExplainedItem:
    """Why an item has its score after a history: concepts, and the items that drive them."""

    explanation: Explanation
    """Terms of the score, and drivers; items are internal ids."""
    item: ListedItem
    history: tuple[ListedItem, ...]
    """The m items that the model reads, oldest first."""
    n_known: int
    """Items of the history before it is cut to what the model reads."""
    per_user: bool
    """Whether the model keeps a state for each user and reads no history."""
    baseline: Baseline
    """Where the paths of the gradients begin."""
    concepts: pd.DataFrame
    """Name and status of every concept, by latent."""

    @property
    def terms(self) -> pd.DataFrame:
        """What each active latent adds to the score, by the size of ``centred``.

        ``contribution`` is in the units of the score, ``centred`` the same less its mean over
        items.
        """
        rows = [
            (
                term.latent,
                self.concepts[C.NAME][term.latent],
                self.concepts[C.STATUS][term.latent],
                term.activation,
                term.contribution,
                term.centred,
            )
            for term in self.explanation.score.terms
        ]
        columns = [C.LATENT, C.NAME, C.STATUS, C.ACTIVATION, "contribution", "centred"]
        return pd.DataFrame(rows, columns=columns)

    def drivers(self, latent: int | None = None) -> pd.DataFrame:
        """The history items that drive the score, or a latent that was attributed, strongest first.

        One row for each item of the history: how many places ``back`` it stands, ``item``,
        ``title``, and by each method that is available (``left_out``, ``gradients``) how much it
        adds. Empty where it was not attributed.
        """
        for one in self.explanation.drivers:
            if one.latent == latent:
                return self._driven(one)
        return pd.DataFrame(columns=["back", C.ITEM, C.TITLE])

    def _driven(self, drivers: Drivers) -> pd.DataFrame:
        m = len(self.history)
        table = pd.DataFrame(
            {
                "back": range(m, 0, -1),
                C.ITEM: [item.external_id for item in self.history],
                C.TITLE: [item.title for item in self.history],
            }
        )
        columns = {
            "left_out": drivers.left_out,
            "gradients": None if drivers.gradients is None else drivers.gradients.attributions,
        }
        given = {name: values for name, values in columns.items() if values is not None}
        table = table.assign(**given)
        return table.sort_values(next(iter(given)), key=abs, ascending=False, kind="stable")

    def __repr__(self) -> str:
        return f"ExplainedItem({self.item.title!r}: {self._place()}, {len(self.terms)} latents)"

    def _place(self) -> str:
        score = self.explanation.score
        if score.rank is None:
            return "left out of the list"
        return f"rank {score.rank:,} of {score.n_ranked:,}"

    def _repr_html_(self) -> str:
        score = self.explanation.score
        facts = {
            "place": self._place(),
            "score": f"{score.score:.4g}, {score.above_mean:+.4g} against the mean over items",
            "history": " | ".join(item.title for item in self.history[-N_SHOWN:]),
        }
        terms = self.terms.head(N_SHOWN).assign(latent=lambda t: t[C.LATENT].astype(str))
        tables = [
            Table("What concepts add to the score", list(terms.columns), terms.to_numpy().tolist())
        ]
        driven = self.drivers().head(N_SHOWN)
        title = "Items of the history that drive the score"
        tables.append(Table(title, list(driven.columns), driven.to_numpy().tolist()))
        facts |= {f"note {n}": note for n, note in enumerate(self.explanation.notes, 1)}
        return card(f"Why {self.item.title}?", facts, tables)


def explained_item(
    work: Workspace,
    concepts: pd.DataFrame,
    user: str | None,
    sequence: str | Iterable[str] | None,
    item: str | None,
    *,
    latents: Sequence[int],
    method: Method,
    baseline: Baseline,
    mask_seen: bool,
) -> ExplainedItem:
    """Explain an item of a list; ``concepts`` are those of the run, one row for each latent.

    See :meth:`recsae.finished.opened.OpenRun.explain`.
    """
    catalog = work.recommender.catalog
    request = list_request(work.recommender, user, sequence, mask_seen=mask_seen)
    explanation = explain(
        work.recommender,
        work.sae,
        request.batch,
        None if item is None else catalog.internal(item),
        site=work.site,
        seen=request.seen,
        latents=latents,
        method=method,
        baseline=baseline,
    )
    return ExplainedItem(
        explanation,
        _listed(catalog, explanation.score.item),
        tuple(_listed(catalog, one) for one in explanation.history),
        len(request.history),
        work.recommender.sites()[0].per_user,
        baseline,
        concepts.set_index(C.LATENT)[[C.NAME, C.STATUS]],
    )


def _listed(catalog: ItemCatalog, internal: int) -> ListedItem:
    return ListedItem(catalog.titles[internal], catalog.external_ids[internal])
