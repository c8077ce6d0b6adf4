"""The two sentences that an explanation begins with, of facts made by hand."""

import pytest

from recsae.cli.shared.explained import what_matters, where_and_why

ALIEN = {"item": "a1", "title": "Alien"}
ALIENS = {"item": "a2", "title": "Aliens"}


def term(name, centred, status="verified"):
    return {"name": name, "centred": centred, "status": status}


def facts(terms=(), rest=(), rows=(), **item):
    place = {"rank": 3, "of": 1200, "in_history": False, "above_mean": 4.5}
    return {
        "item": {**ALIEN, **place, **item},
        "terms": list(terms),
        "rest": [{"name": name, "centred": centred} for name, centred in rest],
        "drivers": [{"latent": None, "items": list(rows)}] if rows else [],
    }


def test_where_it_stands_and_what_put_it_there():
    terms = [
        term("Horror", 2.0),
        term("1980s", -1.5),
        term("War", 1.0, "supported"),
        term("x", 0.5),
    ]
    assert where_and_why(facts(terms, [("offset of the SAE", 1.9)])) == (
        "Alien (a1) has rank 3 of 1,200, its score being +4.50 against the mean: raised most by "
        "Horror (+2.00) and War (+1.00, supported), lowered most by 1980s (−1.50)."
    )


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"rank": None}, "Alien (a1) is left out of the list, because the history has it, its"),
        ({"in_history": True}, "rank 3 of 1,200 (the history has it; --mask-seen leaves such"),
        ({}, "against the mean: no latent is active."),
    ],
)
def test_what_else_is_said_of_the_place(item, words):
    assert words in where_and_why(facts(**item))


def test_what_no_latent_says_is_said_where_it_is_most():
    said = where_and_why(facts([term("Horror", 1.0)], [("bias of the model", 3.0)]))
    assert said.endswith("and raised more still by what no latent says, bias of the model (+3.00).")


def row(item, back, **effects):
    return {**item, "back": back, **effects}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [
                row(ALIEN, 2, left_out=0.5, gradients=1.0),
                row(ALIENS, 1, left_out=0.1, gradients=-2.0),
            ],
            (
                "Of the history Alien (a1), 2 back, matters most: without it the score would be "
                "0.50 lower; by gradients it is Aliens (a2)."
            ),
        ),
        (
            [
                row(ALIENS, 1, left_out=-0.7, gradients=-2.0),
                row(ALIEN, 2, left_out=0.5, gradients=1),
            ],
            (
                "Of the history Aliens (a2), the newest, matters most: without it the score would "
                "be 0.70 higher, and gradients say so too."
            ),
        ),
        (
            [row(ALIENS, 1, left_out=0.7)],
            (
                "Of the history Aliens (a2), the newest, matters most: without it the score would "
                "be 0.70 lower."
            ),
        ),
        (
            [row(ALIENS, 1, gradients=0.7), row(ALIEN, 2, gradients=-3.0)],
            "Of the history Alien (a1), 2 back, matters most, by gradients.",
        ),
        ([], "Which item of the history matters most cannot be said."),
    ],
)
def test_which_item_of_the_history_matters_most(rows, said):
    assert what_matters(facts(rows=rows)) == said
