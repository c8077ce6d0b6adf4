"""What a run at one site would find: the core of gates and a small SAE there, tested as a run tests
its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from recsae.capture.forward import forward_all
from recsae.capture.store import ActivationStore
from recsae.concepts.gates.core import FoundCore, core_of
from recsae.concepts.status import distinct, verified_latents
from recsae.core.intervals import UserEstimate, joined_estimate
from recsae.evaluation.attribute_auc import attribute_table
from recsae.evaluation.explained import explained_of_users, linear_fit
from recsae.evaluation.reconstruction import heldout_by_running
from recsae.evaluation.scoring import measure_concepts
from recsae.evaluation.share import SIZES, HalfShare, shares_of_halves
from recsae.recommender.protocol import find_site
from recsae.run.active import ndcg_kept
from recsae.run.workspace import Workspace
from recsae.sae.quality import quality

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.capture.windows import Windows
    from recsae.evaluation.share import Halves
    from recsae.recommender.protocol import Edit, Site
    from recsae.sae.model import SAE

ALL_SCORES = 0.99
"""Share of the scores above which all of them count as going through a site."""


@dataclass(frozen=True)
class SiteFigures:
    """What a small dictionary at one site reaches on held-out users; None where not defined."""

    n_latents: int
    """With the gates of the core."""
    n_core: int
    fvu: float | None
    """Fraction of the states' variance that the dictionary leaves unexplained."""
    ndcg_kept: float | None
    """NDCG@10 with the reconstruction in place, relative to without."""
    auc_sae: float | None
    """Mean of the AUC of the best latent over the attributes that the default site holds."""
    auc_supervised: float | None
    """The same of a probe for each attribute."""
    verified: int
    distinct_verified: int
    named_share: UserEstimate | None
    """Share of score variance that up to 32 verified concepts explain, of the default site's
    held-out cases at every site."""
    share_of_states: UserEstimate | None
    """Share of the variance of the site's own states, of which a run there speaks; None where
    scores are linear in the states and a run speaks of the scores."""


class SiteWorkspace(Workspace):
    """One site, whose states the scan has captured; its core is made without the controls."""

    def store(self, name: str) -> ActivationStore:
        """The states that the scan has captured, of some of the windows that a run would read."""
        return ActivationStore(self.folder / name)

    @cached_property
    def core(self) -> FoundCore:
        """The gates beside the SAE, as a run chooses them."""
        nothing = FoundCore.nothing(self.construction_store.width)
        if self.config.core == "none":
            return nothing
        first = self.config.attributes_first or []
        seed = self.config.seed
        core = core_of(self.attribute_labeler, self.construction, self.metric, seed, first)
        return replace(nothing, core=core)


def measured(work: SiteWorkspace, default: SiteWorkspace, windows: Windows) -> SiteFigures:
    """All figures of one site.

    Parameters
    ----------
    work, default
        The site and the default one, whose held-out cases are asked at every site.
    windows
        That those cases were captured from.
    """
    codes, labels = work.sae_codes, work.label()
    halves = _halves(work, default)
    tested = measure_concepts(
        *(codes[1], labels, work.heldout, work.labeler),
        hard_negatives=False,
        parts=[np.unique(work.heldout.user[rows]) for rows, _ in halves],
    )
    sides = (work.construction, work.heldout)
    attributes = attribute_table(default.attribute_labeler.attributes, *sides, {"sae": codes})
    found = shares_of_halves(codes, work.construction, halves, tested.verified_of, work.head)
    own = _mean([half.share.shares[max(SIZES)] for half in found])
    linear = work.head is not None
    return SiteFigures(
        n_latents=work.sae.n_latents,
        n_core=work.sae.n_gates,
        fvu=_finite(quality(work.sae, work.heldout_store)["fvu"]),
        ndcg_kept=_finite(_ndcg_kept(work, default, windows)),
        auc_sae=_finite(float(attributes["auc_sae"].mean())),
        auc_supervised=_finite(float(attributes["auc_supervised"].mean())),
        verified=len(verified_latents(tested.scores)),
        distinct_verified=distinct(tested.scores, labels.table),
        named_share=own if linear else _share_of_scores(work, default, windows, found),
        share_of_states=None if linear else own,
    )


def carries_all(site: Site) -> bool:
    """Whether all scores go through a site, as far as that is known."""
    return site.share is None or site.share >= ALL_SCORES


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else value


def _mean(of_halves: Sequence[UserEstimate]) -> UserEstimate | None:
    mean = joined_estimate(of_halves) if of_halves else None
    return mean if mean is not None and np.isfinite(mean.value) else None


def _halves(work: SiteWorkspace, default: SiteWorkspace) -> Halves:
    """The site's own cases of the users of each half at the default site, which are the same cases
    unless the site's states come from other windows."""

    def own(cases: Cases) -> tuple[NDArray[np.int64], Cases]:
        rows = np.flatnonzero(np.isin(work.heldout.sequence, cases.sequence))
        return rows, work.heldout.take(rows)

    (_, first), (_, second) = default.halves
    return own(first), own(second)


def _reaches(work: SiteWorkspace, default: SiteWorkspace) -> bool:
    """Whether an edit at the site reaches all the states of a window at the default site."""
    here, there = (find_site(one.recommender, one.site) for one in (work, default))
    return here.every_position or not there.every_position


def _ndcg_kept(work: SiteWorkspace, default: SiteWorkspace, windows: Windows) -> float | None:
    """NDCG@10 with the reconstruction in place, relative to without."""
    if work.head is not None:
        return ndcg_kept(work.sae, work.heldout, work.head)
    if not _reaches(work, default):
        return None
    kept = heldout_by_running(work.recommender, default.heldout, work.sae, work.site, windows)
    return float(kept.lists.ndcg_kept)


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


def _share_of_scores(
    work: SiteWorkspace, default: SiteWorkspace, windows: Windows, found: Sequence[HalfShare]
) -> UserEstimate | None:
    """Share of score variance that up to 32 verified concepts explain away from the default site.

    The model runs on from what the concepts say, and the states behind its scores are compared: so
    the figure means the same at every site, and is of the same cases. Not measured where only a
    part of the scores goes through the site, since the rest would count as explained.
    """
    site = find_site(work.recommender, work.site)
    if default.head is None or not carries_all(site) or not _reaches(work, default):
        return None
    measured_on = [cases for _, cases in default.halves[::-1]]
    shares = []
    for half, cases in zip(found, measured_on, strict=False):
        if half.share.chosen:
            code, states = work.sae_codes.construction, work.construction.states
            edit = named_edit(work.sae, half.share.chosen, code, states)
            shares.append(share_by_running(work, edit, default, cases, windows))
        else:
            shares.append(UserEstimate(0.0, np.zeros(cases.n_users)))
    return _mean(shares)


def share_by_running(
    work: Workspace, edit: Edit, default: Workspace, cases: Cases, windows: Windows
) -> UserEstimate:
    """Share of the score variance of the default site's held-out cases that is left when another
    site is edited: the model runs on, and the states behind its scores are compared."""
    mine = windows.take(np.flatnonzero(np.isin(windows.rows, cases.sequence)))
    with work.recommender.edit(edit, work.site):
        made = forward_all(work.recommender, [default.site], mine)
    after = made.states[default.site][np.lexsort((made.position, made.sequence))]
    return explained_of_users(cases, [after], default.metric)[0]
