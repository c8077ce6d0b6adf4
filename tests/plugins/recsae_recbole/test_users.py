"""The raw `.user` file is read whatever the settings load, and keeps no checkpoint from opening."""

import numpy as np
import pytest

pytest.importorskip("recbole")

from helpers.recbole_kit import live, opened, small_checkpoint, write_data
from recsae.testing import check_recommender
from recsae_recbole.open import open_checkpoint, open_live

pytestmark = pytest.mark.recbole

HEAD = "age:token\tuser_id:token\tjob:token\tlikes:token_seq\tincome:float\tvector:float_seq\n"


@pytest.fixture
def shop(tmp_path):
    """A checkpoint whose settings load no column of users."""
    return small_checkpoint(tmp_path / "x.pth")


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / "shop", "shop")


def read(shop, data, text):
    (data / "shop.user").write_text(text)
    return open_checkpoint(shop, trust=True, data_path=data)


def test_users_are_read_though_the_checkpoint_does_not_load_them(shop, data):
    rows = "24\t003\tdata_nurse\ttea jazz\t1.5\t1 2\n\t001\tnone\t\t\t3 4\n7\tnobody\tcook\t\t1\t\n"
    recommender = read(shop, data, HEAD + rows)
    table = recommender.user_table()
    assert table.index.tolist() == list(recommender.sequences().users)
    assert list(table) == ["age", "job", "likes", "income"]
    assert recommender.describe()["user_columns"] == list(table)
    assert table.loc["003"].tolist() == [24, ("data nurse",), ("tea", "jazz"), 1.5]
    assert table.loc["001", ["job", "likes"]].tolist() == [(), ()]
    assert np.isnan(table.loc["001", ["age", "income"]].to_numpy(dtype=float)).all()
    assert "[PAD]" not in table.index
    assert str(data / "shop.user") in recommender.sources()
    assert "user table is of the sequences" in check_recommender(recommender)


def test_columns_that_the_checkpoint_loads_are_the_same(tmp_path):
    recommender = open_checkpoint(small_checkpoint(tmp_path / "x.pth", "DIN"), trust=True)
    ages = recommender.user_table()["age"]
    assert ages.to_dict() == {user: 20 + int(user) % 3 for user in recommender.sequences().users}


def test_no_user_file(shop, data):
    recommender = open_checkpoint(shop, trust=True, data_path=data)
    assert recommender.user_table() is None
    assert recommender.describe()["user_columns"] == []


def test_ml_100k_has_one():
    table = opened().user_table()
    assert list(table) == ["age", "gender", "occupation", "zip_code"]
    assert table.loc["196"].tolist() == [49, ("M",), ("writer",), ("55105",)]


def test_of_a_model_in_memory(data):
    config, model = live()
    (data / "shop.user").write_text("user_id:token\tage:token\n003\t24\n")
    assert open_live(config, model, data_path=data).user_table().loc["003", "age"] == 24


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Nothing is said of users by shop.user: cannot be read (EmptyDataError"),
        ("id:token\tage:token\n003\t24\n", "it has no column 'user_id', only ['id', 'age']."),
        ("user_id:token\tage:token\n3\t24\n", "No id in column 'user_id'"),
        ("user_id:token\tage:token\n003\t24\n003\t25\n", "1 repeated ids, '003' among them"),
    ],
)
def test_a_spoiled_user_file_is_noted(text, words, shop, data):
    recommender = read(shop, data, text)
    assert recommender.user_table() is None
    assert any(words in note for note in recommender.catalog.notes)
