"""What a checkpoint comes to in recsae: its site, a small run, a latent that is turned off."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_factors import FACTORS, attached_factors
from models_rectools import RECTOOLS, attached_rectools

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from recsae.recommender.protocol import EvaluationCases, Recommender

RUN: dict[str, Any] = {"latents": 128, "k": 4, "samples": 200_000}
BY_PAIRS: dict[str, Any] = {"construction_positions": 2_000, "heldout_positions": 1_500}
"""Where a ranking takes one prediction for every item."""


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Attach to what was trained, do a run, turn a latent; an error after attaching is a fact."""
    from recsae import load_recommender
    from recsae.core.files import read_json
    from recsae.pipeline.plan import run_pipeline
    from recsae.run.config import RunConfig

    path = None
    if name in FACTORS:
        recommender = attached_factors(name, folder)
    elif name in RECTOOLS:
        recommender = attached_rectools(folder)
    else:
        path = str(folder / f"{name}.pth")
        recommender = load_recommender(path, trust=True)
    facts = attached(recommender)
    shutil.rmtree(folder / "run", ignore_errors=True)
    by_pairs = recommender.describe().get("scores_by", "").startswith("pairs")
    fewer = BY_PAIRS if by_pairs else {}
    try:
        run_pipeline(recommender, folder / "run", RunConfig(checkpoint=path, **RUN, **fewer))
        facts |= figures_of(read_json(folder / "run/report.json"))
        facts |= steered(recommender, folder / "run")
    except Exception as error:  # what was found before stays in the table
        facts["error"] = one_line(error)
    return facts


def attached(recommender: Recommender) -> dict[str, Any]:
    """What the recommender says of itself."""
    site, head = recommender.sites()[0], recommender.linear_head()
    facts: dict[str, Any] = {"site": site.name, "share": site.share, "head": "none"}
    facts["positions"] = "user" if site.per_user else "all" if site.every_position else "one"
    if head is not None:
        facts["head"] = "dot" if head.bias is None else "dot and bias"
    return facts


def figures_of(report: dict[str, Any]) -> dict[str, Any]:
    """What the table shows of a run's report."""
    held, counts = report["accuracy"]["heldout"], report["baselines"]["sae"]
    return {
        "ndcg": held["base"].get("ndcg@10"),
        "cases": held["n_positions"],
        "kept": held["ndcg_kept"],
        "interval": held["ndcg_kept_ci"],
        "verified": counts["verified"],
        "tested": counts["tested"],
    }


def steered(recommender: Recommender, run: Path) -> dict[str, Any]:
    """Turn the most often active verified latent off: does that do what it says, and no more?"""
    import torch

    from recsae.concepts.status import VERIFIED
    from recsae.core import columns as C
    from recsae.core.files import read_parquet
    from recsae.recommender.evaluation import evaluation_cases, restrict, top_lists
    from recsae.recommender.sequences import split_users
    from recsae.sae.editing import Intervention
    from recsae.sae.model import SAE
    from recsae.steering.context import steer

    sae, table = SAE.load(run / "sae"), read_parquet(run / "scores.parquet")
    verified = table[table[C.STATUS] == VERIFIED]
    table = verified if len(verified) else table
    latent = int(table.loc[table[C.N_POS].idxmax(), C.LATENT])
    cases = evaluation_cases(recommender)
    cases = restrict(cases, split_users(recommender.sequences())[cases.rows])
    before, lists = scores_of(recommender, cases), top_lists(recommender, cases)
    with steer(recommender, sae, [Intervention((latent,), "scale", 1.0)]):
        nothing = scores_of(recommender, cases)
    with steer(recommender, sae, {latent: 0.0}):
        turned, others = scores_of(recommender, cases), top_lists(recommender, cases)
    after = scores_of(recommender, cases)
    return {
        "latent": latent,
        "scores_change": not torch.equal(before, turned),
        "nothing_is_nothing": torch.equal(before, nothing),
        "as_before": torch.equal(before, after),
        "lists_change": share_of_users((lists != others).any(1), cases.group_rows),
    }


def scores_of(recommender: Recommender, cases: EvaluationCases) -> torch.Tensor:
    """Scores ``(n, n_items)`` of all cases, in one batch."""
    length = recommender.max_length
    starts = (cases.ends - length).clip(0)
    batch = recommender.sequences().batch(cases.rows, starts, cases.ends, length)
    return recommender.score(batch).clone()


def share_of_users(true: NDArray[np.bool_], rows: NDArray[np.int64]) -> float:
    """Share of users with a case ``(n,)`` for which something is true."""
    return len(set(rows[true].tolist())) / len(set(rows.tolist()))


def one_line(error: BaseException) -> str:
    """A message of recsae's as it is; of others, with its kind."""
    from recsae.core.errors import RecSAEError

    text = " ".join(str(error).split())
    return text if isinstance(error, RecSAEError) else f"{type(error).__name__}: {text}"
