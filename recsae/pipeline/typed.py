"""What the page needs for a history that a reader puts together: the model's operations, proven."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from recsae.core.text import one_line
from recsae.pipeline.turned_lists import (
    KINDS,
    SAME,
    Lists,
    Sampled,
    tried_settings,
)
from recsae.recommender.recorded.names import LOWERING
from recsae.recommender.recorded.recorder import CannotRecord, Recorder, plain_operations
from recsae.recommender.sequences import pad
from recsae.report.schema.forward import Forward, ItemRows
from recsae.report.schema.rounded import FLOAT, Agreement, Rounded, encoded
from recsae.run.open import ListRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.recorded.graph import Graph
    from recsae.run.workspace import Workspace

    Floats = NDArray[np.float64]

N_TYPED = 50
"""Histories of held-out users whose lists are compared, each as it is and with concepts turned."""
N_AMONG = 30
"""Settings turn the most useful latents."""
STATES_AS = 1e-4
"""What a state may be off, relative to its largest entry: single precision leaves 1e-6."""
ACTIVE_AS = 1e-3
"""What an activation may be off, relative to the largest."""
MAX_OTHERS = 64
"""Rows of a table that are no item's: padding, a mask."""
MAX_SIZE = 2_000_000
"""Characters that all this may add to the page."""


def forward_of(
    work: Workspace, lists: Lists, typed: Sampled | None, vectors: Rounded, most: list[float]
) -> tuple[Forward | None, str]:
    """The model's operations, or None and why there are none, to follow "The model".

    They are run on the samples, whose items are typed in, and on short and long histories first,
    and nothing comes of them unless every state and every activation is the model's. Tables of
    items are then rounded, and lists made of them compared with those of the model, as those of the
    samples are.

    Parameters
    ----------
    typed
        The samples without their users; None where the model reads no items.
    vectors
        The items' vectors in the page, which also serve as the table that items are looked up in,
        if they are the same and the lists bear their rounding.
    most
        The largest activation of each of the page's latents.
    """
    if typed is None:
        return None, "keeps one state for each user and reads no history"
    try:
        graph = _recorded(work)
        _refuse_large(_weights(graph))  # before the time that the rest takes
        _prove(work, graph, typed)
        return _rounded(work, graph, lists, vectors, most), ""
    except CannotRecord as error:
        return None, str(error)


def _recorded(work: Workspace) -> Graph:
    recommender, sae = work.recommender, work.sae
    shown = np.flatnonzero(recommender.catalog.recommendable)[:2].tolist()
    batch = pad([shown], recommender.max_length)
    recorder = Recorder(batch.items, batch.lengths, LOWERING)
    try:
        with torch.no_grad(), plain_operations(), recorder:
            state = recommender.represent(batch, work.site).float()
            active = sae.encode_plainly(state.to(sae.W_dec.device))
        return recorder.graph(state, active)
    except CannotRecord:
        raise
    except Exception as error:  # of code that is not ours, and is called as it never was
        why = recorder.reason or f"cannot be followed step by step ({one_line(str(error))[:200]})"
        raise CannotRecord(why) from error


def _prove(work: Workspace, graph: Graph, typed: Sampled) -> None:
    """Raise CannotRecord if a state or an activation is not the model's."""
    drawn = np.random.default_rng(0)
    longest = work.recommender.max_length
    pool = np.flatnonzero(work.recommender.catalog.recommendable)
    lengths = [1, 2, 3, max(1, longest - 1), longest, longest + 3]
    others = sampled_histories(work, [drawn.choice(pool, n).tolist() for n in lengths])
    for given in (typed, others):
        made = _by_graph(graph, given)
        for ours, theirs, most in (
            (made.states, given.states, STATES_AS),
            (made.active, given.active, ACTIVE_AS),
        ):
            off = (ours - theirs).abs().amax(1)
            if not bool((off <= most * theirs.abs().amax(1).clamp_min(1e-12)).all()):
                raise CannotRecord("does more with a history than can be followed step by step")


def sampled_histories(work: Workspace, histories: list[list[int]]) -> Sampled:
    """Histories as ``recsae steer --sequence`` reads them, with the model's states."""
    recommender, none = work.recommender, np.zeros(0, dtype=np.int64)
    requests = [
        ListRequest(
            history,
            pad([history], recommender.max_length),
            np.array(history) if recommender.filters_seen else none,
        )
        for history in histories
    ]
    return Sampled.of(work, [""] * len(histories), requests)


def _by_graph(
    graph: Graph, given: Sampled, constants: Mapping[int, Floats] | None = None
) -> Sampled:
    """The same histories with what the operations make of them."""
    made = [graph.run(request.history, constants) for request in given.requests]
    states, active = (torch.from_numpy(np.stack(parts)) for parts in zip(*made, strict=True))
    return given._replace(states=states, active=active)


