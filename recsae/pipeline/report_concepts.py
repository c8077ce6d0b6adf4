"""The concepts of ``report.json``: labels and scores joined with all evidence, and their items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.concepts.attributes.history import LENGTH, REPEAT
from recsae.concepts.dictionary import item_effects
from recsae.concepts.labeler import PREDICATE, SECOND_PREDICATE
from recsae.concepts.status import SUPPORTED, UNSUPPORTED, VERIFIED, distinct
from recsae.concepts.wording import phrase, reason_of
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.files import read_json
from recsae.evaluation.evidence import INSTEAD, MISSED, UNEXPECTED, WITH, Evidence

if TYPE_CHECKING:
    import pandas as pd

    from recsae.recommender.catalog import ItemCatalog
    from recsae.run.workspace import Workspace

N_BINS = 12
"""Bins of the histogram of each latent's activations."""
SCORES = (
    *(C.STATUS, C.PRECISION, C.RECALL, C.SPECIFICITY, C.HARD_SPECIFICITY, C.F1),
    *(C.BALANCED_ACCURACY, C.CI_LOW, C.AUC, C.AVERAGE_PRECISION, C.N_POS, C.N_NEG),
    *(C.N_USERS_POS, C.CHANCE_PERCENTILE, C.EMBEDDING_AUC),
)
LABELS = (C.LATENT, C.NAME, C.LABEL, C.LABELER, C.FIRE_RATE)
FIRING = ("user_share", "mean_activation")


def concept_list(work: Workspace) -> dict[str, Any]:
    """Every concept with its evidence, and how many there are of each status."""
    table = work.tested_dictionary.table.merge(work.scores, on=C.LATENT, validate="one_to_one")
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    external = work.recommender.catalog.external_ids
    evidence = Evidence.load(work.folder).by_latent()
    examples, histograms = _examples(work.tested_dictionary.examples, external), _histograms(work)
    effects, again, language = _effects(work, external), _stability(work), _language(work)
    status = table[C.STATUS].value_counts()
    counts = {s: int(status.get(s, 0)) for s in (VERIFIED, SUPPORTED, UNSUPPORTED)}
    listed = []
    for row in rows:
        latent = row[C.LATENT]
        mine = evidence[latent]
        listed.append(
            {
                **{key: row[key] for key in (*LABELS, *SCORES)},
                **_predicates(row),
                "heldout_fire_rate": mine["firing"][C.FIRE_RATE],
                **{key: mine["firing"][key] for key in FIRING},
                "histogram": histograms.get(latent),
                **effects.get(latent, {"promotes": [], "demotes": []}),
                "examples": examples.get(latent, []),
                **_against(row, mine),
                **again.get(latent, {}),
                "language": language.get(latent),
            }
        )
    return {
        "tested": sum(counts.values()),
        "untested": len(table) - sum(counts.values()),
        **counts,
        "distinct_verified": distinct(work.scores, work.tested_dictionary.table),
        "list": listed,
    }


def _predicates(row: dict[str, Any]) -> dict[str, Any]:
    """The predicates of a label; None in all fields of one that it does not have."""
    cells = {C.JOINT: row[C.JOINT]}
    for columns in (PREDICATE, SECOND_PREDICATE):
        there = row[columns[0]] is not None
        cells |= {key: row[key] if there else None for key in columns}
    return cells


