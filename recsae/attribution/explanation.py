"""An explanation of a recommendation: its score's terms, and the history items behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from recsae.attribution.drivers import (
    Agreement,
    LeaveOneOut,
    agreement,
    integrate_latents,
    integrate_score,
    leave_out,
)
from recsae.attribution.score_terms import ScoreTerms, explain_score
from recsae.core.errors import CannotOpenModel, InvalidInput, NotEnoughData

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.attribution.integrated_gradients import Baseline, Integrated
    from recsae.recommender.protocol import Recommender
    from recsae.recommender.sequences import Batch
    from recsae.sae.model import SAE

Method = Literal["leave-one-out", "gradients", "both"]
METHODS: tuple[Method, ...] = ("leave-one-out", "gradients", "both")
N_LATENTS = 3
"""Latents that :func:`explain` attributes to the history: those that add most to the score."""


@dataclass(frozen=True)
class GradientAttribution:
    """Integrated gradients of one number by the m items of a history."""

    attributions: NDArray[np.float64]
    """``(m,)``; they add up to ``value - baseline_value`` but for the ``gap``."""
    value: float
    baseline_value: float
    gap: float
    """Relative to the sum of the attributions' sizes."""
    complete: bool
    steps: int


@dataclass(frozen=True)
class Drivers:
    """How much each of m history items drives a latent or, where ``latent`` is None, the score.

    ``left_out (m,)`` is what is lost without an item: of a latent's pre-activation (and of its
    activation, ``left_out_activation``), or of the score less the mean over items. ``gradients``
    are of the same number. None where a method was not chosen or is not available.
    """

    latent: int | None
    activation: float | None = None
    left_out: NDArray[np.float64] | None = None
    left_out_activation: NDArray[np.float64] | None = None
    gradients: GradientAttribution | None = None

    @property
    def agreement(self) -> Agreement | None:
        """How much the two methods agree, where there are both."""
        if self.left_out is None or self.gradients is None:
            return None
        return agreement(self.left_out, self.gradients.attributions)


@dataclass(frozen=True)
class Explanation:
    """The score of an item after a history: its terms, and the history items that drive them.

    ``history`` are internal ids of the m items that the model reads, oldest first; ``notes`` say
    what is not available, and why.
    """

    history: tuple[int, ...]
    score: ScoreTerms
    drivers: tuple[Drivers, ...]
    notes: tuple[str, ...] = field(default=())


def explain(
    recommender: Recommender,
    sae: SAE,
    batch: Batch,
    item: int | None = None,
    *,
    site: str | None = None,
    seen: Sequence[int] | NDArray[np.int64] = (),
    latents: Sequence[int] = (),
    n_latents: int = N_LATENTS,
    method: Method = "both",
    baseline: Baseline = "sampled-users",
) -> Explanation:
    """Decompose an item's score and attribute it and its strongest latents to history items.

    Parameters
    ----------
    batch, item, site, seen
        See :func:`recsae.attribution.score_terms.explain_score`.
    latents
        Latents to attribute besides the ``n_latents`` that add most to the score.
    method, baseline
        How attributions are made; see :mod:`recsae.attribution.drivers` and
        :func:`recsae.attribution.integrated_gradients.baseline_vectors`.

    Raises
    ------
    InvalidInput
        There is no such item, latent, method or baseline.
    CannotOpenModel, NotEnoughData
        The method is ``gradients``, and they are not available.
    RecSAEError
        The terms do not add up to the model's own score.
    """
    if method not in METHODS:
        raise InvalidInput(f"There is no method {method!r}: it is one of {', '.join(METHODS)}.")
    for latent in latents:
        if not 0 <= latent < sae.n_latents:
            raise InvalidInput(
                f"There is no latent {latent}: latents are numbered 0 to {sae.n_latents - 1}."
            )
    terms = explain_score(recommender, sae, batch, item, site=site, seen=seen)
    strongest = [term.latent for term in terms.terms[:n_latents]]
    targets = list(dict.fromkeys([*strongest, *latents]))
    attributions = _Attributed(
        recommender, sae, batch, targets, terms.item, site, baseline
    ).attributions(method)
    history = tuple(batch.items[0, : int(batch.lengths[0])].tolist())
    drivers = _drivers(targets, terms, attributions)
    return Explanation(history, terms, drivers, tuple(attributions.notes))


