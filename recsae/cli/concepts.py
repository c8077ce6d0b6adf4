"""The command ``concepts``: the dictionary of a run, its evidence, and people's corrections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, records, show_json
from recsae.cli.shared.latent import VIEWS, rate, show_latent
from recsae.cli.shared.options import all_option, json_option, trust_option
from recsae.cli.shared.tables import ROWS, Column, Columns, say, show_rows, titles_of
from recsae.core import columns as C
from recsae.core.errors import InvalidInput
from recsae.core.text import readable
from recsae.report.words.formats import floor_percent, number, signed, two_digits

if TYPE_CHECKING:
    from recsae.explore.audit import AuditedConcept, JudgedCase
    from recsae.explore.concept_facts import Case, ItemLatents, LatentFacts

CONCEPTS: Columns = {
    C.LATENT: "latent",
    C.NAME: "name",
    C.STATUS: "status",
    C.PRECISION: Column("precision", two_digits),
    C.RECALL: Column("recall", two_digits),
    C.EXPLAINS: Column("explains", two_digits),
    C.FIRE_RATE: Column("active on", two_digits, optional=True),
    C.TESTED_AS: Column("tested as", optional=True),
    C.PRECISION_LOW: Column("precision at least", floor_percent, optional=True),
    C.RECALL_LOW: Column("recall at least", floor_percent, optional=True),
    C.F1: Column("F1", number, optional=True),
    C.N_POS: Column("active cases", optional=True),
    C.LABEL: Column("label", optional=True),
}
PROMOTING: Columns = {
    C.LATENT: "latent",
    C.NAME: "name",
    C.STATUS: "status",
    "adds": Column("adds", signed),
    "rank": "rank",
    C.LABEL: Column("label", optional=True),
}
AFTER: Columns = {
    C.LATENT: "latent",
    C.NAME: "name",
    C.STATUS: "status",
    "share": Column("share", two_digits),
    "others": Column("others", two_digits),
    C.LABEL: Column("label", optional=True),
}
N_SHORT = 5
"""Last items of a case that the audit's text shows; ``--json`` has all that are kept."""


@click.command()
@click.argument("folder", type=PATH)
@click.option("--search", help="Only concepts whose name or label contains this.")
@click.option("--status", help="Only concepts of this status, e.g. verified.")
@click.option("--latent", type=int, help="Everything about one latent, evidence against it too.")
@click.option(
    "--item", help="The latents that promote an item or are active after it: id or title."
)
@click.option("--edit", is_flag=True, help="Rename, merge or reject concepts in your editor.")
@click.option(
    "--audit",
    type=click.IntRange(min=1),
    help="A random sample of so many verified concepts, for a person to judge the labels.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of that sample; default 0.")
