"""The stage of goals: steering towards a few goals, the check of labels, and what is obeyed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from recsae.concepts.attributes.values import own_columns
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.core.files import plain
from recsae.steering.label_check import predictability
from recsae.steering.label_results import CheckSummary
from recsae.steering.obeyed.measure import obeyed
from recsae.steering.obeyed.results import COLUMNS, ObeyedSummary
from recsae.steering.steps.goals import goal_of
from recsae.steering.steps.kinds import Wishes
from recsae.steering.tuning.results import TuningResult
from recsae.steering.tuning.tune import IN_BRIEF, tune

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recsae.capture.cases import Cases
    from recsae.concepts.attributes.table import ItemAttributes
    from recsae.run.workspace import Workspace
    from recsae.steering.steps.goals import Goal

ATTRIBUTE_LOSS = 0.01
"""Part of NDCG@10 that an attribute value may cost."""
POPULARITY_LOSS = 0.02
"""Part of NDCG@10 that less popular items may cost."""
N_GOALS = 2
"""How many attribute values are tried."""
MIN_VALUE_SHARE = 0.01
"""Values with a smaller share of the lists are not tried: they are known too little."""
MAX_VALUE_SHARE = 0.5
"""Values with a larger share of the lists are not tried: there is little more to be had."""
STAGE_LATENTS = 100
"""At most so many latents are turned for the check of labels."""
STAGE_CASES = 1_000
"""At most so many cases are used for it; ``recsae steer --check`` takes all latents and more."""
CHECK = "labels"
"""The check's name among the jobs, beside those of goals."""
OBEYED = "obeyed"
"""The same of readable and obeyed."""
SLOW = (
    "The model ranks so slowly that this would take longer than all the rest: ask for what you "
    "need with `recsae tune` and `recsae steer --check`."
)


@dataclass(frozen=True)
class GoalsRecord:
    """The content of ``goals.json``."""

    goals: tuple[TuningResult, ...] = ()
    """One for each goal, beside other methods only where the model need not be run for every
    case."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Goals that could not be tried, and why."""
    check: CheckSummary | None = None
    check_skipped: str | None = None
    """Why the labels could not be checked."""
    obeyed: ObeyedSummary | None = None
    obeyed_skipped: str | None = None
    """Why it is not known which concepts do what they say; None too in files without it."""

    def to_dict(self) -> dict[str, Any]:
        """As it is written: null where there is no figure."""
        record = {
            "goals": [goal.to_dict() for goal in self.goals],
            "skipped": self.skipped,
            "check": self.check.to_dict() if self.check else None,
            "check_skipped": self.check_skipped,
            "obeyed": self.obeyed.to_dict() if self.obeyed else None,
            "obeyed_skipped": self.obeyed_skipped,
        }
        return dict(plain(record))

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> GoalsRecord:
        """Read what :meth:`to_dict` made."""
        return cls(
            goals=tuple(map(TuningResult.from_dict, record["goals"])),
            skipped=record["skipped"],
            check=CheckSummary.from_dict(record["check"]) if record["check"] else None,
            check_skipped=record["check_skipped"],
            obeyed=ObeyedSummary.from_dict(kept) if (kept := record.get("obeyed")) else None,
            obeyed_skipped=record.get("obeyed_skipped"),
        )


class GoalsFound(NamedTuple):
    """What the stage leaves: ``goals.json``, and ``obeyed.parquet``."""

    record: GoalsRecord
    turned: pd.DataFrame
    """One row per unit that was turned; see :class:`recsae.steering.obeyed.results.Obeyed`."""


NOTHING_TURNED = pd.DataFrame(columns=list(COLUMNS))


def goal_stage(work: Workspace) -> GoalsFound:
    """Try more of up to two attribute values and less popular items, check the labels, and find
    which concepts do what they say."""
    if work.recommender.max_positions:
        slow = GoalsRecord(skipped={"all goals": SLOW}, check_skipped=SLOW, obeyed_skipped=SLOW)
        return GoalsFound(slow, NOTHING_TURNED)
    _ = work.sae_codes  # stores and codes are made by all together, before jobs are dealt out
    jobs: dict[str, Callable[[], Any]] = {
        goal.name: partial(_or_why, _tuned, work, goal, loss) for goal, loss in _goals(work)
    }
    jobs[CHECK] = partial(_or_why, _checked, work)
    jobs[OBEYED] = partial(_or_why, obeyed, work, STAGE_CASES)
    _ = work.dictionary, work.statistics, work.verified, work.halves  # which the jobs share
    _ = work.core, work.tested_dictionary, work.label_scores, work.attributes
    found = work.ranks.scatter(jobs, threads=work.head is not None)  # else there is one model
    check, turned = found.pop(CHECK), found.pop(OBEYED)
    why = check if isinstance(check, str) else None
    why_not = turned if isinstance(turned, str) else None
    record = GoalsRecord(
        tuple(one for one in found.values() if not isinstance(one, str)),
        {name: one for name, one in found.items() if isinstance(one, str)},
        None if why else check,
        why,
        None if why_not else turned.summary,
        why_not,
    )
    return GoalsFound(record, NOTHING_TURNED if why_not else turned.table)


def _or_why(find: Callable[..., Any], *arguments: object) -> Any:
    """What is found, or why nothing can be."""
    try:
        return find(*arguments)
    except (InvalidInput, NotEnoughData) as error:
        return str(error)


def _tuned(work: Workspace, goal: Goal, loss: float) -> TuningResult:
    return tune(work, goal, loss, compare=work.head is not None, sizes=IN_BRIEF).result


def _checked(work: Workspace) -> CheckSummary:
    return predictability(work, STAGE_LATENTS, STAGE_CASES).summary


def _goals(work: Workspace) -> Iterator[tuple[Goal, float]]:
    """Goals and what they may cost; where the model must be run for every case, fewer of them."""
    names = _values(work.attributes, work.heldout)
    for name in names[: N_GOALS if work.head is not None else 1]:
        yield goal_of(work, Wishes(more=(name,))), ATTRIBUTE_LOSS
    yield goal_of(work, Wishes(popularity="-")), POPULARITY_LOSS


def _values(attributes: ItemAttributes, cases: Cases) -> list[str]:
    """Choose two values of the items' own attributes: the most frequent one and the rarest.

    They are of the attribute that most items have; values are ordered by their share of the lists
    of the cases.
    """
    own = own_columns(attributes)
    if not own:
        return []
    lists = np.bincount(cases.top_items.ravel(), minlength=attributes.matrix.shape[0])
    has = attributes.matrix[:, own] > 0
    share = np.asarray((has.T @ lists) / max(int(lists.sum()), 1)).ravel()
    names = [attributes.names[column] for column in own]
    n_items = Counter[str]()
    for (attribute, _), n in zip(names, np.asarray(has.sum(0)).ravel().tolist(), strict=True):
        n_items[attribute] += n
    attribute = n_items.most_common(1)[0][0]
    mine = [
        j
        for j in np.argsort(-share, kind="stable").tolist()
        if names[j][0] == attribute and MIN_VALUE_SHARE <= share[j] <= MAX_VALUE_SHARE
    ]
    places = np.unique(np.linspace(0, len(mine) - 1, min(N_GOALS, len(mine))).astype(int))
    return [": ".join(names[mine[place]]) for place in places.tolist()]
