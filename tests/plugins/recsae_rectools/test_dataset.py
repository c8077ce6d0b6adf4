"""Histories out of RecTools' data sets and tables of interactions, and what is refused."""

import pickle

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("rectools")

from rectools.dataset import Dataset

from recsae.core.errors import CannotOpenModel, InvalidInput
from recsae_rectools.boundary import rectools_boundary
from recsae_rectools.dataset import arrange, find_data, read_data

pytestmark = pytest.mark.rectools

KNOWN = [30, 10, 20]
"""External ids of a model's items, in its order."""
COLUMNS = ["user_id", "item_id", "weight", "datetime"]


def table(*rows):
    return pd.DataFrame([(u, i, 1, pd.Timestamp(t)) for u, i, t in rows], columns=COLUMNS)


def made(*rows):
    with rectools_boundary():
        return Dataset.construct(table(*rows))


ROWS = (("b", 20, "2020-01-03"), ("a", 10, "2020-01-02"), ("b", 30, "2020-01-01"))


def test_by_hand():
    """In order of time; items by the model's numbers from 1 on, users as the data set has them."""
    found = arrange(made(*ROWS), KNOWN, "SASRecModel")
    assert found.sequences.users.tolist() == ["b", "a"]
    assert [found.sequences[row].tolist() for row in range(2)] == [[1, 3], [2]]
    assert found.times.astype("datetime64[ns]").astype("datetime64[D]").astype(str).tolist() == [
        "2020-01-01",
        "2020-01-03",
        "2020-01-02",
    ]
    assert found.rows.tolist() == [-1, 2, 1, 0]
    assert found.back.tolist() == [1, 0, 0]
    assert found.notes == ()


def test_what_the_model_does_not_know_is_left_out_and_said():
    rows = (*ROWS, ("b", 99, "2020-01-02"), ("c", 99, "2020-01-02"))
    found = arrange(made(*rows), [*KNOWN, 40], "SASRecModel")
    assert found.sequences.users.tolist() == ["b", "a"]
    assert found.sequences[0].tolist() == [1, 3]
    assert found.back.tolist() == [2, 0, 0]
    items, rows = found.notes
    assert items == "1 of 4 items of the model are not in the data set."
    assert rows.startswith("2 of 5 interactions are with items that the model does not know;")


def test_rows_of_one_time_keep_their_order_and_that_is_said():
    found = arrange(made(*((u, i, "2020-01-01") for u, i, _ in ROWS)), KNOWN, "SASRecModel")
    assert found.sequences[0].tolist() == [3, 1]
    assert found.notes[0].startswith("1 of 3 interactions have the time of another one")


@pytest.mark.parametrize(
    ("data", "known", "words"),
    [
        (made(*ROWS), ["30", "10", "20"], r"0 of the model's 3 items are in it \(such as '30'; th"),
        (made(*ROWS), [*KNOWN, *range(4)], "3 of the model's 7 items"),
        (made(*ROWS, *(("c", 99, f"2020-01-0{d}") for d in range(1, 6))), KNOWN, "3 of its 8 inte"),
        (table(*ROWS), KNOWN, "is a DataFrame: it must be RecTools' Dataset"),
    ],
)
def test_a_data_set_of_another_model(data, known, words):
    with pytest.raises(CannotOpenModel, match=words):
        arrange(data, known, "SASRecModel")


@pytest.mark.parametrize("kind", ["csv", "parquet", "pkl"])
def test_files_of_every_kind_are_the_same_data_set(kind, tmp_path):
    path = tmp_path / f"interactions.{kind}"
    if kind == "csv":
        table(*ROWS).drop(columns="weight").to_csv(path, index=False)
    elif kind == "parquet":
        table(*ROWS).to_parquet(path)
    else:
        path.write_bytes(pickle.dumps(made(*ROWS)))
    with rectools_boundary():
        read = arrange(read_data(path, KNOWN, trust=True), KNOWN, "SASRecModel", [path])
    whole = arrange(made(*ROWS), KNOWN, "SASRecModel")
    assert np.array_equal(read.sequences.flat, whole.sequences.flat)
    assert read.sequences.users.tolist() == whole.sequences.users.tolist()
    assert np.array_equal(read.times, whole.times)
    assert read.files == [path]
    assert read.name == (tmp_path.name if kind != "pkl" else "interactions")
    assert whole.name == "given"


def test_ids_in_a_file_are_text(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,datetime\n007,NA,2020-01-01\n007,01,2020-01-02\n")
    with rectools_boundary():
        found = arrange(read_data(path, ["01", "NA"], trust=False), ["01", "NA"], "SASRecModel")
    assert found.sequences.users.tolist() == ["007"]
    assert found.sequences[0].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("user,item\n1,2\n", r"columns \['user', 'item'\]: RecTools' are user_id, item_id, datet"),
        ("user_id,item_id,datetime\n", "have 0 rows"),
        ("user_id,item_id,datetime\n1,10,soon\n", r"cannot make a data set .*datetime must be"),
        ("user_id,item_id,datetime\n1,10,03/02/1997\n", r"such as 2020-12-31 13:59:00"),
        ("user_id,item_id,datetime\n,10,2020-01-01\n", "1 of 1 interactions in .* lack a user, an"),
        ("user_id,item_id,datetime\n1,10,\n1,20,2020-01-01\n", "1 of 2 interactions in .* lack"),
        (
            "user_id,item_id,weight,datetime\n1,10,,2020-01-01\n1,20,2,2020-01-01\n",
            "1 of 2 interactions in .* lack a user, an item, a time or a weight: leave them out",
        ),
        ('user_id,item_id,datetime\n1,"10\n', "cannot be read"),
        ("", "cannot be read"),
        (b"PAR1 is not enough", "cannot be read"),
    ],
)
def test_tables_that_cannot_be_read(content, words, tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with rectools_boundary(), pytest.raises(InvalidInput, match=words):
        read_data(path, KNOWN, trust=True)


def test_rows_without_a_time(tmp_path):
    path = tmp_path / "x.parquet"
    rows = table(*ROWS)
    rows.loc[1, "datetime"] = pd.NaT
    rows.to_parquet(path)
    with rectools_boundary(), pytest.raises(InvalidInput, match=r"1 of 3 interactions in .* lack"):
        read_data(path, KNOWN, trust=True)


def test_a_pickle_is_read_with_trust_only(tmp_path):
    path = tmp_path / "dataset.pkl"
    path.write_bytes(pickle.dumps(made(*ROWS)))
    with rectools_boundary():
        with pytest.raises(CannotOpenModel, match=r"a data set of RecTools'.*--trust"):
            read_data(path, KNOWN, trust=False)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(CannotOpenModel, match=r"cannot be read .*: copy it again"):
            read_data(path, KNOWN, trust=True)


def test_where_a_data_set_is_looked_for(tmp_path):
    model = tmp_path / "model.pkl"
    with pytest.raises(CannotOpenModel, match=r"holds no interactions.*--data-path FILE"):
        find_data(model, None)
    with pytest.raises(CannotOpenModel, match="There is no data set at"):
        find_data(model, tmp_path / "gone.csv")
    (tmp_path / "interactions.csv").touch()
    assert find_data(model, None) == tmp_path / "interactions.csv"
    (tmp_path / "dataset.pkl").touch()
    assert find_data(model, None) == find_data(model, tmp_path) == tmp_path / "dataset.pkl"
    assert find_data(model, tmp_path / "interactions.csv") == tmp_path / "interactions.csv"
