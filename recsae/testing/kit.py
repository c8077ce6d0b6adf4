"""The kit that every adapter passes, recsae's own and other people's."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from recsae.activations import capture
from recsae.cases import read_cases
from recsae.errors import RecSAEError, SiteNotFound
from recsae.recommender import Recommender, find_site, is_causal, top_items, verify_head
from recsae.sequences import Batch, Sequences
from recsae.windows import plan_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_SITE = "no such site"
RTOL = 1e-4
N_POSITIONS = 256


@dataclass(frozen=True)
class Probe:
    """A recommender and a batch of n of its own sequences, of different lengths."""

    recommender: Recommender
    rows: NDArray[np.int64]

    @cached_property
    def batch(self) -> Batch:
        """The first items of the sequences, from two up to as many as the model reads."""
        longest = self.recommender.max_length
        room = np.minimum(self.recommender.sequences().lengths[self.rows], longest)
        ends = np.maximum(2, room - np.arange(len(self.rows)) % longest)
        return self.cut(self.rows, np.zeros_like(ends), ends)

    def cut(
        self, rows: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> Batch:
        """Items ``[start, end)`` of the sequences at ``rows``."""
        sequences = self.recommender.sequences()
        return sequences.batch(rows, starts, ends, self.recommender.max_length)

    @cached_property
    def names(self) -> list[str]:
        """Names of the sites."""
        return [site.name for site in self.recommender.sites()]


def check_recommender(recommender: Recommender, n: int = 32) -> list[str]:
    """Check that an adapter keeps what the protocol :class:`recsae.Recommender` promises.

    For authors of plug-ins: call it in a test on a small model with real sequences in it, of which
    some are longer than the model reads. Everything is tried on the model and nothing is assumed
    of it. Takes seconds, needs no network, and leaves the recommender as it was.

    Parameters
    ----------
    recommender
        What the plug-in's ``open`` returns.
    n
        Number of sequences to try.

    Returns
    -------
    list of str
        Names of the checks, all passed.

    Raises
    ------
    AssertionError
        A check failed; the message names it and says what was seen.

    Examples
    --------
    >>> from recsae.testing import PlantedRecommender, check_recommender
    >>> recommender = PlantedRecommender(n_users=40)  # here stands your adapter
    >>> passed = check_recommender(recommender)
    >>> "no-op edit leaves scores bit-equal" in passed
    True

    The commonest fault is an edit that the model's own scoring never sees:

    >>> from contextlib import nullcontext
    >>> recommender.edit = lambda edit, site=None: nullcontext()
    >>> check_recommender(recommender)
    Traceback (most recent call last):
        ...
    AssertionError: Planted fails 'edit changes scores': at site 'sequence' scores stayed the same \
