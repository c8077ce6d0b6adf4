"""The terms of an item's score: what every active latent adds, and what the SAE leaves out.

Where scores are linear in the state that the SAE reads, the decomposition is exact::

    score(i) = bias_i + b . e_i + sum_j z_j (d_j . e_i) + (h - h_hat) . e_i

with the SAE's offset ``b``, directions ``d_j`` and reconstruction ``h_hat``, and item vectors
``e_i``. Elsewhere a latent's contribution is what its ablation takes away; those need not add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from recsae.core.errors import InvalidInput, RecSAEError
from recsae.recommender.lists import top_of_scores
from recsae.sae.editing import Intervention, make_edit

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from recsae.recommender.catalog import ItemCatalog
    from recsae.recommender.protocol import LinearHead, Recommender
    from recsae.recommender.sequences import Batch
    from recsae.sae.model import SAE

TOLERANCE = 1e-4
"""How far terms may be from the model's own scores, relative to the largest: float32's rounding
stays well below."""
RestKind = Literal["bias", "offset", "residual"]


@dataclass(frozen=True)
class Term:
    """What one latent adds to an item's score.

    ``centred`` is the same relative to the mean over items: what is added to every score alike
    changes no list, so this is what speaks for the item's rank.
    """

    latent: int
    activation: float
    contribution: float
    centred: float


@dataclass(frozen=True)
class Rest:
    """What is added to an item's score by a part that is no latent."""

    kind: RestKind
    """The model's own ``bias``, the SAE's ``offset`` (decoder bias and mean), or the ``residual``:
    what of the state the SAE does not reconstruct."""
    contribution: float
    centred: float


@dataclass(frozen=True)
class ScoreTerms:
    """The terms of an item's score, latents by the size of their centred contribution.

    ``rank`` is the item's place among ``n_ranked``, None if the list leaves it out. ``gap`` is how
    far the sum is from the model's own score, relative to the largest score, at the worst of all
    items; None with the method ``ablation``, whose terms need not add up.
    """

    item: int
    score: float
    above_mean: float
    rank: int | None
    n_ranked: int
    method: Literal["exact", "ablation"]
    terms: tuple[Term, ...]
    rest: tuple[Rest, ...]
    gap: float | None

    @property
    def total(self) -> float:
        """Sum of all contributions."""
        return sum(t.contribution for t in self.terms) + sum(r.contribution for r in self.rest)

    @property
    def total_centred(self) -> float:
        """Sum of all centred contributions."""
        return sum(t.centred for t in self.terms) + sum(r.centred for r in self.rest)


def explain_score(
    recommender: Recommender,
    sae: SAE,
    batch: Batch,
    item: int | None = None,
    *,
    site: str | None = None,
    seen: Sequence[int] | NDArray[np.int64] = (),
) -> ScoreTerms:
    """Decompose the score of an item after one history.

    Parameters
    ----------
    batch
        One history.
    item
        Internal id; the top recommendation if None.
    site
        The site that the SAE was trained on; default the first.
    seen
        Items that the recommender's lists leave out.

    Raises
    ------
    InvalidInput
        The id is of no item, or all items are left out.
    RecSAEError
        The terms do not add up to the model's own score.
    """
    scores, catalog = recommender.score(batch), recommender.catalog
    if item is None:
        item = _first_of_list(scores, catalog, seen)
    if item not in np.flatnonzero(catalog.recommendable):
        raise InvalidInput(f"There is no item with the internal id {item}.")
    head = recommender.linear_head() if is_default(recommender, site) else None
    own, gap = scores[0].double().numpy(), None
    terms: list[Term]
    rest: tuple[Rest, ...] = ()
    if head is None:
        terms = _ablated(recommender, sae, batch, site, item, own)
    else:
        states = recommender.represent(batch)
        terms, rest = _exact(sae, states, head, item, catalog)
        sums = _in_double(head).score(states.double())[0].numpy()
        sums[item] = sum(t.contribution for t in terms) + sum(r.contribution for r in rest)
        gap = _gap(sums, own, recommender)
    ranked = catalog.recommendable & np.isfinite(own)
    ranked[np.asarray(seen, dtype=np.int64)] = False
    return ScoreTerms(
        item,
        float(own[item]),
        float(above_mean(own, catalog)[item]),
        1 + int((own[ranked] > own[item]).sum()) if ranked[item] else None,
        int(ranked.sum()),
        "ablation" if head is None else "exact",
        tuple(sorted(terms, key=lambda term: -abs(term.centred))),
        rest,
        gap,
    )


