"""The command ``sites``: all sites of a model compared, and one recommended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, progress_bar, show_json, show_table
from recsae.cli.shared.options import (
    data_options,
    device_option,
    json_option,
    trust_option,
    typed_data_options,
)

if TYPE_CHECKING:
    from recsae.core.intervals import UserEstimate
    from recsae.pipeline.sites import Interval, MeasuredSite, Recommendation, SiteScan

FIGURES = (
    *("n_latents", "n_core", "fvu", "ndcg_kept", "auc_sae", "auc_supervised"),
    *("verified", "distinct_verified"),
)
COLUMNS = {
    "site": "site",
    "width": "width",
    "share": "share of scores",
    "fvu": "FVU",
    "ndcg_kept": "NDCG kept",
    "auc_sae": "AUC latent",
    "auc_supervised": "AUC probe",
    "verified": "verified",
    "distinct_verified": "distinct",
    "named_share": "named share",
    "seconds": "seconds",
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
    """Compare the sites of CHECKPOINT by what a run there would find, and recommend one.

    At each site a core and a small SAE are made and tested as a run does it. Nothing is kept on
    disk.
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
    >>> reason(Recommendation("b", "a", "b", (0.1, 0.06, 0.14)))
    'its concepts explain more of the scores than those at a, the default: by .100 (.060 to .140)'
    """
    if recommended.best is None:
        return "the default; there is no other whose share of the scores can be compared with its"
    if recommended.ahead is None:
        return "the default, with the highest named share"
    by = _in_words(recommended.ahead)
    if recommended.site != recommended.default:
        more = f"its concepts explain more of the scores than those at {recommended.default}"
        return f"{more}, the default: by {by}"
    return f"the default; at {recommended.best} the named share is higher, but only by {by}"


def _in_words(interval: Interval | list[float]) -> str:
    """A share and its interval, in three digits.

    >>> _in_words((0.9661, 0.9, 1.0)), _in_words((0.004, -0.02, 0.03))
    ('.966 (.900 to 1.000)', '.004 (-.020 to .030)')
    """
    value, low, high = (f"{part:.3f}".replace("0.", ".", 1) for part in interval)
    return f"{value} ({low} to {high})"


def _rule() -> str:
    from recsae.pipeline.sites import BETTER

    return (
        "of the sites that all scores go through, the default one, unless another's named share is "
        f"higher by more than {BETTER}, and surely so: user by user, with 95 % confidence"
    )


def _command(checkpoint: Path, trust: bool, options: dict[str, Any], site: str) -> str:
    """What to type next."""
    import shlex

    words = ["recsae", "run", str(checkpoint), *(["--trust"] if trust else [])]
    words += typed_data_options(options)
    return shlex.join([*words, "--site", site, "--out", "DIR"])


def _row(measured: MeasuredSite) -> list[Any]:
    row, share = _site_dict(measured), measured.named_share
    row["named_share"] = None if share is None else _in_words(share.interval())
    return [row[key] for key in COLUMNS]


def _show(scan: SiteScan, command: str) -> None:
    different = [measured for measured in scan.sites if measured.same_as is None]
    show_table(list(COLUMNS.values()), [_row(measured) for measured in different])
    click.echo("")
    for measured in scan.sites:
        click.echo(f"{measured.site.name}: {measured.site.meaning}")
        if measured.same_as:
            click.echo(f"  the same states as at {measured.same_as}")
        if measured.problem:
            click.echo(f"  not measured: {measured.problem}")
        if measured.share_of_states:
            own = _in_words(measured.share_of_states.interval())
            click.echo(f"  a run here says what its concepts explain of its own states: {own}")
    click.echo(
        f"\nLearned from {scan.n_construction:,} positions and tested on {scan.n_heldout:,} of "
        f"other users; the states of all sites were captured in {scan.capture_seconds} s. The "
        "named share, with its 95 % interval over users, is measured as a run measures it, of a "
        "smaller dictionary and on fewer positions. NDCG kept and the AUCs say little of a site "
        "that only a part of the scores goes through."
    )
    click.echo(f"\nRecommended: {scan.recommended.site}: {reason(scan.recommended)}.")
    click.echo(f"Rule: {_rule()}.")
    click.echo(f"\n  {command}")
