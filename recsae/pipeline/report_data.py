"""From what the stages left to the content of ``report.json``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from recsae.concepts.attributes.tasks import NOT_ASKED
from recsae.concepts.labeler import CORE, FOUND
from recsae.concepts.status import CONFIDENCE, MIN_POSITIVES, MIN_USERS, THRESHOLD
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.files import read_json
from recsae.evaluation.supervised import METHODS
from recsae.pipeline.report_concepts import (
    Record,
    described,
    items_of,
    label_values,
    tested_concepts,
)
from recsae.pipeline.report_goals import goals_block
from recsae.recommender.protocol import find_site
from recsae.report.schema.report import (
    Accuracy,
    AttributeScore,
    Autoencoder,
    Baselines,
    CoreFigures,
    Data,
    LabelQuality,
    Model,
    NamedShare,
    Protocol,
    Report,
    Steering,
)
from recsae.report.schema.sections import (
    AttributeBeside,
    LanguageModel,
    LeftOut,
    PaperScore,
    Stability,
    Supervised,
)
from recsae.report.write import follows_schema

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


@follows_schema("The report")
def build_report(work: Workspace, stages: Iterable[str]) -> Report:
    """Everything that the report shows.

    ``stages`` are the names of the run's stages, in their order.
    """
    started = time.perf_counter()
    figures = {name: read_json(work.folder / file) for name, file in FIGURES.items()}
    scoring, concepts, values = figures["scoring"], tested_concepts(work), label_values(work)
    attributes = [AttributeScore.model_validate(row) for row in scoring["attributes"]]
    left_out = figures["supervised"]["summary"]["left_out"]
    return Report(
        model=_model(work),
        data=_data(work),
        sae=_sae(work),
        accuracy=Accuracy.model_validate(figures["accuracy"]),
        concepts=concepts,
        items=items_of(work, concepts.list, values),
        label_values=described(values, work.recommender.catalog),
        protocol=_protocol(work),
        named_share={c: NamedShare.model_validate(s) for c, s in scoring["named_share"].items()},
        label_quality={
            c: LabelQuality.model_validate(q) for c, q in scoring["label_quality"].items()
        },
        recsae_protocol={
            c: PaperScore.model_validate(s) for c, s in scoring["recsae_protocol"].items()
        },
        baselines=Baselines.model_validate(scoring["baselines"]),
        attributes=attributes,
        skipped_attributes=_skipped(work, attributes),
        left_out=[LeftOut.model_validate(row) for row in left_out],
        supervised=_supervised(figures["supervised"]),
        stability=_stability(figures["stability"]),
        language=_language(figures["language"]),
        steering=[Steering.model_validate(row) for row in figures["steering"]],
        goals=goals_block(figures["goals"]),
        timings={**work.run.seconds(stages), "report": round(time.perf_counter() - started, 2)},
        cpu_seconds=dict(work.run.cpu_seconds(stages)),
        memory=dict(work.run.peak_mb(stages)),
        versions=work.run.record["versions"],
        seed=work.config.seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _model(work: Workspace) -> Model:
    recommender = work.recommender
    site = find_site(recommender, work.site)
    return Model(
        name=recommender.name,
        plugin=recommender.plugin,
        site=site.name,
        site_meaning=site.meaning,
        site_share=site.share,
        one_state_per_user=site.per_user,
        hidden_size=site.width,
        n_items=int(recommender.catalog.recommendable.sum()),
        checkpoint_sha256=recommender.describe().get("checkpoint_sha256")
        or recommender.fingerprint(),
        linear_head=work.head is not None,
        causal=site.every_position,
    )


def _data(work: Workspace) -> Data:
    recommender, held = work.recommender, work.heldout_users
    return Data(
        name=recommender.dataset,
        n_users=len(held),
        n_construction_users=int((~held).sum()),
        n_heldout_users=int(held.sum()),
        n_sequences=len(recommender.sequences()),
        n_construction_positions=len(work.construction_store),
        n_heldout_positions=len(work.heldout),
        attributes=list(recommender.catalog.attributes),
        title_column=recommender.catalog.title_column,
        notes=list(recommender.catalog.notes),
    )


def _sae(work: Workspace) -> Autoencoder:
    meta = read_json(work.folder / layout.SAE_CONFIG)
    quality = read_json(work.folder / layout.QUALITY)
    return Autoencoder(
        n_latents=work.sae.n_latents,
        n_core=work.sae.n_gates,
        core=_core(work) if work.core.n_candidates else None,
        k=work.sae.config.k,
        tried=read_json(work.folder / layout.K_TRIED)["kept"],
        activation=work.sae.kind,
        fvu=quality["fvu"],
        l0=quality["l0"],
        dead_fraction=quality["dead_fraction"],
        dense_fraction=quality["dense_fraction"],
        n_activations_seen=meta["n_activations_seen"],
        seconds=meta["seconds"],
        epochs=meta["epochs"],
    )


def _core(work: Workspace) -> CoreFigures:
    core, table = work.core, work.tested_dictionary.table
    verified = table[C.LATENT].isin(work.verified)
    said = {
        origin: set(zip(rows[C.ATTRIBUTE], rows[C.VALUE], strict=True))
        for origin, rows in table[verified].groupby(C.ORIGIN)
    }
    return CoreFigures(
        n_candidates=core.n_candidates,
        n_learnable=core.n_learnable,
        n_permuted=core.n_permuted,
        n_permuted_candidates=core.n_permuted_candidates,
        n_added=len(said.get(FOUND, set()) - said.get(CORE, set())),
    )


def _protocol(work: Workspace) -> Protocol:
    return Protocol(
        name="held-out precision and recall",
        min_positives=MIN_POSITIVES,
        min_users=MIN_USERS,
        supported_excludes_verified=True,
        threshold=THRESHOLD,
        one_sided_level=CONFIDENCE,
    )


def _supervised(record: Record) -> Supervised | None:
    """What ``supervised.json`` says, by measure and method; None without attributes."""
    if not record["rows"]:
        return None
    summary = record["summary"]
    return Supervised(
        rows=[_beside(row) for row in record["rows"]],
        means={
            m: {by: value for by, value in summary[f"mean_{m}"].items() if by in METHODS}
            for m in MEASURES
            if f"mean_{m}" in summary
        },
        explained_together=summary["explained_together"],
        n_latents=summary["n_latents"],
        width=summary["width"],
        rules=summary["rules"],
        dose=summary["control"].get("dose"),
        control_skipped=summary["control"].get("skipped"),
    )


def _beside(row: Record) -> AttributeBeside:
    by = {m: {k: row[f"{m}_{k}"] for k in METHODS if f"{m}_{k}" in row} for m in MEASURES}
    return AttributeBeside(
        attribute=row["attribute"],
        site=row["site"],
        prevalence=row["prevalence"],
        best_latent=row["best_latent"],
        auc=by["auc"],
        auc_low=by["auc_low"],
        balanced_accuracy=by["balanced_accuracy"],
        explained=by["explained"],
        share_before=row.get("share_before"),
        lift=by["lift"],
        off_target=by["off_target"],
        ndcg_kept=by["ndcg_kept"],
        auc_of_latents={
            int(key.removeprefix(OF_LATENTS)): value
            for key, value in row.items()
            if key.startswith(OF_LATENTS)
        },
        overlap=row["overlap"],
        over_split=row["over_split"],
        occluded_by=row["occluded_by"],
        told_apart_auc=row["told_apart_auc"],
    )


def _stability(record: Record) -> Stability | None:
    kept = {key: value for key, value in record.items() if key != "latents"}
    return Stability.model_validate(kept) if kept else None


def _language(record: Record) -> LanguageModel | None:
    kept = {key: value for key, value in record.items() if key != "concepts"}
    return LanguageModel.model_validate(kept) if kept else None


def _skipped(work: Workspace, attributes: list[AttributeScore]) -> list[str]:
    """Values that are asked for, but have too few cases for a probe or are too many."""
    asked = {row.attribute for row in attributes}
    names = [": ".join(n) for n in work.attribute_labeler.attributes.names if n[0] not in NOT_ASKED]
    return [name for name in names if name not in asked]