def _rounded(
    work: Workspace, graph: Graph, lists: Lists, vectors: Rounded, most: list[float]
) -> Forward:
    """The operations with tables rounded as far as lists bear it."""
    given = sampled_histories(work, _histories(work))
    tried = tried_settings(given, list(lists.own)[:N_AMONG], most, 2)
    exact = lists.of_model(given, tried)

    def agreement(constants: Mapping[int, Floats]) -> Agreement:
        made = _by_graph(graph, given, constants)
        return lists.agreement(made, tried, exact, vectors.matrix())

    unrounded = agreement({})
    for tables in _ways(work, graph, lists, vectors):
        n_items = work.recommender.catalog.n_items
        read = {at: _matrix(table, lists, vectors, n_items) for at, table in tables.items()}
        found = agreement(read)
        if found.n_same >= SAME * unrounded.n_same:
            break
    if min(found.n_same / max(1, unrounded.n_same), found.n_same_items / found.n_lists) < SAME:
        raise CannotRecord(
            "makes other lists once its numbers are rounded for the page: "
            f"{found.n_same} of {found.n_lists} stay as they are"
        )
    return _small(
        Forward(
            length=graph.length,
            numbers=encoded(lists.items.astype(np.int32)),
            operations=[
                (name, list(takes), list(map(float, s))) for name, takes, s in graph.operations
            ],
            constants=[
                tables.get(at) or encoded(np.asarray(constant, np.float32))
                for at, constant in enumerate(graph.constants)
            ],
            outputs=(graph.outputs[0], graph.outputs[1]),
            agreement=found,
            n_histories=len(given.requests),
        )
    )


def _small(forward: Forward) -> Forward:
    _refuse_large(len(forward.model_dump_json()))
    return forward


def _refuse_large(size: float) -> None:
    if size > MAX_SIZE:
        raise CannotRecord(
            f"takes {size / 1e6:.1f} MB, and the page has room for {MAX_SIZE / 1e6:.0f} MB"
        )


def _weights(graph: Graph) -> float:
    """Characters of all constants but the tables of items."""
    tables = graph.tables
    n = sum(c.size for at, c in enumerate(graph.constants) if at not in tables)
    return n * FLOAT.itemsize * 4 / 3


def _histories(work: Workspace) -> list[list[int]]:
    """The first items of held-out users' histories, cut anywhere."""
    sequences, drawn = work.recommender.sequences(), np.random.default_rng(1)
    rows = np.flatnonzero(work.heldout_users)
    rows = rows[sequences.known[rows] > 0]
    chosen = drawn.choice(rows, min(N_TYPED, len(rows)), replace=False)
    ends = [int(drawn.integers(1, sequences.known[row] + 1)) for row in chosen]
    return [sequences[row][:end].tolist() for row, end in zip(chosen, ends, strict=True)]


def _ways(
    work: Workspace, graph: Graph, lists: Lists, vectors: Rounded
) -> Iterator[dict[int, ItemRows]]:
    """Tables of items, by their places among the constants, in ever more bits."""
    catalog = work.recommender.catalog
    tables, shared = {}, {}
    for at in graph.tables:
        table = np.asarray(graph.constants[at], np.float64).reshape(len(graph.constants[at]), -1)
        if (table == np.floor(table)).all():
            continue  # whole numbers, of which a model may ask whether they are more than others
        real = np.zeros(len(table), dtype=bool)
        real[: catalog.n_items] = catalog.recommendable[: len(table)]
        others = np.flatnonzero(~real)
        if real[lists.items.clip(max=len(table) - 1)].all() and len(others) <= MAX_OTHERS:
            tables[at] = table, others
            shared[at] = np.array_equal(table[lists.items], lists.table)

    def way(kind: str, *, share: bool) -> dict[int, ItemRows]:
        return {
            at: ItemRows(
                rows=None if share and shared[at] else Rounded.of(table[lists.items], kind),  # type: ignore[arg-type]
                others=others.tolist(),
                other_rows=encoded(table[others].astype(np.float32)),
            )
            for at, (table, others) in tables.items()
        }

    if any(shared.values()):
        yield way(vectors.kind, share=True)
    for kind in KINDS[1:]:
        yield way(kind, share=False)


def _matrix(table: ItemRows, lists: Lists, vectors: Rounded, n_items: int) -> Floats:
    """A table as the page reads it; NaN for items that are not in the page."""
    rows = (table.rows or vectors).matrix()
    size = max(n_items, *(n + 1 for n in table.others))
    found = np.full((size, rows.shape[1]), np.nan)
    found[lists.items] = rows
    others = np.frombuffer(base64.b64decode(table.other_rows), "<f4")
    found[table.others] = others.reshape(len(table.others), -1)
    return found
