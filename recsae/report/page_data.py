"""The data of the page's script, kept small: items and users by number, no key repeated."""

from __future__ import annotations

from collections.abc import Sequence as Sequence_
from typing import Any

from recsae.core.text import readable
from recsae.report.schema.parts import Concept, Explained, Sequence
from recsae.report.schema.report import Report
from recsae.report.schema.turn import TurnData
from recsae.report.words import findings
from recsae.report.words.concepts import (
    best_distinct,
    distinct_key,
    fire_rate,
    follows,
    right_words,
    usefulness,
)
from recsae.report.words.values import brief

_NESTED = {
    *("histogram", "promotes", "demotes", "examples", "counterexamples", "together"),
    "active_on",
    *("other_side", "back", "turned", "language", "recommended"),
}
_IN_THE_LABEL = {
    *("value", "predicate_site", "threshold", "negated", "joint"),
    *("second_attribute", "second_value", "second_site", "second_threshold", "second_negated"),
    *("third_attribute", "third_value", "third_site", "third_threshold", "third_negated"),
}
"""What the label says in words, and the page in no other."""
PLAIN = tuple(name for name in Concept.model_fields if name not in _NESTED)
"""Every field of a concept that is one figure or one text."""
N_SLIDERS = 5
"""Concepts that have sliders when the page opens."""
N_FOLLOWED = 6
"""Items that a concept follows, the first ones."""
N_LAST_ITEMS = 6
"""Items of a sequence that are shown, the last ones."""


def page_data(
    report: Report, turn: TurnData | None = None, sliders: Sequence_[int] | None = None
) -> dict[str, Any]:
    """Return the data of the page's script.

    ``items`` are (title, attributes, places in ``values``), ``values`` (attribute, value, phrase),
    ``concepts`` what :func:`_concept` makes, the most useful first. Items, users and values are
    given by their place.

    Parameters
    ----------
    turn
        What concepts are turned with in the page, if they can be.
    sliders
        Latents that have sliders when the page opens; None: the best distinct concepts.
    """
    numbered = {item: place for place, item in enumerate(report.items)}
    listed = _Numbers(numbered)
    values, of_item = _values(report)
    place = {(value[0], value[1]): n for n, value in enumerate(values)}
    made = {c.latent: _concept(c, listed, place) for c in report.concepts.list}
    order = sorted(report.concepts.list, key=lambda c: (-usefulness(c), c.latent))
    concepts = [made[concept.latent] for concept in order]
    turned = _turn(report, turn, sliders, listed) if turn else None
    titles = turn.titles if turn else {}
    more = list(listed.items)[len(numbered) :]
    return {
        "items": [
            [readable(report.title(key)), item.attributes, of_item[key]]
            for key, item in report.items.items()
        ]
        + [[readable(titles.get(item, item)), {}, []] for item in more],
        "values": values,
        "users": list(listed.users),
        "concepts": concepts,
        "level": report.protocol.one_sided_level,
        "threshold": report.protocol.threshold,
        "again": _again(report),
        "turn": turned,
    }


def _turn(
    report: Report, turn: TurnData, sliders: Sequence_[int] | None, numbers: _Numbers
) -> dict[str, Any]:
    """What concepts are turned with, items given by their place in the page's."""
    if sliders is None:
        sliders = [c.latent for c in best_distinct(report)]
    seen = {item for one in turn.samples for item in one.items}
    can = [latent for latent in sliders if latent in turn.latents] or turn.latents
    return {
        **turn.model_dump(exclude={"titles", "samples", "items"}),
        "items": [numbers.item(item) for item in turn.items],
        "ids": {numbers.item(item): item for item in [*turn.items, *seen]},
        "samples": [
            [one.user, [numbers.item(item) for item in one.items], one.active]
            for one in turn.samples
        ],
        "first": can[:N_SLIDERS],
    }


class _Numbers:
    """Items and users in order of appearance, each with its number."""

    def __init__(self, items: dict[str, int]) -> None:
        self.items, self.users = dict(items), dict[str, int]()

    def item(self, key: str) -> int:
        return self.items.setdefault(key, len(self.items))

    def user(self, key: str) -> int:
        return self.users.setdefault(key, len(self.users))


