"""Turning latents: what is added to a hidden state, and what that does to the recommendations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from recsae.errors import InvalidInput
from recsae.lists import best_items, hits_in, scores_of_groups
from recsae.metrics import ranking_metrics

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from recsae.concepts import ConceptDictionary
    from recsae.recommender import EvaluationCases, Recommender
    from recsae.sae import SAE

LIMIT = 1e9
"""Activations beyond it would overflow in the scores."""


@dataclass(frozen=True)
class Intervention:
    """What happens to some latents: their activation is set to, or multiplied by, ``value``.

    Setting to 0 or scaling by 0 ablates; scaling by 1 does nothing. ``set`` reaches every
    sequence, ``scale`` only those on which a latent is active.
    """

    latents: tuple[int, ...]
    op: Literal["set", "scale"]
    value: float
    name: str = ""

    def __str__(self) -> str:
        what = (
            "ablated" if self.value == 0 else f"{'x' if self.op == 'scale' else '= '}{self.value:g}"
        )
        return f"{self.name or ', '.join(map(str, self.latents))} {what}"


_SETTING = re.compile(
    r"^(?P<what>.+?)\s*=\s*(?P<op>[x*×]?)\s*(?P<value>[-+]?[\d.]+(e[-+]?\d+)?|off)$", re.I
)


def parse_intervention(
    text: str, dictionary: ConceptDictionary | None, among: NDArray[np.int64] | None = None
) -> Intervention:
    """Read ``"Horror=0"``, ``"203=x2"`` or ``"203=1.5"``.

    A concept's name stands for all its latents (those in ``among``, e.g. the verified ones, if any
    of them is there).

    >>> parse_intervention("203=x2", None)
    Intervention(latents=(203,), op='scale', value=2.0, name='203')

    Raises
    ------
    InvalidInput
        Not of that form, or no such latent or concept.
    """
    match = _SETTING.match(text.strip())
    try:
        value = 0.0 if match and match["value"].lower() == "off" else float(match["value"])  # type: ignore[index]
    except (TypeError, ValueError):
        value = float("nan")
    if match is None or not np.isfinite(value):
        raise InvalidInput(
            f"Cannot read the setting {text!r}: write CONCEPT=VALUE, e.g. 'Horror=0' to switch it "
            "off, '203=x2' to double latent 203, '203=1.5' to set it."
        )
    what = match["what"].strip()
    if dictionary is not None:
        latents = tuple(dictionary.find(what, among))
    elif what.isdecimal():
        latents = (int(what),)
    else:
        raise InvalidInput(f"{what!r} is a name, and there is no concept dictionary to look it up.")
    return Intervention(latents, "scale" if match["op"] else "set", value, what)


def make_edit(
    sae: SAE, interventions: Iterable[Intervention]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The edit of raw states ``(..., d)``: ``h + (z' - z) W_dec``, h itself where z is unchanged.

    What the SAE does not reconstruct stays in the state, so an intervention that changes nothing
    leaves scores bit-equal. Later interventions on a latent act on the result of earlier ones.

    Raises
    ------
    InvalidInput
        A latent that the SAE does not have, or a value (from the edit: an activation) beyond 1e9
        in size.
    """
    import torch

    steps = list(interventions)
    for step in steps:
        if not abs(step.value) <= LIMIT:  # nor NaN
            raise InvalidInput(
                f"A latent cannot be turned by {step.value:g}: give a number between "
                f"-{LIMIT:g} and {LIMIT:g}."
            )
    latents = sorted({latent for step in steps for latent in step.latents})
    if latents and not 0 <= latents[0] <= latents[-1] < sae.n_latents:
        bad = latents[0] if latents[0] < 0 else latents[-1]
        raise InvalidInput(f"There is no latent {bad}: the SAE has {sae.n_latents}, from 0 on.")
    place = {latent: i for i, latent in enumerate(latents)}
    directions = sae.directions()[latents]  # what an edit adds is worked out where the SAE is
    slot = torch.full((sae.n_latents,), len(latents), device=directions.device)
    slot[latents] = torch.arange(len(latents), device=directions.device)

    def edit(states: torch.Tensor) -> torch.Tensor:
        if not latents:
            return states
        flat = states.reshape(-1, states.shape[-1])
        code = sae.encode_sparse(flat.detach().to(directions.device))
        before = code.values.new_zeros(len(flat), len(latents) + 1)
        before = before.scatter_add(1, slot[code.indices], code.values)[:, :-1]
        after = before.clone()
        for step in steps:
            columns = [place[latent] for latent in step.latents]
            after[:, columns] = after[:, columns] * step.value if step.op == "scale" else step.value
        if not bool((after.abs() <= LIMIT).all()):
            raise InvalidInput(
                f"That would make an activation larger than {LIMIT:g}: give smaller values "
                f"(activations here reach {float(before.abs().max()):.3g})."
            )
        change = after - before
        moved = (change != 0).any(1, keepdim=True).to(flat.device)
        edited = torch.where(moved, flat + (change @ directions).to(flat.device), flat)
        return edited.reshape(states.shape)

    return edit


