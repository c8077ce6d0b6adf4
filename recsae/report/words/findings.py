"""Sentences and rows of what not every report has: stability, a language model, corrections."""

from dataclasses import dataclass

from recsae.report.schema.parts import Explained, Figure
from recsae.report.schema.report import Report
from recsae.report.schema.sections import ComesBack, Retrained
from recsae.report.words.formats import floor_percent, number, percent

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
    "activity": "a latent active on the same cases",
    "label": "one of those, with the same label",
    "direction": "the same direction",
}
GROUPS = {
    "core": "Latents of the core",
    "verified": "Verified concepts",
    "latents": "All latents",
}


@dataclass(frozen=True)
class StabilitySection:
    """The section on stability, as the page shows it."""

    sentence: str
    """What was made again."""
    kinds: list[str]
    """Which kinds of dictionaries there are: ``seeds``, ``halves``."""
    headings: list[str]
    """A column's heading for each kind."""
    rows: list[tuple[str, list[tuple[str, ComesBack]]]]
    """For each group of concepts its caption, and its levels with their names."""


def stability_section(report: Report) -> StabilitySection | None:
    """Say what comes back when the dictionary is made again; None where that was not tried."""
    stability = report.stability
    if stability is None:
        return None
    trained = [other for other in stability.dictionaries if other.kind != "chance"]
    counts = {kind: sum(o.kind == kind for o in trained) for kind in ("halves", "seeds")}
    kinds = [kind for kind, n in counts.items() if n]
    headings = {"seeds": "with other seeds", "halves": "on half of the users"}
    rows = []
    for group, name in GROUPS.items():
        of_group = {row.level: row for row in stability.summary if row.among == group}
        if of_group and trained:
            n = next(iter(of_group.values())).n
            levels = [
                (words, of_group[level]) for level, words in LEVELS.items() if level in of_group
            ]
            rows.append((f"{name} ({n:,})", levels))
    return StabilitySection(_trained(trained, counts), kinds, [headings[k] for k in kinds], rows)


def _trained(trained: list[Retrained], counts: dict[str, int]) -> str:
    if not trained:
        return "The dictionary was to be made again, and could not be."
    parts = []
    if n := counts["halves"]:
        parts.append("on each half of the users" if n == 2 else "on one half of the users")
    if n := counts["seeds"]:
        parts.append(f"with {n} other seed{'s' * (n > 1)}")
    return f"The dictionary was made again {' and '.join(parts)}."


def stability_line(report: Report) -> str:
    """Say in one line what share of the verified concepts comes back; empty where not measured."""
    section = stability_section(report)
    if section is None:
        return ""
    levels = [
        row
        for row in report.stability.summary  # type: ignore[union-attr]
        if (row.among, row.level) == ("verified", "label")
    ]
    if not levels or levels[0].every is None:
        return section.sentence
    row = levels[0]
    return (
        f"{section.sentence} In every one, {percent(row.every)} of the verified concepts come back "
        f"on the same cases with the same label; by chance, in one, {percent(row.chance)}."
    )


def language_line(report: Report) -> str:
    """Say in one line how well the language model's sentences do; empty without one."""
    model = report.language
    if model is None:
        return ""
    summary = model.summary
    latents = f"{model.n_failed:,} latent{'s' * (model.n_failed != 1)}"
    names, labels = summary.names, summary.attribute_labels
    return (
        f"{model.model} explained {model.n_explained:,} latents and failed on {latents}. As judge "
        f"of both on the same cases it verifies {names.verified:,} of {summary.n_judged:,} of its "
        f"sentences (precision {percent(names.precision)}, recall {percent(names.recall)}) and "
        f"{labels.verified:,} of the labels (precision {percent(labels.precision)}, recall "
        f"{percent(labels.recall)}); {undecided(report)} {cost(report)}"
    )


def undecided(report: Report) -> str:
    """Say of how many concepts the language model was asked about enough cases."""
    if report.language is None:
        return ""
    summary = report.language.summary
    names, labels = summary.names.decidable, summary.attribute_labels.decidable
    return (
        f"the cases asked are enough to verify {names:,} of the sentences and {labels:,} of the "
        "labels, if no mistake is made: the rarer a latent, the more cases it takes."
    )


def judged_rows(explained: Explained) -> list[list[str]]:
    """Return the rows of a concept's table: what is judged, its sentence, its label."""
    both = explained.detection, explained.attribute.detection
    paper, none = explained.paper, "–"
    return [
        ["verdict", *(found.status for found in both)],
        [
            "precision: of what it matches, active",
            *(_bounded(d.precision, d.precision_low) for d in both),
        ],
        [
            "recall: of where it is active, matched",
            *(_bounded(d.recall, d.recall_low) for d in both),
        ],
        ["precision at least, without a mistake"]
        + [floor_percent(found.precision_low_at_best) for found in both],
        ["answers that could not be read", *(f"{found.n_failed:,}" for found in both)],
        ["finds the item that matters", number(explained.fuzzing.balanced_accuracy), none],
        ["its words are near"]
        + [number(auc) for auc in (explained.embedding_auc, explained.attribute.embedding_auc)],
        ["the paper’s confidence", number(paper.confidence) if paper else none, none],
    ]


def _bounded(value: Figure, low: Figure) -> str:
    return percent(value) if low is None else f"{percent(value)}, at least {floor_percent(low)}"


def core(report: Report) -> str:
    """Say how the core came about and what shows that it is no chance; empty without one."""
    n, figures = report.sae.n_core, report.sae.core
    if figures is None:
        return ""
    said = (
        f"The core are the first {n:,} latents. {figures.n_candidates:,} statements about items "
        f"and histories were asked of the states; {figures.n_learnable:,} are held, so that a "
        "linear gate tells them of other users with a precision and a recall of at least 55%, and "
        "the core are those of them that explain most of the model’s scores. "
    )
    if figures.n_permuted_candidates:
        held = figures.n_learnable / max(figures.n_candidates, 1)
        permuted = figures.n_permuted / figures.n_permuted_candidates
        said += (
            f"That is {percent(held)} of what was asked; with attributes permuted over the items "
            f"it is {percent(permuted)}. "
        )
    return said + (
        "The other latents were found by the autoencoder in what the core leaves of a state; "
        f"verified ones say {figures.n_added:,} values that no latent of the core says."
    )


def cost(report: Report) -> str:
    """Say how much the language model read and wrote and what that cost; empty without one."""
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
