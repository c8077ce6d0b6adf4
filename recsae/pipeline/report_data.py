"""From what the stages left to the content of ``report.json``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from recsae.concepts.attributes.tasks import NOT_ASKED
from recsae.concepts.status import CONFIDENCE, MIN_POSITIVES, MIN_USERS, THRESHOLD
from recsae.core import layout
from recsae.core.files import read_json
from recsae.evaluation.supervised import METHODS
from recsae.pipeline.report_concepts import concept_list, described, items_of, label_values
from recsae.pipeline.report_goals import goals_block
from recsae.recommender.protocol import find_site

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recsae.run.workspace import Workspace

FIGURES = {
    "scoring": layout.SCORING,
    "accuracy": layout.ACCURACY,
    "steering": layout.STEERING,
    "goals": layout.GOALS,
    "supervised": layout.SUPERVISED,
    "stability": layout.STABILITY,
    "language": layout.LANGUAGE,
}
MEASURES = ("auc", "auc_low", "balanced_accuracy", "explained", "lift", "off_target", "ndcg_kept")
OF_LATENTS = "auc_latents_"


def build_report(work: Workspace, stages: Iterable[str]) -> dict[str, Any]:
    """Everything that the report shows, as one dict that follows the schema.

    ``stages`` are the names of the run's stages, in their order.
    """
    started = time.perf_counter()
    figures = {name: read_json(work.folder / file) for name, file in FIGURES.items()}
    concepts, values = concept_list(work), label_values(work)
    attributes = figures["scoring"]["attributes"]
    return {
        "model": _model(work),
        "data": _data(work),
        "sae": _sae(work),
        "accuracy": figures["accuracy"],
        "concepts": concepts,
        "items": items_of(work, concepts["list"], values),
        "label_values": described(values, work.recommender.catalog),
        "protocol": {
            "name": "held-out balanced accuracy",
            "min_positives": MIN_POSITIVES,
            "min_users": MIN_USERS,
            "supported_excludes_verified": True,
            "threshold": THRESHOLD,
            "one_sided_level": CONFIDENCE,
            "n_chance_directions": work.config.chance_directions,
        },
        "named_share": figures["scoring"]["named_share"],
        "recsae_protocol": figures["scoring"]["recsae_protocol"],
        "baselines": figures["scoring"]["baselines"],
        "attributes": attributes,
        "skipped_attributes": _skipped(work, attributes),
        "left_out": figures["supervised"]["summary"]["left_out"],
        "supervised": _supervised(figures["supervised"]),
        "stability": _stability(figures["stability"]),
        "language": _language(figures["language"]),
        "steering": figures["steering"],
        "goals": goals_block(figures["goals"]),
        "timings": {**work.run.seconds(stages), "report": round(time.perf_counter() - started, 2)},
        "memory": work.run.peak_mb(stages),
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
    meta = read_json(work.folder / layout.SAE_CONFIG)
    return {
        "n_latents": work.sae.n_latents,
        "k": work.sae.config.k,
        "activation": work.sae.config.activation,
        **read_json(work.folder / layout.QUALITY),
        **{key: meta[key] for key in ("n_activations_seen", "seconds", "epochs")},
    }


def _supervised(record: dict[str, Any]) -> dict[str, Any] | None:
    """What ``supervised.json`` says, by measure and method; None without attributes."""
    if not record["rows"]:
        return None
    summary = record["summary"]
    kept = ("attribute", "site", "prevalence", "best_latent", "overlap", "over_split")
    rows = [
        {
            **{key: row[key] for key in (*kept, "occluded_by", "told_apart_auc")},
            "share_before": row.get("share_before"),
            **{m: {by: row[f"{m}_{by}"] for by in METHODS if f"{m}_{by}" in row} for m in MEASURES},
            "auc_of_latents": {
                key.removeprefix(OF_LATENTS): value
                for key, value in row.items()
                if key.startswith(OF_LATENTS)
            },
        }
        for row in record["rows"]
    ]
    return {
        "rows": rows,
        "means": {
            m: {by: value for by, value in summary[f"mean_{m}"].items() if by in METHODS}
            for m in MEASURES
            if f"mean_{m}" in summary
        },
        **{key: summary[key] for key in ("explained_together", "n_latents", "width", "rules")},
        "dose": summary["control"].get("dose"),
        "control_skipped": summary["control"].get("skipped"),
    }


def _stability(record: dict[str, Any]) -> dict[str, Any] | None:
    return {key: value for key, value in record.items() if key != "latents"} or None


def _language(record: dict[str, Any]) -> dict[str, Any] | None:
    return {key: value for key, value in record.items() if key != "concepts"} or None


def _skipped(work: Workspace, attributes: list[dict[str, Any]]) -> list[str]:
    """Values that are asked for, but have too few cases for a probe or are too many."""
    asked = {row["attribute"] for row in attributes}
    names = [": ".join(n) for n in work.labeler.attributes.names if n[0] not in NOT_ASKED]
    return [name for name in names if name not in asked]