def _values(report: Report) -> tuple[list[list[str]], dict[str, list[int]]]:
    """The values that labels speak of, and the places of those of every item.

    Older reports do not hold them: there they are taken from the items' attributes.
    """
    if report.label_values:
        values = [[v.attribute, v.value, v.phrase] for v in report.label_values]
        return values, {key: item.values for key, item in report.items.items()}
    said = {(c.attribute, c.value) for c in report.concepts.list}
    pairs = sorted((a, v) for a, v in said if a is not None and v is not None)
    place = {pair: n for n, pair in enumerate(pairs)}
    of_item = {
        key: [
            place[name, value]
            for name, held in item.attributes.items()
            for value in held
            if (name, value) in place
        ]
        for key, item in report.items.items()
    }
    return [[a, v, f"{a} = {v}"] for a, v in pairs], of_item


def _again(report: Report) -> dict[str, Any] | None:
    """The number of dictionaries made again, and the share that comes back by chance."""
    if report.stability is None:
        return None
    n = sum(other.kind != "chance" for other in report.stability.dictionaries)
    rows = [row for row in report.stability.summary if row.among == "latents"]
    return {"n": n, "chance": {row.level: _short(row.chance) for row in rows}} if n else None


def _short(value: Any) -> Any:
    """Round a float to what a page can show."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _concept(
    concept: Concept, numbers: _Numbers, place: dict[tuple[str, str], int]
) -> dict[str, Any]:
    shown = {name: _short(getattr(concept, name)) for name in PLAIN if name not in _IN_THE_LABEL}
    shown["fire_rate"] = _short(fire_rate(concept))
    del shown["heldout_fire_rate"]
    if concept.precision is None or concept.recall is None:
        shown["right"] = right_words(concept.status, concept.precision, concept.recall)
    if (short := brief(concept.label)) != concept.label:
        shown["brief"] = short
    shown["key"] = "\n".join(distinct_key(concept))
    pairs = (
        (concept.attribute, concept.value),
        (concept.second_attribute, concept.second_value),
        (concept.third_attribute, concept.third_value),
    )
    shown["says"] = [place.get((a or "", v or "")) for a, v in pairs]
    if concept.histogram:
        shown["histogram"] = {
            "edges": [_short(e) for e in concept.histogram.edges],
            "counts": concept.histogram.counts,
        }
    for name in ("promotes", "demotes"):
        shown[name] = [[numbers.item(w.item), _short(w.weight)] for w in getattr(concept, name)]
    shown["follows"] = [numbers.item(item) for item in follows(concept)[:N_FOLLOWED]]
    shown["active"] = [
        [told.view, numbers.item(told.item), told.n_active, told.n_cases]
        for told in concept.active_on
    ]
    shown["examples"] = [
        [e.kind, _short(e.quantile), *_sequence(e, numbers)] for e in concept.examples
    ]
    shown["against"] = [[e.kind, e.why, *_sequence(e, numbers)] for e in concept.counterexamples]
    shown["together"] = [
        [t.kind, t.latent, t.n_together, _short(t.lift), _short(t.phi)] for t in concept.together
    ]
    if concept.other_side:
        shown["other"] = {k: _short(v) for k, v in concept.other_side.model_dump().items()}
    shown["back"] = concept.back
    if concept.turned:
        shown["turned"] = [_short(value) for value in concept.turned.model_dump().values()]
    shown["language"] = _language(concept.language)
    return {key: value for key, value in shown.items() if value is not None}


def _sequence(sequence: Sequence, numbers: _Numbers) -> list[Any]:
    """A sequence: user, number of items, the last of them, the recommendation, the activation."""
    last = [numbers.item(i) for i in sequence.items[-N_LAST_ITEMS:]]
    top = numbers.item(sequence.top_recommendation)
    user = numbers.user(sequence.user)
    return [user, len(sequence.items), last, top, _short(sequence.activation)]


def _language(explained: Explained | None) -> dict[str, Any] | None:
    if explained is None:
        return None
    return {
        "name": explained.name,
        "text": explained.explanation,
        "rows": findings.judged_rows(explained),
    }
