"""Interventions on latents, and the edit of hidden states that they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from recsae.core.errors import InvalidInput
from recsae.core.text import as_strong, more_by

if TYPE_CHECKING:
    import torch

    from recsae.sae.model import SAE

LIMIT = 1e9
"""Activations beyond it would overflow in the scores."""
Op = Literal["set", "scale", "add", "at_most", "at_least"]
BOUNDS: dict[Op, str] = {"set": "set to", "at_most": "at most", "at_least": "at least"}


@dataclass(frozen=True)
class Intervention:
    """A change of the activation z of some latents.

    ``set``: z becomes the value; ``scale``: z times the value; ``add``: z plus the value;
    ``at_most`` and ``at_least``: z is clamped. Setting to 0 or scaling by 0 ablates; scaling by 1
    does nothing. ``value`` is one number, or one for each latent. All sequences are reached, but
    with ``where="active"`` only those on which the latent is active (what is scaled has to be).
    """

    latents: tuple[int, ...]
    op: Op
    value: float | tuple[float, ...]
    name: str = ""
    where: Literal["everyone", "active"] = "everyone"

    def __str__(self) -> str:
        return self.said()

    def said(
        self, promoted: Mapping[int, str | None] | None = None, sd: Sequence[float] | None = None
    ) -> str:
        """What is done, in words.

        Parameters
        ----------
        promoted
            What latents promote, where that is known: those that have no name are named by it.
        sd
            The standard deviations ``(n_latents,)`` of activations: what is added is in these.

        >>> Intervention((118,), "scale", 1.6, "Horror").said()
        'Horror: 1.6 times as strong where active'
        >>> Intervention((3,), "add", 0.5).said({3: "Horror"}, [0, 0, 0, 0.25])
        'latent 3 (promotes Horror): much more (+2 sd) for everybody'
        """
        return f"{self._who(promoted or {})}: {self._what(sd)}"

    def _who(self, promoted: Mapping[int, str | None]) -> str:
        if self.name and not self.name.isdecimal():
            return self.name
        many = "s" if len(self.latents) > 1 else ""
        said = f"latent{many} {', '.join(map(str, self.latents))}"
        known = list(dict.fromkeys(what for j in self.latents if (what := promoted.get(j))))
        return f"{said} (promotes {', '.join(known)})" if known else said

    def _what(self, sd: Sequence[float] | None) -> str:
        where = "where active" if self.where == "active" else "for everybody"
        low, high = min(self.values), max(self.values)
        if low == 0 == high and self.op in ("set", "scale"):
            return as_strong(0)
        if self.op == "scale":  # what is not active stays so
            same = as_strong(low) == as_strong(high)
            said = as_strong(high) if same else f"{low:.3g} to {high:.3g} times as strong"
            return f"{said} where active"
        if self.op == "add":
            return f"{self._added(sd)} {where}"
        low_said, high_said = f"{low:.3g}", f"{high:.3g}"
        value = low_said if low_said == high_said else f"{low_said} to {high_said}"
        return f"{BOUNDS[self.op]} {value} {where}"

    def _added(self, sd: Sequence[float] | None) -> str:
        values: tuple[float, ...] = self.values
        said: Callable[[float], str] = _more
        if sd is not None and all(sd[j] > 0 for j in self.latents):
            values = tuple(v / sd[j] for v, j in zip(values, self.latents, strict=True))
            said = more_by
        low, high = said(min(values)), said(max(values))
        return low if low == high else f"{low} to {high}"

    @property
    def values(self) -> tuple[float, ...]:
        """The value for each latent."""
        if isinstance(self.value, tuple):
            return self.value
        return (self.value,) * len(self.latents)


def _more(value: float) -> str:
    return f"{abs(value):.3g} {'less' if value < 0 else 'more'}"


class Turning(NamedTuple):
    """The change ``z' - z (n, m)`` of the m latents that are turned."""

    latents: list[int]
    """Ascending."""
    change: Callable[[torch.Tensor], torch.Tensor]
    """Of raw states ``(n, d)``."""
    of_activations: Callable[[torch.Tensor], torch.Tensor]
    """Of the latents' activations ``(n, m)`` on them."""


