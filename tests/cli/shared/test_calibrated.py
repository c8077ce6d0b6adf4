"""What calibration reached, in words."""

from recsae.cli.shared.calibrated import answer, show_calibrated
from recsae.steering.calibration.results import (
    CalibrationAtLoss,
    CalibrationEffect,
    CalibrationResult,
    Change,
)

KEPT = (0.99, 0.98, 1.0)


def effect(after=0.4, high=0.55, quantiles=None):
    error = Change(0.8, after, (after / 0.8, 0.45, high))
    return CalibrationEffect(84, 1980, KEPT, error, Change(1.2, 0.5, (0.42, 0.4, 0.44)), quantiles)


def result(rows=("greedy", "per-user"), **more):
    at_losses = tuple(
        CalibrationAtLoss(name, loss, 0.2, effect(after=0.4 if name == "greedy" else 0.6))
        for name in rows
        for loss in (0.01, 0.02)
    )
    return CalibrationResult(
        *("genre", ("A", "B"), 0.01, "greedy", "greedy", 0.2, 100),
        {"greedy": 0.4, "per-user": 0.6},
        effect(**more),
        at_losses,
        "calibrated to each user's own genre greedily within the first 100 (strength 0.2)",
    )


def test_the_answer_says_what_both_methods_reach():
    assert answer(result()) == (
        "Lists calibrated to each user's own genre by greedy: calibration error 0.80 -> 0.40, "
        "×0.50 (0.45 to 0.55), with 99.0% (98.0 to 100.0) of NDCG@10 kept. By per-user it is 0.60 "
        "at that loss, where this reaches 0.40 on the same cases."
    )


def test_one_method_alone_and_what_may_be_chance():
    said = answer(result(rows=("greedy",), high=1.01))
    assert "of NDCG@10 kept, which may be chance. No other method was tried." in said


def test_the_table_and_the_worst_quarter(capsys):
    show_calibrated(result(quantiles=Change(0.2, 0.1, (0.5, 0.4, 0.6))))
    out = capsys.readouterr().out
    assert "held-out users: 84, 1,980 positions" in out
    assert "the quarter whose lists are off most: 1.20 -> 0.50, ×0.42 (0.40 to 0.44)" in out
    assert "popularity quantile error: 0.20 -> 0.10, ×0.50 (0.40 to 0.60)" in out
    rows = [line.split()[:3] for line in out.splitlines() if line.startswith(("greedy", "per-"))]
    assert rows == [
        ["greedy", "*", "1%"],
        ["greedy", "*", "2%"],
        ["per-user", "1%", "0.60"],
        ["per-user", "2%", "0.60"],
    ]
