"""Sentences and rows of the sections that a run may lack."""

from dataclasses import dataclass

from recsae.report.schema.report import Report
from recsae.report.schema.sections import ComesBack, Retrained
from recsae.report.words.formats import number, percent

METHODS = ("sae", "class_mean", "probe")
MEASURES = {
    "auc": "ROC-AUC",
    "balanced_accuracy": "balanced accuracy",
    "explained": "share of the scores’ variance that it explains alone",
    "lift": "change of the attribute’s share in the top 10",
    "off_target": "mean change of other attributes’ shares",
    "ndcg_kept": "NDCG kept by the edit",
}
LEVELS = {
    "direction": "the same direction",
    "label": "the same direction, with the same name",
    "activity": "a latent active on the same cases",
    "name": "a latent with the same name",
    "verified_name": "a verified latent with the same name",
}
GROUPS = {
    "verified": "Verified concepts",
    "names": "Names of verified concepts",
    "latents": "All latents",
}
NAMES_SHOWN = 300


@dataclass(frozen=True)
class Again:
    """The section on stability: a sentence, and per group of concepts its levels."""

    what: str
    kinds: list[str]
    heads: list[str]
    rows: list[tuple[str, list[tuple[str, ComesBack]]]]
    names: list[str]


def again(report: Report) -> Again | None:
    """Say what comes back when the SAE is trained again; None where a run did not ask."""
    found = report.stability
    if found is None:
        return None
    trained = [other for other in found.dictionaries if other.kind != "chance"]
    counts = {kind: sum(o.kind == kind for o in trained) for kind in ("seeds", "halves")}
    kinds = [kind for kind, n in counts.items() if n]
    heads = {"seeds": "with other seeds", "halves": "on half of the users"}
    rows = []
    for group, name in GROUPS.items():
        of_group = {row.level: row for row in found.summary if row.among == group}
        if of_group and trained:
            n = next(iter(of_group.values())).n
            levels = [
                (words, of_group[level]) for level, words in LEVELS.items() if level in of_group
            ]
            rows.append((f"{name} ({n:,})", levels))
    every = [name.name for name in found.names if name.back.get("verified_name") == 1]
    return Again(
        _trained(trained, counts), kinds, [heads[k] for k in kinds], rows, every[:NAMES_SHOWN]
    )


def _trained(trained: list[Retrained], counts: dict[str, int]) -> str:
    if not trained:
        return "The autoencoder was to be trained again, and could not be."
    parts = []
    if n := counts["seeds"]:
        parts.append(f"with {n} other seed{'s' * (n > 1)}")
    if n := counts["halves"]:
        parts.append("on each half of the users" if n == 2 else "on one half of the users")
    return f"The same autoencoder was trained again {' and '.join(parts)}."


def stability_line(report: Report) -> str:
    """Say in one line what share of the verified concepts comes back; empty if nobody asked."""
    found = again(report)
    if found is None:
        return ""
    levels = [
        row
        for row in report.stability.summary  # type: ignore[union-attr]
        if (row.among, row.level) == ("verified", "label")
    ]
    if not levels or levels[0].every is None:
        return found.what
    row = levels[0]
    return (
        f"{found.what} In every one, {percent(row.every)} of the verified concepts come back with "
        f"the same direction and name; by chance, in one, {percent(row.chance)}."
    )


def language_line(report: Report) -> str:
    """Say in one line how well the language model's sentences do; empty without one."""
    found = report.language
    if found is None:
        return ""
    summary = found.summary
    latents = f"{found.n_failed:,} latent{'s' * (found.n_failed != 1)}"
    return (
        f"{found.model} explained {found.n_explained:,} latents and failed on {latents}. Told "
        f"apart blind, balanced accuracy: its sentences {number(summary.detection_names)}, the "
        f"labels {number(summary.detection_attribute_labels)}. {cost(report)}"
    )


def cost(report: Report) -> str:
    """Say what the language model was asked and what that cost; empty without one."""
    if report.language is None:
        return ""
    tokens, price = report.language.tokens, report.language.cost
    said = (
        f"{tokens.get('answers', 0):,} answers, {tokens.get('prompt', 0):,} tokens read and "
        f"{tokens.get('completion', 0):,} written"
    )
    if uncounted := tokens.get("uncounted", 0):
        said += f" ({uncounted:,} answers came without counts)"
    if price is None:
        return f"{said}; prices were not given."
    return f"{said}, cost {f'{price:.2f}' if price >= 0.01 else 'below 0.01'}."


def corrections(report: Report) -> str:
    """Say how many concepts people corrected; empty where nobody did."""
    kinds = ("renamed", "merged", "rejected")
    counts = {k: sum(c.correction == k for c in report.concepts.list) for k in kinds}
    said = ", ".join(f"{n:,} {kind}" for kind, n in counts.items() if n)
    return f"Corrected by people: {said}. Figures and counts are as measured." if said else ""
