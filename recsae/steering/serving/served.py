"""What becomes of re-rankings and filters in an exported folder, and what its README says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from recsae.steering.steps.kinds import found_turned
from recsae.steering.steps.ranking import Ranking

if TYPE_CHECKING:
    import torch

README = """# A steered {model}

{what}

- `loader.py`, `weights.safetensors`, `config.json`: {loader}
{more}- {recipe}
{lists}
{who}
"""
LOADER = """`from loader import load; scores = load(".")(states)`. It needs torch and
  safetensors, nothing else. `states (n, d)` are what the model makes of histories at the site
  {site!r}; `load(".").edit(states)` are the steered ones.
- `items.npy (n_items, d)`, `bias.npy`, `ids.json`: the item table, row by row, and the ids of the
  rows. Rows without an item have the id null: never recommend them."""
STATES = """`from loader import load; steered = load(".").edit(states)`. It needs torch
  and safetensors, nothing else. `states (..., d)` are what the model makes at the site {site!r}.
  Scores are not linear in them: put the steered ones in their place and let the model run on."""
SHIFT = """`shift.npy (d,)`: the steering is the same for every state, so no encoder is needed. Add
  this vector to the query before the nearest-neighbour search; the index of items stays as is."""
SHIFT_OF_STATES = """`shift.npy (d,)`: the steering is the same for every state: adding this vector
  to it is all."""
ENCODER = """The steering depends on the state: put `load(".").edit` in front of the
  nearest-neighbour search. The index of items stays as it is. It costs one product with {n} x {d}
  numbers for each query."""
ENCODER_OF_STATES = """The steering depends on the state: it costs one product with {n} x {d}
  numbers for each."""
UNEDITED = "States stay as they are: what is done is done to scores and lists."
IN_TABLE = """- What lists never have is not `recommendable` (its scores are -inf), and what is
  added to the scores of items is in `bias.npy`: a nearest-neighbour index needs it as one more
  dimension of the items, with 1 in the query.
"""
RANK = """- `load(".").rank(scores, k)` are the lists, rows of the item table, out of steered scores
  `(n, n_items)` in which -inf is what is left out{within}. `config.json` has the steps, and
  `weights_0` and so on in `weights.safetensors` the weights of the items.
"""
EVERYBODY = "It is for everybody."
SOME = "It is for the users in `users.txt` only: ask for them, and serve the others as before."


class Served(NamedTuple):
    """How a ranking is served: what is done with the scores alone, and what is left."""

    banned: torch.Tensor | None
    """``(n_items,)`` rows that are not recommended."""
    added: torch.Tensor | None
    """``(n_items,)`` what is added to scores."""
    rest: Ranking | None
    """What needs all scores of a list; None: nothing."""


def served_by(ranking: Ranking | None, by_scores: bool) -> Served:
    """Split a ranking: filters and constants become part of the item table, where there is one
    (``by_scores``)."""
    if ranking is None or not by_scores:
        return Served(None, None, ranking)
    added, rest = None, list(ranking.reorders)
    while rest and rest[0].temperature is None and rest[0].candidates is None:
        first = rest.pop(0)
        own = first.gain * first.weights
        added = own if added is None else added + own
    return Served(ranking.banned, added, Ranking(None, tuple(rest)) if rest else None)


def lists_recipe(served: Served, *, has_head: bool) -> str:
    """What the README says of lists; nothing where they are those of the scores."""
    said = IN_TABLE if served.banned is not None or served.added is not None else ""
    if served.rest is None:
        return said
    numbers = [one.candidates for one in served.rest.reorders if one.candidates is not None]
    within = f"; only the first {min(numbers):,} by score are needed" if numbers else ""
    if served.rest.needs_own:
        within = (
            f", and the scores without steering, `own=`: the first {found_turned(numbers[-1]):,} "
            f"by the one and {numbers[-1] - found_turned(numbers[-1]):,} by the other are enough, "
            "as two queries of an index find them"
        )
    if has_head:
        within += '; `load(".").lists(states, k, seen)` does both'
    return said + RANK.format(within=within)
