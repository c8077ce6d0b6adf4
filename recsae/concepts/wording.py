"""Predicates in words: what a label says, its short name, and why it is wrong on a case."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from recsae.concepts.attributes.names import (
    AT_MOST,
    BANDS,
    BY_ATTRIBUTES,
    DECADE,
    ERA,
    FANS,
    HALF,
    ITEM_ITSELF,
    LENGTH,
    MORE_THAN,
    MOSTLY,
    PERIOD,
    PERIODS,
    POPULARITY,
    REPEAT,
    SEPARATOR,
    SHARE,
    SHARED,
    TERM,
    VIEW_SIZES,
    VIEWS,
)
from recsae.core import columns as C
from recsae.core.text import readable

TAGS = ("tag", "tags", "user_tags", "keywords", "labels")
PEOPLE = ("director", "author", "artist", "developer", "publisher")
ONE = {"last": "The last item", "top1": "The top recommendation"}
MANY = {
    "last5": "last 5 items",
    "last20": "last 20 items",
    "last50": "last 50 items",
    "top10": "top 10 recommendations",
    SHARE: "last 50 items",
}
PLACES = {
    "last": "as the last item",
    "top1": "as the first recommendation",
    "last5": "in the last 5 items",
    "last20": "in the last 20 items",
    "last50": "in the last 50 items",
    SHARE: "by share of the last 50 items",
    "top10": "in the recommendations",
}
"""Where a predicate looks, as the end of a name: "1990s in the recommendations"."""
AFTER = {"last": "after", "last5": "recently", "top1": "recommends"}
"""How the name of a set of items says which items of a case it speaks of."""
N_TITLES = 2
"""Titles that stand for a set of items in a name."""
WOMEN_AND_MEN = {
    **dict.fromkeys(("f", "female", "woman", "w"), "women"),
    **dict.fromkeys(("m", "male", "man"), "men"),
}
"""Values of the columns :data:`GENDERS`, in lower case."""
GENDERS = ("gender", "sex")
WORK = ("occupation", "job", "profession")
ORIGINS = ("country", "city", "state", "region", "location")
_AGENT = re.compile(r".*(?:er|or|ist|ian|ive|(?<!m)ent)")
"""Words for somebody who does something: "student", but not "entertainment"."""
RATING = "mpaa"
PHRASES = {
    DECADE: "from the {}",
    ERA: "from before the {}",
    HALF: "in the more popular half",
    REPEAT: "among what was consumed before",
    TERM: "titled with “{}”",
    RATING: "rated {}",
    **dict.fromkeys(PEOPLE, "by {}"),
    **dict.fromkeys(TAGS, "tagged {}"),
}
"""How a person says that an item has a value, by attribute; any other value is said as it is."""
OPPOSITES = {ERA: "{} or later", HALF: "less popular half"}
"""Names of what lacks a value, where that has one of its own."""
HELD = {
    "and": ("its first part does not hold", "its first part holds, its second does not"),
    "or": ("neither part holds", "one of its two parts holds"),
}
"""What a pair says at steps 0 and 1, by what joins it."""


class Predicate(NamedTuple):
    """At least (or fewer than) so many of the items in a view have a value of an attribute."""

    view: str
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
            return f"The history has {self._length()}."
        words = phrase(self.attribute, self.value, titles)
        if self.view in ONE:
            return f"{ONE[self.view]} is {'not ' * self.negated}{words}."
        what, t = MANY[self.view], self.threshold
        if self.view == SHARE and t < VIEW_SIZES[SHARE]:
            least = "Less than" if self.negated else "At least"
            return f"{least} {t} % of the {what} are {words}."
        if self.negated and t == VIEW_SIZES[self.view]:
            return f"Not all of the {what} are {words}."
        if self.negated:
            if t == 1:
                return f"None of the {what} is {words}."
            return f"Fewer than {t} of the {what} are {words}."
        if t == VIEW_SIZES[self.view]:
            return f"All of the {what} are {words}."
        return f"At least {t} of the {what} {'is' if t == 1 else 'are'} {words}."

    def name(self, titles: Mapping[str, str]) -> str:
        """Short name of what the predicate is about.

        >>> Predicate("last", "genres", "Horror", 1, negated=True).name({})
        'not Horror'
        >>> Predicate("share50", "before decade", "1990s", 20, negated=True).name({})
        '1990s or later'
        """
        if self.attribute == LENGTH:
            return f"history of {self._length()}"
        if self.negated and self.attribute in OPPOSITES:
            return OPPOSITES[self.attribute].format(self.value)
        name = concept_name(self.attribute, self.value, titles)
        if self.attribute == ITEM_ITSELF:
            name = f"{AFTER.get(self.view, 'with')} {name}"
        return "not " * self.negated + name

    def _length(self) -> str:
        """What a predicate on the length of the history says: at most, or more than."""
        return self.value.replace(AT_MOST, MORE_THAN) if self.negated else self.value


def place_of(view: str) -> str:
    """Where a predicate looks, in short.

    >>> place_of("last5"), place_of("top10")
    ('in the last 5 items', 'in the recommendations')
    """
    return PLACES[view]


def amount_in(view: str, threshold: int, negated: bool) -> str:
    """How much of what a predicate is about there is where it looks.

    >>> amount_in("last5", 2, False), amount_in("top10", 10, False), amount_in("share50", 20, True)
    ('at least 2 of the last 5 items', 'all top 10', 'less than 20 % of the last 50 items')
    >>> amount_in("top10", 1, True), amount_in("top10", 3, False), amount_in("last", 1, True)
    ('none of the top 10', 'at least 3 of the top 10', 'not as the last item')
    """
    if view in ONE:
        return f"{'not ' * negated}{PLACES[view]}"
    size = VIEW_SIZES[view]
    place = "the top 10" if view == "top10" else f"the {MANY[view]}"
    if view == SHARE and threshold < size:
        return f"{'less than' if negated else 'at least'} {threshold} % of {place}"
    if threshold == size:
        return f"{'not ' * negated}all {place.removeprefix('the ')}"
    if negated and threshold == 1:
        return f"none of {place}"
    return f"{'fewer than' if negated else 'at least'} {threshold} of {place}"


def label_of(
    first: Predicate,
    others: Sequence[Predicate],
    titles: Mapping[str, str],
    joint: str | None = "and",
) -> str:
    """One to three predicates as a sentence; ``joint`` is "and" or "or".

    >>> drama = Predicate("last", "genres", "Drama", 1)
    >>> label_of(drama, [Predicate("last5", "decade", "1990s", 2, negated=True)], {})
    'The last item is Drama, and fewer than 2 of the last 5 items are from the 1990s.'
    """
    parts = [predicate.sentence(titles).removesuffix(".") for predicate in (first, *others)]
    parts[1:] = [f"{part[0].lower()}{part[1:]}" for part in parts[1:]]
    if others:
        parts[-1] = f"{joint} {parts[-1]}"
    return f"{', '.join(parts)}."


def name_of(
    first: Predicate,
    others: Sequence[Predicate],
    titles: Mapping[str, str],
    joint: str | None = "and",
    theme: tuple[str, str] | None = None,
) -> str:
    """Short name of a label, of its first two predicates.

    ``theme`` is the attribute and value that a set of items shares.

    >>> drama = Predicate("last", "genres", "Drama", 1)
    >>> name_of(drama, [Predicate("last5", "decade", "1990s", 2, negated=True)], {})
    'Drama, not 1990s'
    >>> name_of(drama, [Predicate("last", "genres", "War", 1)], {}, "or")
    'Drama or War'
    >>> scary = Predicate("last", "item", "i3 | i7 | i9", 1)
    >>> name_of(scary, [], {"i3": "Shining, The", "i7": "Carrie"}, None, ("genres", "Horror"))
    'after Horror such as “The Shining” or “Carrie”'
    >>> name_of(scary, [], {"i3": "Psycho", "i7": "M"}, None, ("before decade", "1970s"))
    'after items from before the 1970s such as “Psycho” or “M”'
    """
    if theme is not None:
        such = _quoted(first.value, titles)[:N_TITLES]
        shared = f"{'items from ' * (theme[0] == ERA)}{concept_name(*theme, titles)}"
        return f"{AFTER[first.view]} {shared} such as {_joined(such)}"
    name = first.name(titles)
    if not others or others[0][1:3] == first[1:3]:
        return name
    link = " or " if joint == "or" else ", " if others[0].negated else " + "
    return f"{name}{link}{others[0].name(titles)}"


def phrase(attribute: str, value: str, titles: Mapping[str, str]) -> str:
    """How a person says that an item has the value, after "is" or "are".

    >>> phrase("genres", "Horror", {}), phrase("decade", "1990s", {})
    ('Horror', 'from the 1990s')
    >>> phrase("fans of", "Horror ∷ i1 | i2 | i3 ∷∷ age=20s", {})
    'for fans of Horror such as “i1”, “i2” and “i3”, mostly in their 20s'
    """
    if attribute == POPULARITY:
        return BANDS[value]
    if attribute == PERIOD:
        return PERIODS[value]
    if attribute == FANS:
        of, items, mostly = _community(value, titles)
        *others, last = items
        return f"for {of}{', '.join(others)} and {last}{mostly}"
    if attribute == ITEM_ITSELF:
        return _joined(_quoted(value, titles))
    return PHRASES.get(attribute, "{}").format(value)


def concept_name(attribute: str, value: str, titles: Mapping[str, str]) -> str:
    """Short name of an attribute's value.

    >>> concept_name("genres", "Horror", {}), concept_name("title term", "star", {})
    ('Horror', 'titled “star”')
    >>> concept_name("fans of", "1980s Horror ∷ i1 | i2 | i3", {"i1": "Carrie", "i2": "It"})
    'fans of 1980s Horror such as “Carrie” and “It”'
    >>> concept_name("fans of", "Comedy ∷ i1 | i2 | i3 ∷∷ occupation=student", {})
    'fans of Comedy such as “i1” and “i2”, mostly students'
    >>> concept_name("item", "i1 | i2 | i3 | i4", {}), concept_name("item", "i1 | i2 | i3", {})
    ('“i1”, “i2” or 2 more items', '“i1”, “i2” or “i3”')
    """
    if attribute == TERM:
        return f"titled “{value}”"
    if attribute == POPULARITY:
        return f"{value} items"
    if attribute == HALF:
        return "more popular half"
    if attribute == ERA:
        return f"before the {value}"
    if attribute == PERIOD:
        return PERIODS[value].removeprefix("usually ")
    if attribute == REPEAT:
        return "repetition"
    if attribute == FANS:
        of, items, mostly = _community(value, titles)
        return f"{of}{' and '.join(items[:N_TITLES])}{mostly}"
    if attribute == ITEM_ITSELF:
        shown = _quoted(value, titles)
        more = len(shown) - N_TITLES
        if more <= 1:
            return _joined(shown)
        return f"{', '.join(shown[:N_TITLES])} or {more} more items"
    return phrase(attribute, value, titles) if attribute in (*PEOPLE, *TAGS, RATING) else value


def _community(value: str, titles: Mapping[str, str]) -> tuple[str, list[str], str]:
    """Whom a community are fans of, up to the items that name it; these; what most are."""
    group, _, people = value.partition(MOSTLY)
    shared, _, items = group.rpartition(SHARED)
    of = f"fans of {shared} such as " if shared else "fans of "
    mostly = f", mostly {of_people(*people.split('=', 1))}" if people else ""
    return of, _quoted(items, titles), mostly


def of_people(column: str, value: str) -> str:
    """How a person says what people are, from a column of a table of users and its value.

    >>> of_people("age", "20s"), of_people("age", "10s"), of_people("age", "18-24")
    ('in their 20s', 'in their teens', 'aged 18-24')
    >>> of_people("gender", "F"), of_people("occupation", "student"), of_people("country", "Peru")
    ('women', 'students', 'from Peru')
    >>> of_people("occupation", "marketing"), of_people("n_orders", "up to 3")
    ('with occupation marketing', 'with n orders up to 3')
    >>> of_people("age", "18")
    'with age 18'
    """
    name = column.lower()
    if name in C.AGES and not value.isdigit():  # a bare number may stand for a band that it begins
        bands = {"0s": "under 10", "10s": "in their teens"}
        return bands.get(value, f"in their {value}" if value.endswith("s") else f"aged {value}")
    if name in GENDERS and value.casefold() in WOMEN_AND_MEN:
        return WOMEN_AND_MEN[value.casefold()]
    if name in WORK and _AGENT.fullmatch(value):
        return f"{value}s"
    if name in ORIGINS:
        return f"from {value}"
    return f"with {column.replace('_', ' ')} {value}"


def _quoted(value: str, titles: Mapping[str, str]) -> list[str]:
    """The titles of the items that a value lists, in quotation marks: titles have commas too."""
    return [f"“{readable(titles.get(item, item))}”" for item in value.split(SEPARATOR)]


def _joined(words: Sequence[str]) -> str:
    """Alternatives as a person lists them.

    >>> _joined(["Alien"]), _joined(["Alien", "Aliens", "Predator"])
    ('Alien', 'Alien, Aliens or Predator')
    """
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def reason_of(label: Mapping[str, Any], step: int) -> str:
    """Say why a label is right or wrong on a case, from the label's step there.

    Parameters
    ----------
    label
        The predicate columns of the label.
    step
        As in :class:`recsae.concepts.label_steps.Predictions`. Of a predicate: how many of its
        view's thresholds the case reaches; of a negated one, how many it misses; of several, how
        many predicates hold.

    >>> label = {"attribute": "genres", "second_attribute": None, "predicate_site": "last20"}
    >>> reason_of(label | {"threshold": 5, "negated": False}, 7)
    '8 or 9 of the last 20 items match, 5 needed'
    """
    if label[C.ATTRIBUTE] is None:
        own = label.get(C.LABELER, BY_ATTRIBUTES) == BY_ATTRIBUTES
        return "says active everywhere" if own else f"the label's level is {step}"
    if label[C.SECOND_ATTRIBUTE] is not None:
        if label.get(C.THIRD_ATTRIBUTE) is not None and step > 1:
            return "all three parts hold" if step == 3 else "its third part does not hold"
        return "both parts hold" if step == 2 else HELD[label[C.JOINT]][step]
    view, threshold = label[C.VIEW], int(label[C.THRESHOLD])
    thresholds = VIEWS[view]
    n_reached = len(thresholds) - step if label[C.NEGATED] else step
    if view not in MANY:
        return "matches" if n_reached else "does not match"
    per_cent = " %" if view == SHARE else ""
    needed = f"{'fewer than ' if label[C.NEGATED] else ''}{threshold}{per_cent} needed"
    n_items = _count(n_reached, thresholds, VIEW_SIZES[view])
    return f"{n_items}{per_cent} of the {MANY[view]} match, {needed}"


def _count(n_reached: int, thresholds: tuple[int, ...], most: int) -> str:
    """How many items there are where so many thresholds are reached; thresholds may skip numbers.

    >>> _count(0, (1, 2, 4), 5), _count(2, (1, 2, 4), 5), _count(3, (1, 2, 4), 9)
    ('0', '2 or 3', '4 to 9')
    """
    least = thresholds[n_reached - 1] if n_reached else 0
    top = thresholds[n_reached] - 1 if n_reached < len(thresholds) else most
    if least == top:
        return str(least)
    return f"{least} {'or' if top == least + 1 else 'to'} {top}"
