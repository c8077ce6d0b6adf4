"""SAEs of one's own: any object that encodes and decodes hidden states, as an SAE of recsae's."""

from __future__ import annotations

import hashlib
from copy import copy
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from recsae.core import layout
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import read_json, write_json
from recsae.sae.codes import Code, above
from recsae.sae.config import make_config
from recsae.sae.model import SAE

if TYPE_CHECKING:
    from recsae.capture.store import ActivationStore

N_STATES = 4_096
"""States of a store on which the number of active latents is counted."""
N_PROBED = 64
"""Random inputs that tell one SAE from another, and whether decoding is linear."""
FIXED = ("topk", "matryoshka")
"""Activations of which k is a setting, not only a count."""
TOLERANCE = 1e-3
"""Of decoding, relative to the largest number: what rounding explains."""


SAME_CELLS = 1e-4
"""Of the active latents of some states, the share that rounding may choose otherwise."""
STRETCHES = (2.0, 4.0)
"""How far from their mean states are moved to find what is active on no others."""
PLAIN = ("relu", "topk")
"""Activations that an encoder is compared with, to be kept as an SAE of recsae's."""


class Encodes(Protocol):
    """What an SAE of one's own must have. It is in evaluation mode and on the CPU."""

    def encode(self, states: torch.Tensor, /) -> torch.Tensor:
        """Activations ``(n, n_latents)`` of hidden states ``(n, d)``; none is negative, most are
        0."""

    def decode(self, activations: torch.Tensor, /) -> torch.Tensor:
        """States ``(n, d)`` from activations: a sum of directions, and a constant."""


class OwnSAE(SAE):
    """An SAE that encodes by an object of somebody else's; its decoder is read off that object.

    Parameters
    ----------
    given
        An object with ``encode`` and ``decode``.
    width
        The size d of the states.
    k
        Active latents per state, for what it is compared with.

    Raises
    ------
    InvalidInput
        It does not take or give such tensors, or its decoder is not linear.
    """

    def __init__(self, given: Encodes, width: int, k: int = 1) -> None:
        n_latents = _n_latents(given, width)
        super().__init__(make_config(n_latents=n_latents, k=min(k, n_latents)), width)
        self._given = (given,)  # in a tuple: it is no part of this module
        with torch.no_grad():
            constant = _decoded(given, torch.zeros(1, n_latents), width)
            parts = torch.eye(n_latents).split(N_STATES)
            self.W_dec.copy_(torch.cat([_decoded(given, p, width) for p in parts]) - constant)
            self.b_dec.copy_(constant[0])
            self.W_enc.zero_()
            self._refuse_nonlinear(given)
        self.eval()

    @property
    def kind(self) -> str:
        """The class that encodes."""
        return f"own ({type(self._given[0]).__qualname__})"

    def preactivations(self, states: torch.Tensor) -> torch.Tensor:
        """Its activations ``(n, n_latents)``, since what it thinks before is not known."""
        return self._encoded(states)

    def encode_sparse(self, states: torch.Tensor) -> Code:
        """The active latents of raw states ``(n, d)``."""
        return above(self._encoded(states), 0.0)

    def encode_plainly(self, states: torch.Tensor) -> torch.Tensor:
        """What the object says, not looked at again."""
        return self._given[0].encode(states).float()

    def _encoded(self, states: torch.Tensor) -> torch.Tensor:
        z = self._given[0].encode(states).float()
        if z.shape != (len(states), self.n_latents) or not bool((z >= 0).all()):
            raise InvalidInput(
                f"{self.kind}: encode must give {len(states)} rows of {self.n_latents} activations "
                f"of 0 or more (seen: {tuple(z.shape)}, lowest {float(z.min()):.3g})."
            )
        return z

    def _refuse_nonlinear(self, given: Encodes) -> None:
        z = torch.rand(N_PROBED, self.n_latents, generator=torch.Generator().manual_seed(0))
        theirs, ours = _decoded(given, z, self.width), z @ self.W_dec + self.b_dec
        if not bool(((theirs - ours).abs() <= TOLERANCE * ours.abs().max()).all()):
            raise InvalidInput(
                f"{self.kind}: decode is no sum of directions and a constant, so that a latent has "
                "no direction: fold what it does besides into encode."
            )


def as_sae(given: SAE | Encodes, store: ActivationStore) -> SAE:
    """An SAE of one's own as a run takes it, its ``k`` counted on states of a store.

    An object that encodes as SAEs of recsae's do becomes one of them, see :func:`read_off`.

    Raises
    ------
    InvalidInput
        As of :class:`OwnSAE`; or it is of states of another size, or has gates.
    """
    sae = copy(given) if isinstance(given, SAE) else read_off(OwnSAE(given, store.width), store)
    if sae.width != store.width:
        raise InvalidInput(
            f"The SAE is of states of {sae.width} numbers, those of the model have {store.width}."
        )
    if sae.n_gates:
        raise InvalidInput("The SAE has gates, which are a run's own: give one without.")
    if isinstance(sae, OwnSAE) or sae.config.activation not in FIXED:
        states = torch.from_numpy(store.shards[0][:N_STATES].copy())
        with torch.no_grad():
            active = int((sae.encode_sparse(states).values > 0).sum())
        k = min(sae.n_latents, max(1, round(active / len(states))))
        sae.config = sae.config.model_copy(update={"k": k})
    return sae


def given_again(
    given: SAE | Encodes | None, digest: str | None, store: ActivationStore, folder: Path
) -> SAE:
    """The SAE that a finished run was given, handed to it again: of the digest that it kept.

    Raises
    ------
    ArtifactMismatch
        It is another one than the run was given, or the run trained its own.
    """
    if given is None or digest is None:
        raise ArtifactMismatch(f"The run in {folder} trained its own SAE: leave sae= out.")
    if digest_of_sae(given, store.width) != digest:
        raise ArtifactMismatch(
            f"The SAE is not the one that the run in {folder} was given: give the same weights."
        )
    return as_sae(given, store)


