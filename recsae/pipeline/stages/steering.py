"""The stage of steering: some verified concepts turned, and the effect measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from recsae.concepts.attributes.names import DERIVED, FANS, ITEM_ITSELF, LENGTH, REPEAT, TERM
from recsae.concepts.dictionary import AT_QUANTILE, ConceptDictionary
from recsae.concepts.status import VERIFIED
from recsae.core import columns as C
from recsae.core.files import plain
from recsae.sae.editing import Intervention
from recsae.steering.effects import at_positions
from recsae.steering.steered_scores import thinned
from recsae.steering.steps.applied import steered_lists

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.run.workspace import Workspace

N_STEERED = 6
"""How many concepts are turned."""
MIN_STEERED_USERS = 10
"""A concept that fewer held-out users have is not turned."""
MAX_STEERED_POSITIONS = 20_000
"""At most so many held-out positions are steered."""
MIN_STEERED_POSITIONS = 200
"""Where the model must be run for each position, so many are steered at least."""


def steering_stage(work: Workspace) -> list[dict[str, Any]]:
    """Ablate, amplify and set some verified concepts, and measure it at held-out positions.

    ``target_share_times`` and ``ndcg_kept`` are what a figure is multiplied by, with its 95 %
    interval, users being the unit.
    """
    _ = work.sae_codes  # stores and codes are made by all together, before jobs are dealt out
    cases = thinned(work, work.heldout, MAX_STEERED_POSITIONS, MIN_STEERED_POSITIONS)
    latents = _latents(work)
    if not latents:
        return []
    before, jobs = steered_lists(work, cases, []), list[Callable[[], dict[str, Any]]]()
    for latent in latents:
        row = work.tested_dictionary.table.set_index(C.LATENT).loc[latent]
        among = tuple(work.tested_dictionary.named(row[C.ABOUT], work.verified))
        name, value = str(row[C.ABOUT]), _median(work.tested_dictionary, latent)
        about = {"target": f"{row[C.ATTRIBUTE]}: {row[C.VALUE]}", "latent": latent, "name": name}
        target = {name: work.attributes.items_with(row[C.ATTRIBUTE], row[C.VALUE])}
        for intervention, words in (
            (Intervention(among, "set", 0.0, name), f"ablate all its latents ({len(among)})"),
            (Intervention(among, "scale", 10.0, name), "x10 where active"),
            (Intervention((latent,), "set", value, name), f"latent {latent} = {value:.2f} for all"),
        ):
            said = {**about, "intervention": words}
            jobs.append(partial(_row, work, cases, before, intervention, target, said))
    return list(plain(list(work.ranks.scatter(dict(enumerate(jobs))).values())))


def _row(
    work: Workspace,
    cases: Cases,
    before: NDArray[np.int32],
    intervention: Intervention,
    target: dict[str, NDArray[np.bool_]],
    said: dict[str, Any],
) -> dict[str, Any]:
    """What is said of an intervention, and what it does to the lists ``before (n, 10)``."""
    ndcg, share = at_positions(cases, before, steered_lists(work, cases, [intervention]), target)
    return {
        **said,
        "target_share_before": share.before,
        "target_share_after": share.after,
        "target_share_times": list(share.ratio),
        "ndcg_before": ndcg.before,
        "ndcg_after": ndcg.after,
        "ndcg_kept": list(ndcg.ratio),
        "n_users": cases.n_users,
        "n_positions": len(cases),
    }


def _latents(work: Workspace) -> list[int]:
    """The best verified latent of up to six different concepts, plain attributes first."""
    both = work.tested_dictionary.table.merge(work.label_scores, on=C.LATENT)
    both = both[(both[C.STATUS] == VERIFIED) & (both[C.N_USERS_POS] >= MIN_STEERED_USERS)]
    about_items = both[C.ATTRIBUTE].notna() & ~both[C.ATTRIBUTE].isin((REPEAT, LENGTH))
    both = both[about_items & ~both[C.NEGATED]]
    others = both[C.ATTRIBUTE].isin((*DERIVED, TERM, FANS, ITEM_ITSELF))
    order = others + 2 * both[C.SECOND_ATTRIBUTE].notna()
    best = both.assign(order=order).sort_values(["order", C.F1], ascending=[True, False])
    different = best.drop_duplicates([C.ATTRIBUTE, C.VALUE])
    return [int(latent) for latent in different[C.LATENT].head(N_STEERED)]


def _median(dictionary: ConceptDictionary, latent: int) -> float:
    """The latent's median activation where it is active."""
    examples = dictionary.examples
    mine = examples[(examples[C.LATENT] == latent) & (examples[C.KIND] == AT_QUANTILE)]
    return float(mine.loc[mine[C.QUANTILE] == 0.5, C.ACTIVATION].iloc[0])
