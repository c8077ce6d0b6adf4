"""Every site of a model compared by a small SAE at each, so that one can be chosen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from recsae.capture.cases import spread
from recsae.capture.fill import capture_sites
from recsae.capture.forward import forward_all
from recsae.capture.store import STATES
from recsae.concepts.status import distinct, verified_latents
from recsae.core import layout
from recsae.core.errors import NotEnoughData, RecSAEError
from recsae.evaluation.attribute_auc import attribute_table
from recsae.evaluation.explained import explained, linear_fit
from recsae.evaluation.reconstruction import heldout_by_running
from recsae.evaluation.scoring import measure_concepts
from recsae.evaluation.share import SIZES, shares_of_halves
from recsae.recommender.protocol import find_site
from recsae.recommender.score_metric import score_metric
from recsae.recommender.sequences import split_users
from recsae.run.active import TRIED, ndcg_kept
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
    from recsae.core.progress import Progress
    from recsae.recommender.protocol import Edit, Recommender, Site
    from recsae.sae.model import SAE

LATENTS = 256
"""Latents at each site, unless the configuration says how many or the data are small: enough to
rank sites, and trained in seconds."""
EPOCHS = 10
"""How often the small SAEs see every captured position."""
ALL_SCORES = 0.99
"""Share of the scores above which all of them count as going through a site."""
MAX_COMPARED = 2_000
"""Positions at most by which two sites are compared."""
ROUNDING = 1e-5
"""States that differ by less, in terms of the largest, are the same."""
BETTER = 0.02
"""By how much another site must lead to be recommended instead of the default one."""
Measure = Literal["named_share", "auc_sae"]
MEASURES: tuple[Measure, ...] = ("named_share", "auc_sae")
"""What sites are ranked by: the first that the default site has."""


@dataclass(frozen=True)
class SiteFigures:
    """What a small SAE at one site reaches on held-out users; None where it is not defined."""

    n_latents: int
    fvu: float | None
    """Fraction of the states' variance that the SAE leaves unexplained."""
    ndcg_kept: float | None
    """NDCG@10 with the reconstruction in place, relative to without."""
    auc_sae: float | None
    """Mean over attributes of the AUC of the attribute's best latent."""
    auc_supervised: float | None
    """The same of a probe for each attribute."""
    verified: int
    distinct_verified: int
    named_share: float | None
    """Share of score variance that up to 32 verified concepts explain."""


@dataclass(frozen=True)
class MeasuredSite:
    """A site with its figures, or why it could not be measured."""

    site: Site
    figures: SiteFigures | None
    problem: str | None = None
    seconds: int = 0
    same_as: str | None = None
    """The site before it that has the same states, and so the same figures."""

    @property
    def carries_all(self) -> bool:
        """Whether all scores go through the site, as far as that is known."""
        return _carries_all(self.site.share)

    def figure(self, measure: Measure) -> float | None:
        """A figure that sites are ranked by."""
        value: float | None = getattr(self.figures, measure)
        return value


@dataclass(frozen=True)
class Recommendation:
    """The site to use, and what decided: see :func:`recommend`."""

    site: str
    measure: Measure | None = None
    """What sites were ranked by; None where there was nothing to choose between."""
    default: str = ""
    """The first site that could be chosen, with its figure."""
    default_value: float = 0.0
    best: str = ""
    """The site with the highest figure."""
    best_value: float = 0.0


@dataclass(frozen=True)
class SiteScan:
    """All sites of a model, measured on the same positions."""

    sites: tuple[MeasuredSite, ...]
    recommended: Recommendation
    n_construction: int
    """Captured positions of construction users."""
    n_heldout: int
    capture_seconds: int
    """For all sites together."""


