"""Write RESULTS.md from finished runs: nothing in it is typed by hand."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

SHARES = ("8", "16", "32", "ndcg_kept_32")
PARTS = ("sae", "core", "found", "words", "statements")
CODES = (*PARTS, "plain", "gates", "random", "neurons", "pca")
"""The SAE, its parts, and what it is compared with; a run without a core has no parts."""
HEAD = """# Results

Written by `python benchmarks/results.py`; every figure is what a run printed. Machine: {machine}.
Times are of that machine with whatever else ran on it; compare only within a table.
A model such as the one on ml-1m is trained by `python benchmarks/train_sasrec.py`.
"""


@click.command()
@click.option("--run", "runs", multiple=True, metavar="TITLE=FOLDER", help="A finished run.")
@click.option(
    "--text", "texts", multiple=True, metavar="TITLE=FILE", help="What another benchmark printed."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/RESULTS.md"))
def main(runs: tuple[str, ...], texts: tuple[str, ...], out: Path) -> None:
    """Collect runs and the output of other benchmarks into one page.

    Sections of other titles that the page has already stay as they are.
    """
    sections = _sections_of(out)
    for entry in runs:
        title, _, folder = entry.rpartition("=")
        report = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
        sections[title] = _run_section(report)
    for entry in texts:
        title, _, file = entry.rpartition("=")
        sections[title] = Path(file).read_text(encoding="utf-8").strip() + "\n"
    parts = [f"## {title}\n\n{text}" for title, text in sections.items()]
    out.write_text("\n".join([HEAD.format(machine=_machine()), *parts]), encoding="utf-8")
    click.echo(f"Wrote {out}")


def _sections_of(page: Path) -> dict[str, str]:
    """The text of each section of a page by its title."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    _, *sections = text.split("\n## ")
    pairs = (section.split("\n\n", 1) for section in sections)
    return {title: text.rstrip("\n") + "\n" for title, text in pairs}


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def _table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    names = list(header)
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    lines += [f"| {' | '.join(_cell(v) for v in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _run_section(r: dict[str, Any]) -> str:
    return "\n".join(
        [
            _facts(r),
            _stages(r),
            _accuracy(r),
            _codes(r),
            _paper(r),
            _attributes(r),
            _back(r),
            _steering(r),
        ]
    )


def _facts(r: dict[str, Any]) -> str:
    data, sae = r["data"], r["sae"]
    return (
        f"{r['model']['name']}, {r['model']['hidden_size']} dimensions, {r['model']['n_items']:,} "
        f"items; {data['n_users']:,} users ({data['n_heldout_users']:,} held out), "
        f"{data['n_construction_positions']:,} and {data['n_heldout_positions']:,} positions. "
        f"SAE: {sae['n_latents']:,} latents, {sae['n_core']} of them gates of the core, "
        f"k = {sae['k']} ({_tried(sae['tried'])}), {sae['n_activations_seen']:,} states "
        f"in {sae['seconds']:.0f} s, seed {r['seed']}; held-out FVU {sae['fvu']:.3f}, "
        f"L0 {sae['l0']:.2f}, dead {100 * sae['dead_fraction']:.1f} %, "
        f"dense {100 * sae['dense_fraction']:.1f} %. Threads: {r['versions']['threads']}.\n"
    )


def _tried(kept: dict[str, float | None]) -> str:
    said = [f"{k} keep {_cell(share)}" for k, share in kept.items()]
    return f"of NDCG@10 on construction users {', '.join(said)}"


def _those_in(figures: dict[str, Any]) -> list[str]:
    return [code for code in CODES if code in figures]


def _stages(r: dict[str, Any]) -> str:
    figures = [r[key] for key in ("timings", "cpu_seconds", "memory")]
    rows = [(name, *(figure[name] for figure in figures)) for name in r["memory"]]
    wall, cpu, peak = (list(map(float, column)) for column in list(zip(*rows, strict=True))[1:])
    total = "all", sum(wall), sum(cpu), max(peak)
    return _table(("stage", "seconds", "CPU seconds", "peak MB"), [*rows, total])


def _accuracy(r: dict[str, Any]) -> str:
    everyone, held = r["accuracy"]["all_users"], r["accuracy"]["heldout"]
    names = list(everyone["base"])
    table = _table(
        ("", *names),
        [
            ("all users, base", *(everyone["base"][n] for n in names)),
            ("all users, reconstructed", *(everyone["reconstructed"][n] for n in names)),
            ("held-out positions, base", *(held["base"].get(n) for n in names)),
            ("held-out positions, reconstructed", *(held["reconstructed"].get(n) for n in names)),
        ],
    )
    low, high = held["ndcg_kept_ci"]
    last = held["last_item_ndcg_kept_ci"]
    return (
        f"{table}\nNDCG@10 kept at {held['n_positions']:,} positions of {held['n_users']:,} "
        f"held-out users: **{held['ndcg_kept']:.3f}** ({low:.3f} to {high:.3f}); at their last "
        f"items {held['last_item_ndcg_kept']:.3f} ({last[0]:.3f} to {last[1]:.3f}); "
        f"RBO {_cell(held['rbo'])}, Kendall's tau {_cell(held['kendall'])}.\n"
    )


def _codes(r: dict[str, Any]) -> str:
    keys = ("n_units", "tested", "verified", "supported", "distinct_verified")
    rows = []
    for code in _those_in(r["named_share"]):
        share, counts = r["named_share"][code], r["baselines"].get(code, {})
        shares = [_interval([share[n], *share["intervals"][n]]) for n in SHARES]
        quality = r["label_quality"].get(code, {"value": [None], "sae_ahead": [None]})
        beside = [_interval(x) for x in (share["sae_ahead"]["32"], quality["sae_ahead"])]
        labels = [_interval(quality["value"]), *(beside if code != "sae" else [None, None])]
        equal = counts.get("distinct_verified_equal_units")
        rows.append((code, *shares, *labels, *(counts.get(k) for k in keys), equal))
    header = (
        "code",
        "share 8",
        "16",
        "32",
        "NDCG kept 32",
        "F1 of labels, by activation",
        "SAE ahead, share 32",
        "SAE ahead, labels",
        "units",
        "tested",
        "verified",
        "supported",
        "distinct verified",
        "distinct, best 2d units",
    )
    return _table(header, rows)


def _paper(r: dict[str, Any]) -> str:
    of = r["recsae_protocol"]
    keys = ("n", "at_0_8", "at_0_9", "mean_recall", "mean_specificity", "mean_confidence")
    rows = [(code, *(of[code][k] for k in keys)) for code in _those_in(of)]
    header = (
        "RecSAE's protocol",
        "latents",
        ">= 0.8",
        ">= 0.9",
        "recall",
        "specificity",
        "confidence",
    )
    return _table(header, rows)


def _attributes(r: dict[str, Any]) -> str:
    rows = r["attributes"]
    if not rows:
        return "No attribute has cases enough for a probe.\n"
    codes = [code for code in CODES if f"auc_{code}" in rows[0]]
    names = [*(f"auc_{code}" for code in codes), "auc_supervised"]
    means = [sum(row[n] or 0.0 for row in rows) / len(rows) for n in names]
    header = (f"mean AUC of the best unit, {len(rows)} attributes", *codes, "supervised")
    return _table(header, [("", *means)])


def _back(r: dict[str, Any]) -> str:
    """What comes back in dictionaries that were made again."""
    if r["stability"] is None:
        return ""
    keys = ("halves", "seeds", "every", "chance")
    rows = [
        (row["among"], row["n"], row["level"], *(row[key] for key in keys))
        for row in r["stability"]["summary"]
    ]
    header = (
        "comes back",
        "of",
        "as",
        "half of the users",
        "other seeds",
        "in every one",
        "chance",
    )
    return _table(header, rows)


def _steering(r: dict[str, Any]) -> str:
    """At positions of held-out users; intervals are of 95 %, over users."""
    header = ("concept", "intervention", "target share", "after", "times", "NDCG@10 kept", "users")
    rows = [
        (
            *(s[k] for k in ("target", "intervention", "target_share_before")),
            *(s["target_share_after"], _interval(s["target_share_times"])),
            *(_interval(s["ndcg_kept"]), s["n_users"]),
        )
        for s in r["steering"]
    ]
    return _table(header, rows)


def _interval(values: list[float | None]) -> str | None:
    if None in values:
        return None
    value, low, high = values
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
