"""The block of ``report.json`` on steering by goal, from what the stage left in ``goals.json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recsae.pipeline.stages.goals import GoalsRecord
from recsae.report.schema.goals import (
    AtLoss,
    CheckedWay,
    Goals,
    LabelCheck,
    PopularityFigure,
    ReachedGoal,
    SideEffect,
    Turned,
    WayThere,
)
from recsae.report.schema.obeyed import Obeyed, TwoByTwo
from recsae.steering.tuning.results import loss_key

if TYPE_CHECKING:
    from recsae.steering.label_results import CheckSummary
    from recsae.steering.obeyed.results import ObeyedSummary
    from recsae.steering.tuning.results import (
        EffectAtLoss,
        LatentSetting,
        MethodResult,
        TuningResult,
    )


def goals_block(content: dict[str, Any]) -> Goals:
    """Say what ``goals.json`` says under the names of the schema."""
    record = GoalsRecord.from_dict(content)
    return Goals(
        rows=[_goal(goal) for goal in record.goals],
        skipped=record.skipped,
        check=_check(record.check) if record.check else None,
        check_skipped=record.check_skipped,
        obeyed=_obeyed(record.obeyed) if record.obeyed else None,
        obeyed_skipped=record.obeyed_skipped,
    )


def _obeyed(summary: ObeyedSummary) -> Obeyed:
    return Obeyed(
        n_cases=summary.n_cases,
        n_users=summary.n_users,
        codes=[TwoByTwo.model_validate(asdict(row)) for row in summary.codes],
        not_turned=summary.not_turned,
    )


def _goal(goal: TuningResult) -> ReachedGoal:
    return ReachedGoal(
        goal=goal.goal,
        quantity=goal.quantity,
        allowed_loss=goal.allowed_loss,
        strength=goal.strength,
        n_users=goal.effect.n_users,
        n_positions=goal.effect.n_positions,
        before=goal.effect.before,
        after=goal.effect.after,
        times=goal.effect.ratio,
        ndcg_kept=goal.effect.ndcg_kept,
        strengths=[_at_loss(row) for row in goal.at_losses],
        latents=[_turned(row) for row in goal.latents],
        side_effects=[
            SideEffect(value=row.value, before=row.before, after=row.after)
            for row in goal.side_effects
        ],
        popularity=[
            PopularityFigure(
                measure=row.measure, before=row.before, after=row.after, kept=row.ndcg_kept
            )
            for row in goal.popularity
        ],
        ways=[_way(row) for row in goal.methods],
        verdict=goal.verdict,
        method=goal.method,
        done=list(goal.done),
    )


def _at_loss(row: EffectAtLoss) -> AtLoss:
    return AtLoss(
        allowed_loss=row.allowed_loss,
        strength=row.strength,
        ndcg_kept=row.ndcg_kept,
        value=row.value,
        times=row.ratio,
        gini=row.gini,
        head_share=row.head_share,
        lists_with_any=row.lists_with_any,
    )


def _turned(row: LatentSetting) -> Turned:
    return Turned(
        latent=row.latent,
        name=row.name,
        verified=row.verified,
        times=row.scale,
        plus=row.bias,
        plus_sd=row.bias_sd,
    )


def _way(row: MethodResult) -> WayThere:
    return WayThere(
        way=row.method,
        at={loss_key(loss): value for loss, value in row.at_loss.items()},
        area=row.area,
        others_move=row.others_move,
        curve=list(row.curve),
    )


def _check(check: CheckSummary) -> LabelCheck:
    return LabelCheck(
        n_tried=check.n_checked,
        n_verified=check.n_verified,
        rows=[
            CheckedWay(
                intervention=name,
                agree=summary.n_agree,
                disagree=summary.n_disagree,
                cannot_be_told=summary.n_undecided,
                right_signs=summary.right_signs,
                right_signs_shuffled=summary.right_signs_shuffled,
                rank_correlation=summary.rank_correlation,
            )
            for name, summary in check.by_intervention.items()
        ],
    )
