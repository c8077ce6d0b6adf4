"""How alike two runs are, beside a control, from comparisons made by hand."""

from types import SimpleNamespace

import pandas as pd
import pytest

from recsae.cli.compare import verdict
from recsae.explore import likeness
from recsae.explore.likeness import Control, Likeness, control_of, likeness_of

SUMMARY = [
    {"among": "latents", "level": "activity", "seeds": 0.1, "halves": 0.1, "chance": 0, "n": 90},
    {"among": "verified", "level": "direction", "seeds": 0.6, "halves": 0.3, "chance": 0, "n": 50},
    {
        "among": "verified",
        "level": "activity",
        "seeds": None,
        "halves": 0.7,
        "chance": 0.2,
        "n": 50,
    },
]


@pytest.fixture
def stability(monkeypatch):
    """Let the runs' reports hold these tables of what comes back."""

    def of(**by_run):
        facts = {name: {"stability": rows and {"summary": rows}} for name, rows in by_run.items()}
        monkeypatch.setattr(likeness, "report_facts", lambda folder: facts[folder.name])

    return of


def compared(method, changes, names=((), ())):
    table = pd.DataFrame(changes, columns=["change", "status_before"])
    return SimpleNamespace(
        matching=SimpleNamespace(method=method),
        before=SimpleNamespace(run="one"),
        after=SimpleNamespace(run="two"),
        names=SimpleNamespace(both=list(names[0]), lost=list(names[1])),
        changes=table,
    )


CHANGED = [
    *(("same name", "verified"), ("another name", "verified"), ("merged", "verified")),
    *(("lost", "verified"), ("lost", "unsupported"), ("split", "verified"), ("new", None)),
]


def test_verified_concepts_with_a_counterpart_are_counted(stability):
    stability(one=SUMMARY, two=None)
    found = likeness_of(compared("direction", CHANGED))
    assert (found.share, found.n) == (0.75, 4)
    assert found.control == Control("one", "seeds", 0.6, 0, 50)


def test_other_seeds_come_before_halves_and_the_first_run_before_the_second(stability):
    stability(one=None, two=SUMMARY)
    assert control_of("two", "activity") == Control("two", "halves", 0.7, 0.2, 50)
    assert control_of("one", "activity") is None
    assert likeness_of(compared("activity", CHANGED)).control.run == "two"


def test_names_have_no_control(stability):
    stability(one=SUMMARY, two=SUMMARY)
    found = likeness_of(compared("names", CHANGED, (("a",), ("b", "c", "d"))))
    assert (found.share, found.n, found.control, found.verdict) == (0.25, 4, None, None)


@pytest.mark.parametrize(
    ("share", "said"), [(0.9, "more"), (0.65, "as"), (0.6, "as"), (0.3, "less")]
)
def test_the_verdict_is_relative_to_the_control(share, said):
    found = Likeness(share, 100, Control("one", "halves", 0.6, 0.1, 100))
    assert found.verdict == said
    assert found.to_dict()["verdict"] == said


def test_in_words():
    control = Control("one", "halves", 0.6, 0.1, 100)
    assert verdict(Likeness(0.3, 100, control)) == (
        "Less alike than two trainings of one model's SAE: 30% of the 100 verified concepts of the "
        "first run have a counterpart in the second. Of those of one 60% have one where its own "
        "dictionary is made again on each half of the users; in random directions 10%."
    )
    assert verdict(Likeness(0.5, 10, None)).startswith("How alike is not known: 5 of the 10")
    assert verdict(Likeness(None, 0, control)).startswith("Nothing is verified in the first run")
