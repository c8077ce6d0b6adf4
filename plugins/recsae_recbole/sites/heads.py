"""The linear head behind a site, verified on the model's own scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from recsae.recommender.protocol import LinearHead

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from recsae_recbole.sites.default import ProbedModel
    from recsae_recbole.sites.taps import Tap

HEAD_TOLERANCE = 1e-4
"""Largest error of a head's scores, relative to the largest score: above single precision's."""


class Head(NamedTuple):
    """A head, and how it was found."""

    head: LinearHead
    parameter: str
    error: float
    """Largest difference from the model's scores, relative to the largest score."""


def find_head(probed: ProbedModel, tap: Tap) -> Head | None:
    """The head whose products with the states are the scores; None if there is none.

    An item table among the parameters is tried first. Otherwise the head is measured: the model's
    scores of the zero vector are the bias, and those of each unit vector a column of the table.
    Either way the result must give the model's own scores of real sequences.
    """
    states, scores = probed.states(tap), probed.scorer(probed.interaction)

    def error(head: LinearHead) -> float:
        gap = (head.score(states) - scores)[:, probed.real].abs().max()
        error = float(gap / (scores[:, probed.real].abs().max() + 1e-12))
        return error if error == error else float("inf")

    for name, table in probed.model.named_parameters():
        if table.shape == (len(probed.real), states.shape[1]):
            head = LinearHead(table.detach().cpu(), None)
            if error(head) <= HEAD_TOLERANCE:
                return Head(head, name, error(head))
    if probed.scorer.by_pairs or tap.layout != "rows":
        return None
    head = _measured_head(probed, tap, states)
    if error(head) > HEAD_TOLERANCE:
        return None
    return Head(head, _described(probed, head), error(head))


def _measured_head(probed: ProbedModel, tap: Tap, states: torch.Tensor) -> LinearHead:
    import torch

    n, width = states.shape
    size = float(states.abs().mean()) or 1.0  # of the states' own order, to lose few digits
    wanted = torch.cat([torch.zeros(1, width), size * torch.eye(width)])
    scores = []
    for part in wanted.split(n):
        with tap.edit(lambda h, part=part: _instead(h, part)):  # type: ignore[misc]
            scores.append(probed.scorer(probed.interaction[: len(part)]))
    answers = torch.cat(scores)
    bias = answers[0]
    items = ((answers[1:] - bias) / size).T.contiguous()
    items[~probed.real], bias[~probed.real] = 0, 0  # some models score padding -inf
    return LinearHead(items, bias if bool(bias.any()) else None)


def _instead(states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return wanted.to(states.device, states.dtype)


def _described(probed: ProbedModel, head: LinearHead) -> str:
    """Which parameter the head is made of, or how it was measured."""
    with_bias = "" if head.bias is None else ", plus a bias"
    items = head.items[probed.real]
    for name, table in probed.model.named_parameters():
        if table.dim() != 2 or table.shape[1] != items.shape[1] or len(table) < len(probed.real):
            continue
        rows = table.detach().cpu()[: len(probed.real)]
        for what, made in _versions(rows[probed.real]):
            scale = float((items * made).sum() / (made * made).sum().clamp_min(1e-12))
            gap = float((items - scale * made).abs().max())
            if gap <= HEAD_TOLERANCE * float(items.abs().max()):
                times = "" if abs(scale - 1) < HEAD_TOLERANCE else f", times {scale:.4g}"
                return f"{name}{what}{times}{with_bias}"
    return f"asked of the model with unit vectors{with_bias}"


def _versions(rows: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    yield "", rows
    yield ", rows normalised", rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    yield ", negative values cut off", rows.clamp_min(0)


def facts(head: Head | None) -> dict[str, Any] | None:
    """For ``inspect``."""
    return {"parameter": head.parameter, "relative_error": head.error} if head else None
