"""Cases on which methods are measured: their scores, and what all methods share on them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from recsae.steering.frontier import LIST_LENGTH, curve, outcome, outcome_of
from recsae.steering.steps.applied import Applied

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recsae.steering.frontier import Counted, Expects, Outcome, Point, Steered
    from recsae.steering.methods import SteeringMethod
    from recsae.steering.steered_scores import SteeredScores
    from recsae.steering.steps.first import FirstItems
    from recsae.steering.tuning.losses import Expectation


class Scored:
    """Cases with the outcome of their lists without steering, and each method applied to them once.

    Parameters
    ----------
    scorer
        The scores of the cases.
    counted
        What is counted in the lists.
    expectation
        What NDCG@10 lists of the cases may expect, where it is asked for.
    first
        The first items of the cases, where several methods begin with them.
    """

    def __init__(
        self,
        scorer: SteeredScores,
        counted: Counted,
        expectation: Expectation | None = None,
        first: FirstItems | None = None,
    ) -> None:
        self.scorer, self.cases, self.counted = scorer, scorer.cases, counted
        self._expectation, self._first = expectation, first
        self._lists = Applied().lists(scorer, LIST_LENGTH)
        self.before = outcome_of(self._lists, self.cases, counted)
        self._expected: dict[bool, Outcome] = {}
        self._applied: dict[SteeringMethod, Steered] = {}

    def unsteered(self, method: SteeringMethod) -> Outcome:
        """The outcome without steering, with what the probabilities that the method goes by
        expect."""
        if method.by_own not in self._expected:
            expects = self._expects(method)
            expected = None if expects is None else self.cases.per_user(expects(self._lists))
            self._expected[method.by_own] = self.before._replace(expected=expected)
        return self._expected[method.by_own]

    def on(self, method: SteeringMethod) -> Steered:
        """The method applied to the cases; it keeps what its strengths have in common."""
        if method not in self._applied:
            self._applied[method] = method.on(self.scorer, self._first)
        return self._applied[method]

    def forget(self, method: SteeringMethod) -> None:
        """Drop what a method keeps."""
        self._applied.pop(method, None)

    def outcome(self, method: SteeringMethod, strength: float) -> Outcome:
        """Measure the lists at a strength; at 0 nothing is done."""
        if not strength:
            return self.before
        return outcome(self.cases, self.on(method), strength, self.counted)

    def curve(
        self, method: SteeringMethod, strengths: Iterable[float], until: float = 1.0
    ) -> list[Point]:
        """Measure outcomes, and what is expected, at ascending strengths until a loss is lost."""
        return curve(
            *(self.cases, self.on(method), strengths, self.counted),
            *(self.unsteered(method), until, self._expects(method)),
        )

    def _expects(self, method: SteeringMethod) -> Expects | None:
        known = self._expectation
        if known is None or (known.better is None and not method.by_own):
            return None
        return partial(known.ndcg, by_own=method.by_own)
