"""``turn.json``: all that the page needs to turn concepts and make lists without the model.

Arrays are base64 of little-endian numbers, row by row: the page decodes them as they are.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from recsae.report.schema.forward import Forward
from recsae.report.schema.parts import Count, Finite, Part
from recsae.report.schema.rounded import FLOAT, Agreement, Rounded, check_length


class SampleHistory(Part):
    """A held-out user's history, oldest item first, and the latents that are active on it."""

    user: str
    items: list[str]
    active: list[tuple[Count, Finite]]


class TurnData(Part):
    """What lists are made of: scores are ``(state + (z' - z) direction) item + bias``.

    ``items`` are external ids, in the catalogue's order; ``usual`` is the median of the activations
    of each of the latents where it is active on construction users, ``most`` the largest of them.
    """

    version: Literal[2] = 2
    model: str
    """Digests of the model and of the SAE, and the site: what steering files are made for."""
    sae: str
    site: str | None
    masks_seen: bool
    """Whether the model's own lists leave out the items of the history."""
    reads: Count
    """Items of a history that the model reads, the last ones."""
    reads_histories: bool
    """Whether the model has lists for items that are typed in."""
    same_typed: bool
    """Whether the samples have the same lists when their items are typed in, without a user."""
    list_length: Count
    n_items: Count
    """Items that can be recommended, whether or not they are here."""
    items: list[str]
    titles: dict[str, str]
    """Of the items here and of the histories."""
    vectors: Rounded
    bias: str | None
    latents: list[Count]
    """Most useful first."""
    usual: list[Finite]
    most: list[Finite]
    directions: Rounded
    samples: list[SampleHistory] = Field(min_length=1)
    states: str
    agreement: Agreement
    forward: Forward | None
    """How the page knows the state of a history that a reader puts together."""
    no_forward: str
    """Why it does not, to follow "The model": "" if it does."""
    users_hidden: bool = False
    """Whether users are called user 1, user 2, ..."""
    histories_cut: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.vectors.n != len(self.items) or self.directions.n != len(self.latents):
            raise ValueError("the rows are not those of the items and the latents")
        if self.directions.d != self.vectors.d or {len(self.most), len(self.usual)} != {
            len(self.latents)
        }:
            raise ValueError("items and latents are not of the same states")
        check_length(self.states, len(self.samples) * self.vectors.d * FLOAT.itemsize)
        if self.bias is not None:
            check_length(self.bias, len(self.items) * FLOAT.itemsize)
        return self

    def to_json(self) -> str:
        """Return the text of ``turn.json``."""
        return self.model_dump_json(indent=1) + "\n"
