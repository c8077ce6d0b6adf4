"""The command ``sites``: all sites of a model compared, and one recommended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, progress_bar, show_json
from recsae.cli.shared.options import (
    data_options,
    device_option,
    json_option,
    trust_option,
    typed_data_options,
)
from recsae.cli.shared.tables import Column, Columns, say, show_rows
from recsae.report.words.formats import interval, number, two_digits

if TYPE_CHECKING:
    from recsae.core.intervals import UserEstimate
    from recsae.pipeline.sites import MeasuredSite, Recommendation, SiteScan

FIGURES = (
    *("n_latents", "n_core", "fvu", "ndcg_kept", "auc_sae", "auc_supervised"),
    *("verified", "distinct_verified"),
)
COLUMNS: Columns = {
    "site": Column("site", whole=True),
    "named": Column("named share", interval),
    "verified": Column("verified", optional=True),
    "distinct_verified": Column("distinct", optional=True),
    "share": Column("share of scores", two_digits, optional=True),
    "ndcg_kept": Column("NDCG kept", two_digits, optional=True),
    "fvu": Column("FVU", two_digits, optional=True),
    "auc_sae": Column("AUC latent", number, optional=True),
    "auc_supervised": Column("AUC probe", number, optional=True),
    "width": Column("width", optional=True),
    "seconds": Column("seconds", optional=True),
}


@click.command()
@click.argument("checkpoint", type=PATH)
@trust_option
@data_options
@click.option(
    "--latents",
    type=int,
    help="Latents that are trained at each site, beside the core; default 256, or fewer.",
)
@click.option("--k", type=int, help="How many of those are active per sequence; default 8.")
@click.option(
    "--positions",
    type=click.IntRange(min=3),
    default=60_000,
    show_default=True,
    help="Positions to learn from; a third as many to test on.",
)
@click.option("--seed", type=int, help="Seed of everything random; default 0.")
@device_option
@json_option
def sites(
    checkpoint: Path, trust: bool, device: str, positions: int, as_json: bool, **options: Any
) -> int:
    """Compare the places where CHECKPOINT can be read.

    One is recommended, by what a run there would find. At each site a core and a small SAE are made
    and tested as a run does it. Nothing is kept on disk.
    """
    from tempfile import TemporaryDirectory

    from recsae.run.settings import open_recommender, read_settings

    config = read_settings(checkpoint, options, None)
    recommender = open_recommender(config, trust=trust, device=device)
    from recsae.pipeline.sites import scan_sites

    try:
        with TemporaryDirectory(prefix="recsae-sites-", ignore_cleanup_errors=True) as folder:
            scan = scan_sites(recommender, config, Path(folder), progress_bar(), positions)
    except KeyboardInterrupt:
        click.echo("Stopped. Nothing was kept.", err=True)
        return 130
    command = _command(checkpoint, trust, options, scan.recommended.site)
    show_json({**to_dict(scan), "command": command}) if as_json else _show(scan, command)
    return 0


def to_dict(scan: SiteScan) -> dict[str, Any]:
    """The scan as JSON holds it; intervals are of 95 %, users being the unit."""
    chosen = scan.recommended
    return {
        "sites": [_site_dict(measured) for measured in scan.sites],
        "recommended": {
            "site": chosen.site,
            "reason": reason(chosen),
            "rule": _rule(),
            "default": chosen.default,
            "best": chosen.best,
            "best_ahead": None if chosen.ahead is None else list(chosen.ahead),
        },
        "n_construction": scan.n_construction,
        "n_heldout": scan.n_heldout,
        "capture_seconds": scan.capture_seconds,
    }


def _site_dict(measured: MeasuredSite) -> dict[str, Any]:
    site, figures = measured.site, measured.figures
    return {
        **{key: getattr(site, key) for key in ("width", "meaning", "share")},
        "site": site.name,
        **{key: getattr(figures, key, None) for key in FIGURES},
        **_with_interval("named_share", measured.named_share),
        **_with_interval("share_of_states", measured.share_of_states),
        **{key: getattr(measured, key) for key in ("seconds", "problem", "same_as")},
    }


def _with_interval(name: str, share: UserEstimate | None) -> dict[str, Any]:
    value, *ends = share.interval() if share else (None, None)
    return {name: value, f"{name}_interval": ends if share else None}


def reason(recommended: Recommendation) -> str:
    """Say why a site is recommended.

    >>> from recsae.pipeline.sites import Recommendation
    >>> reason(Recommendation("b", "a", "b", (0.1, 0.06, 0.14)))  # doctest: +ELLIPSIS
    'its concepts explain more ... than those at a, the default: by 10.0 points (6.0 to 14.0)'
    """
    if recommended.best is None:
        return "the default; there is no other whose share of the scores can be compared with its"
    if recommended.ahead is None:
        return "the default, with the highest named share"
    value, low, high = (f"{100 * part:.1f}" for part in recommended.ahead)
    by = f"{value} points ({low} to {high})"
    if recommended.site != recommended.default:
        more = f"its concepts explain more of the scores than those at {recommended.default}"
        return f"{more}, the default: by {by}"
    return f"the default; at {recommended.best} the named share is higher, but only by {by}"


def _rule() -> str:
    from recsae.pipeline.sites import BETTER

    return (
        "of the sites that all scores go through, the default one, unless another's named share "
        f"is higher by more than {100 * BETTER:g} points, and surely so: user by user, with 95 % "
        "confidence"
    )


def _command(checkpoint: Path, trust: bool, options: dict[str, Any], site: str) -> str:
    """What to type next."""
    import shlex

    words = ["recsae", "run", str(checkpoint), *(["--trust"] if trust else [])]
    words += typed_data_options(options)
    return shlex.join([*words, "--site", site, "--out", "DIR"])


def _row(measured: MeasuredSite) -> dict[str, Any]:
    share = measured.named_share
    return {**_site_dict(measured), "named": None if share is None else share.interval()}


def _show(scan: SiteScan, command: str) -> None:
    different = [measured for measured in scan.sites if measured.same_as is None]
    show_rows(COLUMNS, [_row(measured) for measured in different], top=None)
    click.echo("")
    for measured in scan.sites:
        say(f"{measured.site.name}: {measured.site.meaning}")
        if measured.same_as:
            say(f"  the same states as at {measured.same_as}")
        if measured.problem:
            say(f"  not measured: {measured.problem}")
        if measured.share_of_states:
            own = interval(measured.share_of_states.interval())
            say(f"  a run here says what its concepts explain of its own states: {own}")
    say(
        f"\nLearned from {scan.n_construction:,} positions and tested on {scan.n_heldout:,} of "
        f"other users; the states of all sites were captured in {scan.capture_seconds} s. The "
        "named share, with its 95 % interval over users, is measured as a run measures it, of a "
        "smaller dictionary and on fewer positions. NDCG kept and the AUCs say little of a site "
        "that only a part of the scores goes through."
    )
    say(f"\nRecommended: {scan.recommended.site}: {reason(scan.recommended)}.")
    say(f"Rule: {_rule()}.")
    click.echo(f"\n  {command}")
