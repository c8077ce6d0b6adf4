"""Detection: a language model says which descriptions a sequence matches (after delphi).

Precision and recall of what it says are estimated at the rate at which latents are active. Every
description is judged on the same random cases; what is asked of one latent alone is a few more of
its active cases, where the random ones have few. So an active case that is asked stands for as many
held-out cases as any other active one, and an inactive one for as many as any other inactive one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.concepts.status import CONFIDENCE, MIN_USERS, UNTESTED
from recsae.core.intervals import precision_bound, rate_bound
from recsae.evaluation.counts import finite
from recsae.evaluation.language.answers import Answers, counted
from recsae.evaluation.language.prompts import ItemTexts, Prompt, matching_prompt
from recsae.evaluation.language.replies import read_matches
from recsae.evaluation.scoring import statuses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.core.llm.client import LanguageClient
    from recsae.core.progress import Progress
    from recsae.evaluation.language.sampling import CaseSampler, Rows

    Floats = NDArray[np.float64]


class DetectionTrial(NamedTuple):
    """Cases on which descriptions of a latent are judged, and where it is active."""

    rows: Rows
    """``(m,)`` of the cases, ascending; none where the latent is never active."""
    active: NDArray[np.bool_]
    """``(n,)`` on all cases."""


@dataclass(frozen=True)
class Detection(Answers):
    """How well a description tells a judge where its latent is active."""

    status: str
    """Verified, supported, unsupported or untested, by the rule for labels."""
    precision: float | None
    """Of the held-out cases that match, the share that are active; None where nothing matches."""
    precision_low: float | None
    """Lower bounds are one-sided, 95 %, users being the unit; None where there are too few."""
    recall: float | None
    recall_low: float | None
    precision_low_at_best: float | None
    """What ``precision_low`` would be without any mistake: below the threshold, the cases that were
    asked are too few to verify any description of so rare a latent."""
    n_active: int
    """Held-out cases on which the latent is active; the ones asked stand for them."""
    n_inactive: int

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall; None where either is not known."""
        if self.precision is None or self.recall is None:
            return None
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-12)


class _Group(NamedTuple):
    """Sentences that are asked about together, and the questions."""

    sentences: list[str]
    latents: list[int]
    """Whose descriptions they are."""
    pool: Rows
    """All of their cases."""
    prompts: list[tuple[Rows, Prompt]]
    """The cases of each question, and its text."""


class _Rates(NamedTuple):
    """Estimates of one description; NaN where they are not known."""

    precision: float
    precision_low: float
    recall: float
    recall_low: float
    precision_low_at_best: float
    n_users: float
    """Users with an active, or with an inactive case, whichever are fewer."""


def detection_trial(
    sampler: CaseSampler, latent: int, n_cases: int, n_active: int
) -> DetectionTrial:
    """The random cases that all latents share, and active ones until there are ``n_active``."""
    active = sampler.activations(latent) > 0
    if not active.any():
        return DetectionTrial(np.zeros(0, dtype=np.int64), active)
    rows = sampler.random(n_cases)
    more = sampler.more_active(latent, rows, max(0, n_active - int(active[rows].sum())))
    return DetectionTrial(np.sort(np.r_[rows, more]), active)


def detect(
    client: LanguageClient,
    descriptions: dict[int, str],
    trials: dict[int, DetectionTrial],
    cases: Cases,
    progress: Progress | None = None,
    what: str = "judging",
) -> dict[int, Floats]:
    """Whether each case of a latent's trial matches its description.

    Every question has some sequences and some descriptions. The same sentence is asked once,
    however many latents have it.

    Returns
    -------
    dict of ``(m,)``
        By latent, 1 yes and 0 no; NaN where a reply had no readable answer.
    """
    texts, settings = ItemTexts(cases.catalog), client.settings
    sentences = list(dict.fromkeys(descriptions.values()))
    asked: list[_Group] = []
    for first in range(0, len(sentences), settings.descriptions):
        group = sentences[first : first + settings.descriptions]
        latents = [j for j, text in descriptions.items() if text in group]
        pool = np.unique(np.concatenate([trials[j].rows for j in latents]))
        prompts = []
        for part in _shuffled(pool, settings.batch, settings.seed):
            shown = [texts.sequence(cases, row, settings.recommendations) for row in part]
            prompts.append((part, matching_prompt(group, shown, settings.seed)))
        asked.append(_Group(group, latents, pool, prompts))
    questions = [prompt.text for group in asked for _, prompt in group.prompts]
    answers = iter(client.ask(questions, what, progress))
    found = {}
    for group, latents, pool, prompts in asked:
        said = np.full((len(pool), len(group)), np.nan)
        for part, prompt in prompts:
            read = read_matches(next(answers).text or "", prompt.ids, prompt.descriptions)
            for row, matches in zip(np.searchsorted(pool, part), read, strict=True):
                if matches is not None:
                    said[row] = matches
        for j in latents:
            found[j] = said[np.searchsorted(pool, trials[j].rows), group.index(descriptions[j])]
    return found


