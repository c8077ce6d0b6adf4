"""What values, places and interventions are called, which the run's files have as code has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from recsae.concepts.attributes.names import POPULARITY
from recsae.concepts.wording import PLACES, phrase

if TYPE_CHECKING:
    from collections.abc import Mapping

_LISTED = re.compile(r"“[^”]*”(?:, “[^”]*”){2,} or “[^”]*”")
"""Four titles or more."""
_INTERVENTIONS = (
    (re.compile(r"ablate all its latents \(1\)"), "switched off"),
    (re.compile(r"ablate all its latents \((\d+)\)"), r"switched off, all \1 of its latents"),
    (re.compile(r"x([\d.]+) where active"), r"×\1 where it is active"),
    (re.compile(r"latent \d+ = (\S+) for all"), r"set to \1 for everybody"),
    (re.compile(r"\+1 sd"), "one standard deviation more, everywhere"),
    (re.compile(r"-1 sd"), "one standard deviation less, everywhere"),
)
"""What is done to a latent, as files say it, and in words."""


def value_words(said: str, titles: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Return what "attribute: value" is called, and the attribute where that does not tell it.

    >>> value_words("class: Horror"), value_words("before decade: 1990s")
    (('Horror', 'class'), ('from before the 1990s', ''))
    >>> value_words("popularity: niche"), value_words("anything else")
    (('niche', ''), ('anything else', ''))
    """
    attribute, _, value = said.partition(": ")
    try:
        words = phrase(attribute, value, titles or {}) if value else said
    except KeyError:  # no band or period of that name
        words = value
    tells = words != value or attribute == POPULARITY
    return words, "" if tells else attribute


def place_words(view: str) -> str:
    """Return where an attribute is looked for.

    >>> place_words("top10"), place_words("last5")
    ('in the recommendations', 'in the last 5 items')
    """
    return PLACES.get(view, view)


def intervention_words(said: str) -> str:
    """Return what was done to a latent in words.

    >>> intervention_words("ablate all its latents (1)"), intervention_words("x10 where active")
    ('switched off', '×10 where it is active')
    >>> intervention_words("latent 16 = 3.08 for all"), intervention_words("-1 sd")
    ('set to 3.08 for everybody', 'one standard deviation less, everywhere')
    """
    for pattern, words in _INTERVENTIONS:
        if match := pattern.fullmatch(said):
            return match.expand(words)
    return said


def brief(label: str, most: int = 2) -> str:
    """Return a label that names two of many items and how many more there are.

    >>> brief("The last item is “Alien”, “Heat”, “It” or “Big”.")
    'The last item is “Alien”, “Heat” or 2 more items.'
    >>> brief("The last item is “Alien”, “Heat” or “It”.")
    'The last item is “Alien”, “Heat” or “It”.'
    """

    def cut(match: re.Match[str]) -> str:
        titles = re.findall("“[^”]*”", match[0])
        return f"{', '.join(titles[:most])} or {len(titles) - most} more items"

    return _LISTED.sub(cut, label)
