"""The command ``explain``: the terms of a score, and the history items that drive them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, show_json
from recsae.cli.shared.opened import opened
from recsae.cli.shared.options import device_option, json_option, trust_option
from recsae.cli.shared.tables import show_table
from recsae.core.errors import InvalidInput
from recsae.core.text import one_line

if TYPE_CHECKING:
    import pandas as pd

    from recsae.attribution.explanation import Drivers, Explanation
    from recsae.recommender.catalog import ItemCatalog

N_HISTORY = 10
"""Items of the history that are shown."""
LONGEST_TITLE = 48
"""Letters of a title in a table."""
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
@click.option("--sequence", help="Item ids or titles, separated by commas, oldest first.")
@click.option("--item", help="Id or title of the item to explain; default the first of the list.")
@click.option(
    "--latent", "latents", type=int, multiple=True, help="Ask about this latent too. Repeatable."
)
@click.option("--top", default=10, show_default=True, type=click.IntRange(1), help="Rows shown.")
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
    sequence: str | None,
    item: str | None,
    latents: tuple[int, ...],
    top: int,
    method: Any,
    baseline: Any,
    mask_seen: bool,
    trust: bool,
    device: str,
    as_json: bool,
) -> None:
    """Say why an item stands where it stands in a list: which concepts, from which history."""
    from recsae.attribution import explanation
    from recsae.run.open import list_request
    from recsae.run.tables import load_run

    if (user is None) == (sequence is None):
        raise InvalidInput("Give one of --user and --sequence.")
    with opened(folder, device, trust=trust) as work:
        catalog, concepts = work.recommender.catalog, load_run(folder).concepts
        request = list_request(work.recommender, user, sequence, mask_seen=mask_seen)
        explained = explanation.explain(
            work.recommender,
            work.sae,
            request.batch,
            None if item is None else catalog.internal(item),
            site=work.site,
            seen=request.seen,
            latents=latents,
            method=method,
            baseline=baseline,
        )
    facts = {
        "per_user": work.recommender.sites()[0].per_user,
        "n_known": len(request.history),
        "baseline": baseline,
        **to_dict(explained, catalog, concepts),
    }
    if as_json:
        show_json(facts)
        return
    _show_score(facts, top)
    for drivers in facts["drivers"]:
        _show_drivers(drivers, top, baseline)
    for note in facts["notes"]:
        click.echo(f"\n{note}")


def to_dict(explained: Explanation, catalog: ItemCatalog, concepts: pd.DataFrame) -> dict[str, Any]:
    """The explanation as JSON holds it, with titles and names of concepts."""
    from recsae.core import columns as C

    table = concepts.set_index(C.LATENT)
    score = explained.score

    def item(internal: int) -> dict[str, Any]:
        return {"item": catalog.external_ids[internal], "title": catalog.titles[internal]}

    def concept(latent: int | None) -> dict[str, Any]:
        if latent is None:
            return {"latent": None, "name": None, "status": None}
        row = table.loc[latent]
        return {"latent": latent, "name": row[C.NAME], "status": row[C.STATUS]}

    m = len(explained.history)
    history = [{"back": m - place, **item(i)} for place, i in enumerate(explained.history)]
    return {
        "history": history,
        "item": {
            **item(score.item),
            "rank": score.rank,
            "of": score.n_ranked,
            "in_history": score.item in explained.history,
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
        "drivers": [_driver_facts(d, concept(d.latent), history) for d in explained.drivers],
        "notes": list(explained.notes),
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


def _show_score(facts: dict[str, Any], top: int) -> None:
    history, item, exact = facts["history"], facts["item"], facts["method"] == "exact"
    shown = history[-N_HISTORY:]
    m, known = len(history), facts["n_known"]
    what = "What is known of the user is made of" if facts["per_user"] else "The model reads"
    click.echo(
        f"{what} {m} item{'s' * (m != 1)}"
        + (f", the newest of {known}" if known > m else "")
        + (f"; the newest {len(shown)}:" if len(shown) < m else ":")
    )
    show_table(("back", "item"), [(i["back"], _titled(i)) for i in shown])
    if item["rank"] is None:
        place = "left out of the list, because the history has it"
    else:
        place = f"rank {item['rank']:,} of {item['of']:,}"
        if item["in_history"]:
            place += " (the history has it; --mask-seen leaves such items out)"
    click.echo(
        f"\n{_titled(item)}: {place}, score {item['score']:.4g}, {item['above_mean']:+.4g} against "
        "the mean over items.\n"
    )
    rows = [
        tuple(t[k] for k in ("latent", "name", "status", "activation", "contribution", "centred"))
        for t in facts["terms"][:top]
    ]
    hidden = facts["terms"][top:]
    if hidden:
        both = (sum(t[k] for t in hidden) for k in ("contribution", "centred"))
        rows.append((None, f"{len(hidden)} more latents", None, None, *both))
    rows += [(None, r["name"], None, None, r["contribution"], r["centred"]) for r in facts["rest"]]
    if exact:
        rows.append((None, "sum", None, None, *facts["sum"].values()))
    header = ("latent", "concept", "status", "activation", "contribution", "centred")
    show_table(header, rows)
    if exact:
        click.echo(
            "\ncentred is the contribution less its mean over items: that moves the item in the "
            "list, and rows are\nsorted by its size. The sum is the model's own score, to "
            f"{facts['gap']:.0e} of the largest score."
        )
    else:
        click.echo(
            "\nScores are not linear in the states of this site. A contribution is what the score "
            "loses when the latent\nis set to 0, centred the same less its mean over items; they "
            "need not add up. Rows are sorted by centred."
        )


def _show_drivers(drivers: dict[str, Any], top: int, baseline: str) -> None:
    if drivers["latent"] is None:
        what, unit = "the score, less the mean over items", "score"
    else:
        on = f"active at {drivers['activation']:.3g}" if drivers["activation"] else "not active"
        name = f"{drivers['name']} ({drivers['status']})"
        what, unit = f"latent {drivers['latent']}, {name}, {on}", "pre-activation"
    click.echo(f"\nWhat drives {what}:")
    columns = {
        "left_out": f"left out: {unit}",
        "left_out_activation": "left out: activation",
        "gradients": f"gradients: {unit}",
    }
    present = [key for key in columns if key in drivers["items"][0]]
    show_table(
        ("back", "item", *(columns[key] for key in present)),
        [(r["back"], _titled(r), *(r[key] for key in present)) for r in drivers["items"][:top]],
    )
    path, agreement = drivers["path"], drivers["agreement"]
    if path is not None:
        change = path["value"] - path["baseline_value"]
        adds = "add up" if path["complete"] else "do not quite add up"
        click.echo(
            f"Gradients from {baseline} {adds} to the change from {path['baseline_value']:.4g} to "
            f"{path['value']:.4g} ({change:+.4g}): gap {path['gap']:.2%} of their size, "
            f"{path['steps']} steps."
        )
    if agreement is not None:
        spearman, kendall = (
            "-" if agreement[k] is None else f"{agreement[k]:.2f}" for k in ("spearman", "kendall")
        )
        click.echo(
            f"Agreement of the two: Spearman {spearman}, Kendall {kendall}, {agreement['top']} of "
            f"the top {agreement['n_top']}."
        )


def _titled(item: dict[str, Any]) -> str:
    """Title and id on one line; long titles are cut."""
    title = one_line(str(item["title"]))
    short = title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…"
    return short if title == item["item"] else f"{short} ({item['item']})"
