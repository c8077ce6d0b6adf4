"""What calibration to each user's own history reached, as a person reads it: the answer first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recsae.cli.shared.tables import Column, Columns, say, show_facts, show_rows
from recsae.report.words.formats import interval, number, times

if TYPE_CHECKING:
    from recsae.steering.calibration.results import CalibrationResult, Change


def show_calibrated(result: CalibrationResult) -> None:
    """The answer, then what was done and measured."""
    effect = result.effect
    say(answer(result))
    click.echo("")
    facts = {
        "done": result.done,
        "strength": f"for a loss of at most {_loss(result.allowed_loss)} on construction users",
        "held-out users": f"{effect.n_users:,}, {effect.n_positions:,} positions",
        "NDCG@10 kept": interval(effect.ndcg_kept),
        "calibration error": _changed(effect.error),
        "the quarter whose lists are off most": _changed(effect.worst),
    }
    if effect.quantile_error is not None:
        facts["popularity quantile error"] = _changed(effect.quantile_error)
    show_facts(facts)
    rows = [
        {
            "method": row.method + (" *" if row.method == result.recommended else ""),
            "loss": row.allowed_loss,
            "error": row.effect.error.after,
            "times": row.effect.error.ratio,
            "worst": row.effect.worst.ratio,
            "kept": row.effect.ndcg_kept,
        }
        for row in result.at_losses
    ]
    columns: Columns = {
        "method": Column("method", whole=True),
        "loss": Column("loss", _loss),
        "error": Column("error", number),
        "times": Column("times", times),
        "worst": Column("worst quarter", times, optional=True),
        "kept": Column("NDCG@10 kept", interval),
    }
    say(
        "\nWhat each method reaches at what loss. Strengths are chosen on construction users, who "
        "lose so much, and * is the method with the smaller error on them at "
        f"{_loss(result.allowed_loss)}; the rest is measured on held-out users, of whom fewer "
        "cases than above are taken:"
    )
    show_rows(columns, rows)
    say(
        "\nCalibration error: how far the shares of the values in each list are from their shares "
        "in the user's own history, as a Kullback-Leibler divergence; 0 is none."
    )


def answer(result: CalibrationResult) -> str:
    """By which method, how far the error falls, at what loss, and what the other reaches."""
    effect = result.effect
    said = (
        f"Lists calibrated to each user's own {result.attribute} by {result.method}: calibration "
        f"error {_changed(effect.error)}, with {interval(effect.ndcg_kept)} of NDCG@10 kept"
    )
    if effect.error.ratio[2] >= 1:
        said += ", which may be chance"
    others = [row for row in result.at_losses if row.allowed_loss == result.allowed_loss]
    mine = result.at(result.method, result.allowed_loss)
    beside = [
        f"By {row.method} it is {number(row.effect.error.after)} at that loss, where this reaches "
        f"{number(mine.effect.error.after)} on the same cases."
        for row in others
        if mine is not None and row.method != result.method
    ]
    return " ".join([f"{said}.", *(beside or ["No other method was tried."])])


def _changed(change: Change) -> str:
    return f"{number(change.before)} -> {number(change.after)}, {times(change.ratio)}"


def _loss(value: float) -> str:
    return f"{100 * value:g}%"
