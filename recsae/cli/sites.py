"""The command ``sites``: all sites of a model compared, and one recommended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, progress_bar, show_json, show_table
from recsae.cli.shared.options import (
    data_path_option,
    device_option,
    items_option,
    json_option,
    trust_option,
)

if TYPE_CHECKING:
    from recsae.pipeline.sites import MeasuredSite, Recommendation, SiteScan

FIGURES = (
    *("fvu", "ndcg_kept", "auc_sae", "auc_supervised"),
    *("verified", "distinct_verified", "named_share"),
)
MEASURES = {"named_share": "named share", "auc_sae": "attribute AUC"}
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
@data_path_option
@items_option
@click.option("--latents", type=int, help="Latents at each site; default 256, or fewer.")
@click.option("--k", type=int, help="Active latents per sequence; default 8.")
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
    """Compare the sites of CHECKPOINT by a small SAE at each, and recommend one.

    Nothing is kept on disk.
    """
    from tempfile import TemporaryDirectory

    from recsae.run.settings import open_recommender, read_settings

    sizes = {"construction_positions": positions, "heldout_positions": positions // 3}
    config = read_settings(checkpoint, {**options, **sizes}, None)
    recommender = open_recommender(config, trust=trust, device=device)
    from recsae.pipeline.sites import scan_sites

    try:
        with TemporaryDirectory(prefix="recsae-sites-", ignore_cleanup_errors=True) as folder:
            scan = scan_sites(recommender, config, Path(folder), progress_bar())
    except KeyboardInterrupt:
        click.echo("Stopped. Nothing was kept.", err=True)
        return 130
    command = _command(checkpoint, trust, options, scan.recommended.site)
    show_json({**to_dict(scan), "command": command}) if as_json else _show(scan, command)
    return 0


def to_dict(scan: SiteScan) -> dict[str, Any]:
    """The scan as JSON holds it."""
    return {
        "sites": [_site_dict(measured) for measured in scan.sites],
        "recommended": {
            "site": scan.recommended.site,
            "reason": reason(scan.recommended),
            "rule": _rule(),
        },
        "n_construction": scan.n_construction,
        "n_heldout": scan.n_heldout,
        "capture_seconds": scan.capture_seconds,
    }


def _site_dict(measured: MeasuredSite) -> dict[str, Any]:
    site, figures = measured.site, measured.figures
    known = {"site": site.name, "width": site.width, "meaning": site.meaning, "share": site.share}
    values = {key: getattr(figures, key, None) for key in FIGURES}
    last: dict[str, Any] = {"problem": measured.problem, "same_as": measured.same_as}
    if figures is not None:
        last = {"n_latents": figures.n_latents}
    return {**known, **values, "seconds": measured.seconds, **last}


def reason(recommended: Recommendation) -> str:
    """Say why a site is recommended.

    >>> from recsae.pipeline.sites import Recommendation
    >>> reason(Recommendation("b", "named_share", "a", 0.5, "b", 0.6))
    'its named share is .60; .50 at a, the default'
    """
    if recommended.measure is None:
        return "the only site that all scores go through and that could be measured"
    words = MEASURES[recommended.measure]
    best, default = _short(recommended.best_value), _short(recommended.default_value)
    if recommended.site != recommended.default:
        return f"its {words} is {best}; {default} at {recommended.default}, the default"
    if recommended.best == recommended.default:
        return f"the default, with the highest {words} ({default})"
    return (
        f"the default; at {recommended.best} the {words} is hardly higher "
        f"({best} against {default})"
    )


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def _rule() -> str:
    from recsae.pipeline.sites import BETTER

    return (
        "of the sites that all scores go through, the default one, unless another's named share "
        f"(without one: its attribute AUC) is higher by more than {BETTER}"
    )


def _command(checkpoint: Path, trust: bool, options: dict[str, Any], site: str) -> str:
    """What to type next."""
    import shlex

    words = ["recsae", "run", str(checkpoint), *(["--trust"] if trust else [])]
    for name in ("data_path", "items"):
        if options[name] is not None:
            words += ["--" + name.replace("_", "-"), str(options[name])]
    return shlex.join([*words, "--site", site, "--out", "DIR"])


def _show(scan: SiteScan, command: str) -> None:
    rows = [_site_dict(measured) for measured in scan.sites if measured.same_as is None]
    show_table(list(COLUMNS.values()), [[row[key] for key in COLUMNS] for row in rows])
    click.echo("")
    for measured in scan.sites:
        click.echo(f"{measured.site.name}: {measured.site.meaning}")
        if measured.same_as:
            click.echo(f"  the same states as at {measured.same_as}")
        if measured.problem:
            click.echo(f"  not measured: {measured.problem}")
    click.echo(
        f"\nLearned from {scan.n_construction:,} positions and tested on {scan.n_heldout:,} of "
        f"other users; the states of all sites were captured in {scan.capture_seconds} s. A small "
        "SAE ranks sites; the figures of a whole run differ. NDCG kept and the AUCs say little of "
        "a site that only a part of the scores goes through."
    )
    click.echo(f"\nRecommended: {scan.recommended.site}: {reason(scan.recommended)}.")
    click.echo(f"Rule: {_rule()}.")
    click.echo(f"\n  {command}")
