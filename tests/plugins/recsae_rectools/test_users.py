"""What the features of a data set say of its users."""

import pandas as pd
import pytest

pytest.importorskip("rectools")

from rectools.dataset import Dataset

from helpers.rectools_kit import attached, fitted, interactions
from recsae_rectools.boundary import rectools_boundary
from recsae_rectools.open import open_model

pytestmark = pytest.mark.rectools


def test_categorical_features_by_user():
    rows = [(f"u{i}", "job", ["nurse", "pilot"][i % 2]) for i in range(39)]
    rows.append(("u0", "job", "poet"))
    said = pd.DataFrame(rows, columns=["id", "feature", "value"])
    with rectools_boundary():
        data = Dataset.construct(interactions(), user_features_df=said, cat_user_features=["job"])
    table = open_model(fitted(), dataset=data).user_table()
    assert list(table.columns) == ["job"]
    assert sorted(table["job"]["u0"]) == ["nurse", "poet"]
    assert table["job"]["u1"] == ("pilot",)
    assert table["job"]["u39"] == ()
    assert "alone" not in table.index


def test_nothing_is_known():
    assert attached().user_table() is None
