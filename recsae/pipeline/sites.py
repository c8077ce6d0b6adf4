"""A quick look at every site of a model, with a small SAE at each, so that one can be chosen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recsae.capture.cases import ndcg_of_states
from recsae.capture.fill import capture_sites
from recsae.capture.forward import forward_all
from recsae.concepts.dictionary import build_concepts
from recsae.concepts.status import distinct, verified_latents
from recsae.core.errors import NotEnoughData, RecSAEError
from recsae.evaluation.attribute_auc import attribute_table
from recsae.evaluation.explained import explained, linear_fit, score_metric
from recsae.evaluation.reconstruction import STATES_AT_ONCE, heldout_by_running
from recsae.evaluation.scoring import score_concepts
from recsae.evaluation.share import SIZES, shares_of_halves
from recsae.recommender.metrics import ndcg_of_lists
from recsae.recommender.protocol import find_site
from recsae.recommender.sequences import split_users
from recsae.run.config import RunConfig
from recsae.run.record import Run
from recsae.run.workspace import Workspace, default_latents
from recsae.sae.config import make_config
from recsae.sae.quality import quality

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.capture.store import ActivationStore
    from recsae.concepts.dictionary import ConceptDictionary
    from recsae.core.progress import Progress
    from recsae.recommender.protocol import Edit, Recommender, Site
    from recsae.sae.model import SAE

LATENTS = 256
EPOCHS = 10
ALL_SCORES = 0.99
BETTER = 0.02
FIGURES = (
    *("fvu", "ndcg_kept", "auc_sae", "auc_supervised"),
    *("verified", "distinct_verified", "named_share", "seconds"),
)
MEASURES = {"named_share": "named share", "auc_sae": "attribute AUC"}
RULE = (
    f"of the sites that all scores go through, the default one, unless another's named share "
    f"(without one: its attribute AUC) is higher by more than {BETTER}"
)


def scan_sites(
    recommender: Recommender,
    config: RunConfig,
    folder: Path,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Capture all sites together, train a small SAE at each, and measure what can be compared.

    Parameters
    ----------
    config
        ``latents`` (default 256, fewer on small data), ``k``, ``seed``, the positions. The SAEs
        see every captured position ten times.
    folder
        For the states and SAEs, which can be deleted afterwards.

    Returns
    -------
    dict
        ``sites``: for each its name, width, meaning and share of the scores; ``fvu``,
        ``ndcg_kept`` with the reconstruction in place, mean ``auc_sae`` of the attributes' best
        latents and ``auc_supervised`` of probes, ``verified`` and ``distinct_verified`` concepts,
        ``named_share`` of up to 32 of them in the variance of the scores, ``seconds``; or
        ``problem``, why it could not be measured. ``recommended``: the site, the reason, the rule.
        ``n_construction``, ``n_heldout`` positions and ``capture_seconds`` for all sites together.

    Raises
    ------
    InvalidInput
        ``k`` is larger than the number of latents.
    NotEnoughData
        Too few users, or no site could be measured.
    """
    make_config(n_latents=config.latents or LATENTS, k=config.k)  # refuses what cannot be
    started = time.perf_counter()
    stores = _captured(recommender, config, folder, progress)
    captured = time.perf_counter() - started
    found = []
    for number, (site, (known, test)) in enumerate(zip(recommender.sites(), stores, strict=True)):
        n_latents = min(LATENTS, default_latents(site.width, config.k, len(test)))
        own = {
            "site": site.name,
            "latents": config.latents or n_latents,
            "samples": EPOCHS * max(1, len(known)),
        }
        run = Run(_folder(folder, number), config.model_copy(update=own))
        found.append(_scanned(recommender, site, run, progress))
        if progress:
            progress(number + 1, len(stores), "sites measured")
    known, test = stores[0]
    return {
        "sites": found,
        "recommended": recommend(found),
        "n_construction": len(known),
        "n_heldout": len(test),
        "capture_seconds": round(captured),
    }


def _captured(
    recommender: Recommender, config: RunConfig, folder: Path, progress: Progress | None
) -> list[tuple[ActivationStore, ActivationStore]]:
    """For each site the states of construction and of held-out users, where a run looks."""
    held = split_users(recommender.sequences())
    if held.sum() < 2:
        raise NotEnoughData(
            f"Of {len(held)} users only {int(held.sum())} would be kept for testing: too few for "
            "any figure. At least a few dozen users are needed."
        )
    sides = []
    for name, users, limit in (
        ("activations", ~held, config.construction_positions),
        ("heldout", held, config.heldout_positions),
    ):
        folders = {s.name: _folder(folder, i) / name for i, s in enumerate(recommender.sites())}
        rows = np.flatnonzero(users)
        stores = capture_sites(
            recommender, rows, folders, limit=limit, seed=config.seed, progress=progress
        )
        sides.append([stores[name] for name in folders])
    return list(zip(*sides, strict=True))


def _folder(folder: Path, number: int) -> Path:
    return folder / f"site-{number}"


def _scanned(
    recommender: Recommender, site: Site, run: Run, progress: Progress | None
) -> dict[str, Any]:
    """What is known of a site, and its figures; a problem is a figure too."""
    started = time.perf_counter()
    facts = {"site": site.name, "width": site.width, "meaning": site.meaning, "share": site.share}
    figures: dict[str, Any] = dict.fromkeys(FIGURES)
    try:
        figures |= _measured(Workspace(run, recommender, progress))
    except RecSAEError as error:
        figures["problem"] = str(error)
    seconds = round(time.perf_counter() - started)
    return {**facts, **figures, "seconds": seconds}


