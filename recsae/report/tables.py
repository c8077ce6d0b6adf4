"""The report as text: the model card and the table of concepts."""

import csv
from io import StringIO
from pathlib import Path

from recsae.report.escape import cell, markdown
from recsae.report.page_data import PLAIN
from recsae.report.schema.parts import Concept
from recsae.report.schema.report import Report
from recsae.report.words import findings, formats
from recsae.report.words import goals as goal_words
from recsae.report.words import headlines as words
from recsae.report.words import obeyed as obeyed_words
from recsae.report.words.concepts import best_distinct

COLUMNS = list(PLAIN)
"""The columns of ``concepts.csv``: every plain field of a concept."""


def concepts_csv(report: Report) -> str:
    """Return ``concepts.csv``: one row per concept, an empty cell where there is no figure."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for concept in report.concepts.list:
        values = (getattr(concept, name) for name in COLUMNS)
        writer.writerow([cell(v) if isinstance(v, str) else v for v in values])
    return out.getvalue()


def card(report: Report) -> str:
    """Return ``card.md``: headline figures, the best distinct verified concepts, limits."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=False,  # Markdown: text from outside goes through the `md` filter
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        md=markdown,
        pct=formats.percent,
        at_least=formats.floor_percent,
        num=formats.number,
        interval=formats.interval,
        share_of=words.share_of,
    )
    return environment.get_template("card.md").render(
        r=report,
        verdict=words.verdict(report),
        headlines=words.headlines(report),
        best=best_distinct(report),
        heldout_note=words.heldout_note(report),
        code_names=words.CODE_NAMES,
        core=findings.core(report),
        stability=findings.stability_line(report),
        language=findings.language_line(report),
        steering=[*goal_words.steering_lines(report), *obeyed_words.lines(report)],
        corrections=findings.corrections(report),
    )


def corrected(report: Report, folder: Path) -> Report:
    """Return the report with the names that people gave; figures and counts are as measured."""
    from recsae.concepts.corrections import REJECTED, names, shown_name

    given = names(folder)
    if not given:
        return report
    concepts = []
    for concept in report.concepts.list:
        entry = given.get(concept.latent)
        if entry is not None:
            change = {"correction": entry.correction, "tested_as": concept.name}
            if entry.correction == REJECTED and entry.text:
                change["rejected_because"] = entry.text
            concept = concept.model_copy(update={"name": shown_name(entry), **change})
        concepts.append(concept)
    return with_concepts(report, concepts)


def with_concepts(report: Report, concepts: list[Concept]) -> Report:
    """Return the report with other concepts."""
    listed = report.concepts.model_copy(update={"list": concepts})
    return report.model_copy(update={"concepts": listed})