@contextmanager
def steer(
    recommender: Recommender,
    sae: SAE,
    interventions: Iterable[Intervention] | Mapping[int, float],
    *,
    site: str | None = None,
) -> Iterator[Recommender]:
    """Within the context the recommender's scores are those of the steered model.

    Parameters
    ----------
    interventions
        Interventions, or ``{latent: value}`` to set latents.
    site
        The site that the SAE was trained on; default the first.

    Notes
    -----
    The model's own scoring and its framework's own evaluation see the edit as well. The model is
    as before afterwards, also when an exception leaves the context.
    """
    if isinstance(interventions, Mapping):
        interventions = [Intervention((j,), "set", float(v)) for j, v in interventions.items()]
    with recommender.edit(make_edit(sae, interventions), site):
        yield recommender


@dataclass(frozen=True)
class Effect:
    """Metrics of the lists of n groups of cases, and the share of target items in the top 10."""

    metrics: dict[str, float]
    target_share: float
    n_users: int


def restrict(cases: EvaluationCases, keep: NDArray[np.bool_]) -> EvaluationCases:
    """The cases of some users only, ranked in full.

    Groups stay together, but for cases that only shared a list of sampled candidates: in full,
    each of them has a list of its own, unless lists are of users and leave out their histories.
    """
    together = cases.candidates is None or cases.hides_history
    groups = cases.groups[keep] if together else np.arange(int(keep.sum()))
    return replace(
        cases,
        rows=cases.rows[keep],
        ends=cases.ends[keep],
        targets=cases.targets[keep],
        groups=np.unique(groups, return_inverse=True)[1],
        candidates=None,
        metrics=tuple(dict.fromkeys((*cases.metrics, "ndcg"))),
    )


def effect_of(
    lists: NDArray[np.int64], cases: EvaluationCases, target: NDArray[np.bool_]
) -> Effect:
    """Measure lists ``(n_groups, k)``.

    ``target (n_items,)`` says which items an intervention is about.
    """
    values = ranking_metrics(*hits_in(lists, cases), cases.metrics, cases.topk)
    return Effect(
        {name: float(v.mean()) for name, v in values.items()},
        float(target[lists[:, :10]].mean()),
        len(np.unique(cases.rows)),
    )


def top_lists(recommender: Recommender, cases: EvaluationCases) -> NDArray[np.int64]:
    """``(n_groups, k)`` what the recommender puts on top for each group, edits applied.

    Items of the history are left out if the cases say so; see :func:`recsae.lists.best_items`.
    """
    k = max(cases.topk)
    scored = scores_of_groups(recommender, cases)
    return np.concatenate([best_items(s, recommender.catalog, k).numpy() for _, s in scored])