def _against(row: dict[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
    """Counter-examples, and the latents that are active with it or instead of it."""
    cases = [
        {
            "kind": kind,
            "user": str(case[C.USER]),
            "items": list(case[C.ITEMS]),
            "top_recommendation": case[C.TOP_ITEM],
            "activation": case[C.ACTIVATION],
            "level": case["level"],
            "threshold": case[C.THRESHOLD],
            "why": reason_of(row, case["level"]),
        }
        for kind in (MISSED, UNEXPECTED)
        for case in mine[kind]
    ]
    others = [
        {
            "kind": kind,
            "latent": other["other"],
            "n_together": other["n_together"],
            "lift": round(other["lift"], 4),
            "phi": round(other["phi"], 4),
        }
        for kind in (WITH, INSTEAD)
        for other in mine[kind]
    ]
    return {"counterexamples": cases, "together": others}


def _examples(examples: pd.DataFrame, external: list[str]) -> dict[int, list[dict[str, Any]]]:
    by_latent: dict[int, list[dict[str, Any]]] = {}
    for row in examples.to_dict("records"):
        quantile = row[C.QUANTILE]
        by_latent.setdefault(row[C.LATENT], []).append(
            {
                "kind": row[C.KIND],
                "quantile": None if np.isnan(quantile) else quantile,
                "user": str(row[C.USER]),
                "items": [external[i] for i in row[C.ITEMS]],
                "top_recommendation": external[row[C.TOP_ITEM]],
                "activation": row[C.ACTIVATION],
            }
        )
    return by_latent


def _histograms(work: Workspace) -> dict[int, dict[str, list[float]]]:
    """Counts of each latent's activations on held-out cases, where it is active."""
    code = work.sae_codes[1].tocsc()
    effects = {}
    for latent in np.flatnonzero(np.diff(code.indptr)):
        values = code.data[code.indptr[latent] : code.indptr[latent + 1]]
        counts, edges = np.histogram(
            values.astype(np.float64), bins=N_BINS, range=(0, float(values.max()))
        )
        effects[int(latent)] = {
            "edges": [round(e, 4) for e in edges.tolist()],
            "counts": counts.tolist(),
        }
    return effects


def _effects(work: Workspace, external: list[str]) -> dict[int, dict[str, Any]]:
    if work.head is None:
        return {}
    catalog = work.recommender.catalog
    up, gain, down, loss = item_effects(work.sae.directions(), work.head, catalog)

    def listed(items: Any, weights: Any) -> list[dict[str, Any]]:
        pairs = zip(items.tolist(), weights.tolist(), strict=True)
        return [{"item": external[i], "weight": round(w, 4)} for i, w in pairs]

    return {
        latent: {
            "promotes": listed(up[latent], gain[latent]),
            "demotes": listed(down[latent], loss[latent]),
        }
        for latent in range(len(up))
    }


def _stability(work: Workspace) -> dict[int, dict[str, Any]]:
    rows = read_json(work.folder / layout.STABILITY).get("latents", [])
    return {row[C.LATENT]: {"stable": row["stable"], "back": row["back"]} for row in rows}


def _language(work: Workspace) -> dict[int, dict[str, Any]]:
    rows = read_json(work.folder / layout.LANGUAGE).get("concepts", [])
    return {row.pop(C.LATENT): row for row in rows}


def label_values(work: Workspace) -> list[tuple[str, str]]:
    """Every different (attribute, value) of items that a label speaks of."""
    table = work.tested_dictionary.table
    of_items = {n for n in work.labeler.attributes.names if n[0] not in (REPEAT, LENGTH)}
    pairs = [
        pair
        for columns in (PREDICATE, SECOND_PREDICATE)
        for pair in zip(table[columns[0]], table[columns[1]], strict=True)
    ]
    return [pair for pair in dict.fromkeys(pairs) if pair in of_items]


def described(values: list[tuple[str, str]], catalog: ItemCatalog) -> list[dict[str, str]]:
    """The values and how a person says that an item has them."""
    titles = catalog.title_of
    return [{"attribute": a, "value": v, "phrase": phrase(a, v, titles)} for a, v in values]


def items_of(
    work: Workspace, concepts: list[dict[str, Any]], values: list[tuple[str, str]]
) -> dict[str, Any]:
    """Title, attributes and values of every item that the concepts mention."""
    mentioned: set[str] = set()
    for concept in concepts:
        mentioned.update(w["item"] for w in concept["promotes"] + concept["demotes"])
        for sequence in concept["examples"] + concept["counterexamples"]:
            mentioned.update([*sequence["items"], sequence["top_recommendation"]])
    catalog, of_items = work.recommender.catalog, work.labeler.attributes
    columns = [of_items.names.index(value) for value in values]
    has = of_items.matrix[:, columns].tocsr()
    has.sort_indices()
    rows = {x: i for i, x in enumerate(catalog.external_ids) if x in mentioned}
    attributes = {name: list(catalog.frame[name]) for name in catalog.attributes}
    return {
        item: {
            "title": catalog.titles[row],
            "attributes": {name: list(v[row]) for name, v in attributes.items() if v[row]},
            "values": has.indices[has.indptr[row] : has.indptr[row + 1]].tolist(),
        }
        for item, row in sorted(rows.items())
    }