def _shuffled(rows: Rows, size: int, seed: int) -> list[Rows]:
    """The rows in parts of about ``size``, in no order."""
    rows = np.random.default_rng(seed).permutation(rows)
    n = -(-len(rows) // size)
    return np.array_split(rows, n) if n else []


def detection(
    trial: DetectionTrial, answers: Floats, cases: Cases, examples: NDArray[np.int64] | None = None
) -> Detection:
    """Precision, recall, their lower bounds and the status that follows.

    Parameters
    ----------
    answers
        ``(m,)`` of the trial's cases, see :func:`detect`.
    examples
        First recommendations of the examples that the description was written from. Each bound is
        then the lower of two, as in :func:`recsae.evaluation.scoring.measure_concepts`: over all
        cases, and without those with one of these recommendations.

    Notes
    -----
    Cases without a readable answer are ``n_failed`` and count on neither side. Bounds are None with
    fewer than ten users on a side, and the description is untested.
    """
    answered = ~np.isnan(answers)
    rows, yes = trial.rows[answered], answers[answered] > 0
    truth = trial.active[rows]
    rates = bounds = _rates(trial, rows, yes, cases, np.ones(len(cases), dtype=bool))
    if examples is not None:
        other = _rates(trial, rows, yes, cases, ~np.isin(cases.top_items[:, 0], examples))
        bounds = _Rates(*np.minimum(rates, other))  # NaN where either is not known
    n_active = int(trial.active.sum())
    return Detection(
        **counted(len(trial.rows), truth, yes),
        status=_status(trial, rates, bounds),
        precision=finite(rates.precision),
        precision_low=finite(bounds.precision_low),
        recall=finite(rates.recall),
        recall_low=finite(bounds.recall_low),
        precision_low_at_best=finite(bounds.precision_low_at_best),
        n_active=n_active,
        n_inactive=len(cases) - n_active,
    )


def _rates(
    trial: DetectionTrial,
    rows: Rows,
    yes: NDArray[np.bool_],
    cases: Cases,
    counted: NDArray[np.bool_],
) -> _Rates:
    """Estimates over the cases that are counted, of the rows among these that were answered."""
    yes, rows = yes[counted[rows]], rows[counted[rows]]
    truth = trial.active[rows]
    n_active = int((trial.active & counted).sum())
    users, number = np.unique(cases.user[rows], return_inverse=True)

    def per_user(which: NDArray[np.bool_]) -> Floats:
        return np.bincount(number[which], minlength=len(users)).astype(np.float64)[:, None]

    pos, neg = per_user(truth), per_user(~truth)
    n_users = min(int((pos > 0).sum()), int((neg > 0).sum()))
    if not n_users:
        return _Rates(*[np.nan] * 5 + [0.0])
    sizes = np.array([float(n_active)]), np.array([float(counted.sum()) - n_active])
    hits, alarms = per_user(truth & yes), per_user(~truth & yes)
    recall, recall_low = rate_bound(hits, pos, CONFIDENCE)
    precision, precision_low = precision_bound(hits, pos, alarms, neg, sizes, CONFIDENCE)
    best = precision_bound(pos, pos, np.zeros_like(neg), neg, sizes, CONFIDENCE)[1]
    if n_users < MIN_USERS:
        precision_low = recall_low = best = np.array([np.nan])
    figures = (precision, precision_low, recall, recall_low, best)
    return _Rates(*[float(figure[0]) for figure in figures] + [float(n_users)])


def _status(trial: DetectionTrial, rates: _Rates, bounds: _Rates) -> str:
    """By the rule for labels."""
    if not rates.n_users:
        return UNTESTED
    pos = np.array([trial.active.sum()], dtype=np.float64)
    found = statuses(
        pos,
        len(trial.active) - pos,
        np.array([int(rates.n_users)]),
        (np.array([rates.precision]), np.array([rates.recall])),
        (np.array([bounds.precision_low]), np.array([bounds.recall_low])),
    )
    return str(found[0])
