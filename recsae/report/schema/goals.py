"""Steering by goal, and whether labels say what turning a latent does: blocks of the report."""

from pydantic import Field

from recsae.report.schema.obeyed import Obeyed
from recsae.report.schema.parts import Count, Figure, Part

Measured = tuple[Figure, Figure, Figure]
"""A figure with the lower and the upper end of its 95 % interval, users being the unit."""


class AtLoss(Part):
    """What held-out users get at the strength at which others lose ``allowed_loss`` of NDCG@10.

    ``value`` is the goal's quantity, ``times`` what it is multiplied with. ``gini`` and
    ``head_share`` (of the lists) are there for goals of popularity, ``lists_with_any`` for items
    that are never to be recommended.
    """

    allowed_loss: Figure
    strength: Figure
    ndcg_kept: Measured
    value: Figure
    times: Figure
    gini: Figure = None
    head_share: Figure = None
    lists_with_any: Figure = None


class Turned(Part):
    """What is done to a latent: multiplied with ``times`` where it is active, ``plus`` for all.

    ``plus_sd`` is ``plus`` in standard deviations of its activation.
    """

    latent: Count
    name: str
    verified: bool
    times: Figure
    plus: Figure
    plus_sd: Figure


class SideEffect(Part):
    """The share of the lists of another attribute value."""

    value: str
    before: Figure
    after: Figure


class PopularityFigure(Part):
    """A measure of the lists' popularity; ``kept`` where it is the NDCG@10 of some users."""

    measure: str
    before: Figure
    after: Figure
    kept: Measured | None = None


class WayThere(Part):
    """A way to the goal, on fewer held-out cases that are the same for every way.

    ``at`` is the goal's quantity at a loss of at most, ``area`` its mean gain over all losses to
    10 %, ``others_move`` the mean change of other attributes' shares at 5 %, either way. ``curve``:
    NDCG@10 kept and the goal's quantity at each strength tried.
    """

    way: str
    at: dict[str, Figure]
    area: Figure
    others_move: Figure
    curve: list[tuple[Figure, Figure]]


class ReachedGoal(Part):
    """What is reached for one goal, on held-out users, by the method that reaches most on others.

    ``done`` are its steps in words. ``latents`` are those that it turns, the most moved first.
    """

    goal: str
    quantity: str
    allowed_loss: Figure
    strength: Figure
    n_users: Count
    n_positions: Count
    before: Figure
    after: Figure
    times: Measured
    ndcg_kept: Measured
    strengths: list[AtLoss]
    latents: list[Turned]
    side_effects: list[SideEffect]
    popularity: list[PopularityFigure] = Field(default_factory=list)
    ways: list[WayThere] = Field(default_factory=list)
    verdict: str | None = None
    method: str = "latents"
    done: list[str] = Field(default_factory=list)


class CheckedWay(Part):
    """How many of the latents did what their labels say, when all were turned the same way.

    ``right_signs`` is the share whose change has the sign that the label says (no change counts
    one half), ``right_signs_shuffled`` the same with the labels of other latents.
    ``rank_correlation`` is of the changes with what was worked out beforehand.
    """

    intervention: str
    agree: Count
    disagree: Count
    cannot_be_told: Count
    right_signs: Figure
    right_signs_shuffled: Figure
    rank_correlation: Measured | None


class LabelCheck(Part):
    """Do labels say what turning does? ``n_verified`` are those whose labels speak of items."""

    n_tried: Count
    n_verified: Count
    rows: list[CheckedWay]


class Goals(Part):
    """Goals that were tried, those that could not be and why, and the check of labels."""

    rows: list[ReachedGoal]
    skipped: dict[str, str] = Field(default_factory=dict)
    check: LabelCheck | None = None
    check_skipped: str | None = None
    obeyed: Obeyed | None = None
    obeyed_skipped: str | None = None
