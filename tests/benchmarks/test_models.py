"""The pure helpers behind the table of every model; the table itself is made by a command."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
WORKS = {
    "scores_change": True,
    "nothing_is_nothing": True,
    "as_before": True,
    "lists_change": 0.25,
}
ATTACHED = {"site": "sequence", "positions": "all", "share": None, "head": "dot", "seconds": 9.6}
MEASURED = {
    **ATTACHED,
    **WORKS,
    "ndcg": 0.1,
    "cases": 1234,
    "kept": 0.95,
    "interval": [0.9, 1.0],
    "verified": 3,
    "tested": 40,
}


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import models

    return models


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_lists_are_all_sequential_and_general_models_of_recbole(models: ModuleType) -> None:
    root = Path(pytest.importorskip("recbole").__file__).parent / "model"
    for folder, names in (
        ("sequential_recommender", models.SEQUENTIAL),
        ("general_recommender", models.GENERAL),
    ):
        files = {p.stem for p in (root / folder).glob("*.py")} - {"__init__"}
        assert {name.lower() for name in names} == files
        assert len(names) == len(files)


def test_a_measured_model_has_all_cells(models: ModuleType) -> None:
    line = cells(models.row("SASRec", {"seconds": 30.2}, MEASURED))
    assert dict(zip(models.COLUMNS, line, strict=True)) == {
        "model": "SASRec",
        "attaches": "yes",
        "site": "sequence",
        "positions per pass": "all",
        "share": "-",
        "head": "dot",
        "NDCG@10 (cases)": "0.100 (1,234)",
        "NDCG kept": "0.950 (0.900 to 1.000)",
        "concepts": "3 of 40",
        "steering": "yes, 25 %",
        "seconds": "30 + 10",
        "note": "",
    }


def test_a_refused_and_an_untrained_model_say_why(models: ModuleType) -> None:
    refused = {"error": "recsae cannot attach to Pop: it has no | state.", "seconds": 1.0}
    untrained = {"error": "RuntimeError: float != double", "seconds": 2.0}
    line = models.row("Pop", {"seconds": 1.0}, refused)
    assert line.startswith("| Pop | no | ")
    assert line.endswith("| 1 + 1 | recsae cannot attach to Pop: it has no \\| state. |")
    line = cells(models.row("KSR", untrained, {}))
    assert line[1] == "no"
    assert line[-2:] == ["2", "RecBole cannot train it: RuntimeError: float != double"]
    assert len(line) == len(models.COLUMNS)


def test_a_model_that_fails_after_attaching_is_attached_and_says_why(models: ModuleType) -> None:
    line = cells(models.row("BPR", {"seconds": 1.0}, {**ATTACHED, "error": "ValueError: x"}))
    assert line[1] == "yes"
    assert line[-1] == "ValueError: x"


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ("scores_change", "no: scores do not change"),
        ("nothing_is_nothing", "no: scores differ with nothing turned"),
        ("as_before", "no: scores differ afterwards"),
    ],
)
def test_steering_that_does_not_work_says_what_goes_wrong(
    fact: str, words: str, models: ModuleType
) -> None:
    assert models.steering_of(WORKS) == "yes, 25 %"
    assert models.steering_of({**WORKS, fact: False}) == words
    assert models.steering_of(ATTACHED) == ""


def test_a_user_counts_once_however_many_lists_change(models: ModuleType) -> None:
    from models_measuring import share_of_users

    changed, users = np.array([True, True, False, False]), np.array([7, 7, 7, 9])
    assert share_of_users(changed, users) == 0.5


def test_a_page_has_a_table_for_each_kind_that_was_asked_for(models: ModuleType) -> None:
    rows: dict[str, Any] = {"SASRec": ({"seconds": 80.0}, {**MEASURED, "seconds": 100.0})}
    pytest.importorskip("recbole")
    text = models.page(rows, jobs=2)
    assert "3 minutes in all; 2 at a time." in text
    assert "## Sequential models" in text
    assert "## General models" not in text
    assert "; DGCF `user_inter_num_interval` [20,40], `epochs` 8;" in text
    rows["BPR"] = ({"seconds": 1.0}, {"error": "no", "seconds": 1.0})
    assert "| BPR | no |" in models.page(rows, jobs=2).partition("## General models")[2]
    rows["LightFM"] = ({"seconds": 1.0, "error": "No module named 'lightfm'"}, {})
    factors = models.page(rows, jobs=2).partition("## Factor models")[2]
    assert "| It cannot be trained: No module named 'lightfm' |" in factors
    assert "BPR" not in factors


def test_models_that_are_not_measured_again_keep_their_lines(
    models: ModuleType, tmp_path: Path
) -> None:
    pytest.importorskip("recbole")
    page = tmp_path / "MODELS.md"
    both: dict[str, Any] = {"SASRec": ({"seconds": 80.0}, {**MEASURED, "seconds": 100.0})}
    both["BPR"] = ({"seconds": 1.0}, {"error": "no", "seconds": 1.0})
    page.write_text(models.page(both, 1), encoding="utf-8")
    text = models.page(
        {"BPR": ({"seconds": 2.0}, {"error": "yes", "seconds": 1.0})}, 1, models.lines_of(page)
    )
    assert models.row("SASRec", *both["SASRec"]) in text
    assert "| BPR | no | " in text
    assert "| 2 + 1 | yes |" in text
    assert "Of today: BPR." in text
    assert models.lines_of(tmp_path / "none.md") == {}


def test_errors_of_recsae_stand_alone_and_others_with_their_kind(models: ModuleType) -> None:
    from models_measuring import one_line

    from recsae.core.errors import CannotOpenModel

    assert one_line(CannotOpenModel("No\nstate.")) == "No state."
    assert one_line(ValueError("bad")) == "ValueError: bad"


def test_factor_models_are_of_the_users_of_general_ones_and_do_not_know_the_last_item(
    models: ModuleType,
) -> None:
    from models_factors import split

    rows = [(user, f"i{i}", 100 - i) for user in "abcde" for i in range(20)]
    rows += [("f", f"i{i}", i) for i in range(3)]  # too few
    rows += [("a", "rare", 500)]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    train, test = split(table, "[20,100]")
    assert (len(train), len(test)) == (5 * 19, 5)
    assert {*test["item"]} == {"i0"}
    assert "i0" not in {*train["item"]}
