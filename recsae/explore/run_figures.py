"""Headline figures of a finished run, as they stand beside those of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recsae.report.write import report_facts

if TYPE_CHECKING:
    from pathlib import Path


FIGURES = {
    "run": "run",
    "model": "model",
    "data": "data",
    "site": "site",
    "seed": "seed",
    "n_latents": "latents",
    "l0": "active per state",
    "fvu": "unexplained (FVU)",
    "ndcg_kept": "NDCG kept",
    "tested": "concepts tested",
    "verified": "concepts verified",
    "distinct_verified": "distinct ones verified",
    "named_share_8": "named share, 8 concepts",
    "named_share_16": "named share, 16 concepts",
    "named_share_32": "named share, 32 concepts",
    "label_quality": "F1 of labels, by activation",
    "mean_auc": "attribute AUC",
}
"""What each figure is called."""


@dataclass(frozen=True)
class RunFigures:
    """Headline figures of a run; None where one could not be computed."""

    run: str
    """Its folder."""
    model: str
    data: str
    site: str
    seed: int
    n_latents: int
    l0: float | None
    """Mean number of active latents per state."""
    fvu: float | None
    """Fraction of the states' variance that the SAE leaves unexplained."""
    ndcg_kept: float | None
    """NDCG@10 of held-out cases with every state reconstructed, relative to without."""
    tested: int
    verified: int
    distinct_verified: int
    named_share_8: float | None
    """Share of score variance that 8 verified concepts explain; below, 16 and 32 of them."""
    named_share_16: float | None
    named_share_32: float | None
    label_quality: float | None
    """F1 of labels, weighted by held-out activations."""
    mean_auc: float | None
    """Mean over attributes of the AUC of the attribute's best latent."""


def run_figures(folder: Path) -> RunFigures:
    """Headline figures, from ``report.json``."""
    report = report_facts(folder)
    aucs = [row["auc_sae"] for row in report["attributes"] if row["auc_sae"] is not None]
    sae, counts, share = report["sae"], report["concepts"], report["named_share"]["sae"]
    return RunFigures(
        run=str(folder),
        model=report["model"]["name"],
        data=report["data"]["name"],
        site=report["model"]["site"],
        seed=report["seed"],
        n_latents=sae["n_latents"],
        l0=sae["l0"],
        fvu=sae["fvu"],
        ndcg_kept=report["accuracy"]["heldout"]["ndcg_kept"],
        tested=counts["tested"],
        verified=counts["verified"],
        distinct_verified=counts["distinct_verified"],
        named_share_8=share["8"],
        named_share_16=share["16"],
        named_share_32=share["32"],
        label_quality=report["label_quality"]["sae"]["value"][0],
        mean_auc=float(np.mean(aucs)) if aucs else None,
    )
