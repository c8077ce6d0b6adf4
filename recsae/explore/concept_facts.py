"""Facts of a finished run: its dictionary, one latent, and the latents behind one item."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.concepts.corrections import REJECTED
from recsae.concepts.corrections import corrected as with_names
from recsae.concepts.status import STATUSES, usefulness, with_back
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.errors import InvalidInput, nearest
from recsae.core.files import read_parquet
from recsae.core.notebook.cells import Table, card
from recsae.report.words.formats import two_digits
from recsae.report.write import report_facts
from recsae.run.record import Run
from recsae.run.tables import RunTables

if TYPE_CHECKING:
    import pandas as pd

    from recsae.concepts.dictionary import ConceptDictionary
    from recsae.run.workspace import Workspace

SHOWN = (
    *(C.LATENT, C.NAME, C.LABEL, C.STATUS, C.PRECISION, C.PRECISION_LOW),
    *(C.RECALL, C.RECALL_LOW, C.F1, C.N_POS, C.FIRE_RATE, C.EXPLAINS),
)
"""Columns of :func:`concept_rows`."""
OF_TABLE = (layout.CONCEPTS, layout.EXAMPLES, layout.SCORES, layout.SAE_WEIGHTS)
"""Files that :func:`tested_table` reads."""
OF_CARD = (C.LABEL, C.STATUS, C.PRECISION, C.RECALL)
"""Figures of a concept that a notebook shows."""
N_SHORT = 5
"""Examples that a notebook shows of a latent, and the last items of each."""
VIEW_WORDS = {"last": "last item", "last5": "among the last five", "top1": "recommended first"}
N_OF_ITEM = 10
"""Latents of each kind that :func:`item_latents` gives."""


@dataclass(frozen=True)
class Case:
    """A sequence on which a latent is active, or on which its label is wrong."""

    activation: float
    user: str
    titles: tuple[str, ...]
    """Titles of the items, oldest first."""
    top_recommendation: str
    """Title of the model's first recommendation."""
    level: int | None = None
    """What the label counts there; of counterexamples alone."""
    threshold: int | None = None
    """The level from which on the label says active."""
    recommended: tuple[str, ...] = ()
    """Titles of the model's first three recommendations; of drawn cases alone."""


@dataclass(frozen=True)
class ActiveItem:
    """An item that tells where a latent is active, on held-out cases."""

    view: str
    """Where it stands: ``last``, ``last5`` or ``top1``."""
    item: str
    title: str
    n_active: int
    """Active cases with the item there."""
    n_cases: int
    """Cases with the item there."""
    rate: float


@dataclass(frozen=True)
class Neighbour:
    """Another latent that is active with this one, or in its place, on held-out cases."""

    latent: int
    name: str
    n_together: int
    lift: float
    """How many times as often as if they were independent."""
    phi: float
    """Correlation of the two activities over cases."""


@dataclass(frozen=True)
class LatentEvidence:
    """What held-out cases say for and against one latent's label."""

    firing: dict[str, Any]
    """The latent's row of :attr:`recsae.evaluation.evidence.Evidence.firing`."""
    fires_with: tuple[Neighbour, ...]
    fires_instead: tuple[Neighbour, ...]
    missed: tuple[Case, ...]
    """The label says active, and the latent is not."""
    unexpected: tuple[Case, ...]
    """The latent is active, and the label says no."""
    active_on: tuple[ActiveItem, ...]
    """Up to five items for each view, those that tell best first."""
    drawn: tuple[Case, ...]
    """Up to five cases of different users, drawn from all where the latent is active."""


@dataclass(frozen=True)
class LatentFacts:
    """Everything that a run knows of one latent, items with their titles."""

    concept: dict[str, Any]
    """The concept's texts and figures as in ``report.json``, with the name that people gave it."""
    promotes: tuple[str, ...]
    demotes: tuple[str, ...]
    examples: tuple[Case, ...]
    evidence: LatentEvidence

    def __repr__(self) -> str:
        concept = self.concept
        return f"LatentFacts({concept[C.LATENT]}, {concept[C.NAME]!r}, {concept[C.STATUS]})"

    def _repr_html_(self) -> str:
        concept, facts = self.concept, {key: self.concept[key] for key in OF_CARD}
        facts |= {key: " | ".join(getattr(self, key)) or None for key in ("promotes", "demotes")}
        active = [
            (VIEW_WORDS[x.view], x.title, x.n_active, x.n_cases) for x in self.evidence.active_on
        ]
        cases = [
            (x.activation, " | ".join(x.titles[-N_SHORT:]), x.top_recommendation)
            for x in self.examples[:N_SHORT]
        ]
        tables = [
            Table("Active on", ("where", "item", "times", "of"), active),
            Table("Where it is most active", ("activation", "history ends with", "then"), cases),
        ]
        return card(f"Latent {concept[C.LATENT]}: {concept[C.NAME]}", facts, tables)