def read_off(sae: OwnSAE, store: ActivationStore) -> SAE:
    """An SAE of recsae's that encodes as the given one does, or the given one where there is none.

    What a latent reads is the gradient of its activation at a state where it is active, and its
    bias the rest. With these the states of a store, and the same stretched from their mean, must
    have the same code by ReLU or by TopK, but for rounding. A latent that is active on none of them
    counts as one that never is.
    """
    states = torch.from_numpy(store.shards[0][:N_STATES].copy())
    states = torch.cat([states, *_stretched(states, STRETCHES[:1])])
    try:
        where = _where_active(sae, store)
        reads, bias = _affine(sae, where)
    except Exception:  # somebody else's code, which need not have gradients
        return sae
    with torch.no_grad():
        theirs = sae.preactivations(states)
        k = max(1, int((theirs > 0).sum(1).max()))
        for activation in PLAIN:
            plain = SAE(make_config(n_latents=sae.n_latents, k=k, activation=activation), sae.width)
            own = {"W_enc": reads, "W_dec": sae.W_dec, "b_dec": sae.b_dec}
            for name, value in (own | {"b_enc": bias + reads @ sae.b_dec}).items():
                getattr(plain, name).copy_(value)
            if _same(plain.encode(states), theirs):
                return plain.eval()
    return sae


def _stretched(states: torch.Tensor, factors: tuple[float, ...]) -> list[torch.Tensor]:
    """States further from their mean, so many times."""
    mean = states.mean(0)
    return [mean + (states - mean) * factor for factor in factors]


def _where_active(sae: OwnSAE, store: ActivationStore) -> torch.Tensor:
    """``(n_latents, d)`` states on which each latent is most active; any if it never is."""
    first = torch.from_numpy(store.shards[0][:N_STATES].copy())
    batches = (
        batch
        for shard in store.shards
        for batch in torch.from_numpy(shard[:].copy()).split(N_STATES)
    )
    most, found = torch.zeros(sae.n_latents), torch.zeros(sae.n_latents, sae.width)
    with torch.no_grad():
        for states in chain(batches, _stretched(first, STRETCHES)):
            z, rows = sae.preactivations(states).max(0)
            better = z > most
            most[better], found[better] = z[better], states[rows[better]]
            if bool((most > 0).all()):
                break
    return found


def _affine(sae: OwnSAE, where: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights ``(n_latents, d)`` and biases ``(n_latents,)`` of activations, each at a state."""
    weights, biases = [], []
    for first in range(0, len(where), N_PROBED):
        states = where[first : first + N_PROBED].clone().requires_grad_()
        with torch.enable_grad():
            z = sae.preactivations(states)[
                torch.arange(len(states)), first + torch.arange(len(states))
            ]
            (gradient,) = torch.autograd.grad(z.sum(), states)
        weights.append(gradient)
        biases.append((z - (gradient * states).sum(1)).detach())
    return torch.cat(weights), torch.cat(biases)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two codes ``(n, n_latents)`` are the same but for rounding."""
    differ = (one - other).abs() > TOLERANCE * other.max()
    return int(differ.sum()) <= SAME_CELLS * int((other > 0).sum())


def digest_of_sae(given: SAE | Encodes, width: int) -> str:
    """What tells one SAE from others: SHA-256 of what it makes of some random states."""
    digest = hashlib.sha256()
    states = torch.randn(N_PROBED, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for scale in (1.0, 10.0):
            z = given.encode(states * scale)
            for made in (z, given.decode(z)):
                digest.update(made.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _n_latents(given: Encodes, width: int) -> int:
    missing = [name for name in ("encode", "decode") if not callable(getattr(given, name, None))]
    if missing:
        raise InvalidInput(
            f"{type(given).__qualname__} has no {' and no '.join(missing)}: an SAE of your own has "
            "encode and decode on torch tensors."
        )
    with torch.no_grad():
        z: Any = given.encode(torch.zeros(2, width))
    if not isinstance(z, torch.Tensor) or z.ndim != 2 or len(z) != 2:
        seen: Any = tuple(z.shape) if isinstance(z, torch.Tensor) else type(z).__name__
        raise InvalidInput(
            f"{type(given).__qualname__}.encode must give (n, n_latents) of states (n, {width}) "
            f"(seen: {seen})."
        )
    return int(z.shape[1])


def _decoded(given: Encodes, z: torch.Tensor, width: int) -> torch.Tensor:
    states = given.decode(z).float()
    if states.shape != (len(z), width):
        raise InvalidInput(
            f"{type(given).__qualname__}.decode must give (n, {width}) of activations "
            f"(n, {z.shape[1]}) (seen: {tuple(states.shape)} for {len(z)})."
        )
    return states


def save_own(sae: SAE, store: ActivationStore, folder: Path) -> None:
    """Keep an SAE that a run was given in the run's folder, as one that it trained."""
    none = {"epochs": 0, "validation_fvu": None, "n_activations_seen": 0, "seconds": 0.0}
    own = {"own": sae.kind} if isinstance(sae, OwnSAE) else {}
    origin = {"model": store.manifest["model"], "site": store.manifest["site"]}
    write_json(folder / layout.K_TRIED, {"kept": {}})
    sae.save(folder / layout.SAE_FOLDER, {**origin, **none, **own})


def is_own(folder: Path) -> bool:
    """Whether the SAE of a run's folder is one that only its own code can encode with."""
    path = folder / layout.SAE_CONFIG
    try:
        return path.exists() and "own" in read_json(path)
    except ArtifactMismatch:
        return False
