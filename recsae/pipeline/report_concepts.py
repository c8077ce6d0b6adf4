"""The concepts of ``report.json``: labels and scores joined with all evidence, and their items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.concepts.attributes.names import LENGTH, REPEAT
from recsae.concepts.dictionary import item_effects
from recsae.concepts.sides import OTHER_SIDE, kind_of, side_of
from recsae.concepts.status import SUPPORTED, UNSUPPORTED, VERIFIED, distinct
from recsae.concepts.wording import phrase, reason_of
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.files import read_json, read_parquet
from recsae.evaluation.evidence import ACTIVE_ON, INSTEAD, MISSED, UNEXPECTED, WITH, Evidence
from recsae.pipeline.concept_map import Place, places_of_concepts
from recsae.report.schema.parts import (
    ActiveOn,
    Concept,
    Concepts,
    CounterExample,
    Example,
    Explained,
    Histogram,
    Item,
    ItemWeight,
    LabelValue,
    OtherSide,
    Together,
    TurnedUpAndDown,
)
from recsae.steering.obeyed import results as R

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from recsae.recommender.catalog import ItemCatalog
    from recsae.run.workspace import Workspace

N_RECOMMENDED = 5
"""Items of the list beside the first example of each concept."""
N_BINS = 12
"""Bins of the histogram of each latent's activations."""
Record = dict[str, Any]
"""A row of a table or of a stage's figures, by column."""


class _ByLatent(NamedTuple):
    """What is known of each latent beside its label and its scores."""

    evidence: dict[int, Record]
    histograms: dict[int, Histogram]
    effects: dict[int, tuple[list[ItemWeight], list[ItemWeight]]]
    """Items that it promotes, and items that it demotes."""
    examples: dict[int, list[Example]]
    recommended: dict[int, list[str]]
    """The beginning of the model's list on the first example of each."""
    stability: dict[int, Record]
    language: dict[int, Explained]
    places: dict[int, Place]
    """On the map."""
    turned: dict[int, Record]
    """What turning each does."""


class _Predicate(NamedTuple):
    """The predicate of a label; None in all fields of one that the label does not have."""

    attribute: str | None = None
    value: str | None = None
    view: str | None = None
    threshold: float | None = None
    negated: bool | None = None


def tested_concepts(work: Workspace) -> Concepts:
    """Every concept with its evidence, and how many there are of each status."""
    dictionary, external = work.tested_dictionary, work.recommender.catalog.external_ids
    table = dictionary.table.merge(work.label_scores, on=C.LATENT, validate="one_to_one")
    status = table[C.STATUS].value_counts()
    counts = {s: int(status.get(s, 0)) for s in (VERIFIED, SUPPORTED, UNSUPPORTED)}
    known = _ByLatent(
        evidence=Evidence.load(work.folder).by_latent(),
        histograms=_histograms(work),
        effects=_effects(work, external),
        examples=_examples(dictionary.examples, external),
        recommended=_recommended(dictionary.examples, work.construction.top_items, external),
        stability=_stability(work),
        language=_language(work),
        places=places_of_concepts(work, work.label_scores),
        turned=_turned(work),
    )
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return Concepts(
        tested=sum(counts.values()),
        untested=len(table) - sum(counts.values()),
        verified=counts[VERIFIED],
        supported=counts[SUPPORTED],
        unsupported=counts[UNSUPPORTED],
        distinct_verified=distinct(work.label_scores, dictionary.table),
        list=[_concept(row, known) for row in rows],
    )


