"""The facts of ``recsae inspect``: a recommender, its sites, and what a run would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsae.recommender.protocol import Recommender


def inspection(recommender: Recommender) -> dict[str, Any]:
    """Facts about a recommender, its sites and what a run with the defaults would do."""
    from recsae.capture.windows import windows_of
    from recsae.core.errors import RecSAEError
    from recsae.recommender.protocol import as_recommender
    from recsae.recommender.sequences import split_users
    from recsae.run.active import TRIED, UNTRIED, default_latents
    from recsae.run.config import RunConfig
    from recsae.run.estimate import estimate
    from recsae.run.stores import LABEL_CASES, planned_stores

    site = as_recommender(recommender).sites()[0]
    held = split_users(recommender.sequences())
    defaults = RunConfig(checkpoint="")
    planned, captured = {}, []
    stores = planned_stores(defaults, held).values()
    for name, (rows, limit, exact) in zip(("construction", "held-out"), stores, strict=True):
        windows = windows_of(recommender, site, rows, limit, seed=0, exact=exact)
        captured.append(windows)
        planned[name] = (
            f"{windows.n_positions:,} positions of {len(rows):,} users in {len(windows):,} forwards"
        )
    head = recommender.linear_head() is not None
    k, more = (TRIED[0], " or more") if head else (UNTRIED, "")
    built, tested = (windows.n_positions for windows in captured)
    n_latents = default_latents(site.width, k, tested)
    try:
        takes = estimate(
            *(recommender, site.name, captured),
            n_cases=min(LABEL_CASES, built) + tested,
            width=site.width,
            n_latents=n_latents,
            trainings=len(TRIED) if head else 1,
        ).to_dict()
    except RecSAEError as error:  # everything else of it can still be said
        takes = {"unknown": str(error)}
    facts = {"plugin": recommender.plugin, **recommender.describe()}
    facts.setdefault("sites", [vars(site) for site in recommender.sites()])
    return {
        **facts,
        "linear head": "verified" if head else "none found",
        "would capture": [f"{name}: {plan}" for name, plan in planned.items()],
        "would train": f"{defaults.activation} SAE, {n_latents:,} latents, k = {k}{more}",
        "estimate": takes,
    }


def in_words(takes: dict[str, Any]) -> dict[str, str]:
    """The estimate of :func:`inspection` as people read it."""
    if "unknown" in takes:
        return {"would take": f"unknown: {takes['unknown']}"}
    few, many = (_minutes(seconds) for seconds in takes["seconds"])
    more = f", {many} where more active latents are needed" if many != few else ""
    capture = _minutes(takes["capture_seconds"])
    return {
        "would take": f"about {few}{more}; of these {capture} to capture",
        "would need": f"about {takes['memory_mb'] / 1000:.1f} GB of memory",
    }


def _minutes(seconds: float) -> str:
    """How long something takes, as finely as an estimate knows it.

    >>> _minutes(3.4), _minutes(86.0), _minutes(600.0), _minutes(9000.0)
    ('3 s', '90 s', '10 minutes', '2.5 hours')
    """
    if seconds < 10:
        return f"{seconds:.0f} s"
    if seconds < 120:
        return f"{round(seconds, -1):.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def states_of(site: dict[str, Any]) -> str:
    """How many states one forward gives at a site."""
    if site["per_user"]:
        return "one per user"
    return "every position" if site["every_position"] else "last item"
