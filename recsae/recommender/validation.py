"""Are these the data that the model was trained on? Its own validation score tells.

A framework numbers items as they come up in its files. In another order, or with other rows, the
same model still opens, and every title belongs to another item. What it scored in validation is
then out of reach; on the data of its training it comes out to the last decimal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.core.errors import CannotOpenModel, NotEnoughData
from recsae.recommender.evaluation import evaluate, keep_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.protocol import EvaluationCases, Recommender, StatedScore

FIRST_GROUPS = 512
"""So many cases are tried first; four times as many where they leave it in doubt."""
FEWEST_GROUPS = 64
"""Fewer are not tried first, however many items there are."""
FIRST_SCORES = 4_000_000
"""About so many scores are worked out for the first cases."""
IN_DOUBT = 2.0
"""Standard errors of a sample's mean beyond which more cases are looked at."""
ABOVE_CHANCE = 6.0
"""Standard errors by which a stated score must be above 0 for a sample to tell anything."""
BY_CHANCE = 6.0
"""Standard errors that two draws of candidates may be apart."""
RELATIVE, OF_ONE_CASE = 0.02, 0.5
"""What arithmetic of another machine may change: this part of the score, or of one case."""
NOT_COMPARED = (
    "whether these are the data that the model was trained on could not be tried by its score in "
    "validation."
)


@dataclass(frozen=True)
class Validation:
    """A model's stated score beside the one that it has on the data at hand."""

    metric: str
    stated: float | None
    found: float | None
    n_cases: int
    n_all: int
    note: str
    """What people must know of it; "" if the scores agree."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return vars(self).copy()


def compare_with_stated(recommender: Recommender, *, every_case: bool = False) -> Validation | None:
    """Compare with what the checkpoint states; None where the plug-in states nothing.

    A sample of the cases comes first, and all of them where it leaves a doubt or ``every_case``.

    Raises
    ------
    CannotOpenModel
        The score cannot be that of these data.
    """
    stated = recommender.stated_score()
    if stated is None:
        return None
    try:
        cases = None if stated.unknown else recommender.evaluation("valid")
    except NotEnoughData:
        stated = replace(stated, unknown="no interactions are kept for validation")
        cases = None
    if cases is None:
        note = f"{stated.unknown[:1].upper()}{stated.unknown[1:]}: {NOT_COMPARED}"
        return Validation(stated.metric, None, None, 0, 0, note)
    return _compared(recommender, stated, cases, every_case)


def _compared(
    recommender: Recommender, stated: StatedScore, cases: EvaluationCases, every_case: bool
) -> Validation:
    n_all = int(cases.groups.max()) + 1
    values: NDArray[np.float64] = np.zeros(0)
    for groups in _samples(n_all, recommender.catalog.n_items, every_case):
        values = evaluate(recommender, keep_groups(cases, groups))[stated.metric]
        error = float(values.std()) * np.sqrt(1 / len(values) - 1 / n_all)
        apart = abs(float(values.mean()) - stated.value) - stated.rounding
        if apart < IN_DOUBT * error and error < stated.value / ABOVE_CHANCE:
            break
    found = float(values.mean())
    shown = f"{_shown(stated.metric)} {found:.4f} instead of {stated.value:.4f} in validation"
    note = ""
    if len(values) == n_all:  # what differs more than arithmetic can is not the model's own
        note = _judged(recommender, stated, values, shown)
    return Validation(stated.metric, stated.value, found, len(values), n_all, note)


def _judged(
    recommender: Recommender, stated: StatedScore, values: NDArray[np.float64], shown: str
) -> str:
    """A note, "" if the scores are the same; CannotOpenModel if they cannot be of these data."""
    gap, n = float(values.mean()) - stated.value, len(values)
    if stated.by_chance:
        if abs(gap) > BY_CHANCE * float(values.std()) / np.sqrt(n) + stated.rounding:
            raise _other_data(recommender, shown, n)
        return (
            f"{shown}: candidates are drawn at random, so whether these are the data that the "
            "model was trained on could only be tried roughly."
        )
    if abs(gap) <= stated.rounding + 1e-4:
        return ""
    if stated.split_by_chance and gap > 0:
        return (
            f"{shown}: either these are not the data that the model was trained on, and titles "
            "belong to other items, or the interactions that validate were drawn otherwise, and "
            "metrics are too good."
        )
    if abs(gap) > stated.rounding + max(RELATIVE * stated.value, OF_ONE_CASE / n):
        raise _other_data(recommender, shown, n)
    return f"{shown}: the data may differ a little from those that the model was trained on."


def _other_data(recommender: Recommender, shown: str, n: int) -> CannotOpenModel:
    return CannotOpenModel(
        f"These are not the data that {recommender.name} was trained on: on them it has {shown} "
        f"({n:,} cases). Items are numbered as they come up in the files, so in another order, or "
        "with other rows, titles belong to other items: give the very files as data_path "
        "(--data-path)."
    )


def _samples(n_all: int, n_items: int, every_case: bool) -> Iterator[NDArray[np.int64]]:
    """Ever more groups, all of them in the end; the same for the same data."""
    order = np.random.default_rng(0).permutation(n_all)
    size = int(np.clip(FIRST_SCORES // n_items, FEWEST_GROUPS, FIRST_GROUPS))
    while not every_case and 2 * size < n_all:
        yield np.sort(order[:size])
        size *= 4
    yield np.arange(n_all)


def _shown(metric: str) -> str:
    name, _, k = metric.partition("@")
    return f"{name.upper() if name in ('ndcg', 'mrr') else name.capitalize()}@{k}"
