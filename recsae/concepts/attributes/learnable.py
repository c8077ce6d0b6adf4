"""Attributes that a linear probe can read from the hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.capture.cases import spread
from recsae.concepts.attributes.names import DERIVED, FANS, ITEM_ITSELF
from recsae.concepts.attributes.probes import probe_aucs
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.attributes.tasks import TARGETS, attribute_tasks, task_truth

if TYPE_CHECKING:
    from recsae.capture.cases import Cases

MAX_LEARNABLE_CASES = 30_000
"""Cases at most on which attributes are probed, evenly spread: bounds the time."""
LEARNABLE = 0.55
"""An attribute is learnable if the lower bound of its probe's ROC-AUC exceeds it."""
NOT_TRIED = (*DERIVED, FANS, ITEM_ITSELF)
"""Attributes that no catalog says; they stay without being probed."""


class UnlearnableAttribute(NamedTuple):
    """An attribute that no probe can learn from the hidden states."""

    attribute: str
    view: str
    auc: float
    low: float
    """Lower bound of the probe's ROC-AUC."""

    def to_dict(self) -> dict[str, Any]:
        """The attribute as files have it; its view is their ``site``."""
        return {"attribute": self.attribute, "site": self.view, "auc": self.auc, "low": self.low}


def learnable_attributes(
    attributes: ItemAttributes, cases: Cases
) -> tuple[ItemAttributes, list[UnlearnableAttribute]]:
    """Attributes that can be read from the states, and those that cannot, with the evidence.

    Decided on construction cases alone: a linear probe of the first half of the users is tried on
    the other half, in the view where the attribute is known best. An attribute stays if the lower
    bound of the probe's ROC-AUC exceeds .55: one-sided 95 %, users being the unit, divided by the
    number of views since the best one was picked on the same users. Values with too few cases for
    a probe stay, and so does what no catalog says.
    """
    tasks = attribute_tasks(attributes, cases, limit=None, skip=NOT_TRIED)
    if not tasks:
        return attributes, []
    some = cases.take(spread(len(cases), MAX_LEARNABLE_CASES))
    aucs = probe_aucs(some.states, task_truth(attributes, tasks, some), some.user)
    low = aucs.low(1 - 0.05 / len(TARGETS))
    names = attributes.names
    left_out = [
        UnlearnableAttribute(": ".join(names[t.column]), t.view, float(aucs.auc[i]), float(low[i]))
        for i, t in enumerate(tasks)
        if not low[i] > LEARNABLE
    ]
    dropped = [t.column for t, bound in zip(tasks, low, strict=True) if not bound > LEARNABLE]
    kept = np.setdiff1d(np.arange(len(names)), dropped)
    return ItemAttributes(attributes.matrix[:, kept], tuple(names[i] for i in kept)), left_out
