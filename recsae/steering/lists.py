"""One list before and after latents are turned, and which of them moved each item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.core import columns as C
from recsae.recommender.lists import top_of_scores
from recsae.run.open import list_request
from recsae.sae.editing import Intervention, turning
from recsae.steering.context import steer
from recsae.steering.files import Steering

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.sequences import Batch
    from recsae.run.workspace import Workspace

N_SHOWN = 10
N_HISTORY = 9
N_PUSHING = 2


def lists_before_after(
    work: Workspace,
    steering: Steering,
    user: str | None,
    sequence: str | None,
    *,
    mask_seen: bool,
) -> dict[str, Any]:
    """One list before and after; see :func:`list_request` for the history that it is made of."""
    recommender = work.recommender
    history, batch, seen = list_request(recommender, user, sequence, mask_seen=mask_seen)

    def top() -> list[int]:
        return top_of_scores(recommender.score(batch), recommender.catalog, N_SHOWN, seen)

    reached = user is None or steering.users is None or user in steering.users
    interventions = steering.interventions if reached else []
    before = top()
    with steer(recommender, work.sae, interventions, site=work.site):
        after = top()
    titles = recommender.catalog.titles
    ids = recommender.catalog.external_ids
    moved = {item: place for place, item in enumerate(before, start=1)}
    gone = [item for item in before if item not in after]
    pushed = _pushed(work, interventions, batch, [*after, *gone])
    return {
        "history": [titles[i] for i in history[-N_HISTORY:]],
        "changed": [str(i) for i in interventions],
        **({} if reached else {"for": f"other users: {user} is not among them"}),
        "left the list": [
            {"item": titles[item], **({"by": pushed[item][1]} if item in pushed else {})}
            for item in gone
        ],
        "table": [
            {
                "place": place,
                "before": f"{titles[old]} ({ids[old]})",
                "after": f"{titles[new]} ({ids[new]})",
                "was": moved.get(new),
                **({"by": pushed[new][0 if moved.get(new, 99) >= place else 1]} if pushed else {}),
            }
            for place, (old, new) in enumerate(zip(before, after, strict=True), start=1)
        ],
    }


def _pushed(
    work: Workspace, interventions: list[Intervention], batch: Batch, items: list[int]
) -> dict[int, tuple[str, str]]:
    """For each item the turned latents that raised its score most, and those that lowered it most.

    A latent's push is ``(z' - z) d . e`` less its mean over items, since what is added to all
    changes no list. Empty where scores are not linear in the states of the run's site.
    """
    recommender = work.recommender
    head = recommender.linear_head()
    latents, change = turning(work.sae, interventions)
    if head is None or not latents or work.site not in (None, recommender.sites()[0].name):
        return {}
    real = recommender.catalog.recommendable
    centred = head.items[items] - head.items[np.flatnonzero(real)].mean(0)
    z = change(recommender.represent(batch, work.site))[0]
    pushes = (z[:, None] * (work.sae.directions()[latents] @ centred.T)).double().numpy()
    names = work.dictionary.table.set_index(C.LATENT)[C.NAME]

    def told(push: NDArray[np.float64], sign: int) -> str:
        best = [j for j in np.argsort(-sign * push)[:N_PUSHING] if sign * push[j] > 0]
        return ", ".join(f"{names[latents[j]]} ({latents[j]}) {push[j]:+.2f}" for j in best)

    return {
        item: (told(pushes[:, column], 1), told(pushes[:, column], -1))
        for column, item in enumerate(items)
    }
