"""Integrated gradients of numbers by the items of a history, along a path from a baseline.

Sundararajan, Taly & Yan 2017 (arXiv 1703.01365), section 3; over several baselines the average,
which is expected gradients (Erion et al. 2021, arXiv 1906.10670). The path leads from the vectors
of the baseline to those that the model looks up for the items, through
:meth:`recsae.recommender.protocol.Recommender.represent_from`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from recsae.core.errors import CannotOpenModel, InvalidInput, NotEnoughData
from recsae.recommender.protocol import as_recommender
from recsae.recommender.sequences import Batch, pad, split_users

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender

Baseline = Literal["zero", "mean-user", "popular-user", "sampled-users"]
BASELINES: tuple[Baseline, ...] = ("zero", "mean-user", "popular-user", "sampled-users")
FIRST_STEPS = 16
"""Points on a path to begin with; doubled until the attributions add up."""
MAX_STEPS = 512
"""Points on a path at most."""
TOLERANCE = 0.01
"""Gap to which attributions add up, relative to the sum of their sizes."""
ROWS = 64
"""Points in one backward pass: bounds the memory."""
USERS_AT_ONCE = 256
"""Users whose vectors are looked up together: bounds the memory."""
N_SAMPLED = 16
"""Users behind the baseline ``sampled-users``."""
N_AVERAGED = 2000
"""Users behind the baseline ``mean-user``, at most."""
SAME_STATES = 1e-5
"""How far states may be from the model's own, relative to the largest: float32's rounding."""


@dataclass(frozen=True)
class Integrated:
    """Attributions of m history items for q numbers.

    ``attributions (m, q)`` add up to ``value - baseline_value``, both ``(q,)``, but for ``gap``:
    the difference relative to the sum of the attributions' sizes. ``steps`` is the number of points
    on each path.
    """

    attributions: NDArray[np.float64]
    value: NDArray[np.float64]
    baseline_value: NDArray[np.float64]
    gap: NDArray[np.float64]
    steps: int

    @property
    def complete(self) -> NDArray[np.bool_]:
        """``(q,)`` whether the gap is within 1 %."""
        return self.gap <= TOLERANCE


def integrate(
    numbers: Callable[[torch.Tensor], torch.Tensor],
    vectors: torch.Tensor,
    baselines: torch.Tensor,
    *,
    max_steps: int = MAX_STEPS,
) -> Integrated:
    """Integrate gradients along straight paths, by Gauss-Legendre quadrature.

    The number of points is doubled until the attributions add up.

    Parameters
    ----------
    numbers
        ``(n, m, d)`` vectors to ``(n, q)`` numbers, each row by itself, differentiable.
    vectors
        ``(m, d)`` where the paths end.
    baselines
        ``(b, m, d)`` where they begin; attributions are averaged over them.

    >>> square = lambda v: v.square().sum((1, 2))[:, None]
    >>> integrated = integrate(square, torch.tensor([[1.0], [2.0]]), torch.zeros(1, 2, 1))
    >>> integrated.attributions[:, 0].round(4).tolist()
    [1.0, 4.0]
    """
    with torch.no_grad():
        value = numbers(vectors[None])[0].detach().double().numpy()
        starts = [numbers(part).detach() for part in baselines.split(ROWS)]
    start, steps = torch.cat(starts).double().mean(0).numpy(), min(FIRST_STEPS, max_steps)
    while True:
        along = [_along(numbers, vectors, baseline, steps, len(value)) for baseline in baselines]
        mean = np.mean(along, axis=0)
        apart = np.abs(mean.sum(0) - (value - start))
        gap = apart / np.maximum(np.abs(mean).sum(0), 1e-12)
        if (gap <= TOLERANCE).all() or steps >= max_steps:
            return Integrated(mean, value, start, gap, steps)
        steps = min(2 * steps, max_steps)


def _along(
    numbers: Callable[[torch.Tensor], torch.Tensor],
    vectors: torch.Tensor,
    baseline: torch.Tensor,
    steps: int,
    n_numbers: int,
) -> NDArray[np.float64]:
    """Attributions ``(m, q)`` on one path."""
    places, weights = np.polynomial.legendre.leggauss(steps)  # type: ignore[no-untyped-call]
    share = torch.from_numpy((places + 1) / 2).to(vectors.dtype)[:, None, None]
    weight, change = torch.from_numpy(weights / 2)[:, None, None], vectors - baseline
    mean = torch.zeros(n_numbers, *change.shape, dtype=torch.float64)
    for part, mine in zip(share.split(ROWS), weight.split(ROWS), strict=True):
        points = (baseline + part * change).requires_grad_()
        for number, total in enumerate(numbers(points).sum(0)):
            (slope,) = torch.autograd.grad(total, points, retain_graph=True, materialize_grads=True)
            mean[number] += (slope.double() * mine).sum(0)
    attributions: NDArray[np.float64] = (mean * change).sum(2).T.numpy()
    return attributions


def vectors_of(recommender: Recommender, batch: Batch, site: str | None = None) -> torch.Tensor:
    """The vectors that the model looks up for the m items of one history, ``(m, d_in)``.

    Verified on this history: given these vectors the states are the model's own, also when the
    items are replaced by others, and they can be differentiated.

    Raises
    ------
    CannotOpenModel
        Gradients are not available; the message says why.
    """
    name = as_recommender(recommender).name
    vectors = recommender.input_vectors(batch)
    own = recommender.represent(batch, site)
    limit = SAME_STATES * float(own.abs().max())
    real = np.flatnonzero(recommender.catalog.recommendable)
    following = torch.zeros(recommender.catalog.n_items, dtype=torch.int64)
    following[real] = torch.from_numpy(np.roll(real, -1))
    others = batch._replace(items=following[batch.items])
    for shown, what in (
        (batch, "does not give the same states when it is given the vectors of its own items"),
        (others, "knows more of its items than the vectors that it looks up, such as attributes"),
    ):
        states = recommender.represent_from(shown, vectors, site)
        if not float((states.detach() - own).abs().max()) <= limit:
            raise CannotOpenModel(f"{name} {what}.")
    given = vectors.clone().requires_grad_()
    try:
        states = recommender.represent_from(batch, given, site)
        torch.autograd.grad(states.sum(), given, materialize_grads=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise CannotOpenModel(f"{name} cannot be differentiated ({reason}).") from error
    return vectors[0, : int(batch.lengths[0])]


def baseline_vectors(
    recommender: Recommender, name: Baseline, batch: Batch, *, seed: int = 0
) -> torch.Tensor:
    """The baselines at which paths to one history of m items begin, ``(b, m, d_in)``.

    Parameters
    ----------
    name
        ``zero``: vectors of zeros. ``mean-user``: at each place, counted from the newest item, the
        mean over construction users (2,000 drawn, if there are more). ``popular-user``: the m items
        most frequent among construction users, the most frequent one newest. ``sampled-users``:
        the last m items of 16 construction users drawn from those who have as many.

    Raises
    ------
    InvalidInput
        There is no such baseline.
    NotEnoughData
        ``sampled-users``, and no construction user has m items.
    """
    longest, m = recommender.max_length, int(batch.lengths[0])
    if name not in BASELINES:
        raise InvalidInput(f"There is no baseline {name!r}: it is one of {', '.join(BASELINES)}.")
    if name == "zero":
        return torch.zeros_like(recommender.input_vectors(batch)[:, :m])
    sequences, rng = recommender.sequences(), np.random.default_rng(seed)
    rows = np.flatnonzero(~split_users(sequences) & (sequences.known > 0))
    if name == "popular-user":
        return recommender.input_vectors(pad([_popular(recommender, rows, m)], longest))[:, :m]
    if name == "mean-user":
        return _mean_user(recommender, _draw(rows, N_AVERAGED, rng), m)
    rows = rows[sequences.known[rows] >= m]
    if not len(rows):
        raise NotEnoughData(
            f"No construction user has the {m} items of this history, so there is nobody to "
            "sample: choose another baseline."
        )
    return recommender.input_vectors(_latest(recommender, _draw(rows, N_SAMPLED, rng), m))[:, :m]


def _popular(recommender: Recommender, rows: NDArray[np.int64], m: int) -> list[int]:
    """The m items that most of these users know, the most popular one last."""
    sequences = recommender.sequences()
    known = np.concatenate([sequences[row][: sequences.known[row]] for row in rows])
    counts = np.bincount(known, minlength=recommender.catalog.n_items)
    counts[~recommender.catalog.recommendable] = -1
    best = np.argsort(-counts, kind="stable")[: int(recommender.catalog.recommendable.sum())]
    return [int(item) for item in np.resize(best, m)[::-1]]


def _mean_user(recommender: Recommender, rows: NDArray[np.int64], m: int) -> torch.Tensor:
    """The mean vectors of users' last m items, ``(1, m, d_in)``.

    At places that no user has, the mean over all places.
    """
    total, count = torch.zeros(()), torch.zeros(())
    for part in np.array_split(rows, -(-len(rows) // USERS_AT_ONCE)):
        newest = _latest(recommender, part, m)
        column = newest.lengths[:, None] - m + torch.arange(m)  # the newest item comes last
        known = (column >= 0)[:, :, None]
        row = torch.arange(len(part))[:, None]
        vectors = recommender.input_vectors(newest)[row, column.clamp_min(0)].double()
        total, count = total + (vectors * known).sum(0), count + known.sum(0)
    mean = torch.where(count > 0, total / count.clamp_min(1), total.sum(0) / count.sum())
    return mean.float()[None]


def _draw(rows: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(rng.choice(rows, min(n, len(rows)), replace=False))


def _latest(recommender: Recommender, rows: NDArray[np.int64], m: int) -> Batch:
    """The last m known items of some users."""
    sequences = recommender.sequences()
    ends = sequences.known[rows]
    return sequences.batch(rows, np.maximum(0, ends - m), ends, recommender.max_length)
