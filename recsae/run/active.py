"""How many latents there are, and how many are active: the fewest that keep the ranking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from recsae.capture.cases import ndcg_of_states
from recsae.concepts.status import MIN_POSITIVES
from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.errors import NotEnoughData
from recsae.core.files import read_json, write_json
from recsae.recommender.metrics import ndcg_of_lists

if TYPE_CHECKING:
    from pathlib import Path

    from recsae.capture.cases import Cases
    from recsae.recommender.protocol import LinearHead
    from recsae.sae.model import SAE

TRIED = (4, 8, 16, 32)
"""Active latents that are tried, besides open gates: the fewer, the better their labels are."""
UNTRIED = 8
"""Active latents where nobody can say what they keep of the ranking: RecSAE's."""
ENOUGH = 0.95
"""Share of NDCG@10 on construction cases that the reconstruction must keep."""
MAX_CASES = 20_000
"""Construction cases at most on which that is measured, evenly spread: bounds the time."""


def ndcg_kept(sae: SAE, cases: Cases, head: LinearHead | None) -> float | None:
    """NDCG@10 of reconstructed states relative to that of the states; None where there is none."""
    from recsae.sae.quality import reconstructed

    if head is None:
        return None
    rebuilt = reconstructed(sae, cases.states)
    base = ndcg_of_lists(cases.top_items.astype("int64"), cases.targets).mean()
    return float(ndcg_of_states(rebuilt, cases, head).mean() / base) if base > 0 else None


def fewest_that_keep_enough(
    tried: Sequence[int],
    train: Callable[[int], SAE],
    kept_by: Callable[[SAE], float | None],
    notes: Path,
    made_from: str,
    ranks: Ranks = SINGLE_PROCESS,
) -> SAE:
    """Train with few active latents, and with more while less than .95 of the ranking is kept.

    Parameters
    ----------
    tried
        Numbers of active latents, ascending.
    train
        An SAE with so many active latents; called again for the same number, it reads it.
    kept_by
        What share of the ranking an SAE keeps on construction cases; None if nobody knows.
    notes
        File that says what each number kept: what was tried is not trained again.
    made_from
        Of what the SAEs are made, besides their number of active latents.
    ranks
        The processes that train together, each of which calls this; the first one measures.
    """

    def read() -> dict[str, float | None]:
        known = read_json(notes) if notes.exists() else {}
        return dict(known["kept"]) if known.get("made_from") == made_from else {}

    def measured(k: int, sae: SAE) -> dict[str, float | None]:
        share = kept_by(sae)
        found = {**kept, str(k): None if share is None else round(share, 4)}
        write_json(notes, {"made_from": made_from, "kept": found})
        return found

    def too_little(k: int) -> bool:
        share = kept[str(k)]
        return share is not None and share < ENOUGH and k != tried[-1]

    kept = ranks.broadcast_from_main(read)
    for k in tried:
        if str(k) in kept and too_little(k):
            continue
        try:
            sae = train(k)
        except NotEnoughData:
            if not kept:
                raise
            return train(int(list(kept)[-1]))  # of too few states for more
        if str(k) not in kept:
            kept = ranks.broadcast_from_main(partial(measured, k, sae))
        if not too_little(k):
            break
    return sae


def default_latents(width: int, k: int, n_heldout: int) -> int:
    """RecSAE's 16 latents per dimension, or fewer where they could not be tested.

    A latent needs 20 held-out cases on which it is active; on average k of the latents are active
    on each of the ``n_heldout`` cases.

    >>> default_latents(64, 8, 200_000), default_latents(64, 8, 190)
    (1024, 76)
    """
    return min(16 * width, max(4 * k, n_heldout * k // MIN_POSITIVES))