def scan_sites(
    recommender: Recommender,
    config: RunConfig,
    folder: Path,
    progress: Progress | None = None,
) -> SiteScan:
    """Capture all sites together, train a small SAE at each, and measure what can be compared.

    Parameters
    ----------
    config
        ``latents`` (default 256, fewer on small data), ``k``, ``seed``, the positions. The SAEs
        see every captured position ten times.
    folder
        For the states and SAEs, which can be deleted afterwards.

    Raises
    ------
    InvalidInput
        ``k`` is larger than the number of latents.
    NotEnoughData
        Too few users, or no site could be measured.
    """
    k = config.k or TRIED[0]  # one for all sites: they are compared
    make_config(n_latents=config.latents or LATENTS, k=k)  # refuses what cannot be
    started = time.perf_counter()
    stores = _captured(recommender, config, folder, progress)
    capture_seconds = round(time.perf_counter() - started)
    sites: list[MeasuredSite] = []
    twins = _twins(stores)
    for number, (site, (construction, heldout)) in enumerate(
        zip(recommender.sites(), stores, strict=True)
    ):
        twin = twins[number]
        if twin is not None:
            sites.append(MeasuredSite(site, None, same_as=sites[twin].site.name))
            continue
        n_latents = min(LATENTS, default_latents(site.width, k, len(heldout)))
        own = {
            "site": site.name,
            "latents": config.latents or n_latents,
            "k": k,
            "samples": EPOCHS * max(1, len(construction)),
        }
        run = Run(_folder(folder, number), config.model_copy(update=own))
        sites.append(_scanned(recommender, site, run, progress))
        if progress:
            progress(number + 1, len(stores), "sites measured")
    construction, heldout = stores[0]
    return SiteScan(
        tuple(sites), recommend(sites), len(construction), len(heldout), capture_seconds
    )


