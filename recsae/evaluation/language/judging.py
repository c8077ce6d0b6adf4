"""A language model that answers about sequences, given one description.

Fuzzing (after delphi): is the marked item one because of which the sequence matches? Half of the
marks are right. The answers stay here; a prompt holds the description and the sequences alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.concepts.status import MIN_USERS
from recsae.core.intervals import balanced_accuracy_bound
from recsae.evaluation.language.answers import Answers, counted
from recsae.evaluation.language.prompts import (
    FUZZ,
    LEVEL,
    N_HISTORY,
    ItemTexts,
    Prompt,
    judging_prompt,
)
from recsae.evaluation.language.replies import read_levels, read_verdicts
from recsae.evaluation.language.sampling import rises

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.core.llm.client import LanguageClient
    from recsae.core.progress import Progress
    from recsae.evaluation.language.sampling import CaseSampler, Rows


class Trial(NamedTuple):
    """Cases that a description is judged on, and the right answers."""

    rows: Rows
    """``(m,)`` of the cases."""
    truth: NDArray[np.bool_]
    """``(m,)`` whether the latent is active, or the mark is right."""
    marked: Rows
    """``(m,)`` which item is marked, 0 the newest; -1 none."""


@dataclass(frozen=True)
class Judgement(Answers):
    """What a judge gets right of a trial."""

    balanced_accuracy: float | None
    """None where one kind of cases has no answer."""
    ci_low: float | None
    """Its lower bound, one-sided 95 %, users being the unit; None where there are too few."""


def fuzzing_trial(sampler: CaseSampler, latent: int, n: int) -> Trial:
    """At most n active cases with one of the last nine items marked, half of the marks right.

    Right is the item that drives the activation: of those since the latent was last inactive, the
    one whose appending raised it most (:func:`rises`). Wrong is another item, drawn from those
    whose appending did not raise it. Both come from stored activations at consecutive positions;
    cases with a position among the nine that is not stored, or without both, are left out.
    """
    cases, rows = sampler.cases, sampler.active(latent, n)
    rng = np.random.default_rng([sampler.seed, latent, 2])
    usable = []
    raised_counts = rises(sampler.activations(latent), cases, rows, N_HISTORY)
    for row, raised, counts in zip(rows, *raised_counts, strict=True):
        items = cases.history(row, N_HISTORY)[::-1]
        raised, counts = raised[: len(items)], counts[: len(items)]
        if not np.isfinite(raised).all() or raised[counts].max() <= 0:
            continue
        driver = int(np.where(counts, raised, -np.inf).argmax())
        others = [i for i, x in enumerate(items) if raised[i] <= 0 and x != items[driver]]
        if others:
            usable.append((row, driver, rng.choice(others)))
    chosen = rng.permutation(np.array(usable, dtype=np.int64).reshape(-1, 3))
    chosen = chosen[: len(chosen) // 2 * 2]
    truth = np.arange(len(chosen)) < len(chosen) // 2
    return Trial(chosen[:, 0], truth, np.where(truth, chosen[:, 1], chosen[:, 2]))


def judge(
    client: LanguageClient,
    task: str,
    tried: Sequence[tuple[str, Trial]],
    cases: Cases,
    progress: Progress | None = None,
    what: str = "judging",
) -> list[NDArray[np.float64]]:
    """The model's answer for every case of every (description, trial).

    Returns
    -------
    list of ``(m,)``
        1 yes, 0 no, or a level from 0 to 10; NaN where a reply had no readable answer.
    """
    texts, settings = ItemTexts(cases.catalog), client.settings
    n_recommended = 1 if task == LEVEL else settings.recommendations
    asked: list[tuple[int, Rows, Prompt]] = []
    for number, (description, trial) in enumerate(tried):
        for part in _batches(trial.truth, settings.batch, settings.seed):
            shown = []
            for row, marked in zip(trial.rows[part], trial.marked[part], strict=True):
                shown.append(texts.sequence(cases, row, n_recommended))
                if task == FUZZ:
                    _mark(shown[-1]["items"], int(marked))
            prompt = judging_prompt(task, description, shown, settings.seed)
            asked.append((number, part, prompt))
    answers = client.ask([prompt.text for _, _, prompt in asked], what, progress)
    read = read_levels if task == LEVEL else read_verdicts
    values = [np.full(len(trial.rows), np.nan) for _, trial in tried]
    for (number, part, prompt), answer in zip(asked, answers, strict=True):
        said = read(answer.text or "", prompt.ids)
        values[number][part] = [np.nan if value is None else float(value) for value in said]
    return values


def _batches(truth: NDArray[np.bool_], size: int, seed: int) -> list[Rows]:
    """Cases in parts of about ``size``, each with the same share of true ones."""
    rng = np.random.default_rng(seed)
    n = -(-len(truth) // size)
    sides = [rng.permutation(np.flatnonzero(truth == side)) for side in (True, False)]
    parts = [np.array_split(side, n) for side in sides] if n else []
    return [np.concatenate(pair) for pair in zip(*parts, strict=True)]


def _mark(items: list[Any], marked: int) -> None:
    """Put one item, counted from the newest, into an object: a title is text and cannot."""
    place = len(items) - 1 - marked
    items[place] = {"marked": items[place]}


def judgement(
    trial: Trial,
    answers: NDArray[np.float64],
    cases: Cases,
    examples: NDArray[np.int64] | None = None,
) -> Judgement:
    """Counts, balanced accuracy and its lower bound (one-sided 95 %, users as the unit).

    Parameters
    ----------
    examples
        First recommendations of the examples that the description was written from. ``ci_low`` is
        then the lower of two bounds, as in :func:`recsae.evaluation.scoring.score_concepts`: over
        all cases, and without those with one of these recommendations.

    Notes
    -----
    Cases without a readable answer are ``n_failed`` and count on neither side. The bound is None
    with fewer than ten users on a side.
    """
    answered = ~np.isnan(answers)
    truth, yes, rows = trial.truth[answered], answers[answered] > 0, trial.rows[answered]
    true_pos, true_neg = int((truth & yes).sum()), int((~truth & ~yes).sum())
    n_pos, n_neg = int(truth.sum()), int((~truth).sum())
    low = _bound(truth, yes, cases.user[rows])
    if low is not None and examples is not None:
        new = ~np.isin(cases.top_items[rows, 0], examples)
        without = _bound(truth[new], yes[new], cases.user[rows[new]])
        low = None if without is None else min(low, without)
    accuracy = (true_pos / n_pos + true_neg / n_neg) / 2 if n_pos and n_neg else None
    return Judgement(
        **counted(len(trial.rows), truth, yes),
        balanced_accuracy=accuracy,
        ci_low=low,
    )


def _bound(truth: NDArray[np.bool_], yes: NDArray[np.bool_], user: Rows) -> float | None:
    users, number = np.unique(user, return_inverse=True)
    if min(len(np.unique(user[truth])), len(np.unique(user[~truth]))) < MIN_USERS:
        return None

    def per_user(which: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(number[which], minlength=len(users)).astype(np.float64)[:, None]

    hits = (per_user(truth & yes), per_user(truth), per_user(~truth & ~yes), per_user(~truth))
    return float(balanced_accuracy_bound(*hits)[1][0])
