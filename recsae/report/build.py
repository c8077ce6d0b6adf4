"""From what the stages left to the content of ``report.json``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae import columns as C
from recsae.concepts import item_effects
from recsae.files import read_json
from recsae.recommender import find_site
from recsae.scoring import (
    LEVEL,
    MIN_POSITIVES,
    MIN_USERS,
    SUPPORTED,
    THRESHOLD,
    UNSUPPORTED,
    VERIFIED,
    distinct,
)

if TYPE_CHECKING:
    import pandas as pd

    from recsae.catalog import ItemCatalog
    from recsae.workspace import Workspace

N_BINS = 12
SCALARS = (
    *(C.LATENT, C.NAME, C.LABEL, C.LABELER, C.ATTRIBUTE, C.VALUE, C.PREDICATE_SITE, C.THRESHOLD),
    *(C.STATUS, C.PRECISION, C.RECALL, C.SPECIFICITY, C.HARD_SPECIFICITY, C.F1),
    *(C.BALANCED_ACCURACY, C.CI_LOW, C.AUC, C.AVERAGE_PRECISION, C.N_POS, C.N_NEG),
    *(C.N_USERS_POS, C.CHANCE_PERCENTILE, C.FIRE_RATE),
)


def build_report(work: Workspace) -> dict[str, Any]:
    """Everything that the report shows, as one dict that follows the schema."""
    started = time.perf_counter()
    figures = {
        name: read_json(work.folder / f"{name}.json")
        for name in ("scoring", "accuracy", "steering")
    }
    concepts = _concepts(work)
    attributes = figures["scoring"]["attributes"]
    return {
        "model": _model(work),
        "data": _data(work),
        "sae": _sae(work),
        "accuracy": figures["accuracy"],
        "concepts": concepts,
        "items": _items(concepts["list"], work.recommender.catalog),
        "protocol": {
            "name": "held-out balanced accuracy",
            "min_positives": MIN_POSITIVES,
            "min_users": MIN_USERS,
            "supported_excludes_verified": True,
            "threshold": THRESHOLD,
            "one_sided_level": LEVEL,
            "n_chance_directions": work.config.chance_directions,
        },
        "named_share": figures["scoring"]["named_share"],
        "recsae_protocol": figures["scoring"]["recsae_protocol"],
        "baselines": figures["scoring"]["baselines"],
        "attributes": attributes,
        "skipped_attributes": _skipped(work, attributes),
        "steering": figures["steering"],
        "timings": {**work.run.seconds(), "report": round(time.perf_counter() - started, 2)},
        "memory": work.run.peak_mb(),
        "versions": work.run.record["versions"],
        "seed": work.config.seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _model(work: Workspace) -> dict[str, Any]:
    recommender = work.recommender
    site = find_site(recommender, work.site)
    return {
        "name": recommender.name,
        "plugin": recommender.plugin,
        "site": site.name,
        "site_meaning": site.meaning,
        "site_share": site.share,
        "one_state_per_user": site.per_user,
        "hidden_size": site.width,
        "n_items": int(recommender.catalog.recommendable.sum()),
        "checkpoint_sha256": recommender.describe().get("checkpoint_sha256")
        or recommender.fingerprint(),
        "linear_head": work.head is not None,
        "causal": site.every_position,
    }


def _data(work: Workspace) -> dict[str, Any]:
    recommender, held = work.recommender, work.heldout_users
    return {
        "name": recommender.dataset,
        "n_users": len(held),
        "n_construction_users": int((~held).sum()),
        "n_heldout_users": int(held.sum()),
        "n_sequences": len(recommender.sequences()),
        "n_construction_positions": len(work.construction_store),
        "n_heldout_positions": len(work.heldout),
        "attributes": list(recommender.catalog.attributes),
        "title_column": recommender.catalog.title_column,
        "notes": list(recommender.catalog.notes),
    }


def _sae(work: Workspace) -> dict[str, Any]:
    meta = read_json(work.folder / "sae/cfg.json")
    return {
        "n_latents": work.sae.n_latents,
        "k": work.sae.config.k,
        "activation": work.sae.config.activation,
        **read_json(work.folder / "sae/quality.json"),
        **{key: meta[key] for key in ("n_activations_seen", "seconds", "epochs")},
    }


def _concepts(work: Workspace) -> dict[str, Any]:
    table = work.dictionary.table.merge(work.scores, on=C.LATENT, validate="one_to_one")
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    external = work.recommender.catalog.external_ids
    examples = _examples(work.dictionary.examples, external)
    histograms = _histograms(work)
    effects = _effects(work, external)
    status = table[C.STATUS].value_counts()
    counts = {s: int(status.get(s, 0)) for s in (VERIFIED, SUPPORTED, UNSUPPORTED)}
    return {
        "tested": sum(counts.values()),
        "untested": len(table) - sum(counts.values()),
        **counts,
        "distinct_verified": distinct(work.scores, work.dictionary.table),
        "list": [
            {
                **{key: row[key] for key in SCALARS},
                "histogram": histograms.get(row[C.LATENT]),
                **effects.get(row[C.LATENT], {"promotes": [], "demotes": []}),
                "examples": examples.get(row[C.LATENT], []),
            }
            for row in rows
        ],
    }


def _examples(examples: pd.DataFrame, external: list[str]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in examples.to_dict("records"):
        quantile = row[C.QUANTILE]
        found.setdefault(row[C.LATENT], []).append(
            {
                "kind": row[C.KIND],
                "quantile": None if np.isnan(quantile) else quantile,
                "user": str(row[C.USER]),
                "items": [external[i] for i in row[C.ITEMS]],
                "top_recommendation": external[row[C.TOP_ITEM]],
                "activation": row[C.ACTIVATION],
            }
        )
    return found


def _histograms(work: Workspace) -> dict[int, dict[str, list[float]]]:
    """Counts of each latent's activations on held-out cases, where it is active."""
    code = work.sae_codes[1].tocsc()
    found = {}
    for latent in np.flatnonzero(np.diff(code.indptr)):
        values = code.data[code.indptr[latent] : code.indptr[latent + 1]]
        counts, edges = np.histogram(
            values.astype(np.float64), bins=N_BINS, range=(0, float(values.max()))
        )
        found[int(latent)] = {
            "edges": [round(e, 4) for e in edges.tolist()],
            "counts": counts.tolist(),
        }
    return found


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


def _items(concepts: list[dict[str, Any]], catalog: ItemCatalog) -> dict[str, Any]:
    mentioned: set[str] = set()
    for concept in concepts:
        mentioned.update(w["item"] for w in concept["promotes"] + concept["demotes"])
        for example in concept["examples"]:
            mentioned.update([*example["items"], example["top_recommendation"]])
    rows = {x: i for i, x in enumerate(catalog.external_ids) if x in mentioned}
    values = {name: list(catalog.frame[name]) for name in catalog.attributes}
    return {
        item: {
            "title": catalog.titles[row],
            "attributes": {name: list(v[row]) for name, v in values.items() if v[row]},
        }
        for item, row in sorted(rows.items())
    }


def _skipped(work: Workspace, attributes: list[dict[str, Any]]) -> list[str]:
    """Values with too few cases for a probe on either side of the split."""
    from recsae.attributes import TERM

    asked = {row["attribute"] for row in attributes}
    names = [": ".join(n) for n in work.labeler.attributes.names if n[0] != TERM]
    return [n for n in names if n not in asked]
