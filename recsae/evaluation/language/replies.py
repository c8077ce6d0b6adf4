"""Replies of a language model, read strictly: what is not in the requested form is no answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from recsae.core.llm.text import clean

T = TypeVar("T")
Pairs = list[tuple[str, Any]]

THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)
WORDS = {"yes": True, "true": True, "no": False, "false": False}
MAX_NAME_WORDS = 8
"""Words of a name at most; five are asked for."""
MAX_NAME = 60
"""Characters of a name at most."""
MAX_EXPLANATION = 400
"""Characters of an explanation at most, which is to be one sentence."""


class Explanation(NamedTuple):
    """What a language model calls a latent."""

    name: str
    explanation: str


def read_explanation(text: str) -> Explanation | None:
    """The last object with a short name and a sentence.

    >>> read_explanation('Sure! ```json\\n{"name": "Horror", "explanation": "Horror films."}```')
    Explanation(name='Horror', explanation='Horror films.')
    """
    for pairs in reversed(_objects(text)):
        said = dict(pairs)
        name, explanation = said.get("name"), said.get("explanation")
        if isinstance(name, str) and isinstance(explanation, str):
            name, explanation = clean(name, 1000), clean(explanation, 1000)
            fits = 0 < len(name) <= MAX_NAME and len(name.split()) <= MAX_NAME_WORDS
            if fits and 0 < len(explanation) <= MAX_EXPLANATION:
                return Explanation(name, explanation)
    return None


def read_matches(
    text: str, ids: Sequence[str], descriptions: Sequence[str]
) -> list[list[bool] | None]:
    """For each id whether it matches each description; None where there is no list of such.

    >>> read_matches('{"BCDF": ["XXXX"], "GHJK": [], "LMNP": "?"}', ["GHJK", "BCDF", "LMNP"],
    ...              ["WWWW", "XXXX"])
    [[False, False], [False, True], None]
    """

    def matched(value: Any) -> frozenset[str] | None:
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            return None
        names = frozenset(name.strip().upper() for name in value)
        return names if names <= set(descriptions) else None

    said = _by_id(text, ids, matched)
    return [None if names is None else [d in names for d in descriptions] for names in said]


def read_verdicts(text: str, ids: Sequence[str]) -> list[bool | None]:
    """Yes or no for each id; None where there is no answer, or two that differ.

    >>> read_verdicts('{"BCDF": "yes", "GHJK": "no", "XXXX": "yes"}', ["GHJK", "BCDF", "LMNP"])
    [False, True, None]
    """
    return _by_id(text, ids, _verdict)


def read_levels(text: str, ids: Sequence[str]) -> list[float | None]:
    """A number from 0 to 10 for each id, as in :func:`read_verdicts`."""
    return _by_id(text, ids, _level)


def _by_id(text: str, ids: Sequence[str], read: Callable[[Any], T | None]) -> list[T | None]:
    said: dict[str, set[T | None]] = {}
    for pairs in _objects(text):
        for key, value in pairs:
            said.setdefault(key.strip().upper(), set()).add(read(value))
    answers = (said.get(name, set()) for name in ids)
    return [next(iter(options)) if len(options) == 1 else None for options in answers]


def _verdict(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return WORDS.get(value.strip().casefold()) if isinstance(value, str) else None


def _level(value: Any) -> float | None:
    try:
        level = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return level if 0 <= level <= 10 else None


def _objects(text: str) -> list[Pairs]:
    """Keys and values of every JSON object in a text, inner ones too, repeated keys kept."""
    blocks: list[Pairs] = []

    def keep(pairs: Pairs) -> dict[str, Any]:
        blocks.append(pairs)
        return dict(pairs)

    decoder, text = json.JSONDecoder(object_pairs_hook=keep), THINKING.sub(" ", text)
    start = text.find("{")
    while start >= 0:
        try:
            end = decoder.raw_decode(text, start)[1]
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return blocks