def _first_of_list(
    scores: torch.Tensor, catalog: ItemCatalog, seen: Sequence[int] | NDArray[np.int64]
) -> int:
    top = top_of_scores(scores, catalog, 1, np.asarray(seen, dtype=np.int64))
    if not top:
        raise InvalidInput("The history has every item, so there is nothing to recommend.")
    return top[0]


def is_default(recommender: Recommender, site: str | None) -> bool:
    """Whether a site is the one whose states are multiplied with item vectors, if any are."""
    return site is None or site == recommender.sites()[0].name


def above_mean(scores: NDArray[np.float64], catalog: ItemCatalog) -> NDArray[np.float64]:
    """Scores ``(..., n_items)`` less their mean over items.

    Rows that are no items are left out of the mean, and items that a model scores as -inf because
    it never ranks them.
    """
    counts = catalog.recommendable & np.isfinite(scores)
    mean = np.where(counts, scores, 0).sum(-1, keepdims=True) / counts.sum(-1, keepdims=True)
    return np.asarray(scores - mean)


def _exact(
    sae: SAE, states: torch.Tensor, head: LinearHead, item: int, catalog: ItemCatalog
) -> tuple[list[Term], tuple[Rest, ...]]:
    """The terms of one state ``(1, d)``, in double precision; together they are ``head.score``."""
    import torch

    real, head = torch.from_numpy(catalog.recommendable), _in_double(head)
    vector, mean_vector = head.items[item], head.items[real].mean(0)
    bias = vector.new_zeros(len(head.items)) if head.bias is None else head.bias
    with torch.no_grad():
        code = sae.encode_sparse(states)
        active = code.values[0] > 0
        latents, values = code.indices[0][active], code.values[0][active].double()
        parts = values[:, None] * sae.decoder()[latents].double()
        offset = sae.mean.double() + sae.scale.double() * sae.b_dec.double()
        residual = states[0].double() - offset - parts.sum(0)
    rest = (
        Rest("bias", float(bias[item]), float(bias[item] - bias[real].mean())),
        Rest("offset", float(offset @ vector), float(offset @ (vector - mean_vector))),
        Rest("residual", float(residual @ vector), float(residual @ (vector - mean_vector))),
    )
    both = torch.stack([parts @ vector, parts @ (vector - mean_vector)], dim=1).tolist()
    terms = [
        Term(j, z, *added)
        for j, z, added in zip(latents.tolist(), values.tolist(), both, strict=True)
    ]
    return terms, rest


def _in_double(head: LinearHead) -> LinearHead:
    return head._replace(
        items=head.items.double(), bias=None if head.bias is None else head.bias.double()
    )


def _gap(sums: NDArray[np.float64], own: NDArray[np.float64], recommender: Recommender) -> float:
    """How far sums ``(n_items,)`` are from the model's own scores, relative to the largest."""
    catalog = recommender.catalog
    real = np.flatnonzero(catalog.recommendable & np.isfinite(own))
    apart = np.abs(sums - own)[real]
    gap = float(apart.max() / max(np.abs(own[real]).max(), 1e-12))
    if not gap <= TOLERANCE:
        worst = real[apart.argmax()]
        raise RecSAEError(
            f"The terms do not add up: for {catalog.external_ids[worst]!r} their sum is "
            f"{sums[worst]:.6g} and {recommender.name}'s own score {own[worst]:.6g}, so nothing is "
            "explained."
        )
    return gap


def _ablated(
    recommender: Recommender,
    sae: SAE,
    batch: Batch,
    site: str | None,
    item: int,
    own: NDArray[np.float64],
) -> list[Term]:
    """What the score loses when each latent that is active at the last item is set to 0."""
    import torch

    with torch.no_grad():
        code = sae.encode_sparse(recommender.represent(batch, site))
    centred, terms = above_mean(own, recommender.catalog), []
    for value, latent in zip(code.values[0].tolist(), code.indices[0].tolist(), strict=True):
        if value <= 0:
            continue
        with recommender.edit(make_edit(sae, [Intervention((latent,), "set", 0.0)]), site):
            without = recommender.score(batch)[0].double().numpy()
        lost = centred[item] - above_mean(without, recommender.catalog)[item]
        terms.append(Term(latent, value, float(own[item] - without[item]), float(lost)))
    return terms
