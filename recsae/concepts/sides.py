"""Two sides of a concept: what it follows in the history, and what it brings to the lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from recsae.concepts.attributes.names import DERIVED, ITEM_ITSELF, VIEWS
from recsae.core import columns as C

if TYPE_CHECKING:
    import scipy.sparse

    from recsae.capture.cases import Cases
    from recsae.concepts.labeler import AttributeLabeler

Side = Literal["follows", "brings"]
Kind = Literal["item", "theme", "situation", "general"]
FOLLOWS: Side = "follows"
BRINGS: Side = "brings"
_FIGURES = (C.PRECISION, C.PRECISION_LOW, C.RECALL, C.RECALL_LOW, C.F1)
OTHER_SIDE = {name: f"other_{name}" for name in (C.NAME, C.LABEL, *_FIGURES)}
"""Columns of the scores that say what a concept's other side is and how right that is."""
OF_LISTS = ("top1", "top10")
"""Views of what the model recommends; all others are of what came before."""


def side_of(view: str | None) -> Side | None:
    """The side that a predicate speaks of; None without one.

    >>> side_of("last5"), side_of("top10"), side_of(None)
    ('follows', 'brings', None)
    """
    if view is None:
        return None
    return BRINGS if view in OF_LISTS else FOLLOWS


def kind_of(attribute: str | None) -> Kind:
    """What sort of concept a label speaks of, from the attribute of its first predicate.

    >>> kind_of("item"), kind_of("genre"), kind_of("length"), kind_of(None)
    ('item', 'theme', 'situation', 'general')
    """
    if attribute is None:
        return "general"
    if attribute == ITEM_ITSELF:
        return "item"
    return "situation" if attribute in DERIVED else "theme"


def other_sides(
    labels: pd.DataFrame,
    code: scipy.sparse.csr_matrix,
    cases: Cases,
    labeler: AttributeLabeler,
) -> pd.DataFrame:
    """For each latent the best single predicate of the side that its label does not speak of.

    Parameters
    ----------
    labels
        Of all latents; those without a predicate are looked at from the history.
    code
        ``(n, n_latents)`` activations of construction cases, on which predicates are chosen as for
        labels: on a half of the users, and confirmed on the other.

    Returns
    -------
    DataFrame
        As labels; without a predicate for a latent that is never active.
    """
    brings = np.array([side_of(view) == BRINGS for view in labels[C.VIEW]], dtype=bool)
    found: list[pd.DataFrame] = []
    for wanted, latents in ((FOLLOWS, np.flatnonzero(brings)), (BRINGS, np.flatnonzero(~brings))):
        if len(latents):
            views = [view for view in VIEWS if side_of(view) == wanted]
            rows = labeler.label_of_views(code[:, latents], cases, views)
            rows[C.LATENT] = latents
            found.append(rows)
    table = pd.concat(found) if found else pd.DataFrame(columns=list(C.LABEL_COLUMNS))
    return table.sort_values(C.LATENT, ignore_index=True)