@dataclass(frozen=True)
class ItemLatents:
    """The latents behind an item, ten of each kind at most."""

    promoted_by: pd.DataFrame
    """Latents that promote it, in the order of what each ``adds`` to its score at its median
    activation; ``rank`` is the item's among all that the latent promotes."""
    active_after: pd.DataFrame
    """Latents that are active significantly more often where it is the last item than elsewhere,
    by mean ``share`` of users' positions."""


def concept_rows(
    folder: Path, search: str | None = None, status: str | None = None
) -> pd.DataFrame:
    """The dictionary of a run with people's corrections, best first.

    Parameters
    ----------
    search
        Only concepts whose name or label contains this.
    status
        Only concepts of this status.

    Returns
    -------
    DataFrame
        :data:`SHOWN`, and where there are corrections ``tested_as``, the name that a concept had
        before.

    Raises
    ------
    InvalidInput
        There is no such status.
    ArtifactMismatch
        The folder holds no run, or one without concepts.
    """
    if status is not None and status not in (*STATUSES, REJECTED):
        raise InvalidInput(
            f"There is no status {status!r}: it is one of {', '.join((*STATUSES, REJECTED))}."
        )
    dictionary, table = tested_table(folder)
    corrected = C.CORRECTION in table
    if corrected:
        table.loc[table[C.CORRECTION] == REJECTED, C.STATUS] = REJECTED
    if status is not None:
        table = table[table[C.STATUS] == status]
    if search is not None:
        table = table[table[C.LATENT].isin(dictionary.search(search)[C.LATENT])]
    order = table[C.STATUS].map([*STATUSES, REJECTED].index)
    table = with_back(table, folder)
    table = table.assign(order=order, useful=usefulness(table))
    table = table.sort_values(["order", "useful"], ascending=[True, False], kind="stable")
    return table[[*SHOWN, C.TESTED_AS] if corrected else list(SHOWN)]


def tested_table(folder: Path) -> tuple[ConceptDictionary, pd.DataFrame]:
    """The dictionary, and its table beside the scores."""
    from recsae.concepts.dictionary import ConceptDictionary

    with Run(folder).reading(*OF_TABLE):
        dictionary = with_names(ConceptDictionary.load(folder), folder)
        scores = read_parquet(folder / layout.SCORES)
    return dictionary, dictionary.table.merge(scores, on=C.LATENT)


def nearest_names(folder: Path, text: str) -> str:
    """``" Did you mean ...?"`` for the concepts' names closest to a text."""
    return nearest(text, tested_table(folder)[1][[C.ABOUT, C.NAME]].to_numpy().ravel())


def latent_facts(folder: Path, latent: int) -> LatentFacts:
    """Everything that a run knows of one latent.

    Raises
    ------
    InvalidInput
        There is no such latent.
    ArtifactMismatch
        The folder holds no run, or one that is not finished.
    """
    from recsae.evaluation.evidence import TABLES

    loaded = RunTables(folder)
    with loaded.run.reading(layout.REPORT, *OF_TABLE, *TABLES):
        return _latent_facts(folder, report_facts(folder), latent)


def _latent_facts(folder: Path, report: dict[str, Any], latent: int) -> LatentFacts:
    titles = {item: known["title"] for item, known in report["items"].items()}
    for concept in report["concepts"]["list"]:
        if concept["latent"] == latent:
            break
    else:
        n = len(report["concepts"]["list"])
        raise InvalidInput(f"There is no latent {latent}: latents are numbered 0 to {n - 1}.")
    plain = {k: v for k, v in concept.items() if not isinstance(v, list | dict)}
    plain["other_side"] = _said(concept["other_side"])
    plain["comes_back"] = _again(concept["back"], report["stability"])
    table = tested_table(folder)[1].set_index(C.LATENT)
    plain[C.NAME] = table.loc[latent, C.NAME]
    if C.CORRECTION in table and table.loc[latent, C.CORRECTION]:
        plain |= {key: table.loc[latent, key] for key in (C.CORRECTION, C.TESTED_AS)}
    promotes, demotes = (
        _titles([entry["item"] for entry in concept[key]], titles)
        for key in ("promotes", "demotes")
    )
    examples = tuple(
        Case(
            example["activation"],
            example["user"],
            _titles(example["items"], titles),
            _title(example["top_recommendation"], titles),
        )
        for example in concept["examples"]
    )
    return LatentFacts(
        plain, promotes, demotes, examples, _evidence(folder, latent, titles, table[C.NAME])
    )