@all_option
@trust_option
@json_option
def concepts(
    folder: Path,
    search: str | None,
    status: str | None,
    latent: int | None,
    item: str | None,
    edit: bool,
    audit: int | None,
    seed: int | None,
    everything: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """The concept dictionary of a run, best first."""
    from recsae.explore.concept_facts import nearest_names
    from recsae.finished.loaded import load_run

    filtered = search is not None or status is not None
    asked = (latent is not None, item is not None, edit, audit is not None, filtered)
    if sum(asked) > 1:
        raise InvalidInput(
            "Give one of --latent, --item, --edit, --audit, or --search and --status."
        )
    if seed is not None and audit is None:
        raise InvalidInput("--seed goes with --audit: give both.")
    if edit:
        _edit(folder, as_json)
    elif audit is not None:
        _audit(folder, audit, seed or 0, as_json)
    elif latent is not None:
        facts = latent_dict(load_run(folder).concept(latent))
        show_json(facts) if as_json else show_latent(facts)
    elif item is not None:
        from recsae.finished.opened import open_run

        latents = item_dict(open_run(folder, trust=trust).item(item))
        show_json(latents) if as_json else _show_item(latents)
    else:
        rows = records(load_run(folder).search(search, status))
        if as_json:
            show_json(rows)
        elif rows:
            columns = {key: column for key, column in CONCEPTS.items() if key in rows[0]}
            show_rows(columns, rows, top=None if everything else ROWS)
        else:
            click.echo(f"No concept fits.{nearest_names(folder, search) if search else ''}")
        _warn_of_lost(folder)


def latent_dict(facts: LatentFacts) -> dict[str, Any]:
    """What is known of one latent as JSON holds it."""
    known: dict[str, Any] = {
        **facts.concept,
        "promotes": list(facts.promotes),
        "demotes": list(facts.demotes),
        "examples": [_case_dict(case) for case in facts.examples],
    }
    evidence = facts.evidence
    return {
        "active_on": [vars(item) for item in evidence.active_on],
        **known,
        "firing": evidence.firing,
        "fires_with": [vars(other) for other in evidence.fires_with],
        "fires_instead": [vars(other) for other in evidence.fires_instead],
        "missed": [_case_dict(case, known) for case in evidence.missed],
        "unexpected": [_case_dict(case, known) for case in evidence.unexpected],
    }


def _case_dict(case: Case, label: dict[str, Any] | None = None) -> dict[str, Any]:
    from recsae.concepts.wording import reason_of

    why = {} if label is None or case.level is None else {"why": reason_of(label, case.level)}
    return {
        **why,
        "activation": case.activation,
        "user": case.user,
        "items": " | ".join(case.titles),
        "then": case.top_recommendation,
    }


def item_dict(latents: ItemLatents) -> dict[str, list[dict[str, Any]]]:
    """The latents behind an item as JSON holds them."""
    return {
        "promoted by": records(latents.promoted_by),
        "active after it": records(latents.active_after),
    }


def _edit(folder: Path, as_json: bool) -> None:
    from recsae.finished.loaded import load_run

    file, remark = load_run(folder).corrections_file()
    if remark:
        click.echo(remark, err=True)
    click.edit(filename=str(file))
    rows = records(load_run(folder).corrections())
    if as_json:
        show_json(rows)
    elif rows:
        show_rows({key: key.replace("_", " ") for key in rows[0]}, rows, top=None)
        click.echo(f"\nKept in {file}; `recsae report {folder}` takes it into the report.")
    else:
        click.echo(f"No corrections. The file is {file}.")


def _warn_of_lost(folder: Path) -> None:
    from recsae.concepts.corrections import FILE, lost

    gone = ", ".join(str(p.entry.latent) for p in lost(folder))
    if gone:
        click.echo(
            f"No latent has the direction of {gone} any more, since the SAE was trained anew: "
            f"their corrections in {folder / FILE} are not applied.",
            err=True,
        )


def _show_item(latents: dict[str, list[dict[str, Any]]]) -> None:
    for (title, rows), columns in zip(latents.items(), (PROMOTING, AFTER), strict=True):
        click.echo(f"{title}:" if rows else f"{title}: none")
        if rows:
            show_rows(columns, rows)
        click.echo("")


def _audit(folder: Path, size: int, seed: int, as_json: bool) -> None:
    from dataclasses import asdict

    from recsae.finished.loaded import load_run

    sheet = load_run(folder).audit(size, seed)
    if as_json:
        show_json(asdict(sheet))
        return
    say(
        f"{len(sheet.concepts)} of {sheet.n_verified} verified concepts, drawn with seed {seed}. "
        "Does each label say on what its latent is active?"
    )
    for place, concept in enumerate(sheet.concepts, 1):
        _show_audited(place, concept)


def _show_audited(place: int, concept: AuditedConcept) -> None:
    say(f"\n{place}. latent {concept.latent}, {concept.name}: {concept.label}")
    say(
        f"   precision {rate(concept.precision, concept.precision_low)}, "
        f"recall {rate(concept.recall, concept.recall_low)}; active on "
        f"{concept.n_active:,} of {concept.n_cases:,} held-out cases, of {concept.n_users} users"
    )
    if concept.n_items_of:
        said = (f"{name} {number:,}" for name, number in concept.n_items_of.items())
        say(f"   items that it speaks of: {' | '.join(said)}")
    if concept.alternative:
        other = concept.alternative
        say(
            f"   or else: {other.label} (precision {two_digits(other.precision)}, recall "
            f"{two_digits(other.recall)})"
        )
    for view, (title, _) in VIEWS.items():
        rates = [
            f"{readable(x.title)} {x.n_active} of {x.n_cases}"
            for x in concept.active_on
            if x.view == view
        ]
        say(f"   {title}: {' | '.join(rates) or 'no item in particular'}")
    click.echo("   drawn from all its active cases:")
    for case in concept.examples:
        _show_judged(case)
    for title, against in (
        ("the label says active, and it is not", concept.missed),
        ("it is active, and the label says no", concept.unexpected),
    ):
        click.echo(f"   {title}:{'' if against else ' nowhere'}")
        if against:
            _show_judged(against)


def _show_judged(case: JudgedCase) -> None:
    says = "yes" if case.label_says_active else "no"
    say(
        f"     {case.activation:.2f}, user {case.user}, label says {says} ({case.why}):\n"
        f"       {titles_of(case.titles[-N_SHORT:])}  ->  {titles_of(case.recommended)}"
    )
