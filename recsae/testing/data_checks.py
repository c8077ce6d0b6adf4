"""The kit's checks of stores, sequences and evaluation; AssertionError says what was seen."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from recsae.capture.cases import read_cases
from recsae.capture.fill import capture_sites
from recsae.capture.windows import plan_windows
from recsae.recommender.lists import best_items
from recsae.testing.probe import RTOL, Probe, gap_between, need

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.protocol import Site

N_POSITIONS = 256
"""Stored positions, at most, that are compared with single forwards."""


def learned(probe: Probe) -> None:
    """Sequences are as long as what the states of users were learned from."""
    sequences = probe.recommender.sequences()
    known, lengths = sequences.learned, sequences.lengths
    if known is None:
        return
    need(known.shape == lengths.shape, f"{len(known)} numbers, {len(lengths)} sequences.")
    inside = (known >= 0) & (known <= lengths)
    need(bool(inside.all()), f"{int((~inside).sum())} sequences are shorter than what was learned.")


def store(probe: Probe) -> None:
    """What is captured is the state of a real position, as a forward on its window alone has it."""
    recommender, sequences = probe.recommender, probe.recommender.sequences()
    rows = probe.rows[np.unique(np.linspace(0, len(probe.rows) - 1, 8).astype(np.int64))]
    with tempfile.TemporaryDirectory() as folder:
        folders = {name: Path(folder) / str(i) for i, name in enumerate(probe.names)}
        stores = capture_sites(recommender, rows, folders)
        for site in recommender.sites():
            need(len(stores[site.name]) > 0, f"at {site.name!r} no sequence has a next item.")
            cases = read_cases(stores[site.name], sequences, recommender.catalog)
            _stored(probe, site, rows, cases)


def _stored(probe: Probe, site: Site, rows: NDArray[np.int64], cases: Cases) -> None:
    recommender = probe.recommender
    sequence, position, starts = _planned(probe, site, rows)
    same = np.array_equal(cases.sequence, sequence) and np.array_equal(cases.position, position)
    wanted = _n_positions(probe, site, rows)
    need(same and len(cases) == wanted, f"{len(cases)} positions stored, {wanted} there.")
    some = np.unique(np.linspace(0, len(cases) - 1, N_POSITIONS).astype(np.int64))
    batch = probe.cut(sequence[some], starts[some], position[some] + 1)
    states = torch.from_numpy(np.array(cases.states[some]))
    gap = gap_between(recommender.represent(batch, site.name).float(), states)
    need(gap <= RTOL, f"stored states at {site.name!r} differ from single forwards: {gap:.2g}.")
    same = cases.filters_seen == recommender.filters_seen
    need(same, "stored lists and the model's do not leave out the same.")
    scores = recommender.score(batch)
    tops = best_items(scores, recommender.catalog, 1, cases.take(some).seen)[:, 0].numpy()
    agree = float((tops == cases.top_items[some, 0]).mean())
    need(agree >= 0.99, f"stored recommendations are the model's own for only {agree:.0%}.")


def _n_positions(probe: Probe, site: Site, rows: NDArray[np.int64]) -> int:
    sequences = probe.recommender.sequences()
    lengths = sequences.lengths[rows]
    if not site.per_user:
        return int((lengths - 1).sum())
    until = sequences.known[rows]
    return int(((until >= 1) & (until < lengths)).sum())


def _planned(
    probe: Probe, site: Site, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, position and start of the window of every position that a store should hold."""
    w = plan_windows(
        probe.recommender.sequences(),
        rows,
        probe.recommender.max_length,
        every_position=site.every_position,
        per_user=site.per_user,
        limit=None,
        seed=0,
    )
    spans = list(zip(w.rows, w.starts, w.kept_from, w.ends, strict=True))
    triples = [(row, at, start) for row, start, first, end in spans for at in range(first, end)]
    sequence, position, starts = np.array(sorted(triples), dtype=np.int64).T
    return sequence, position, starts


def users(probe: Probe) -> None:
    """What is known of users is known of the sequences' users, as numbers or tuples of values."""
    table = probe.recommender.user_table()
    if table is None:
        return
    ids, known = set(probe.recommender.sequences().users), list(table.index)
    need(len(set(known)) == len(known), "a user has two rows.")
    strange = [user for user in known if user not in ids]
    need(not strange, f"{len(strange)} rows are of no sequence, such as {strange[:1]}.")
    for name in table.columns:
        column = table[name]
        if column.dtype.kind != "f":
            odd = [cell for cell in column if not _is_values(cell)]
            need(not odd, f"{odd[:1]} in column {name!r} is neither a number nor a tuple of texts.")


def _is_values(cell: object) -> bool:
    return isinstance(cell, tuple) and all(isinstance(value, str) for value in cell)


def evaluation(probe: Probe) -> None:
    """The cases ask for what came next, of one user in each group."""
    sequences, cases = probe.recommender.sequences(), probe.recommender.evaluation()
    need(len(cases.rows) > 0, "it has no case.")
    per_user = probe.recommender.sites()[0].per_user  # may know users of whom it learned nothing
    inside = (cases.ends >= 1 - per_user) & (cases.ends < sequences.lengths[cases.rows])
    need(bool(inside.all()), "a case ends outside of its sequence.")
    wanted = sequences.flat[sequences.offsets[cases.rows] + cases.ends]
    need(np.array_equal(wanted, cases.targets), "a target is not the item that came next.")
    groups = np.unique(cases.groups)
    need(np.array_equal(groups, np.arange(len(groups))), "groups are not numbered 0, 1, 2, ....")
    need(np.array_equal(cases.group_rows[cases.groups], cases.rows), "a group has two sequences.")
    lists, own = probe.recommender.filters_seen, cases.filters_seen
    need(lists == own, f"filters_seen is {own} in it and {lists} in the recommender.")
