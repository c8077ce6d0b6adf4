"""The block of ``report.json`` on steering by goal, from what the stage left in ``goals.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recsae.pipeline.stages.goals import GoalsRecord
from recsae.steering.tuning.results import loss_key

if TYPE_CHECKING:
    from recsae.steering.label_results import CheckSummary
    from recsae.steering.tuning.results import EffectAtLoss, MethodResult, TuningResult


def goals_block(content: dict[str, Any]) -> dict[str, Any]:
    """Say what ``goals.json`` says under the names of the schema."""
    record = GoalsRecord.from_dict(content)
    return {
        "rows": [_goal(goal) for goal in record.goals],
        "skipped": record.skipped,
        "check": _check(record.check) if record.check else None,
        "check_skipped": record.check_skipped,
    }


def _goal(goal: TuningResult) -> dict[str, Any]:
    return {
        "goal": goal.goal,
        "quantity": goal.quantity,
        "strength": goal.strength,
        "before": goal.effect.before,
        "after": goal.effect.after,
        "times": goal.effect.ratio,
        "allowed_loss": goal.allowed_loss,
        "n_users": goal.effect.n_users,
        "n_positions": goal.effect.n_positions,
        "ndcg_kept": goal.effect.ndcg_kept,
        "strengths": [_at_loss(row) for row in goal.at_losses],
        "latents": [
            {
                "latent": row.latent,
                "name": row.name,
                "verified": row.verified,
                "times": row.scale,
                "plus": row.bias,
                "plus_sd": row.bias_sd,
            }
            for row in goal.latents
        ],
        "side_effects": [
            {"value": row.value, "before": row.before, "after": row.after}
            for row in goal.side_effects
        ],
        "popularity": [
            {
                "measure": row.measure,
                "before": row.before,
                "after": row.after,
                "kept": row.ndcg_kept,
            }
            for row in goal.popularity
        ],
        "ways": [_method(row) for row in goal.methods],
        "verdict": goal.verdict,
    }


def _at_loss(row: EffectAtLoss) -> dict[str, Any]:
    return {
        "allowed_loss": row.allowed_loss,
        "strength": row.strength,
        "ndcg_kept": row.ndcg_kept,
        "value": row.value,
        "times": row.ratio,
        "gini": row.gini,
        "head_share": row.head_share,
        "lists_with_any": row.lists_with_any,
    }


def _method(row: MethodResult) -> dict[str, Any]:
    return {
        "way": row.method,
        "area": row.area,
        "curve": row.curve,
        "at": {loss_key(loss): value for loss, value in row.at_loss.items()},
        "others_move": row.others_move,
    }


def _check(check: CheckSummary) -> dict[str, Any]:
    return {
        "n_tried": check.n_checked,
        "n_verified": check.n_verified,
        "rows": [
            {
                "intervention": name,
                "agree": summary.n_agree,
                "disagree": summary.n_disagree,
                "cannot_be_told": summary.n_undecided,
                "right_signs": summary.right_signs,
                "right_signs_shuffled": summary.right_signs_shuffled,
                "rank_correlation": summary.rank_correlation,
            }
            for name, summary in check.by_intervention.items()
        ],
    }
