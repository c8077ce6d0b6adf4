"""The command ``concepts``: the dictionary of a run, its evidence, and people's corrections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, records, show_facts, show_json, show_table
from recsae.cli.shared.options import json_option, trust_option
from recsae.core.errors import InvalidInput

if TYPE_CHECKING:
    from recsae.explore.audit import AuditedConcept, JudgedCase
    from recsae.explore.concept_facts import Case, ItemLatents, LatentFacts

VIEWS = {
    "last": ("after", "after {}"),
    "last5": ("among the last five", "with {} among the last five"),
    "top1": ("first recommendation", "first recommendation {}"),
}
"""How a line, and a phrase about one title, says where an item stands."""
N_PHRASES = 3
"""Items of each view that one latent's line names; ``--json`` and ``--audit`` have all."""
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
@click.option("--seed", type=click.IntRange(min=0), help="Of that sample; 0 by default.")
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
    trust: bool,
    as_json: bool,
) -> None:
    """The concept dictionary of a run, best first."""
    from recsae.explore.concept_facts import nearest_names
    from recsae.finished.loaded import load_run
    from recsae.finished.opened import open_run

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
        show_json(facts) if as_json else _show_latent(facts)
    elif item is not None:
        latents = item_dict(open_run(folder, trust=trust).item(item))
        show_json(latents) if as_json else _show_item(latents)
    else:
        rows = records(load_run(folder).search(search, status))
        if as_json:
            show_json(rows)
        elif rows:
            show_table(list(rows[0]), [list(row.values()) for row in rows])
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
        show_table(list(rows[0]), [list(row.values()) for row in rows])
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
    for title, rows in latents.items():
        click.echo(f"{title}:" if rows else f"{title}: none")
        if rows:
            show_table(list(rows[0]), [list(row.values()) for row in rows])
        click.echo("")


def _show_latent(facts: dict[str, Any]) -> None:
    """What it is active on first, then figures, what it does, and sequences for and against."""
    if "active_on" in facts:
        click.echo(f"active on: {_active_on(facts['active_on'])}")
    plain = {k: v for k, v in facts.items() if not isinstance(v, list | dict)}
    show_facts({k: v for k, v in plain.items() if v is not None})
    firing = facts.get("firing")
    if firing:
        click.echo(
            f"active on held-out users: {100 * firing['fire_rate']:.2f} % of positions, "
            f"{100 * firing['user_share']:.1f} % of users; mean activation where active "
            f"{firing['mean_activation']:.2f}"
        )
    for key in ("promotes", "demotes"):
        click.echo(f"{key}: {' | '.join(facts[key]) or 'unknown'}")
    for key, words in (("fires_with", "active together with"), ("fires_instead", "rarely with")):
        for other in facts.get(key, []):
            click.echo(
                f"{words}: {other['latent']} {other['name']} ({other['n_together']} times, "
                f"{other['lift']:.2g} x chance, correlation {other['phi']:.2f})"
            )
    sections = {
        "examples": "\nWhere it is active (the strongest, then at quantiles):",
        "missed": "\nThe label says active, and it is not:",
        "unexpected": "\nIt is active, and the label says no:",
    }
    for key, title in sections.items():
        if facts.get(key):
            click.echo(title)
            for case in facts[key]:
                _show_case(case)


def _active_on(items: list[dict[str, Any]]) -> str:
    """The items in one line; the first figure says that it counts times."""
    times = iter([" times"])
    phrases = [
        [
            f"{phrase.format(x['title'])} {x['n_active']} of {x['n_cases']}{next(times, '')}"
            for x in items
            if x["view"] == view
        ]
        for view, (_, phrase) in VIEWS.items()
    ]
    line = "; ".join(", ".join(of_view[:N_PHRASES]) for of_view in phrases if of_view)
    return line or "no item in particular"


def _show_case(case: dict[str, Any]) -> None:
    why = f" ({case['why']})" if "why" in case else ""
    click.echo(f"  {case['activation']:.2f}, user {case['user']}{why}:")
    click.echo(f"      {case['items']}  ->  {case['then']}")


def _audit(folder: Path, size: int, seed: int, as_json: bool) -> None:
    from dataclasses import asdict

    from recsae.finished.loaded import load_run

    sheet = load_run(folder).audit(size, seed)
    if as_json:
        show_json(asdict(sheet))
        return
    click.echo(
        f"{len(sheet.concepts)} of {sheet.n_verified} verified concepts, drawn with seed {seed}. "
        "Does each label say on what its latent is active?"
    )
    for place, concept in enumerate(sheet.concepts, 1):
        _show_audited(place, concept)


def _show_audited(place: int, concept: AuditedConcept) -> None:
    click.echo(f"\n{place}. latent {concept.latent}, {concept.name}: {concept.label}")
    click.echo(
        f"   precision {concept.precision:.2f} (at least {concept.precision_low:.2f}), "
        f"recall {concept.recall:.2f} (at least {concept.recall_low:.2f}); active on "
        f"{concept.n_active:,} of {concept.n_cases:,} held-out cases, of {concept.n_users} users"
    )
    if concept.n_items_of:
        said = (f"{name} {number:,}" for name, number in concept.n_items_of.items())
        click.echo(f"   items that it speaks of: {' | '.join(said)}")
    if concept.alternative:
        other = concept.alternative
        click.echo(
            f"   or else: {other.label} (precision {other.precision:.2f}, recall "
            f"{other.recall:.2f})"
        )
    for view, (title, _) in VIEWS.items():
        rates = [
            f"{x.title} {x.n_active} of {x.n_cases}" for x in concept.active_on if x.view == view
        ]
        click.echo(f"   {title}: {' | '.join(rates) or 'no item in particular'}")
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
    click.echo(
        f"     {case.activation:.2f}, user {case.user}, label says {says} ({case.why}):\n"
        f"       {' | '.join(case.titles[-N_SHORT:])}  ->  {' | '.join(case.recommended)}"
    )
