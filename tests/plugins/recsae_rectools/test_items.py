"""Titles and attributes: a table of one's own, or the categorical features of the data set."""

import pandas as pd
import pytest

pytest.importorskip("rectools")

from rectools.dataset import Dataset

from helpers.rectools_kit import attached, dataset, features, fitted, interactions
from recsae.core.errors import InvalidInput
from recsae_rectools.boundary import rectools_boundary
from recsae_rectools.open import open_model

pytestmark = pytest.mark.rectools


def test_every_value_of_every_item_by_hand():
    catalog = attached(with_features=True).catalog
    assert catalog.attributes == ("genre", "kind")
    said = features()
    for row in range(1, catalog.n_items):
        item = int(catalog.external_ids[row])
        for name in catalog.attributes:
            values = said.loc[(said["id"] == item) & (said["feature"] == name), "value"]
            assert sorted(catalog.frame[name][row]) == sorted(values), (item, name)
    assert catalog.frame["genre"][catalog.internal("100")] in [
        ("Comedy", "Drama"),
        ("Drama", "Comedy"),
    ]
    assert catalog.frame["kind"][catalog.internal("129")] == ()
    assert any(note.startswith("Attributes are the categorical features") for note in catalog.notes)


def test_some_features_only():
    found = open_model(fitted(), dataset=dataset(True), attribute_columns=["kind"])
    assert found.catalog.attributes == ("kind",)
    with pytest.raises(InvalidInput, match=r"no categorical feature 'kinds'; they have \['genre',"):
        open_model(fitted(), dataset=dataset(True), attribute_columns=["kinds"])
    with pytest.raises(InvalidInput, match="Titles are read from a table of items"):
        open_model(fitted(), dataset=dataset(True), title_column="title")


def test_features_that_are_numbers_are_no_attributes():
    numbers = pd.DataFrame({"id": range(100, 130), "price": 1.5})
    table = interactions()[interactions()["item_id"] < 999]
    with rectools_boundary():
        dense = Dataset.construct(table, item_features_df=numbers, make_dense_item_features=True)
    assert open_model(fitted(), dataset=dense).catalog.attributes == ()


def test_a_table_wins(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("id,title,genre\n" + "".join(f"{100 + i},T{i},x|y\n" for i in range(29)))
    found = open_model(fitted(), dataset=dataset(True), items=path)
    assert found.catalog.titles[found.catalog.internal("101")] == "T1"
    assert found.catalog.frame["genre"][1:].tolist().count(("x", "y")) == 29
    assert found.sources() == [str(path)]
    path.write_text("id,title\nq,T\n")
    with pytest.raises(InvalidInput, match=r"items.csv: No id in column 'id' of the item table"):
        open_model(fitted(), dataset=dataset(True), items=path)
