"""What the page runs to know the state of a history that a reader puts together.

The operations are those of :mod:`recsae.recommender.recorded.graph`.
"""

from typing import Self

from pydantic import Field, model_validator

from recsae.report.schema.parts import Count, Finite, Part
from recsae.report.schema.rounded import Agreement, Rounded, check_length

NUMBER = 4
"""Bytes of a number."""


class ItemRows(Part):
    """A table in which items are looked up: rows of the items of the page, and of what is no item.

    Without ``rows`` those of items are the vectors that the page makes scores of. ``others`` are
    the numbers of the rest in the model, padding being 0, and ``other_rows`` their rows.
    """

    rows: Rounded | None
    others: list[Count]
    other_rows: str


class Forward(Part):
    """Operations in order, which make the state ``(d,)`` and the activations ``(n_latents,)``.

    Values 0 and 1 are the history: numbers of its last ``length`` items, padded with 0, and how
    many they are. Operation n makes value n + 2; of each its name, the values that it takes, and
    its settings. ``outputs`` are the values of the state and of the activations.
    """

    length: Count
    numbers: str
    """Of the items of the page in the model, 32 bits each."""
    operations: list[tuple[str, list[Count], list[Finite]]]
    constants: list[str | ItemRows]
    """32-bit floats, or a table of items."""
    outputs: tuple[Count, Count]
    agreement: Agreement
    """Of lists for histories of held-out users that are none of the samples."""
    n_histories: Count = Field(ge=1)
    """How many they were."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for place, (_, takes, _) in enumerate(self.operations):
            if any(number >= place + 2 for number in takes):
                raise ValueError("an operation takes what is made later")
        if max(self.outputs) >= len(self.operations) + 2:
            raise ValueError("an output is made by no operation")
        for constant in self.constants:
            if isinstance(constant, str):
                check_length(constant, None, NUMBER)
        return self