def turning(sae: SAE, interventions: Iterable[Intervention]) -> Turning:
    """The change of activations by interventions; later ones act on the result of earlier ones.

    Raises
    ------
    InvalidInput
        A latent that the SAE does not have, or a value (from ``change``: an activation) beyond
        1e9 in size.
    """
    import torch

    steps = list(interventions)
    latents = check_interventions(steps, sae.n_latents)
    place = {latent: i for i, latent in enumerate(latents)}
    which = torch.tensor(latents, dtype=torch.int64)

    def of_activations(before: torch.Tensor) -> torch.Tensor:
        after = before.clone()
        for step in steps:
            columns = [place[latent] for latent in step.latents]
            after[:, columns] = _turned(step, after[:, columns], before[:, columns] > 0)
        if not bool((after.abs() <= LIMIT).all()):
            raise InvalidInput(
                f"That would make an activation larger than {LIMIT:g}: give smaller values "
                f"(activations here reach {float(before.abs().max()):.3g})."
            )
        return after - before

    def change(states: torch.Tensor) -> torch.Tensor:
        return of_activations(active_latents(sae, states.detach(), which))

    return Turning(latents, change, of_activations)


def turned_states(
    states: torch.Tensor, change: torch.Tensor, directions: torch.Tensor
) -> torch.Tensor:
    """States ``(n, d)`` plus changes ``(n, m)`` times directions ``(m, d)``.

    Where nothing changes a state is itself, bit for bit.
    """
    import torch

    moved = (change != 0).any(1, keepdim=True).to(states.device)
    return torch.where(moved, states + (change @ directions).to(states.device), states)


def check_interventions(steps: list[Intervention], n_latents: int) -> list[int]:
    """Return the latents that are turned, ascending.

    Raises
    ------
    InvalidInput
        A latent that an SAE of so many does not have, or that a step has twice, or a value beyond
        1e9 in size.
    """
    for step in steps:
        if len(step.values) != len(step.latents):
            raise InvalidInput(
                f"{len(step.values)} values for {len(step.latents)} latents: give one, or as many."
            )
        twice = [one for one in step.latents if step.latents.count(one) > 1]
        if twice:
            raise InvalidInput(f"Latent {twice[0]} is turned twice at once: name it once.")
        for value in step.values:
            if not abs(value) <= LIMIT:  # nor NaN
                raise InvalidInput(
                    f"A latent cannot be turned by {value:g}: give a number between "
                    f"-{LIMIT:g} and {LIMIT:g}."
                )
    latents = sorted({latent for step in steps for latent in step.latents})
    if latents and not 0 <= latents[0] <= latents[-1] < n_latents:
        bad = latents[0] if latents[0] < 0 else latents[-1]
        raise InvalidInput(f"There is no latent {bad}: the SAE has {n_latents}, from 0 on.")
    return latents


def active_latents(sae: SAE, states: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Activations ``(n, m)`` of some latents on raw states ``(n, d)``, where the SAE is."""
    import torch

    device = sae.W_dec.device
    slot = torch.full((sae.n_latents,), len(latents), device=device)
    slot[latents.to(device)] = torch.arange(len(latents), device=device)
    with torch.no_grad():
        code = sae.encode_sparse(states.to(device))
    z = code.values.new_zeros(len(states), len(latents) + 1)
    return z.scatter_add(1, slot[code.indices], code.values)[:, :-1]


def make_edit(
    sae: SAE, interventions: Iterable[Intervention]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The edit of raw states ``(..., d)``: h plus ``z' - z`` times :meth:`SAE.directions`, h itself
    where z is unchanged.

    What the SAE does not reconstruct stays in the state, so an intervention that changes nothing
    leaves scores bit-equal. Raises as :func:`turning` does.
    """
    latents, change_of, _ = turning(sae, interventions)
    directions = sae.directions()[latents]  # what an edit adds is worked out where the SAE is

    def edit(states: torch.Tensor) -> torch.Tensor:
        if not latents:
            return states
        flat = states.reshape(-1, states.shape[-1])
        return turned_states(flat, change_of(flat), directions).reshape(states.shape)

    return edit


def _turned(step: Intervention, z: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
    """Activations ``(n, len(step.latents))`` after one intervention."""
    import torch

    value = z.new_tensor(step.values)
    turned = {
        "set": lambda: value.expand_as(z),
        "scale": lambda: z * value,
        "add": lambda: z + value,
        "at_most": lambda: torch.minimum(z, value.expand_as(z)),
        "at_least": lambda: torch.maximum(z, value.expand_as(z)),
    }[step.op]()
    return torch.where(active, turned, z) if step.where == "active" else turned


def insert_reconstruction(sae: SAE) -> Callable[[torch.Tensor], torch.Tensor]:
    """The edit that replaces a state by its reconstruction, computed where the SAE is."""

    def rebuilt(states: torch.Tensor) -> torch.Tensor:
        reconstruction: torch.Tensor = sae(states.to(sae.W_dec.device)).to(states.device)
        return reconstruction

    return rebuilt