def _concept(row: Record, known: _ByLatent) -> Concept:
    latent = row[C.LATENT]
    mine, again = known.evidence[latent], known.stability.get(latent, {})
    first, second, third = (_predicate(row, part) for part in C.PARTS)
    promotes, demotes = known.effects.get(latent, ([], []))
    x, y = known.places.get(latent, (None, None))
    return Concept(
        latent=latent,
        name=row[C.NAME],
        label=row[C.LABEL],
        labeler=row[C.LABELER],
        origin=row[C.ORIGIN],
        attribute=first.attribute,
        value=first.value,
        predicate_site=first.view,
        threshold=first.threshold,
        negated=first.negated,
        joint=row[C.JOINT],
        second_attribute=second.attribute,
        second_value=second.value,
        second_site=second.view,
        second_threshold=second.threshold,
        second_negated=second.negated,
        third_attribute=third.attribute,
        third_value=third.value,
        third_site=third.view,
        third_threshold=third.threshold,
        third_negated=third.negated,
        status=row[C.STATUS],
        precision=row[C.PRECISION],
        precision_low=row[C.PRECISION_LOW],
        recall=row[C.RECALL],
        recall_low=row[C.RECALL_LOW],
        specificity=row[C.SPECIFICITY],
        hard_specificity=row[C.HARD_SPECIFICITY],
        f1=row[C.F1],
        balanced_accuracy=row[C.BALANCED_ACCURACY],
        auc=row[C.AUC],
        average_precision=row[C.AVERAGE_PRECISION],
        n_pos=row[C.N_POS],
        n_neg=row[C.N_NEG],
        n_users_pos=row[C.N_USERS_POS],
        embedding_auc=row[C.EMBEDDING_AUC],
        explains=row[C.EXPLAINS],
        fire_rate=row[C.FIRE_RATE],
        heldout_fire_rate=mine["firing"][C.FIRE_RATE],
        user_share=mine["firing"]["user_share"],
        mean_activation=mine["firing"]["mean_activation"],
        kind=kind_of(first.attribute),
        side=side_of(first.view),
        stable=again.get("stable"),
        x=x,
        y=y,
        histogram=known.histograms.get(latent),
        promotes=promotes,
        demotes=demotes,
        examples=known.examples.get(latent, []),
        recommended=known.recommended.get(latent, []),
        active_on=_active_on(mine),
        counterexamples=_counterexamples(row, mine),
        together=_together(mine),
        other_side=_other_side(row),
        back=again.get("back"),
        obeyed=known.turned[latent][R.OBEYED] if latent in known.turned else None,
        turned=_up_and_down(known.turned[latent]) if latent in known.turned else None,
        language=known.language.get(latent),
    )


def _other_side(row: Record) -> OtherSide | None:
    """What the concept's other side says; None for a latent that is never active."""
    if row[OTHER_SIDE[C.NAME]] is None:
        return None
    return OtherSide.model_validate({name: row[column] for name, column in OTHER_SIDE.items()})


def _predicate(row: Record, columns: tuple[str, ...]) -> _Predicate:
    there = row[columns[0]] is not None
    return _Predicate(*(row[key] for key in columns)) if there else _Predicate()


def _counterexamples(row: Record, mine: Record) -> list[CounterExample]:
    """Cases on which the label is wrong."""
    return [
        CounterExample(
            kind=kind,
            user=str(case[C.USER]),
            items=list(case[C.ITEMS]),
            top_recommendation=case[C.TOP_ITEM],
            activation=case[C.ACTIVATION],
            level=case["level"],
            threshold=case[C.THRESHOLD],
            why=reason_of(row, case["level"]),
        )
        for kind in (MISSED, UNEXPECTED)
        for case in mine[kind]
    ]


def _active_on(mine: Record) -> list[ActiveOn]:
    """The items that tell where it is active."""
    return [
        ActiveOn(
            view=item["view"],
            item=item[C.ITEM],
            n_active=item["n_active"],
            n_cases=item["n_cases"],
        )
        for item in mine[ACTIVE_ON]
    ]


def _together(mine: Record) -> list[Together]:
    """The latents that are active with it or instead of it."""
    return [
        Together(
            kind=kind,
            latent=other["other"],
            n_together=other["n_together"],
            lift=round(other["lift"], 4),
            phi=round(other["phi"], 4),
        )
        for kind in (WITH, INSTEAD)
        for other in mine[kind]
    ]


def _examples(examples: pd.DataFrame, external: list[str]) -> dict[int, list[Example]]:
    by_latent: dict[int, list[Example]] = {}
    for row in examples.to_dict("records"):
        by_latent.setdefault(row[C.LATENT], []).append(
            Example(
                kind=row[C.KIND],
                quantile=row[C.QUANTILE],
                user=str(row[C.USER]),
                items=[external[i] for i in row[C.ITEMS]],
                top_recommendation=external[row[C.TOP_ITEM]],
                activation=row[C.ACTIVATION],
            )
        )
    return by_latent


def _recommended(
    examples: pd.DataFrame, lists: NDArray[np.int32], external: list[str]
) -> dict[int, list[str]]:
    first = examples.drop_duplicates(C.LATENT)
    shown = lists[first[C.CASE].to_numpy(), :N_RECOMMENDED].tolist()
    return {
        latent: [external[item] for item in items if item]
        for latent, items in zip(first[C.LATENT].tolist(), shown, strict=True)
    }


