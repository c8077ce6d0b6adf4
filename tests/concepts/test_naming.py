"""Names of a dictionary: every concept has its own, and says first what it is about."""

import pandas as pd
import pytest

from recsae.concepts.labeler import cells_of
from recsae.concepts.naming import told_apart
from recsae.concepts.wording import Predicate
from recsae.core import columns as C

DRAMA = Predicate("last5", "genre", "Drama", 2)
NOTHING = cells_of(None)


def named(*labels):
    """Names of concepts with these (about, first, second) predicates."""
    rows = [
        (
            latent,
            about,
            about,
            "…",
            "attributes",
            "found",
            *cells_of(one),
            None,
            *cells_of(two),
            *cells_of(None),
        )
        for latent, (about, one, two) in enumerate(labels)
    ]
    columns = ["latent", "name", "about", *C.LABEL_COLUMNS[2:]]
    return told_apart(pd.DataFrame(rows, columns=columns))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([("Drama", DRAMA, None), ("War", DRAMA, None)], ["Drama", "War"]),
        (
            [("Drama", DRAMA, None), ("Drama", DRAMA._replace(view="top10"), None)],
            ["Drama in the last 5 items", "Drama in the recommendations"],
        ),
        (
            [("Drama", DRAMA, None), ("Drama", DRAMA._replace(threshold=5), None)],
            ["Drama, at least 2 of the last 5 items", "Drama, all last 5 items"],
        ),
        ([("Drama", DRAMA, None)] * 2, ["Drama (latent 0)", "Drama (latent 1)"]),
        (
            [("Drama", DRAMA, None)] * 2 + [("Drama", DRAMA._replace(view="last"), None)],
            ["Drama (latent 0)", "Drama (latent 1)", "Drama as the last item"],
        ),
        (
            [
                ("Drama + War", DRAMA, DRAMA._replace(view="top10")),
                ("Drama + War", DRAMA, DRAMA),
                ("Drama + War", DRAMA, DRAMA._replace(threshold=1, negated=True)),
            ],
            [
                "Drama + War, in the last 5 items and in the recommendations",
                "Drama + War, at least 2 of the last 5 items",
                "Drama + War, at least 2 of the last 5 items, none of the last 5 items",
            ],
        ),
        (
            [("general-purpose", None, None), ("general-purpose", None, None)],
            ["general-purpose (latent 0)", "general-purpose (latent 1)"],
        ),
        (
            [
                ("Drama", DRAMA, None),
                ("Drama", DRAMA, None),
                ("Drama (latent 0)", DRAMA, None),  # a value that looks like a name
            ],
            ["Drama, … (0)", "Drama (latent 1)", "Drama (latent 0)"],
        ),
    ],
)
def test_told_apart_by_where_how_much_or_latent(labels, names):
    assert named(*labels) == names
    assert len(set(names)) == len(names)
