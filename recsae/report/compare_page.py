"""Two runs side by side on one page: the verdict, figures, concepts in pairs, lists of users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from recsae.core.text import readable
from recsae.report.offline import offline_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STYLES = ("page.css", "compare.css")
_SCRIPTS = ("helpers.js", "compare.js")
_TONES = {"same": "good", "more": "good", "alike": "good", "less": "mixed", "unknown": "unknown"}
_SECTIONS = ("matched", "lost", "new")
Change = Literal["same name", "another name", "merged", "lost", "split", "new"]
_SECTION_OF: dict[Change, str] = {
    "another name": "matched",
    "same name": "matched",
    "lost": "lost",
    "merged": "lost",
    "new": "new",
    "split": "new",
}
"""In the order within a section."""
_COUNTED: dict[Change, str] = {
    "same name": "in both, with the same name",
    "another name": "in both, with another name",
    "lost": "lost: there is none like it",
    "merged": "lost: like one that is nearer to another",
    "new": "new: there was none like it",
    "split": "new: like one that is nearer to another",
}
_OF_NAMES: tuple[Change, ...] = ("same name", "lost", "new")
"""What can become of names."""


class ConceptCard(NamedTuple):
    """What is said of a concept beside its counterpart."""

    latent: int
    name: str
    label: str
    """Its label as a sentence."""
    status: str
    """Of its test, or that people rejected it."""
    right: str
    """How often its label is right on held-out users, and how many active cases it finds."""
    follows: tuple[str, ...]
    """Titles after which it is active."""
    promotes: tuple[str, ...]
    """Titles whose scores it raises most."""


class ComparedPair(NamedTuple):
    """What became of a concept: a pair, or one that has no counterpart."""

    change: Change
    before: int | None
    """Its latent in the first run; of a split-off one, the latent that it is like."""
    after: int | None
    similarity: float | None
    """With the most similar latent of the other run; None where only names were compared."""
    with_name: bool
    """Whether a lost or new one leaves no verified concept of its name in the other run."""


@dataclass(frozen=True)
class UserLists:
    """One user's list by either model, as titles, best first."""

    user: str
    """External id; "user 1", ... where a run's report is to hide ids."""
    history: tuple[str, ...]
    """Titles of the last items that the lists are made of, oldest first."""
    n_history: int
    """Items that they are made of."""
    before: tuple[str, ...]
    after: tuple[str, ...]
    shared: tuple[bool, ...]
    """Whether each item of the first list is in the second."""
    shared_after: tuple[bool, ...]
    """Whether each item of the second list is in the first."""


@dataclass(frozen=True)
class SharedLists:
    """Lists of both models for a few users, and how alike those of many are."""

    users: tuple[UserLists, ...]
    n_compared: int
    """Users whose lists were counted."""
    mean_shared: float
    """How many items of a list are in the other, on average over those users."""
    n_listed: int
    """Items of a list."""


@dataclass(frozen=True)
class ComparisonContent:
    """All that the page shows."""

    verdict: tuple[str, str, str]
    """Its kind (``same``, ``more``, ``alike``, ``less`` or ``unknown``), title and detail."""
    by_name: bool
    """Whether only names were compared."""
    n_cases: int | None
    """Held-out positions at which activations were compared."""
    runs: tuple[str, str]
    """Which runs they are, in a few words."""
    figures: Sequence[tuple[str, object, object]]
    """What a figure is called, and its value in either run; None where there is none."""
    counts: Mapping[str, tuple[int, int]]
    """How many changes there are of each kind, where either run verified the concept, and all."""
    before: Sequence[ConceptCard]
    after: Sequence[ConceptCard]
    pairs: Sequence[ComparedPair]
    """The strongest changes first."""
    lists: SharedLists | str
    """Lists of users, or in a sentence why there are none."""


def comparison_html(content: ComparisonContent) -> str:
    """Return the text of the page."""
    kind, title, detail = content.verdict
    return offline_page(
        "compare.html",
        styles=_STYLES,
        scripts=_SCRIPTS,
        data=_data(content),
        filters={"figure": _figure},
        c=content,
        verdict={"tone": _TONES[kind], "title": title, "detail": detail},
        counts=[
            (words, *content.counts[change])
            for change, words in _COUNTED.items()
            if not content.by_name or change in _OF_NAMES
        ],
        lists=content.lists if isinstance(content.lists, SharedLists) else None,
        no_lists=content.lists if isinstance(content.lists, str) else None,
    )


def _data(content: ComparisonContent) -> dict[str, Any]:
    """What the script shows: titles by number, cards by latent, pairs by section."""
    items: dict[str, int] = {}
    sides = [
        {card.latent: _card(card, items) for card in cards}
        for cards in (content.before, content.after)
    ]
    sections: dict[str, list[list[Any]]] = {name: [] for name in _SECTIONS}
    order = list(_SECTION_OF)
    for pair in sorted(content.pairs, key=lambda pair: order.index(pair.change)):
        sections[_SECTION_OF[pair.change]].append(list(pair))
    return {
        "items": [[readable(title), {}, []] for title in items],
        "concepts": [],  # the report's list, which this page has not
        "before": sides[0],
        "after": sides[1],
        "sections": sections,
    }


def _card(card: ConceptCard, items: dict[str, int]) -> dict[str, Any]:
    def numbered(titles: tuple[str, ...]) -> list[int]:
        return [items.setdefault(title, len(items)) for title in titles]

    return {
        "name": card.name,
        "label": card.label,
        "status": card.status,
        "right": card.right,
        "follows": numbered(card.follows),
        "promotes": numbered(card.promotes),
    }


def _figure(value: object) -> str:
    """A figure of a run as text.

    >>> _figure(1024), _figure(0.98765), _figure(None), _figure("SASRec")
    ('1,024', '0.988', '–', 'SASRec')
    """
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