def _histograms(work: Workspace) -> dict[int, Histogram]:
    """Counts of each latent's activations on held-out cases, where it is active."""
    code = work.sae_codes[1].tocsc()
    histograms = {}
    for latent in np.flatnonzero(np.diff(code.indptr)):
        values = code.data[code.indptr[latent] : code.indptr[latent + 1]]
        counts, edges = np.histogram(
            values.astype(np.float64), bins=N_BINS, range=(0, float(values.max()))
        )
        histograms[int(latent)] = Histogram(
            edges=[round(e, 4) for e in edges.tolist()], counts=counts.tolist()
        )
    return histograms


def _effects(
    work: Workspace, external: list[str]
) -> dict[int, tuple[list[ItemWeight], list[ItemWeight]]]:
    if work.head is None:
        return {}
    catalog = work.recommender.catalog
    up, gain, down, loss = item_effects(work.sae.directions(), work.head, catalog)

    def listed(items: Any, weights: Any) -> list[ItemWeight]:
        pairs = zip(items.tolist(), weights.tolist(), strict=True)
        return [ItemWeight(item=external[i], weight=round(w, 4)) for i, w in pairs]

    return {
        latent: (listed(up[latent], gain[latent]), listed(down[latent], loss[latent]))
        for latent in range(len(up))
    }


def _stability(work: Workspace) -> dict[int, Record]:
    rows = read_json(work.folder / layout.STABILITY).get("latents", [])
    return {row[C.LATENT]: row for row in rows}


def _language(work: Workspace) -> dict[int, Explained]:
    rows = read_json(work.folder / layout.LANGUAGE).get("concepts", [])
    return {row.pop(C.LATENT): Explained.model_validate(row) for row in rows}


def _turned(work: Workspace) -> dict[int, Record]:
    """The rows of the dictionary's latents that were turned; none where a run has no such file."""
    path = work.folder / layout.OBEYED
    if not path.exists():
        return {}
    table = read_parquet(path)
    rows = table[table[R.CODE] == "sae"].to_dict("records")
    return {row[C.LATENT]: row for row in rows}


def _up_and_down(row: Record) -> TurnedUpAndDown:
    return TurnedUpAndDown(
        predicted=row[R.PREDICTED],
        step=row[R.STEP],
        share=row[R.UNTURNED],
        share_up=row[R.UP],
        share_down=row[R.DOWN],
        low=row[R.LOW],
        high=row[R.HIGH],
    )


def label_values(work: Workspace) -> list[tuple[str, str]]:
    """Every different (attribute, value) of items that a label speaks of."""
    said = work.tested_dictionary.values_said()
    return [pair for pair in said if pair[0] not in (REPEAT, LENGTH)]


def described(values: list[tuple[str, str]], catalog: ItemCatalog) -> list[LabelValue]:
    """The values and how a person says that an item has them."""
    titles = catalog.title_of
    return [LabelValue(attribute=a, value=v, phrase=phrase(a, v, titles)) for a, v in values]


def items_of(
    work: Workspace, concepts: list[Concept], values: list[tuple[str, str]]
) -> dict[str, Item]:
    """Title, attributes and values of every item that the concepts mention."""
    mentioned: set[str] = set()
    for concept in concepts:
        mentioned.update(weight.item for weight in concept.promotes + concept.demotes)
        mentioned.update(told.item for told in concept.active_on)
        for sequence in (*concept.examples, *concept.counterexamples):
            mentioned.update([*sequence.items, sequence.top_recommendation])
        mentioned.update(concept.recommended)
    catalog, of_items = work.recommender.catalog, work.attributes
    columns = [of_items.names.index(value) for value in values]
    has = of_items.matrix[:, columns].tocsr()
    has.sort_indices()
    rows = {x: i for i, x in enumerate(catalog.external_ids) if x in mentioned}
    attributes = {name: list(catalog.frame[name]) for name in catalog.attributes}
    return {
        item: Item(
            title=catalog.titles[row],
            attributes={name: list(v[row]) for name, v in attributes.items() if v[row]},
            values=has.indices[has.indptr[row] : has.indptr[row + 1]].tolist(),
        )
        for item, row in sorted(rows.items())
    }