when every state was shifted.
    """
    _need(isinstance(recommender, Recommender), f"{type(recommender).__name__} lacks a method or \
attribute of the protocol: {_missing(recommender)}.")
    usable = np.flatnonzero(recommender.sequences().lengths >= 2)
    _need(len(usable) > 0, "the recommender has no sequence of two items or more.")
    by_length = usable[np.argsort(recommender.sequences().lengths[usable], kind="stable")]
    chosen = by_length[np.linspace(0, len(usable) - 1, min(n, len(usable))).astype(np.int64)]
    probe = Probe(recommender, np.unique(chosen))
    before = _state(recommender)
    for name, check in CHECKS.items():
        try:
            check(probe)
            after = _state(recommender)
            changed = [key for key in before if before[key] != after[key]]
            _need(not changed, f"it changed {' and '.join(changed)}.")
        except AssertionError as error:
            raise AssertionError(f"{recommender.name} fails {name!r}: {error}") from error
        except Exception as error:
            seen = f"{type(error).__name__}: {error}"
            raise AssertionError(f"{recommender.name} fails {name!r}: raised {seen}") from error
    return [*CHECKS, "nothing is changed"]


def _need(true: bool, seen: str) -> None:
    if not true:
        raise AssertionError(seen)


def _missing(candidate: object) -> list[str]:
    wanted = [*Recommender.__annotations__, *(k for k in vars(Recommender) if k[0] != "_")]
    return [name for name in wanted if not hasattr(candidate, name)]


def _state(recommender: Recommender) -> dict[str, object]:
    """What using a recommender must not change; of the model only where there is one to look at."""
    model = getattr(recommender, "model", None)
    seen: dict[str, object] = {
        "torch's random numbers": torch.get_rng_state().numpy().tobytes(),
        "NumPy's random numbers": str(np.random.get_state()),  # noqa: NPY002
        "torch's grad mode": torch.is_grad_enabled(),
    }
    if isinstance(model, torch.nn.Module):
        digest = hashlib.sha256()
        for key, tensor in sorted(model.state_dict().items()):
            digest.update(key.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        seen["the model's parameters"] = digest.hexdigest()
        seen["the model's training mode"] = [m.training for m in model.modules()]
        seen["what the model's modules hold"] = [sorted(vars(m)) for m in model.modules()]
        seen["the model's hooks"] = [
            (len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()
        ]
    return seen


def _gap(left: torch.Tensor, right: torch.Tensor) -> float:
    """Largest difference, relative to the largest value."""
    both = torch.isfinite(left) & torch.isfinite(right)
    _need(left.shape == right.shape, f"shapes {tuple(left.shape)} and {tuple(right.shape)} differ.")
    _need(bool((left[~both] == right[~both]).all()), "values are NaN or infinite in one only.")
    if not bool(both.any()):
        return 0.0
    return float((left - right)[both].abs().max() / left[both].abs().max().clamp_min(1e-12))


# -- the checks -----------------------------------------------------------------------------------
def _ids(probe: Probe) -> None:
    catalog, sequences = probe.recommender.catalog, probe.recommender.sequences()
    items = np.flatnonzero(catalog.recommendable)
    known = [catalog.external_ids[i] for i in items]
    _need(len(set(known)) == len(known), "two items have the same external id.")
    for item in items.tolist():
        back = catalog.internal(catalog.external_ids[item])
        _need(back == item, f"item {item} is {catalog.external_ids[item]!r}, which is item {back}.")
    _need(not catalog.recommendable[0], "internal id 0 is padding and must not be recommendable.")
    seen = np.unique(sequences.flat)
    _need(bool(np.isin(seen, items).all()), "a sequence holds ids that are no items.")
    _need(len(set(sequences.users)) == len(sequences), "two sequences have the same user id.")


def _sites(probe: Probe) -> None:
    recommender = probe.recommender
    _need(len(probe.names) > 0, "there is no site.")
    _need(len(set(probe.names)) == len(probe.names), f"site names repeat: {probe.names}.")
    for site in recommender.sites():
        shape = tuple(recommender.represent(probe.batch, site.name).shape)
        wanted = (len(probe.rows), site.width)
        _need(shape == wanted, f"states at {site.name!r} are {shape}, not {wanted}.")
        if site.every_position:
            shape = tuple(recommender.represent(probe.batch, site.name, positions=True).shape)
            wanted = (*probe.batch.items.shape, site.width)
            _need(shape == wanted, f"states of all positions at {site.name!r}: {shape}.")
    first = recommender.represent(probe.batch, probe.names[0])
    _need(torch.equal(first, recommender.represent(probe.batch)), "the first is not the default.")


def _unknown_site(probe: Probe) -> None:
    tries: dict[str, Callable[[], object]] = {
        "find_site": lambda: find_site(probe.recommender, NO_SITE),
        "represent": lambda: probe.recommender.represent(probe.batch, NO_SITE),
        "edit": lambda: probe.recommender.edit(lambda h: h, NO_SITE).__enter__(),
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
    _need(tuple(scores.shape) == wanted, f"scores are {tuple(scores.shape)}, not {wanted}.")
    real = torch.from_numpy(probe.recommender.catalog.recommendable)
    for what, values in (("scores", scores[:, real]), ("states", _represent(probe))):
        _need(values.is_floating_point(), f"{what} are {values.dtype}.")
        _need(values.device.type == "cpu", f"{what} are on {values.device}, not on the CPU.")
        _need(not values.requires_grad, f"{what} carry gradients.")
        _need(bool(torch.isfinite(values).all()), f"{what} are not all finite.")


def _represent(probe: Probe) -> torch.Tensor:
    return probe.recommender.represent(probe.batch)


def _repeats(probe: Probe) -> None:
    for what, call in (
        ("scores", lambda: probe.recommender.score(probe.batch)),
        ("states", lambda: _represent(probe)),
    ):
        _need(torch.equal(call(), call()), f"{what} differ from one call to the next.")


def _alone(probe: Probe) -> None:
    together, scores = _represent(probe), probe.recommender.score(probe.batch)
    for row in (0, len(probe.rows) - 1):
        one = Batch(*(t[row : row + 1] for t in probe.batch))
        gap = _gap(together[row : row + 1], probe.recommender.represent(one))
        gap = max(gap, _gap(scores[row : row + 1], probe.recommender.score(one)))
        _need(gap <= RTOL, f"sequence {row} differs by {gap:.2g} when it stands alone.")


def _no_op(probe: Probe) -> None:
    before = probe.recommender.score(probe.batch)
    for site in probe.names:
        with probe.recommender.edit(lambda h: h, site):
            after = probe.recommender.score(probe.batch)
        _need(torch.equal(before, after), f"at {site!r} scores moved by {_gap(before, after):.2g}.")


def _shift(states: torch.Tensor) -> torch.Tensor:
    direction = torch.linspace(-1, 1, states.shape[-1], device=states.device, dtype=states.dtype)
    return states + direction * states.abs().max().clamp_min(1e-3)


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
        _need(not same, f"{where}scores stayed the same when every state was shifted.")
        flat = all(len(shape) == 2 and shape[1] == width for shape in shapes)
        _need(flat, f"{where}the edit was given {shapes}, not (n, {width}).")


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
            _need(torch.equal(before, after), f"at {site!r} it still acts after it was {when}.")


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
    _need(verify_head(recommender, head, probe.batch), "it does not give the model's own scores.")
    _need(not head.items.requires_grad, "its item table carries gradients.")
    states = _represent(probe)
    with recommender.edit(_shift):
        scores = recommender.score(probe.batch)
    real = torch.from_numpy(recommender.catalog.recommendable)
    gap = _gap(scores[:, real], head.score(_shift(states))[:, real])
    _need(gap <= RTOL, f"scores of edited states differ from the head's by {gap:.2g}.")


def _causal(probe: Probe) -> None:
    for site in probe.recommender.sites():
        if site.every_position:
            true = is_causal(probe.recommender, site.name, probe.batch)
            _need(true, f"{site.name!r} says every_position, but its states know later items.")


def _store(probe: Probe) -> None:
    """What is captured is the state of a real position, as a forward on its window alone has it."""
    recommender, sequences = probe.recommender, probe.recommender.sequences()
    rows = probe.rows[np.unique(np.linspace(0, len(probe.rows) - 1, 8).astype(np.int64))]
    for site in recommender.sites():
        with tempfile.TemporaryDirectory() as folder:
            store = capture(recommender, rows, Path(folder), site=site.name)
            cases = read_cases(store, sequences, recommender.catalog)
            cases = cases.take(np.arange(len(cases)))
        sequence, position, starts = _planned(probe, sequences, rows, site.every_position)
        same = np.array_equal(cases.sequence, sequence) and np.array_equal(cases.position, position)
        wanted = int((sequences.lengths[rows] - 1).sum())
        _need(same and len(cases) == wanted, f"{len(cases)} positions stored, {wanted} there.")
        some = np.unique(np.linspace(0, len(cases) - 1, N_POSITIONS).astype(np.int64))
        batch = probe.cut(sequence[some], starts[some], position[some] + 1)
        states = torch.from_numpy(np.array(cases.states[some]))
        gap = _gap(recommender.represent(batch, site.name).float(), states)
        _need(gap <= RTOL, f"stored states at {site.name!r} differ from single forwards: {gap:.2g}.")
        tops = top_items(recommender.score(batch), recommender.catalog, 1)[:, 0].numpy()
        agree = float((tops == cases.top_items[some, 0]).mean())
        _need(agree >= 0.99, f"stored recommendations are the model's own for only {agree:.0%}.")


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
    _need(len(cases.rows) > 0, "it has no case.")
    inside = (cases.ends >= 1) & (cases.ends < sequences.lengths[cases.rows])
    _need(bool(inside.all()), "a case ends outside of its sequence.")
    wanted = sequences.flat[sequences.offsets[cases.rows] + cases.ends]
    _need(np.array_equal(wanted, cases.targets), "a target is not the item that came next.")


def _identity(probe: Probe) -> None:
    first = probe.recommender.fingerprint()
    _need(len(first) == 64 and set(first) <= set("0123456789abcdef"), f"{first!r} is no SHA-256.")
    probe.recommender.score(probe.batch)
    _need(probe.recommender.fingerprint() == first, "it differs from one call to the next.")
    missing = [s for s in probe.recommender.sources() if not Path(s).exists()]
    _need(not missing, f"sources that do not exist: {missing}.")
    json.dumps(probe.recommender.describe(), default=str)


CHECKS: dict[str, Callable[[Probe], None]] = {
    "ids round-trip": _ids,
    "sites give states": _sites,
    "unknown site is refused": _unknown_site,
    "scores have a column per item": _scores,
    "two calls give the same": _repeats,
    "a sequence does not depend on the batch": _alone,
    "no-op edit leaves scores bit-equal": _no_op,
    "edit changes scores": _edit_changes,
    "edits are gone afterwards": _edit_ends,
    "linear head gives the scores": _head,
    "every_position is true": _causal,
    "store holds states of real positions": _store,
    "evaluation asks for what came next": _evaluation,
    "fingerprint is stable": _identity,
}
