"""What ``inspect`` and ``concepts`` show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae import columns as C
from recsae.errors import InvalidInput
from recsae.run import load_run

if TYPE_CHECKING:
    from recsae.recommender import Recommender

SHOWN = (
    *(C.LATENT, C.NAME, C.LABEL, C.STATUS, C.BALANCED_ACCURACY, C.CI_LOW),
    *(C.PRECISION, C.RECALL, C.N_POS, C.FIRE_RATE),
)
STATUSES = ("verified", "supported", "unsupported", "untested", "dead")


def inspection(recommender: Recommender) -> dict[str, Any]:
    """Facts about a recommender, its sites and what a run with the defaults would do."""
    import numpy as np

    from recsae.run import RunConfig
    from recsae.sequences import split_users
    from recsae.windows import windows_of
    from recsae.workspace import default_latents

    site = recommender.sites()[0]
    held = split_users(recommender.sequences())
    defaults = RunConfig(checkpoint="")
    planned, n_positions = {}, 0
    for name, users, limit in (
        ("construction", ~held, defaults.construction_positions),
        ("held-out", held, defaults.heldout_positions),
    ):
        windows = windows_of(recommender, site, np.flatnonzero(users), limit, seed=0)
        n_positions = windows.n_positions  # in the end those of held-out users
        planned[name] = (
            f"{n_positions:,} positions of {int(users.sum()):,} users in {len(windows):,} forwards"
        )
    n_latents = default_latents(site.width, defaults.k, n_positions)
    facts = {"plugin": recommender.plugin, **recommender.describe()}
    facts.setdefault(
        "sites", [s._asdict() if hasattr(s, "_asdict") else vars(s) for s in recommender.sites()]
    )
    return {
        **facts,
        "linear head": "verified" if recommender.linear_head() is not None else "none found",
        "would capture": [f"{name}: {plan}" for name, plan in planned.items()],
        "would train": f"TopK SAE, {n_latents:,} latents, k = {defaults.k}",
    }


def states_of(site: dict[str, Any]) -> str:
    """How many states one forward gives at a site."""
    if site["per_user"]:
        return "one per user"
    return "every position" if site["every_position"] else "last item"


def concept_rows(folder: Path, search: str | None, status: str | None) -> list[dict[str, Any]]:
    """The dictionary of a run, best first."""
    from recsae.concepts import ConceptDictionary

    table = load_run(folder).concepts
    if status is not None:
        if status not in STATUSES:
            raise InvalidInput(
                f"There is no status {status!r}: it is one of {', '.join(STATUSES)}."
            )
        table = table[table[C.STATUS] == status]
    if search is not None:
        found = ConceptDictionary.load(folder).search(search)[C.LATENT]
        table = table[table[C.LATENT].isin(found)]
    order = table[C.STATUS].map(STATUSES.index)
    table = table.assign(order=order).sort_values(["order", C.CI_LOW], ascending=[True, False])
    rows: list[dict[str, Any]] = table[list(SHOWN)].to_dict("records")
    return [{k: None if v != v else v for k, v in row.items()} for row in rows]


def latent_facts(folder: Path, latent: int) -> dict[str, Any]:
    """Everything the report knows of one latent, items with their titles."""
    report = load_run(folder).report
    titles = {item: known["title"] for item, known in report["items"].items()}
    for concept in report["concepts"]["list"]:
        if concept["latent"] == latent:
            break
    else:
        n = len(report["concepts"]["list"])
        raise InvalidInput(f"There is no latent {latent}: latents are numbered 0 to {n - 1}.")
    facts = {k: v for k, v in concept.items() if not isinstance(v, list | dict)}
    for key in ("promotes", "demotes"):
        facts[key] = [titles.get(entry["item"], entry["item"]) for entry in concept[key]]
    facts["examples"] = [
        {
            "activation": example["activation"],
            "user": example["user"],
            "items": " | ".join(titles.get(i, i) for i in example["items"]),
            "then": titles.get(example["top_recommendation"], example["top_recommendation"]),
        }
        for example in concept["examples"]
    ]
    return facts