def _twins(stores: Sequence[tuple[ActivationStore, ActivationStore]]) -> list[int | None]:
    """For each site the first one before it that has the same held-out states, if there is one."""
    samples = [held.rows(STATES, spread(len(held), MAX_COMPARED)) for _, held in stores]

    def same(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
        if one.shape != other.shape:
            return False
        near = ROUNDING * float(np.abs(one).max(initial=0.0))
        return float(np.abs(other - one).max(initial=0.0)) <= near

    return [
        next((place for place, other in enumerate(samples[:number]) if same(states, other)), None)
        for number, states in enumerate(samples)
    ]


def _captured(
    recommender: Recommender, config: RunConfig, folder: Path, progress: Progress | None
) -> list[tuple[ActivationStore, ActivationStore]]:
    """For each site the states of construction and of held-out users, as a run captures them."""
    held = split_users(recommender.sequences())
    if held.sum() < 2:
        raise NotEnoughData(
            f"Of {len(held)} users only {int(held.sum())} would be kept for testing: too few for "
            "any figure. At least a few dozen users are needed."
        )
    sides = []
    for name, users, limit in (
        (layout.CONSTRUCTION_STORE, ~held, config.construction_positions),
        (layout.HELDOUT_STORE, held, config.heldout_positions),
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
) -> MeasuredSite:
    """The site's figures, or the problem that kept them from being measured."""
    started = time.perf_counter()
    figures, problem = None, None
    try:
        figures = _measured(Workspace(run, recommender, progress))
    except RecSAEError as error:
        problem = str(error)
    return MeasuredSite(site, figures, problem, round(time.perf_counter() - started))


def _measured(work: Workspace) -> SiteFigures:
    codes = work.sae_codes
    labels = work.label()
    tested = measure_concepts(
        *(codes[1], labels, work.heldout, work.labeler),
        hard_negatives=False,
        parts=work.users_of_halves,
    )
    sides = (work.construction, work.heldout)
    attributes = attribute_table(work.labeler.attributes, *sides, {"sae": codes})
    return SiteFigures(
        n_latents=work.sae.n_latents,
        fvu=_finite(quality(work.sae, work.heldout_store)["fvu"]),
        ndcg_kept=_finite(_ndcg_kept(work)),
        auc_sae=_finite(float(attributes["auc_sae"].mean())),
        auc_supervised=_finite(float(attributes["auc_supervised"].mean())),
        verified=len(verified_latents(tested.scores)),
        distinct_verified=distinct(tested.scores, labels.table),
        named_share=_finite(_named_share(work, tested.verified_of)),
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else value


def _ndcg_kept(work: Workspace) -> float | None:
    """NDCG@10 with the reconstruction in place, relative to without."""
    if work.head is not None:
        return ndcg_kept(work.sae, work.heldout, work.head)
    windows = work.windows(layout.HELDOUT_STORE)
    accuracy = heldout_by_running(work.recommender, work.heldout, work.sae, work.site, windows)
    return float(accuracy.lists.ndcg_kept)


def named_edit(
    sae: SAE, chosen: list[int], code: scipy.sparse.csr_matrix, states: NDArray[np.float32]
) -> Edit:
    """The edit that replaces states by their reconstruction from a few latents.

    States ``(n, d)`` are fitted on the activations of the chosen latents by ridge regression.
    """
    fitted, intercept = linear_fit(code[:, chosen].toarray().astype(np.float64), states)
    weights, start = torch.from_numpy(fitted).float(), torch.from_numpy(intercept).float()

    def edit(states: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            active = sae.encode(states.to(sae.W_dec.device))[:, chosen]
            return (active @ weights + start).to(states.device)

    return edit


def _named_share(work: Workspace, verified: Sequence[NDArray[np.int64]]) -> float | None:
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
    for half in shares_of_halves(codes, *cases, verified, work.head):
        if work.head is None and half.share.chosen:
            edit = named_edit(work.sae, half.share.chosen, codes[0], work.construction.states)
            shares.append(share_by_running(work, edit, half.cases, metric))
        else:
            shares.append(half.share.shares[max(SIZES)].value)
    return float(np.mean(shares)) if shares else None


def share_by_running(
    work: Workspace, edit: Edit, cases: Cases, metric: NDArray[np.float64]
) -> float:
    """Share of the score variance of held-out cases that is left when the site is edited.

    The model runs on from the edited states; the states behind its scores are compared.
    """
    default, windows = work.recommender.sites()[0].name, work.windows(layout.HELDOUT_STORE)
    mine = windows.take(np.flatnonzero(np.isin(windows.rows, cases.sequence)))
    before = forward_all(work.recommender, [default], mine).states[default]
    with work.recommender.edit(edit, work.site):
        after = forward_all(work.recommender, [default], mine).states[default]
    return explained(before, after, metric)


def _carries_all(share: float | None) -> bool:
    return share is None or share >= ALL_SCORES


def recommend(sites: Sequence[MeasuredSite]) -> Recommendation:
    """Choose a site: the default one, unless another is better by more than :data:`BETTER`.

    Compared are the sites that all scores go through, by named share, or by attribute AUC where
    the default site has no named share.

    Raises
    ------
    NotEnoughData
        No site could be measured.

    >>> from recsae.recommender.protocol import Site
    >>> def measured(name, share):
    ...     figures = SiteFigures(9, 0.1, 0.9, 0.7, 0.8, 5, 5, named_share=share)
    ...     return MeasuredSite(Site(name, "", 8, every_position=True), figures)
    >>> recommend([measured("a", 0.5), measured("b", 0.6)]).site
    'b'
    """
    measured = [one for one in sites if one.problem is None and one.same_as is None]
    if not measured:
        raise NotEnoughData(
            f"No site could be measured. At {sites[0].site.name}: {sites[0].problem}"
        )
    able = [one for one in measured if one.carries_all] or measured[:1]
    first = able[0]
    measure = next((key for key in MEASURES if first.figure(key) is not None), None)
    if measure is None or len(able) == 1:
        return Recommendation(first.site.name)
    ranked = [(one.site.name, value) for one in able if (value := one.figure(measure)) is not None]
    best, best_value = max(ranked, key=lambda pair: pair[1])
    default, default_value = ranked[0]
    return Recommendation(
        best if best_value > default_value + BETTER else default,
        measure,
        default,
        default_value,
        best,
        best_value,
    )
