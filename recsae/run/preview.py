"""The facts of ``recsae inspect``: a recommender, its sites, and what a run would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsae.recommender.protocol import Recommender


def inspection(recommender: Recommender) -> dict[str, Any]:
    """Facts about a recommender, its sites and what a run with the defaults would do."""
    from recsae.capture.windows import windows_of
    from recsae.recommender.protocol import as_recommender
    from recsae.recommender.sequences import split_users
    from recsae.run.active import TRIED, UNTRIED
    from recsae.run.config import RunConfig
    from recsae.run.stores import planned_stores
    from recsae.run.workspace import default_latents

    site = as_recommender(recommender).sites()[0]
    held = split_users(recommender.sequences())
    defaults = RunConfig(checkpoint="")
    planned, n_positions = {}, 0
    stores = planned_stores(defaults, held).values()
    for name, (rows, limit, exact) in zip(("construction", "held-out"), stores, strict=True):
        windows = windows_of(recommender, site, rows, limit, seed=0, exact=exact)
        n_positions = windows.n_positions  # in the end those of held-out users
        planned[name] = (
            f"{n_positions:,} positions of {len(rows):,} users in {len(windows):,} forwards"
        )
    head = recommender.linear_head() is not None
    k, more = (TRIED[0], " or more") if head else (UNTRIED, "")
    n_latents = default_latents(site.width, k, n_positions)
    facts = {"plugin": recommender.plugin, **recommender.describe()}
    facts.setdefault("sites", [vars(site) for site in recommender.sites()])
    return {
        **facts,
        "linear head": "verified" if head else "none found",
        "would capture": [f"{name}: {plan}" for name, plan in planned.items()],
        "would train": f"{defaults.activation} SAE, {n_latents:,} latents, k = {k}{more}",
    }


def states_of(site: dict[str, Any]) -> str:
    """How many states one forward gives at a site."""
    if site["per_user"]:
        return "one per user"
    return "every position" if site["every_position"] else "last item"