def _measured(work: Workspace) -> dict[str, Any]:
    codes = work.sae_codes
    labels = build_concepts(codes[0], work.construction, work.labeler)
    scores = score_concepts(codes[1], labels, work.heldout, work.labeler, hard_negatives=False)
    sides = (work.construction, work.heldout)
    attributes = attribute_table(work.labeler.attributes, *sides, {"sae": codes})
    found = {
        "n_latents": work.sae.n_latents,
        "fvu": quality(work.sae, work.heldout_store)["fvu"],
        "ndcg_kept": _ndcg_kept(work),
        "auc_sae": float(attributes["auc_sae"].mean()),
        "auc_supervised": float(attributes["auc_supervised"].mean()),
        "verified": len(verified_latents(scores)),
        "distinct_verified": distinct(scores, labels.table),
        "named_share": _named_share(work, labels),
    }
    return {k: v if v is None or np.isfinite(v) else None for k, v in found.items()}


def _ndcg_kept(work: Workspace) -> float:
    """NDCG@10 with the reconstruction in place, relative to without."""
    cases, sae = work.heldout, work.sae
    if work.head is None:
        windows = work.windows("heldout")
        found = heldout_by_running(work.recommender, cases, sae, work.site, windows)
        return float(found.lists.ndcg_kept)
    with torch.no_grad():
        rebuilt = torch.cat(
            [sae(part) for part in torch.from_numpy(cases.states).split(STATES_AT_ONCE)]
        )
    base = ndcg_of_lists(cases.top_items.astype(np.int64), cases.targets).sum()
    return float(ndcg_of_states(rebuilt, cases, work.head).sum() / base) if base else float("nan")


def named_edit(
    sae: SAE, chosen: list[int], code: scipy.sparse.csr_matrix, states: NDArray[np.float32]
) -> Edit:
    """The edit that replaces states by what a few latents say of them.

    States ``(n, d)`` are fitted on the activations of the chosen latents by ridge regression.
    """
    fitted, intercept = linear_fit(code[:, chosen].toarray().astype(np.float64), states)
    weights, start = torch.from_numpy(fitted).float(), torch.from_numpy(intercept).float()

    def edit(states: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            active = sae.encode(states.to(sae.W_dec.device))[:, chosen]
            return (active @ weights + start).to(states.device)

    return edit


def _named_share(work: Workspace, labels: ConceptDictionary) -> float | None:
    """Share of score variance that up to 32 verified concepts explain, as in a run.

    Away from the default site the model runs on from what the concepts say, and the states behind
    its scores are compared: so the figure means the same at every site. Not measured where only a
    part of the scores goes through the site, since the rest would count as explained.
    """
    recommender, codes = work.recommender, work.sae_codes
    head, default = recommender.linear_head(), recommender.sites()[0]
    if head is None or not _carries_all(find_site(recommender, work.site).share):
        return None
    metric = score_metric(head, recommender.catalog.recommendable, default.width)
    shares = []
    cases = work.construction, work.halves
    for half in shares_of_halves(codes, *cases, labels, work.labeler, work.head):
        if work.head is None and half.share.chosen:
            edit = named_edit(work.sae, half.share.chosen, codes[0], work.construction.states)
            shares.append(share_by_running(work, edit, half.cases, metric))
        else:
            shares.append(half.share.shares[max(SIZES)])
    return float(np.mean(shares)) if shares else None


def share_by_running(
    work: Workspace, edit: Edit, cases: Cases, metric: NDArray[np.float64]
) -> float:
    """Share of the score variance of held-out cases that is left when the site is edited.

    The model runs on from the edited states; the states behind its scores are compared.
    """
    default, windows = work.recommender.sites()[0].name, work.windows("heldout")
    mine = windows.take(np.flatnonzero(np.isin(windows.rows, cases.sequence)))
    before = forward_all(work.recommender, [default], mine).states[default]
    with work.recommender.edit(edit, work.site):
        after = forward_all(work.recommender, [default], mine).states[default]
    return explained(before, after, metric)


def _carries_all(share: float | None) -> bool:
    return share is None or share >= ALL_SCORES


def recommend(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The site to use, why, and the rule; ``rows`` as :func:`scan_sites` makes them.

    >>> row = {"site": "a", "share": 1.0, "named_share": 0.5, "auc_sae": 0.7}
    >>> recommend([row, {**row, "site": "b", "named_share": 0.6}])["reason"]
    'its named share is .60; .50 at a, the default'

    Raises
    ------
    NotEnoughData
        No site could be measured.
    """
    measured = [row for row in rows if not row.get("problem")]
    if not measured:
        raise NotEnoughData(
            f"No site could be measured. At {rows[0]['site']}: {rows[0]['problem']}"
        )
    able = [row for row in measured if _carries_all(row["share"])] or measured[:1]
    by, words = next(
        ((key, words) for key, words in MEASURES.items() if able[0][key] is not None),
        (None, ""),
    )
    first = able[0]
    if by is None or len(able) == 1:
        reason = "the only site that all scores go through and that could be measured"
        return {"site": first["site"], "reason": reason, "rule": RULE}
    best = max((row for row in able if row[by] is not None), key=lambda row: row[by])
    if best[by] > first[by] + BETTER:
        at = f"{_short(first[by])} at {first['site']}, the default"
        reason = f"its {words} is {_short(best[by])}; {at}"
        return {"site": best["site"], "reason": reason, "rule": RULE}
    if best is first:
        reason = f"the default, with the highest {words} ({_short(first[by])})"
    else:
        reason = f"the default; at {best['site']} the {words} is hardly higher"
        reason += f" ({_short(best[by])} against {_short(first[by])})"
    return {"site": first["site"], "reason": reason, "rule": RULE}


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")
