"""The kit's checks of a model, one function each; AssertionError says what was seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from recsae.core.errors import CannotOpenModel, RecSAEError, SiteNotFound
from recsae.recommender.checks import is_causal, verify_head
from recsae.recommender.protocol import find_site
from recsae.recommender.sequences import Batch
from recsae.testing.data_checks import evaluation, learned, store, users
from recsae.testing.probe import RTOL, Probe, gap_between, need

NO_SITE = "no such site"
"""A name that no site has."""
SAME_STATES = 1e-6
"""Largest relative difference of states from the items' own vectors: rounding alone."""


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


def _sites_together(probe: Probe) -> None:
    for positions in (False, True):
        names = [s.name for s in probe.recommender.sites() if s.every_position or not positions]
        together = probe.recommender.represent_sites(probe.batch, names, positions=positions)
        need(set(together) == set(names), f"asked for {names}, it gave {list(together)}.")
        for name in names:
            alone = probe.recommender.represent(probe.batch, name, positions=positions)
            need(torch.equal(together[name], alone), f"states at {name!r} differ from represent's.")


def _whose(probe: Probe) -> None:
    """States depend on the last item, else they are of padding or of another position; those of
    users depend on the user and on nothing else."""
    items, last = probe.batch.items.clone(), probe.batch.lengths - 1
    row = torch.arange(len(last))
    items[row, last] = torch.where(items[row, last] == 1, 2, 1)
    edited = probe.batch._replace(items=items)
    others = probe.batch._replace(users=probe.batch.users.roll(1))
    for site in probe.recommender.sites():
        if not site.per_user and site.name != probe.names[0]:
            continue
        before = probe.recommender.represent(probe.batch, site.name)
        changed, of_others = (
            float((probe.recommender.represent(b, site.name) != before).any(1).float().mean())
            for b in (edited, others)
        )
        at = f"of the states at {site.name!r} change when the"
        if site.per_user:
            need(changed == 0, f"{changed:.0%} {at} last item does, and they are per user.")
            need(of_others >= 0.5, f"only {of_others:.0%} {at} user does.")
        else:
            need(changed >= 0.5, f"only {changed:.0%} {at} last item does.")


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


def _vectors(probe: Probe) -> None:
    """Given vectors lead to the states, unless the adapter says that its model takes none."""
    recommender, batch = probe.recommender, probe.batch
    try:
        vectors = recommender.input_vectors(batch)
        recommender.represent_from(batch, vectors)
    except CannotOpenModel:
        return
    shape = tuple(vectors.shape)
    need(shape[:-1] == tuple(batch.items.shape), f"vectors of {tuple(batch.items.shape)}: {shape}.")
    need(not vectors.requires_grad, "vectors of items carry gradients.")
    for site in probe.names:
        gap = gap_between(
            recommender.represent(batch, site),
            recommender.represent_from(batch, vectors, site).detach(),
        )
        need(
            gap <= SAME_STATES,
            f"states at {site!r} differ by {gap:.2g} with the items' own vectors.",
        )
        given = vectors.clone().requires_grad_()
        states = recommender.represent_from(batch, given, site)
        need(states.requires_grad, f"states at {site!r} cannot be differentiated by the vectors.")
        weights = torch.linspace(-1, 2, states.shape[1])  # no constant: layers may take out a mean
        total = (states * weights).sum()
        (slope,) = torch.autograd.grad(total, given, materialize_grads=True)
        need(bool(slope.isfinite().all()), f"gradients of states at {site!r} are not finite.")
        unread = site == probe.names[0] and not bool(slope.any())  # others may read users alone
        need(not unread, f"states at {site!r} do not depend on the vectors.")


def _causal(probe: Probe) -> None:
    for site in probe.recommender.sites():
        true = not site.every_position or is_causal(probe.recommender, site.name, probe.batch)
        need(true, f"{site.name!r} says every_position, but its states know later items.")


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
    "several sites at once give the same": _sites_together,
    "states are those of the last item or of the user": _whose,
    "sequences hold what was learned": learned,
    "no-op edit leaves scores bit-equal": _no_op,
    "edit changes scores": _edit_changes,
    "edits are gone afterwards": _edit_ends,
    "linear head gives the scores": _head,
    "vectors given for items give the states": _vectors,
    "every_position is true": _causal,
    "store holds states of real positions": store,
    "evaluation asks for what came next": evaluation,
    "user table is of the sequences": users,
    "fingerprint is stable": _identity,
}
