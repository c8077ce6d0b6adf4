"""The command ``explain``: the terms of a score, and the history items that drive them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, show_json
from recsae.cli.shared.options import (
    all_option,
    device_option,
    json_option,
    sequence_option,
    top_option,
    trust_option,
    typed_sequence,
)
from recsae.core.errors import InvalidInput

if TYPE_CHECKING:
    from recsae.attribution.explanation import Drivers
    from recsae.finished.explained import ExplainedItem
    from recsae.steering.lists import ListedItem

N_ROWS = 10
"""Rows of each of the tables, which are several."""
RESTS = {
    "bias": "bias of the model",
    "offset": "offset of the SAE",
    "residual": "not reconstructed by the SAE",
}
METHODS = ("leave-one-out", "gradients", "both")
BASELINES = ("zero", "mean-user", "popular-user", "sampled-users")


@click.command()
@click.argument("folder", type=PATH)
@click.option("--user", help="Explain what this user is recommended.")
@sequence_option
@click.option("--item", help="Id or title of the item to explain; default the first of the list.")
@click.option(
    "--latent", "latents", type=int, multiple=True, help="Ask about this latent too. Repeatable."
)
@top_option(N_ROWS)
@all_option
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="both",
    show_default=True,
    help="How to find the items of the history that drive a latent.",
)
@click.option(
    "--baseline",
    type=click.Choice(BASELINES),
    default="sampled-users",
    show_default=True,
    help="Where the paths of the gradients begin.",
)
@click.option("--mask-seen", is_flag=True, help="Leave out items of the history from the list.")
@trust_option
@device_option
@json_option
def explain(
    folder: Path,
    user: str | None,
    sequence: tuple[str, ...],
    item: str | None,
    latents: tuple[int, ...],
    top: int,
    everything: bool,
    method: Any,
    baseline: Any,
    mask_seen: bool,
    trust: bool,
    device: str,
    as_json: bool,
) -> None:
    """Say why an item stands where it stands in a list.

    Which concepts put it there, and which items of the history they come from.
    """
    from recsae.cli.shared.explained import show_explanation
    from recsae.finished.opened import open_run

    if (user is None) == (not sequence):
        raise InvalidInput("Give one of --user and --sequence.")
    explained = open_run(folder, device=device, trust=trust).explain(
        user=user,
        sequence=typed_sequence(sequence),
        item=item,
        latents=latents,
        method=method,
        baseline=baseline,
        mask_seen=mask_seen,
    )
    facts = to_dict(explained)
    if as_json:
        show_json(facts)
        return
    show_explanation(facts, None if everything else top)


def to_dict(explained: ExplainedItem) -> dict[str, Any]:
    """The explanation as JSON holds it, with titles and names of concepts."""
    from recsae.core import columns as C

    explanation, table = explained.explanation, explained.concepts
    score = explanation.score

    def item(one: ListedItem) -> dict[str, Any]:
        return {"item": one.external_id, "title": one.title}

    def concept(latent: int | None) -> dict[str, Any]:
        if latent is None:
            return {"latent": None, "name": None, "status": None}
        row = table.loc[latent]
        return {"latent": latent, "name": row[C.NAME], "status": row[C.STATUS]}

    m = len(explained.history)
    history = [{"back": m - place, **item(one)} for place, one in enumerate(explained.history)]
    return {
        "per_user": explained.per_user,
        "n_known": explained.n_known,
        "baseline": explained.baseline,
        "history": history,
        "item": {
            **item(explained.item),
            "rank": score.rank,
            "of": score.n_ranked,
            "in_history": score.item in explanation.history,
            "score": score.score,
            "above_mean": score.above_mean,
        },
        "method": score.method,
        "terms": [
            {**concept(term.latent), **{k: v for k, v in vars(term).items() if k != "latent"}}
            for term in score.terms
        ],
        "rest": [
            {
                "name": RESTS[rest.kind],
                "contribution": rest.contribution,
                "centred": rest.centred,
            }
            for rest in score.rest
        ],
        "sum": {"contribution": score.total, "centred": score.total_centred},
        "gap": score.gap,
        "drivers": [_driver_facts(d, concept(d.latent), history) for d in explanation.drivers],
        "notes": list(explanation.notes),
    }


def _driver_facts(
    drivers: Drivers, concept: dict[str, Any], history: list[dict[str, Any]]
) -> dict[str, Any]:
    gradients, agreement = drivers.gradients, drivers.agreement
    columns = {
        "left_out": drivers.left_out,
        "left_out_activation": drivers.left_out_activation,
        "gradients": None if gradients is None else gradients.attributions,
    }
    given = {name: values.tolist() for name, values in columns.items() if values is not None}
    rows = [
        {**item, **{name: values[place] for name, values in given.items()}}
        for place, item in enumerate(history)
    ]
    key = "left_out" if "left_out" in given else "gradients"
    return {
        **concept,
        "activation": drivers.activation,
        "agreement": None if agreement is None else vars(agreement),
        "path": None
        if gradients is None
        else {k: v for k, v in vars(gradients).items() if k != "attributions"},
        "items": sorted(rows, key=lambda row: -abs(row.get(key, 0.0))),
    }
