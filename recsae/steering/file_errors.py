"""What is wrong with a steering file, in a sentence: where, what is there, and what is meant."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

NUMBER = "float"
"""How pydantic calls the first of two types."""
LONGEST = 60
"""Characters of a value that are repeated."""
MEANT = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "string_unicode": "a text",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
"""What is meant, by the type of pydantic's error."""
BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def what_is_wrong(error: ValidationError) -> str:
    """The first thing that is wrong, without a full stop."""
    first, *others = error.errors()
    if first["loc"][-1:] == (NUMBER,) and isinstance(first["input"], list):
        # what may be a number or a list, and is a list: what is wrong is in that
        first = next((x for x in others if x["loc"][:-2] == first["loc"][:-1]), first)
    return _said(first, place(first["loc"]))


def place(loc: Sequence[int | str]) -> str:
    """Where in the file something is.

    >>> place(("steps", 1, "re-ranking", "candidates")), place(("users", 2)), place(())
    ("'candidates' of step 2", "entry 3 of 'users'", 'its content')
    >>> place(("steps", 0)), place(("steps", 0, "latents", "latents", 4))
    ('step 1', "entry 5 of 'latents' of step 1")
    """
    rest, end = list(loc), ""
    if rest[:1] == ["steps"] and len(rest) > 1:
        end = f"step {int(rest[1]) + 1}"
        rest = rest[3:]  # the third is the kind of the step
    said = [end] if end else []
    for part in rest:
        if isinstance(part, int):
            said.insert(0, f"entry {part + 1}")
        elif "[" not in part and part != NUMBER:  # these name one of two types
            said.insert(0, repr(part))
    return " of ".join(said) or "its content"


def _said(first: ErrorDetails, where: str) -> str:
    kind, bounds = first["type"], first.get("ctx", {})
    seen = _seen(first["input"])
    if kind == "missing":
        return f"{where} is missing"
    if kind == "extra_forbidden":
        return f"{where} is nothing that it can have: leave it out"
    if kind == "union_tag_not_found":
        return f"{where} has no 'kind', such as 'latents'"
    if kind == "union_tag_invalid":
        tags = bounds["expected_tags"]
        return f"the 'kind' of {where} is {bounds['tag']!r}, and must be one of {tags}"
    if kind == "json_invalid":
        return f"{where} is no text that can be written"
    if kind == "value_error":
        return f"{where}: {bounds.get('error')}"
    if kind == "literal_error":
        return f"{where} is {seen}, and must be {bounds.get('expected')}"
    if kind == "too_short":
        return f"{where} is {seen}, and must have an entry at least"
    is_number = not isinstance(first["input"], float) or math.isfinite(first["input"])
    if kind in BOUNDS and is_number:
        key, words = BOUNDS[kind]
        return f"{where} is {seen}, and must be {words} {bounds[key]:g}"
    meant = MEANT["finite_number"] if kind in BOUNDS else MEANT.get(kind, "something else")
    return f"{where} is {seen}, and must be {meant}"


def _seen(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
