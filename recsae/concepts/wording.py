"""Predicates in words: what a label says, and its short name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from recsae.concepts.attributes.communities import FANS, SEPARATOR
from recsae.concepts.attributes.history import LENGTH, REPEAT
from recsae.concepts.attributes.table import (
    BANDS,
    DECADE,
    ERA,
    HALF,
    ITEM_ITSELF,
    N_ITEMS,
    PERIOD,
    PERIODS,
    POPULARITY,
    TERM,
)

PEOPLE = ("director", "author", "artist", "developer", "publisher")
ONE = {"last": "The last item", "top1": "The top recommendation"}
MANY = {
    "last5": "last 5 items",
    "last20": "last 20 items",
    "last50": "last 50 items",
    "top10": "top 10 recommendations",
}


class Predicate(NamedTuple):
    """At least (or fewer than) so many of the items at a site have a value of an attribute."""

    site: str
    attribute: str
    value: str
    threshold: int
    negated: bool = False

    def sentence(self, titles: Mapping[str, str]) -> str:
        """The predicate as a sentence; ``titles`` by external id.

        >>> Predicate("last5", "genres", "Horror", 3).sentence({})
        'At least 3 of the last 5 items are Horror.'
        >>> Predicate("top10", "decade", "1990s", 1, negated=True).sentence({})
        'None of the top 10 recommendations is from the 1990s.'
        """
        if self.attribute == LENGTH:
            return f"The history has {'not ' * self.negated}{self.value}."
        words = phrase(self.attribute, self.value, titles)
        if self.site in ONE:
            return f"{ONE[self.site]} is {'not ' * self.negated}{words}."
        what, t = MANY[self.site], self.threshold
        if self.negated:
            if t == 1:
                return f"None of the {what} is {words}."
            return f"Fewer than {t} of the {what} are {words}."
        if t == N_ITEMS[self.site]:
            return f"All of the {what} are {words}."
        return f"At least {t} of the {what} {'is' if t == 1 else 'are'} {words}."

    def name(self, titles: Mapping[str, str]) -> str:
        """Short name of what the predicate is about.

        >>> Predicate("last", "genres", "Horror", 1, negated=True).name({})
        'not Horror'
        """
        return "not " * self.negated + concept_name(self.attribute, self.value, titles)


def label_of(
    first: Predicate, second: Predicate | None, titles: Mapping[str, str], joint: str | None = "and"
) -> str:
    """One or two predicates as a sentence; ``joint`` is "and" or "or".

    >>> drama = Predicate("last", "genres", "Drama", 1)
    >>> label_of(drama, Predicate("last5", "decade", "1990s", 2, negated=True), {})
    'The last item is Drama, and fewer than 2 of the last 5 items are from the 1990s.'
    """
    sentence = first.sentence(titles)
    if second is None:
        return sentence
    other = second.sentence(titles)
    return f"{sentence[:-1]}, {joint} {other[0].lower()}{other[1:]}"


def name_of(
    first: Predicate, second: Predicate | None, titles: Mapping[str, str], joint: str | None = "and"
) -> str:
    """Short name of a label.

    >>> drama = Predicate("last", "genres", "Drama", 1)
    >>> name_of(drama, Predicate("last5", "decade", "1990s", 2, negated=True), {})
    'Drama, not 1990s'
    >>> name_of(drama, Predicate("last", "genres", "War", 1), {}, "or")
    'Drama or War'
    """
    name = first.name(titles)
    if second is None or second[1:3] == first[1:3]:
        return name
    if joint == "or":
        return f"{name} or {second.name(titles)}"
    return f"{name}{', ' if second.negated else ' + '}{second.name(titles)}"


def phrase(attribute: str, value: str, titles: Mapping[str, str]) -> str:
    """How a person says that an item has the value, after "is" or "are".

    >>> phrase("genres", "Horror", {}), phrase("decade", "1990s", {})
    ('Horror', 'from the 1990s')
    """
    if attribute == DECADE:
        return f"from the {value}"
    if attribute == ERA:
        return f"from before the {value}"
    if attribute == POPULARITY:
        return BANDS[value]
    if attribute == HALF:
        return "in the more popular half"
    if attribute == PERIOD:
        return PERIODS[value]
    if attribute == REPEAT:
        return "among what was consumed before"
    if attribute == "mpaa":
        return f"rated {value}"
    if attribute == TERM:
        return f"titled with “{value}”"
    if attribute == FANS:
        *others, last = (f"“{titles.get(item, item)}”" for item in value.split(SEPARATOR))
        return f"for fans of {', '.join(others)} and {last}"
    if attribute == ITEM_ITSELF:
        return f"“{titles.get(value, value)}”"
    if attribute in PEOPLE:
        return f"by {value}"
    return value


def concept_name(attribute: str, value: str, titles: Mapping[str, str]) -> str:
    """Short name of an attribute's value.

    >>> concept_name("genres", "Horror", {}), concept_name("title term", "star", {})
    ('Horror', 'title: star')
    """
    if attribute == TERM:
        return f"title: {value}"
    if attribute == POPULARITY:
        return f"{value} items"
    if attribute == HALF:
        return "more popular half"
    if attribute == ERA:
        return f"before {value}"
    if attribute == PERIOD:
        return f"{value} in histories"
    if attribute == REPEAT:
        return "repetition"
    if attribute == LENGTH:
        return f"history of {value}"
    if attribute == FANS:
        return f"fans of {', '.join(titles.get(item, item) for item in value.split(SEPARATOR))}"
    if attribute == ITEM_ITSELF:
        return f"{attribute}: {titles.get(value, value)}"
    return f"{attribute}: {value}" if attribute in PEOPLE else value
