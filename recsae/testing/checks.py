"""What the kit checks, one function each; AssertionError says what was seen."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from recsae.activations import capture
from recsae.cases import read_cases
from recsae.errors import RecSAEError, SiteNotFound
from recsae.recommender import find_site, is_causal, top_items, verify_head
from recsae.sequences import Batch, Sequences
from recsae.testing.probe import Probe, gap_between, need
from recsae.windows import plan_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_SITE = "no such site"
RTOL = 1e-4
N_POSITIONS = 256


def _ids(probe: Probe) -> None:
    catalog, sequences = probe.recommender.catalog, probe.recommender.sequences()
    items = np.flatnonzero(catalog.recommendable)
    known = [catalog.external_ids[i] for i in items]
    need(len(set(known)) == len(known), "two items have the same external id.")
    for item in items.tolist():
        back = catalog.internal(catalog.external_ids[item])
        need(back == item, f"item {item} is {catalog.external_ids[item]!r}, which is item {back}.")
    need(not catalog.recommendable[0], "internal id 0 is padding and must not be recommendable.")
    seen = np.unique(sequences.flat)
    need(bool(np.isin(seen, items).all()), "a sequence holds ids that are no items.")
    need(len(set(sequences.users)) == len(sequences), "two sequences have the same user id.")


def _sites(probe: Probe) -> None:
    recommender = probe.recommender
    need(len(probe.names) > 0, "there is no site.")
    need(len(set(probe.names)) == len(probe.names), f"site names repeat: {probe.names}.")
    for site in recommender.sites():
        shape = tuple(recommender.represent(probe.batch, site.name).shape)
        wanted = (len(probe.rows), site.width)
        need(shape == wanted, f"states at {site.name!r} are {shape}, not {wanted}.")
        if site.every_position:
            shape = tuple(recommender.represent(probe.batch, site.name, positions=True).shape)
            wanted = (*probe.batch.items.shape, site.width)
            need(shape == wanted, f"states of all positions at {site.name!r}: {shape}.")
    first = recommender.represent(probe.batch, probe.names[0])
    need(torch.equal(first, recommender.represent(probe.batch)), "the first is not the default.")


def _unknown_site(probe: Probe) -> None:
    def edit() -> None:
        with probe.recommender.edit(lambda h: h, NO_SITE):
            pass

    tries: dict[str, Callable[[], object]] = {
        "find_site": lambda: find_site(probe.recommender, NO_SITE),
        "represent": lambda: probe.recommender.represent(probe.batch, NO_SITE),
        "edit": edit,
    }
    for name, call in tries.items():
        try:
            call()
        except SiteNotFound:
            continue
        raise AssertionError(f"{name} took a site that does not exist.")


def _scores(probe: Probe) -> None:
    scores = probe.recommender.score(probe.batch)
    wanted = (len(probe.rows), probe.recommender.catalog.n_items)
    need(tuple(scores.shape) == wanted, f"scores are {tuple(scores.shape)}, not {wanted}.")
    real = torch.from_numpy(probe.recommender.catalog.recommendable)
    for what, values in (("scores", scores[:, real]), ("states", _represent(probe))):
        need(values.is_floating_point(), f"{what} are {values.dtype}.")
        need(values.device.type == "cpu", f"{what} are on {values.device}, not on the CPU.")
        need(not values.requires_grad, f"{what} carry gradients.")
        need(bool(torch.isfinite(values).all()), f"{what} are not all finite.")


def _represent(probe: Probe) -> torch.Tensor:
    return probe.recommender.represent(probe.batch)


def _repeats(probe: Probe) -> None:
    scores, states = probe.recommender.score(probe.batch), _represent(probe)
    again = torch.equal(scores, probe.recommender.score(probe.batch))
    need(again and torch.equal(states, _represent(probe)), "they differ.")


def _alone(probe: Probe) -> None:
    together, scores = _represent(probe), probe.recommender.score(probe.batch)
    for row in (0, len(probe.rows) - 1):
        one = Batch(*(t[row : row + 1] for t in probe.batch))
        gap = gap_between(together[row : row + 1], probe.recommender.represent(one))
        gap = max(gap, gap_between(scores[row : row + 1], probe.recommender.score(one)))
        need(gap <= RTOL, f"sequence {row} differs by {gap:.2g} when it stands alone.")


def _last_item(probe: Probe) -> None:
    """A state that does not know the last item is one of padding, or of another position."""
    items, last = probe.batch.items.clone(), probe.batch.lengths - 1
    row = torch.arange(len(last))
    items[row, last] = torch.where(items[row, last] == 1, 2, 1)
    changed = probe.recommender.represent(probe.batch._replace(items=items))
    share = float((changed != _represent(probe)).any(1).float().mean())
    need(share >= 0.5, f"only {share:.0%} of the states change when the last item does.")


def _no_op(probe: Probe) -> None:
    before = probe.recommender.score(probe.batch)
    for site in probe.names:
        with probe.recommender.edit(lambda h: h, site):
            after = probe.recommender.score(probe.batch)
        need(
            torch.equal(before, after),
            f"at {site!r} scores moved by {gap_between(before, after):.2g}.",
        )


def _shift(states: torch.Tensor) -> torch.Tensor:
    direction = torch.linspace(-1, 1, states.shape[-1], device=states.device, dtype=states.dtype)
    return states + direction * states.abs().amax(-1, keepdim=True).clamp_min(1e-3)


def _edit_changes(probe: Probe) -> None:
    before = probe.recommender.score(probe.batch)
    for site, width in ((s.name, s.width) for s in probe.recommender.sites()):
        shapes: list[tuple[int, ...]] = []

        def edit(states: torch.Tensor, shapes: list[tuple[int, ...]] = shapes) -> torch.Tensor:
            shapes.append(tuple(states.shape))
            return _shift(states)

        with probe.recommender.edit(edit, site):
            after = probe.recommender.score(probe.batch)
        where = f"at site {site!r} "
        same = torch.equal(before, after)
        need(not same, f"{where}scores stayed the same when every state was shifted.")
        flat = all(len(shape) == 2 and shape[1] == width for shape in shapes)
        need(flat, f"{where}the edit was given {shapes}, not (n, {width}).")


def _edit_ends(probe: Probe) -> None:
    def broken(states: torch.Tensor) -> torch.Tensor:
        raise _Stop

    before = probe.recommender.score(probe.batch)
    for site in probe.names:
        for when, edit in (("left", _shift), ("left by an exception", _shift), ("failed", broken)):
            with _stopped(), probe.recommender.edit(edit, site):
                probe.recommender.score(probe.batch)
                if when != "left":
                    raise _Stop
            after = probe.recommender.score(probe.batch)
            need(torch.equal(before, after), f"at {site!r} it still acts after it was {when}.")


class _Stop(Exception):
    """Raised on purpose."""


@contextmanager
def _stopped() -> Iterator[None]:
    try:
        yield
    except (_Stop, RecSAEError):
        return


def _head(probe: Probe) -> None:
    recommender, head = probe.recommender, probe.recommender.linear_head()
    if head is None:
        return
    need(verify_head(recommender, head, probe.batch), "it does not give the model's own scores.")
    need(not head.items.requires_grad, "its item table carries gradients.")
    with recommender.edit(_shift):
        scores = recommender.score(probe.batch)
    real = torch.from_numpy(recommender.catalog.recommendable)
    gap = gap_between(scores[:, real], head.score(_shift(_represent(probe)))[:, real])
    need(gap <= RTOL, f"scores of edited states differ from the head's by {gap:.2g}.")


def _causal(probe: Probe) -> None:
    for site in probe.recommender.sites():
        true = not site.every_position or is_causal(probe.recommender, site.name, probe.batch)
        need(true, f"{site.name!r} says every_position, but its states know later items.")


def _store(probe: Probe) -> None:
    """What is captured is the state of a real position, as a forward on its window alone has it."""
    recommender, sequences = probe.recommender, probe.recommender.sequences()
    rows = probe.rows[np.unique(np.linspace(0, len(probe.rows) - 1, 8).astype(np.int64))]
    for site in recommender.sites():
        with tempfile.TemporaryDirectory() as folder:
            store = capture(recommender, rows, Path(folder), site=site.name)
            cases = read_cases(store, sequences, recommender.catalog)
        sequence, position, starts = _planned(probe, sequences, rows, site.every_position)
        same = np.array_equal(cases.sequence, sequence) and np.array_equal(cases.position, position)
        wanted = int((sequences.lengths[rows] - 1).sum())
        need(same and len(cases) == wanted, f"{len(cases)} positions stored, {wanted} there.")
        some = np.unique(np.linspace(0, len(cases) - 1, N_POSITIONS).astype(np.int64))
        batch = probe.cut(sequence[some], starts[some], position[some] + 1)
        states = torch.from_numpy(np.array(cases.states[some]))
        gap = gap_between(recommender.represent(batch, site.name).float(), states)
        need(gap <= RTOL, f"stored states at {site.name!r} differ from single forwards: {gap:.2g}.")
        tops = top_items(recommender.score(batch), recommender.catalog, 1)[:, 0].numpy()
        agree = float((tops == cases.top_items[some, 0]).mean())
        need(agree >= 0.99, f"stored recommendations are the model's own for only {agree:.0%}.")


def _planned(
    probe: Probe, sequences: Sequences, rows: NDArray[np.int64], every_position: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, position and start of the window of every position that a store should hold."""
    longest = probe.recommender.max_length
    w = plan_windows(sequences, rows, longest, every_position=every_position, limit=None, seed=0)
    spans = list(zip(w.rows, w.starts, w.kept_from, w.ends, strict=True))
    triples = [(row, at, start) for row, start, first, end in spans for at in range(first, end)]
    sequence, position, starts = np.array(sorted(triples), dtype=np.int64).T
    return sequence, position, starts