def _said(other: dict[str, Any] | None) -> str | None:
    """The statement of the other side of a concept, and how right it is."""
    if other is None:
        return None
    p, r = (two_digits(other[key] or 0) for key in (C.PRECISION, C.RECALL))
    return f"{other[C.LABEL]} (precision {p}, recall {r})"


def _again(back: dict[str, float] | None, stability: dict[str, Any] | None) -> str | None:
    """In how many of the dictionaries that were made again a latent comes back, and its label."""
    if back is None or stability is None:
        return None
    n = sum(other["kind"] != "chance" for other in stability["dictionaries"])
    alike, label = (round(n * back[key]) for key in ("activity", "label"))
    return f"{alike} of {n} times, with its label {label}"


def _title(item: str, titles: dict[str, str]) -> str:
    """The title of an item; its id where there is none."""
    return titles.get(item, item)


def _titles(items: Iterable[str], titles: dict[str, str]) -> tuple[str, ...]:
    return tuple(_title(item, titles) for item in items)


def _evidence(
    folder: Path, latent: int, titles: dict[str, str], names: pd.Series
) -> LatentEvidence:
    from recsae.evaluation.evidence import Evidence

    return evidence_of(Evidence.load(folder).by_latent()[latent], titles, names)


def evidence_of(rows: dict[str, Any], titles: dict[str, str], names: pd.Series) -> LatentEvidence:
    """The evidence for one latent.

    Parameters
    ----------
    rows
        The latent's of :meth:`recsae.evaluation.evidence.Evidence.by_latent`.
    titles
        Titles by external id.
    names
        Names of the concepts by latent.
    """
    from recsae.evaluation.evidence import ACTIVE_ON, DRAWN, INSTEAD, MISSED, UNEXPECTED, WITH

    def neighbours(kind: str) -> tuple[Neighbour, ...]:
        return tuple(
            Neighbour(x["other"], names[x["other"]], x["n_together"], x["lift"], x["phi"])
            for x in rows[kind]
        )

    def cases(kind: str) -> tuple[Case, ...]:
        return tuple(
            Case(
                x[C.ACTIVATION],
                str(x[C.USER]),
                _titles(x[C.ITEMS], titles),
                _title(x[C.TOP_ITEM], titles),
                x["level"],
                x[C.THRESHOLD],
            )
            for x in rows[kind]
        )

    active_on = tuple(
        ActiveItem(x["view"], x[C.ITEM], x[C.TITLE], x["n_active"], x["n_cases"], x["rate"])
        for x in rows[ACTIVE_ON]
    )
    drawn = tuple(
        replace(case, titles=tuple(x["titles"]), recommended=tuple(x["recommended"]))
        for case, x in zip(cases(DRAWN), rows[DRAWN], strict=True)
    )
    return LatentEvidence(
        *(rows["firing"], neighbours(WITH), neighbours(INSTEAD), cases(MISSED), cases(UNEXPECTED)),
        *(active_on, drawn),
    )


def item_latents(work: Workspace, item: str) -> ItemLatents:
    """The latents that promote an item, given by id or title, and those that are active after it.

    Raises
    ------
    InvalidInput
        There is no such item.
    """
    from recsae.explore.cohorts import FALSE_DISCOVERIES, Profiler

    internal = work.recommender.catalog.internal(item)
    profiler = Profiler(work, each_latent=True)
    with work.run.reading(*OF_TABLE):  # the same table as that of the run that was opened
        table = tested_table(work.folder)[1][[C.LATENT, C.LABEL, C.STATUS]]
    promoted, after = profiler.promoting(internal), profiler.after_item(internal)
    import pandas as pd

    best, active = pd.DataFrame(), pd.DataFrame()
    if promoted is not None:
        best = promoted[promoted["adds"] > 0].head(N_OF_ITEM).drop(columns=C.LABEL)
        best = best.merge(table, on=C.LATENT)
    if after is not None:
        more = after[(after["p_adjusted"] <= FALSE_DISCOVERIES) & (after["low"] > 0)]
        more = more.head(N_OF_ITEM)
        more = more.assign(latent=[latents[0] for latents in more["latents"]])
        shown = more[[C.LATENT, C.NAME, "share", "others", "low", "high"]]
        active = shown.merge(table, on=C.LATENT)
    return ItemLatents(best, active)