class _Attributions(NamedTuple):
    """The attributions that are available, and in ``notes`` why others are not."""

    left_out: LeaveOneOut | None
    of_latents: Integrated | None
    of_score: Integrated | None
    notes: list[str]


@dataclass(frozen=True)
class _Attributed:
    """Some latents and an item's score, which are attributed to the items of one history."""

    recommender: Recommender
    sae: SAE
    batch: Batch
    latents: list[int]
    item: int
    site: str | None
    baseline: Baseline

    def attributions(self, method: Method) -> _Attributions:
        """The attributions by a method, as far as they are available."""
        name, left_out = self.recommender.name, None
        if self.recommender.sites()[0].per_user:
            note = (
                f"{name} keeps one state for each user, whatever of the history is shown, so that "
                "no item of it can be said to drive a latent."
            )
            return _Attributions(None, None, None, [note])
        notes: list[str] = []
        if method != "gradients":
            left_out = self.left_out(notes)
        if method == "leave-one-out":
            return _Attributions(left_out, None, None, notes)
        try:
            return _Attributions(left_out, *self.gradients(notes), notes)
        except (CannotOpenModel, NotEnoughData) as error:
            if method == "gradients":
                raise
            notes.append(f"Gradients are not available: {error}")
            return _Attributions(left_out, None, None, notes)

    def left_out(self, notes: list[str]) -> LeaveOneOut | None:
        if int(self.batch.lengths[0]) < 2:
            notes.append("The history has one item, which cannot be left out.")
            return None
        return leave_out(
            self.recommender, self.sae, self.batch, self.latents, self.item, site=self.site
        )

    def gradients(self, notes: list[str]) -> tuple[Integrated, Integrated | None]:
        of_latents = integrate_latents(
            self.recommender,
            self.sae,
            self.batch,
            self.latents,
            baseline=self.baseline,
            site=self.site,
        )
        head = self.recommender.linear_head()
        if head is None:
            notes.append(
                f"Scores of {self.recommender.name} are not linear in its states: gradients are of "
                "latents alone."
            )
            return of_latents, None
        of_score = integrate_score(
            self.recommender, head, self.batch, self.item, baseline=self.baseline
        )
        return of_latents, of_score


def _drivers(
    latents: list[int],
    terms: ScoreTerms,
    attributions: _Attributions,
) -> tuple[Drivers, ...]:
    """Drivers of the score, then of each latent; none where no method is available."""
    left_out, of_latents, of_score, _ = attributions
    if left_out is None and of_latents is None:
        return ()
    active = {term.latent: term.activation for term in terms.terms}
    drivers = [
        Drivers(
            None,
            left_out=None if left_out is None else left_out.above_mean,
            gradients=None if of_score is None else _gradients(of_score, 0),
        )
    ]
    for place, latent in enumerate(latents):
        drivers.append(
            Drivers(
                latent,
                active.get(latent, 0.0),
                None if left_out is None else left_out.preactivations[:, place],
                None if left_out is None else left_out.activations[:, place],
                None if of_latents is None else _gradients(of_latents, place),
            )
        )
    return tuple(drivers)


def _gradients(integrated: Integrated, column: int) -> GradientAttribution:
    return GradientAttribution(
        integrated.attributions[:, column],
        float(integrated.value[column]),
        float(integrated.baseline_value[column]),
        float(integrated.gap[column]),
        bool(integrated.complete[column]),
        integrated.steps,
    )
