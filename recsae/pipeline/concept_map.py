"""Places of concepts on a map: close together are those that do the same to the item scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsae.concepts.status import usefulness, verified_latents, with_back
from recsae.core import columns as C
from recsae.recommender.score_metric import root_of

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from recsae.run.workspace import Workspace

MAX_CONCEPTS = 300
"""At most so many concepts are on the map, the most useful ones."""
MIN_CONCEPTS = 3
"""Fewer make no map."""
PERPLEXITY = 15.0
"""About how many neighbours of a concept t-SNE keeps close to it, where there are enough."""
DECIMALS = 4

Place = tuple[float, float]


def places_of_concepts(work: Workspace, scores: pd.DataFrame) -> dict[int, Place]:
    """``(x, y)`` of verified concepts by their latents, both between -1 and 1.

    Parameters
    ----------
    scores
        The tested labels, one row per latent.

    Returns
    -------
    dict
        Empty where fewer than three concepts are verified.
    """
    verified = scores[scores[C.LATENT].isin(verified_latents(scores))]
    useful = usefulness(with_back(verified, work.folder))
    order = np.lexsort((verified[C.LATENT], -useful))[:MAX_CONCEPTS]
    latents = np.sort(verified[C.LATENT].to_numpy(np.int64)[order])
    if len(latents) < MIN_CONCEPTS:
        return {}
    directions = work.sae.directions().cpu().double().numpy()[latents]
    places = layout(directions @ root_of(work.metric))
    return {int(j): (float(x), float(y)) for j, (x, y) in zip(latents, places, strict=True)}


def layout(effects: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(n, 2)`` places of n effects ``(n, d)`` on scores: t-SNE of their directions.

    It starts from the principal components and draws no number, so it is the same in every run.
    Places are between -1 and 1, and rounded.

    >>> layout(np.eye(3)).shape
    (3, 2)
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # sums of several threads are of another order each time
        length = np.linalg.norm(effects, axis=1, keepdims=True)
        unit = effects / np.maximum(length, 1e-12)
        places = _neighbours_kept(unit, _principal(unit))
    places = places - (places.min(0) + places.max(0)) / 2
    return np.asarray(np.round(places / max(float(np.abs(places).max()), 1e-12), DECIMALS) + 0.0)


def _principal(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(n, 2)`` first principal components, each of the sign that its largest entry has."""
    left, size, _ = np.linalg.svd(unit - unit.mean(0), full_matrices=False)
    places = np.zeros((len(unit), 2))
    places[:, : len(size[:2])] = left[:, :2] * size[:2]
    largest = places[np.abs(places).argmax(0), [0, 1]]
    return np.asarray(places * np.where(largest < 0, -1.0, 1.0))


def _neighbours_kept(unit: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """t-SNE from a start ``(n, 2)``; the start itself where there are too few for neighbours."""
    perplexity = min(PERPLEXITY, (len(unit) - 1) / 3)
    if perplexity < 2 or not start[:, 0].std() > 1e-9:
        return start
    from sklearn.manifold import TSNE

    found = TSNE(
        2,
        perplexity=perplexity,
        init=(start / start[:, 0].std() * 1e-4).astype(np.float32),
        method="exact",
        random_state=0,
        n_jobs=1,
    ).fit_transform(unit)
    return np.asarray(found, dtype=np.float64)
