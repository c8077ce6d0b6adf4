"""Attributes that lists can be calibrated by, by name."""

import numpy as np
import pytest

from helpers.runs import planted_open, with_pieces
from recsae.concepts.attributes.table import ItemAttributes
from recsae.core.errors import InvalidInput
from recsae.steering.steps.targets import item_shares

pytestmark = pytest.mark.end_to_end


def test_an_attribute_of_the_items_own():
    work = planted_open()
    shares = item_shares(work, " Genre ")
    assert shares.attribute == "genre"
    columns = [j for j, (attribute, _) in enumerate(work.attributes.names) if attribute == "genre"]
    assert shares.names == tuple(work.attributes.names[j][1] for j in columns)
    has = work.attributes.matrix[:, columns].toarray() > 0
    assert shares.n_values.tolist() == has.sum(1).tolist()
    for item in np.flatnonzero(has.any(1))[:20]:
        mine = shares.values[item, : shares.n_values[item]]
        assert mine.tolist() == np.flatnonzero(has[item]).tolist()


def test_popularity_is_in_three_groups():
    shares = item_shares(planted_open(), "popularity")
    assert shares.names == ("head", "middle", "tail")
    assert shares.n_values[0] == 0
    assert shares.n_values[1:].tolist() == [1] * 240


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("genr", "Items have no attribute 'genr'. Did you mean 'genre'"),
        ("length", "'length' is not an attribute of the items' own"),
        ("", "Items have no attribute ''"),
    ],
)
def test_what_items_do_not_have(name, message):
    with pytest.raises(InvalidInput, match=message) as raised:
        item_shares(planted_open(), name)
    assert "Lists can be calibrated by popularity or genre" in str(raised.value)


def test_one_value_gives_every_list_the_same_shares():
    work = planted_open()
    column = [attribute for attribute, _ in work.attributes.names].index("genre")
    one = ItemAttributes(work.attributes.matrix[:, [column]], (work.attributes.names[column],))
    with pytest.raises(InvalidInput, match=r"only one value .* calibrated by popularity\.$"):
        item_shares(with_pieces(work, attributes=one), "genre")
