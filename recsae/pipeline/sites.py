"""Every site of a model compared by what a run there would find, so that one can be chosen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsae.capture.cases import spread
from recsae.capture.fill import capture_sites
from recsae.capture.store import STATES
from recsae.capture.windows import windows_of
from recsae.core.errors import NotEnoughData, RecSAEError
from recsae.pipeline.site_figures import SiteFigures, SiteWorkspace, carries_all, measured
from recsae.recommender.sequences import split_users
from recsae.run.active import TRIED, default_latents
from recsae.run.config import RunConfig
from recsae.run.record import Run
from recsae.run.stores import planned_stores
from recsae.sae.config import make_config

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.store import ActivationStore
    from recsae.capture.windows import Windows
    from recsae.core.intervals import UserEstimate
    from recsae.core.progress import Progress
    from recsae.recommender.protocol import Recommender, Site

    Stores = tuple[ActivationStore, ActivationStore]
    """Of construction and of held-out users."""
    Interval = tuple[float, float, float]
    """A value, and the ends of its 95 % interval."""

POSITIONS = 60_000
"""Positions of construction users that dictionaries are made from, a third as many to test on."""
LATENTS = 256
"""Latents beside the core at each site, unless the configuration says how many or the data are
small: enough to rank sites, and trained in seconds."""
EPOCHS = 10
"""How often the small SAEs see every captured position."""
MAX_COMPARED = 2_000
"""Positions at most by which two sites are compared."""
ROUNDING = 1e-5
"""States that differ by less, in terms of the largest, are the same."""
BETTER = 0.01
"""By how much more of the scores another site must explain to be recommended instead of the default
one: what runs found, on two models at two sites each, was up to .009 from what is said here."""


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
    def named_share(self) -> UserEstimate | None:
        """What the site is ranked by."""
        return self.figures.named_share if self.figures else None

    @property
    def share_of_states(self) -> UserEstimate | None:
        """The share of which a run at the site speaks, if that is another one."""
        return self.figures.share_of_states if self.figures else None


@dataclass(frozen=True)
class Recommendation:
    """The site to use, and what decided: see :func:`recommend`."""

    site: str
    default: str
    """The first site that could be chosen."""
    best: str | None = None
    """The one with the highest named share; None where there was nothing to choose between."""
    ahead: Interval | None = None
    """By how much the share of the best one is higher than that of the default one, user by user;
    None if that is the default itself."""


@dataclass(frozen=True)
class SiteScan:
    """All sites of a model, measured on the same users."""

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
    positions: int = POSITIONS,
) -> SiteScan:
    """Capture all sites together, make a small dictionary at each as a run does, and test it.

    Parameters
    ----------
    config
        As of a run, but for ``latents`` (default 256, fewer on small data), ``k`` (default 8) and
        ``samples``: the SAEs see every captured position ten times.
    folder
        For the states and SAEs, which can be deleted afterwards.
    positions
        Of construction users, and a third as many of held-out users: an even part of those that a
        run with this configuration reads.

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
    stores, windows = _captured(recommender, config, folder, progress, positions)
    capture_seconds = round(time.perf_counter() - started)
    sites: list[MeasuredSite] = []
    twins, default = _twins(stores), None
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
        work = SiteWorkspace(run, recommender, progress)
        default = default or work
        sites.append(_scanned(site, work, default, windows))
        if progress:
            progress(number + 1, len(stores), "sites measured")
    construction, heldout = stores[0]
    return SiteScan(
        tuple(sites), recommend(sites), len(construction), len(heldout), capture_seconds
    )


def _twins(stores: Sequence[Stores]) -> list[int | None]:
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
    recommender: Recommender,
    config: RunConfig,
    folder: Path,
    progress: Progress | None,
    positions: int,
) -> tuple[list[Stores], Windows]:
    """For each site the states of construction and of held-out users, and the windows of the
    latter at the default site."""
    held = split_users(recommender.sequences())
    if held.sum() < 2:
        raise NotEnoughData(
            f"Of {len(held)} users only {int(held.sum())} would be kept for testing: too few for "
            "any figure. At least a few dozen users are needed."
        )
    known = recommender.sites()
    sides, seed, tested = [], config.seed, max(1, positions // 3)
    stores_of_run = planned_stores(config, held).items()
    for (name, (rows, limit, exact)), thinned in zip(
        stores_of_run, (positions, tested), strict=True
    ):
        folders = {site.name: _folder(folder, i) / name for i, site in enumerate(known)}
        stores = capture_sites(
            *(recommender, rows, folders),
            limit=limit,
            thinned=thinned,
            seed=seed,
            exact=exact,
            progress=progress,
        )
        sides.append([stores[name] for name in folders])
    windows = windows_of(recommender, known[0], rows, limit, seed, exact=exact)
    return list(zip(*sides, strict=True)), windows.thinned(thinned, seed)


def _folder(folder: Path, number: int) -> Path:
    return folder / f"site-{number}"


def _scanned(
    site: Site, work: SiteWorkspace, default: SiteWorkspace, windows: Windows
) -> MeasuredSite:
    """The site's figures, or the problem that kept them from being measured."""
    started = time.perf_counter()
    figures, problem = None, None
    try:
        figures = measured(work, default, windows)
    except RecSAEError as error:
        problem = str(error)
    return MeasuredSite(site, figures, problem, round(time.perf_counter() - started))


def recommend(sites: Sequence[MeasuredSite]) -> Recommendation:
    """Choose a site: the default one, unless another explains surely and clearly more.

    Compared are the sites that all scores go through, by named share, user by user: another one is
    chosen if it is ahead by more than :data:`BETTER` and the interval of the difference is above 0.

    Raises
    ------
    NotEnoughData
        No site could be measured.

    >>> from recsae.core.intervals import UserEstimate
    >>> from recsae.recommender.protocol import Site
    >>> def one(name, share):
    ...     share = UserEstimate(share, np.array([0.01, -0.01]))
    ...     figures = SiteFigures(9, 3, 0.1, 0.9, 0.7, 0.8, 5, 5, share, None)
    ...     return MeasuredSite(Site(name, "", 8, every_position=True), figures)
    >>> recommend([one("a", 0.5), one("b", 0.6)]).site
    'b'
    """
    able = [one for one in sites if one.figures is not None]
    if not able:
        raise NotEnoughData(
            f"No site could be measured. At {sites[0].site.name}: {sites[0].problem}"
        )
    able = [one for one in able if carries_all(one.site)] or able[:1]
    default = able[0].site.name
    ranked = [(one.site.name, share) for one in able if (share := one.named_share) is not None]
    if len(ranked) < 2 or ranked[0][0] != default:
        return Recommendation(default, default)
    best, share = max(ranked, key=lambda pair: pair[1].value)
    if best == default:
        return Recommendation(default, default, best)
    ahead = share.minus(ranked[0][1]).interval()
    better = ahead[0] > BETTER and ahead[1] > 0
    return Recommendation(best if better else default, default, best, ahead)
