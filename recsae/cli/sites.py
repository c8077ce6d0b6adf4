"""The command about all sites of a model: ``sites``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from recsae.cli.shared.console import PATH, progress_bar, show_json, show_table
from recsae.cli.shared.options import (
    data_path_option,
    device_option,
    items_option,
    json_option,
    trust_option,
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
            found = scan_sites(recommender, config, Path(folder), progress_bar())
    except KeyboardInterrupt:
        click.echo("Stopped. Nothing was kept.", err=True)
        return 130
    found["command"] = _command(checkpoint, trust, options, found["recommended"]["site"])
    show_json(found) if as_json else _show(found)
    return 0


def _command(checkpoint: Path, trust: bool, options: dict[str, Any], site: str) -> str:
    """What to type next."""
    import shlex

    words = ["recsae", "run", str(checkpoint), *(["--trust"] if trust else [])]
    for name in ("data_path", "items"):
        if options[name] is not None:
            words += ["--" + name.replace("_", "-"), str(options[name])]
    return shlex.join([*words, "--site", site, "--out", "DIR"])


def _show(found: dict[str, Any]) -> None:
    rows = found["sites"]
    show_table(list(COLUMNS.values()), [[row[key] for key in COLUMNS] for row in rows])
    click.echo("")
    for row in rows:
        click.echo(f"{row['site']}: {row['meaning']}")
        if row.get("problem"):
            click.echo(f"  not measured: {row['problem']}")
    best = found["recommended"]
    n_learned, n_tested = found["n_construction"], found["n_heldout"]
    click.echo(
        f"\nLearned from {n_learned:,} positions and tested on {n_tested:,} of other users; the "
        f"states of all sites were captured in {found['capture_seconds']} s. A small SAE ranks "
        "sites; the figures of a whole run differ. NDCG kept and the AUCs say little of a site "
        "that only a part of the scores goes through."
    )
    click.echo(f"\nRecommended: {best['site']}: {best['reason']}.")
    click.echo(f"Rule: {best['rule']}.")
    click.echo(f"\n  {found['command']}")