def _evaluation(probe: Probe) -> None:
    sequences, cases = probe.recommender.sequences(), probe.recommender.evaluation()
    need(len(cases.rows) > 0, "it has no case.")
    inside = (cases.ends >= 1) & (cases.ends < sequences.lengths[cases.rows])
    need(bool(inside.all()), "a case ends outside of its sequence.")
    wanted = sequences.flat[sequences.offsets[cases.rows] + cases.ends]
    need(np.array_equal(wanted, cases.targets), "a target is not the item that came next.")


def _identity(probe: Probe) -> None:
    first = probe.recommender.fingerprint()
    need(len(first) == 64 and set(first) <= set("0123456789abcdef"), f"{first!r} is no SHA-256.")
    probe.recommender.score(probe.batch)
    need(probe.recommender.fingerprint() == first, "it differs from one call to the next.")
    missing = [s for s in probe.recommender.sources() if not Path(s).exists()]
    need(not missing, f"sources that do not exist: {missing}.")
    json.dumps(probe.recommender.describe(), default=str)


CHECKS: dict[str, Callable[[Probe], None]] = {
    "ids round-trip": _ids,
    "sites give states": _sites,
    "unknown site is refused": _unknown_site,
    "scores have a column per item": _scores,
    "two calls give the same": _repeats,
    "a sequence does not depend on the batch": _alone,
    "states are those of the last item": _last_item,
    "no-op edit leaves scores bit-equal": _no_op,
    "edit changes scores": _edit_changes,
    "edits are gone afterwards": _edit_ends,
    "linear head gives the scores": _head,
    "every_position is true": _causal,
    "store holds states of real positions": _store,
    "evaluation asks for what came next": _evaluation,
    "fingerprint is stable": _identity,
}
