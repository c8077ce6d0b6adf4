"""Every kind of SAE beside the others and beside codes that learn nothing, at equal latents.

``python benchmarks/variants.py RUN ...`` with folders of finished ``recsae run``s: their states
are trained on, held-out users are measured on. A planted recommender, whose true concepts are
known, comes first. Writes VARIANTS.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pandas as pd

from recsae.sae.matching import SAME, best_by_direction

if TYPE_CHECKING:
    from recsae.run.workspace import Workspace
    from recsae.sae.codes import Codes
    from recsae.sae.config import SAEConfig
    from recsae.sae.model import SAE

PLANTED = {"n_users": 1500, "n_items": 600, "n_concepts": 24, "width": 32}
HEAD = """# Kinds of SAE

Written by `python benchmarks/variants.py`. All have the same number of latents and, on average, of
active ones, the same states in the same order, and the default settings. Kept: NDCG@10 at every
held-out position with the reconstruction in place of the state, as a share of what it was. Dead:
never active on held-out users. Named share: of the variance of the scores, explained by up to 32
verified concepts. Distinct: different concepts that are verified. AUC: telling an attribute by its
best latent, mean. Stable: latents of one seed that the next one has too (cosine of the decoder
directions above 0.9). Figures with a range are means over seeds, with the lowest and the highest.
"""
COLUMNS = ("FVU", "L0", "kept", "RBO", "dead", "named share", "distinct", "AUC", "stable", "s")


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--only", help="Activations, separated by commas; all if not given.")
@click.option("--seeds", default=2, show_default=True, help="SAEs of each kind for every run.")
@click.option("--samples", default=2_000_000, show_default=True, help="States trained on.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/VARIANTS.md"))
def main(runs: tuple[Path, ...], only: str | None, seeds: int, samples: int, out: Path) -> None:
    """Measure, print as it goes and write the page."""
    from recsae.sae.variants import VARIANTS

    names = only.split(",") if only else list(VARIANTS)
    parts = [HEAD, "".join(f"{line}\n" for line in _show(planted_table(names)))]
    for run in runs:
        parts.append("".join(f"{line}\n" for line in _show(run_table(run, names, seeds, samples))))
    out.write_text("\n".join(parts), encoding="utf-8")


def _show(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        click.echo(line)
        yield line


def planted_table(names: list[str], seeds: int = 5) -> Iterator[str]:
    """Share of the planted concepts of which one latent has the direction, for several worlds."""
    from recsae.capture.fill import capture
    from recsae.recommender.sequences import split_users
    from recsae.sae.config import make_config
    from recsae.sae.quality import quality
    from recsae.sae.train import train_sae
    from recsae.testing.planted import PlantedRecommender

    k, n = 4, 4 * PLANTED["n_concepts"]
    yield (
        f"## {PLANTED['n_concepts']} planted concepts in {PLANTED['width']} dimensions, "
        f"{n} latents, k = {k}\n"
    )
    yield "Recovered: planted directions with a latent at a cosine above 0.9; five worlds.\n"
    yield _row("", "recovered", "FVU", "L0", "dead")
    yield _row(*["---"] * 5)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed in range(seeds):
        planted = PlantedRecommender(**PLANTED, seed=seed)
        held = split_users(planted.sequences())
        with TemporaryDirectory() as folder:
            stores = [
                capture(planted, np.flatnonzero(held == test), Path(folder) / str(test))
                for test in (False, True)
            ]
            for name in names:
                config = make_config(activation=name, n_latents=n, k=k, seed=seed)
                sae = train_sae(stores[0], config)
                share = _share_found(planted.directions, sae)
                found[name].append({"recovered": share, **quality(sae, stores[1])})
    for name, rows in found.items():
        table = pd.DataFrame(rows)
        recovered = _percent(table["recovered"])
        dead = _percent(table["dead_fraction"])
        yield _row(name, recovered, f"{table['fvu'].mean():.3f}", f"{table['l0'].mean():.1f}", dead)


def run_table(folder: Path, names: list[str], seeds: int, samples: int) -> Iterator[str]:
    """One row for each kind of SAE and each baseline."""
    from recsae.evaluation.attribute_auc import attribute_table
    from recsae.run.open import open_workspace
    from recsae.sae.baselines import BASELINES

    work = open_workspace(folder)
    base = work.sae.config.model_copy(update={"n_samples": samples, "seed": 0})
    described = work.recommender.describe()
    yield (
        f"## {described['model']} on {described['dataset']}, {base.n_latents} latents, "
        f"k = {base.k}, {samples:,} states\n"
    )
    yield _row("", *COLUMNS)
    yield _row(*["---"] * (1 + len(COLUMNS)))
    rows: dict[str, list[dict[str, Any]]] = {}
    codes: dict[str, Codes] = {}
    for name in names:
        rows[name], saes = [], []
        for seed in range(seeds):
            config = base.model_copy(update={**_cleared(), "activation": name, "seed": seed})
            sae, row = _trained(work, config)
            codes[f"{name} {seed}"] = work.encode(sae)
            rows[name].append({**row, **_concepts(work, codes[f"{name} {seed}"])})
            saes.append(sae)
        for row, (one, other) in zip(rows[name], pairwise(saes), strict=False):
            row["stable"] = _share_found(one.directions(), other)
    for name in BASELINES:
        codes[f"{name} 0"] = work.encode(work.baseline(name, base.k))
        rows[name] = [_concepts(work, codes[f"{name} 0"])]
    attributes = work.labeler.attributes
    aucs = attribute_table(attributes, work.construction, work.heldout, codes).mean(
        numeric_only=True
    )
    for name, measured in rows.items():
        for seed, row in enumerate(measured):
            row["AUC"] = aucs[f"auc_{name} {seed}"]
        yield _run_row(name, pd.DataFrame(measured))
    yield _row("supervised", *[""] * 7, f"{aucs['auc_supervised']:.3f}", "", "")


def _cleared() -> dict[str, None]:
    """Settings that only some activations have, to be filled in anew."""
    from recsae.sae.config import OWN_SETTINGS

    return dict.fromkeys(OWN_SETTINGS)


def _trained(work: Workspace, config: SAEConfig) -> tuple[SAE, dict[str, Any]]:
    """An SAE and how well it reconstructs."""
    from recsae.evaluation.reconstruction import heldout_accuracy
    from recsae.sae.quality import quality
    from recsae.sae.train import train_sae

    started = time.perf_counter()
    sae = train_sae(work.construction_store, config)
    row: dict[str, Any] = {"s": time.perf_counter() - started}
    row |= quality(sae, work.heldout_store)
    if work.head is not None:
        found = heldout_accuracy(work.heldout, sae, work.head)
        row |= {"kept": found.lists.ndcg_kept, "rbo": found.lists.rbo}
    return sae, row


def _concepts(work: Workspace, codes: Codes) -> dict[str, Any]:
    """What concepts a code has, labelled and tested as in a run."""
    from recsae.concepts.dictionary import build_concepts
    from recsae.concepts.status import distinct
    from recsae.evaluation.scoring import measure_concepts
    from recsae.evaluation.share import share_on_halves

    dictionary = build_concepts(codes.construction, work.construction, work.labeler)
    tested = measure_concepts(
        *(codes.heldout, dictionary, work.heldout, work.labeler), parts=work.users_of_halves
    )
    cases = work.construction, work.halves
    share = share_on_halves(codes, *cases, tested.verified_of, work.head)
    return {
        "share": share.shares[32].value,
        "distinct": distinct(tested.scores, dictionary.table),
    }


def _share_found(directions: Any, sae: SAE) -> float:
    """Share of directions that a latent of the SAE has."""
    return float((best_by_direction(directions, sae.directions()).similarity > SAME).mean())


def _run_row(name: str, table: pd.DataFrame) -> str:
    def mean(column: str, digits: int) -> str:
        known = column in table and table[column].notna().any()
        return f"{table[column].mean():.{digits}f}" if known else ""

    return _row(
        *(name, mean("fvu", 4), mean("l0", 1), mean("kept", 4), mean("rbo", 3)),
        _percent(table.get("dead_fraction")),
        _range(table["share"], 2),
        _range(table["distinct"], 0),
        _range(table["AUC"], 3),
        _percent(table.get("stable")),
        mean("s", 0),
    )


def _range(values: pd.Series, digits: int) -> str:
    if values.isna().all():
        return ""
    text = f"{values.mean():.{digits}f}"
    if len(values) == 1:
        return text
    return f"{text} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def _percent(values: pd.Series | None) -> str:
    if values is None or values.isna().all():
        return ""
    values = 100 * values.dropna()
    return f"{_range(values, 1)} %"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
