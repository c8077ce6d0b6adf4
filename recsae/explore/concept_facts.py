"""What ``inspect`` and ``concepts`` show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.concepts.corrections import REJECTED
from recsae.concepts.corrections import corrected as with_names
from recsae.concepts.status import STATUSES
from recsae.core import columns as C
from recsae.core.errors import InvalidInput, nearest
from recsae.core.files import read_parquet
from recsae.run.tables import load_run

if TYPE_CHECKING:
    import pandas as pd

    from recsae.concepts.dictionary import ConceptDictionary

SHOWN = (
    *(C.LATENT, C.NAME, C.LABEL, C.STATUS, C.BALANCED_ACCURACY, C.CI_LOW),
    *(C.PRECISION, C.RECALL, C.N_POS, C.FIRE_RATE),
)
N_SHOWN = 10


def concept_rows(folder: Path, search: str | None, status: str | None) -> list[dict[str, Any]]:
    """The dictionary of a run with people's corrections, best first.

    Where there are corrections, ``tested_as`` is the name that a concept had before.
    """
    if status is not None and status not in (*STATUSES, REJECTED):
        raise InvalidInput(
            f"There is no status {status!r}: it is one of {', '.join((*STATUSES, REJECTED))}."
        )
    dictionary, table = _tested(folder)
    corrected = C.CORRECTION in table
    if corrected:
        table.loc[table[C.CORRECTION] == REJECTED, C.STATUS] = REJECTED
    if status is not None:
        table = table[table[C.STATUS] == status]
    if search is not None:
        table = table[table[C.LATENT].isin(dictionary.search(search)[C.LATENT])]
    order = table[C.STATUS].map([*STATUSES, REJECTED].index)
    table = table.assign(order=order).sort_values(["order", C.CI_LOW], ascending=[True, False])
    shown = [*SHOWN, C.TESTED_AS] if corrected else list(SHOWN)
    rows: list[dict[str, Any]] = table[shown].to_dict("records")
    return [{k: None if v != v else v for k, v in row.items()} for row in rows]


def _tested(folder: Path) -> tuple[ConceptDictionary, pd.DataFrame]:
    """The dictionary, and its table beside the scores."""
    from recsae.concepts.dictionary import ConceptDictionary

    load_run(folder)  # says so if there is none
    dictionary = with_names(ConceptDictionary.load(folder), folder)
    scores = read_parquet(folder / "scores.parquet")
    return dictionary, dictionary.table.merge(scores, on=C.LATENT)


def nearest_names(folder: Path, text: str) -> str:
    """``" Did you mean ...?"`` for the concepts' names closest to a text."""
    return nearest(text, _tested(folder)[1][C.NAME].unique())


def latent_facts(folder: Path, latent: int) -> dict[str, Any]:
    """Everything that a run knows of one latent, items with their titles.

    Evidence (``firing``, ``fires_with``, ``fires_instead``, ``missed``, ``unexpected``) is there if
    the run has it.
    """
    report = load_run(folder).report
    titles = {item: known["title"] for item, known in report["items"].items()}
    for concept in report["concepts"]["list"]:
        if concept["latent"] == latent:
            break
    else:
        n = len(report["concepts"]["list"])
        raise InvalidInput(f"There is no latent {latent}: latents are numbered 0 to {n - 1}.")
    facts = {k: v for k, v in concept.items() if not isinstance(v, list | dict)}
    table = _tested(folder)[1].set_index(C.LATENT)
    facts[C.NAME] = table.loc[latent, C.NAME]
    if C.CORRECTION in table and table.loc[latent, C.CORRECTION]:
        facts |= {key: table.loc[latent, key] for key in (C.CORRECTION, C.TESTED_AS)}
    for key in ("promotes", "demotes"):
        facts[key] = [titles.get(entry["item"], entry["item"]) for entry in concept[key]]
    facts["examples"] = [
        {
            "activation": example["activation"],
            "user": example["user"],
            "items": _titles(example["items"], titles),
            "then": titles.get(example["top_recommendation"], example["top_recommendation"]),
        }
        for example in concept["examples"]
    ]
    return facts | _evidence(folder, latent, titles, table)


def _titles(items: Any, titles: dict[str, str]) -> str:
    return " | ".join(str(titles.get(item, item)) for item in items)


def _evidence(
    folder: Path, latent: int, titles: dict[str, str], table: pd.DataFrame
) -> dict[str, Any]:
    from recsae.evaluation.evidence import INSTEAD, MISSED, TABLES, UNEXPECTED, WITH, Evidence

    if not all((folder / name).exists() for name in TABLES):
        return {}
    mine = Evidence.load(folder).by_latent()[latent]

    def others(kind: str) -> list[dict[str, Any]]:
        return [
            {C.LATENT: x.pop("other"), C.NAME: table.loc[j, C.NAME], **x}
            for x in mine[kind]
            for j in [x["other"]]
        ]

    def cases(kind: str) -> list[dict[str, Any]]:
        return [
            {
                "label counts": f"{x['level']} (needs {x[C.THRESHOLD]})",
                "activation": x[C.ACTIVATION],
                "user": str(x[C.USER]),
                "items": _titles(x[C.ITEMS], titles),
                "then": titles.get(x[C.TOP_ITEM], x[C.TOP_ITEM]),
            }
            for x in mine[kind]
        ]

    return {
        "firing": mine["firing"],
        "fires_with": others(WITH),
        "fires_instead": others(INSTEAD),
        "missed": cases(MISSED),
        "unexpected": cases(UNEXPECTED),
    }


def item_latents(folder: Path, item: str) -> dict[str, list[dict[str, Any]]]:
    """The latents behind an item: ``promoted by`` and ``active after it``, ten of each at most.

    What promotes it is in the order of what a latent adds to its score where the latent has its
    median activation; ``rank`` is the item's among all that the latent promotes. Active after it
    are latents that are active significantly more often where it is the last item than elsewhere.
    """
    from recsae.explore.cohorts import FALSE_DISCOVERIES, Profiler, records
    from recsae.run.open import open_run

    work = open_run(folder)
    internal = work.recommender.catalog.internal(item)
    profiler = Profiler(work, each_latent=True)
    table = _tested(folder)[1][[C.LATENT, C.LABEL, C.STATUS]]
    promoted, after = profiler.promoting(internal), profiler.after_item(internal)
    found: dict[str, list[dict[str, Any]]] = {"promoted by": [], "active after it": []}
    if promoted is not None:
        best = promoted[promoted["adds"] > 0].head(N_SHOWN).drop(columns=C.LABEL)
        found["promoted by"] = records(best.merge(table, on=C.LATENT))
    if after is not None:
        more = after[(after["p_adjusted"] <= FALSE_DISCOVERIES) & (after["low"] > 0)].head(N_SHOWN)
        more = more.assign(latent=[latents[0] for latents in more["latents"]])
        shown = more[[C.LATENT, C.NAME, "share", "others", "low", "high"]]
        found["active after it"] = records(shown.merge(table, on=C.LATENT))
    return found
