"""Parquet files of a log are found, compared and read in order, or refused in a sentence."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsae.core.errors import InvalidInput
from recsae_torch import parquet
from recsae_torch.parquet import open_log

ROWS = pd.DataFrame({"user": [1, 2], "item": ["a", "b"], "time": [3, 4]})


def written(folder, **files):
    """Tables by names of files."""
    for name, table in files.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path, index=False)
    return folder


def cells(log):
    return [[part.to_pylist() for part in parts] for _, parts in log.batches(log.columns)]


def test_one_file_a_batch_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH", 2)
    path = tmp_path / "log"  # of any name
    pd.concat([ROWS, ROWS[:1]]).assign(more="x").to_parquet(path)
    log = open_log(path)
    assert (log.n_rows, log.time) == (3, "time")
    assert cells(log) == [[[1, 2], ["a", "b"], [3, 4]], [[1], ["a"], [3]]]


def test_folders_in_order_of_their_paths(tmp_path):
    later, hidden = ROWS.assign(user=5), ROWS.assign(user=9)
    folder = written(tmp_path, **{"b": later, "a/x/z": ROWS, "a/empty": ROWS[:0]})
    written(tmp_path, **{"_temporary/q": hidden, ".c": hidden})
    (folder / "README.txt").write_text("no Parquet")
    assert [user for user, *_ in cells(open_log(folder))] == [[1, 2], [5, 5]]


def test_names_of_folders_are_columns(tmp_path):
    """As Hive writes them, unless the files have them too."""
    rows = ROWS.drop(columns="time")
    folder = written(tmp_path, **{"date=2020-01-01/user=7/x": rows, "date=2019%2D01-01/y": rows})
    written(tmp_path, **{"date=__HIVE_DEFAULT_PARTITION__/z": rows})
    log = open_log(folder)
    assert log.time == "date"
    dates = [date for _, _, date in cells(log)]
    assert dates == [["2019-01-01"] * 2, ["2020-01-01"] * 2, [None] * 2]
    assert [user for user, *_ in cells(log)] == [[1, 2]] * 3


def test_text_is_text_however_it_is_packed(tmp_path):
    packed = ROWS.assign(item=pd.Categorical(ROWS["item"], ["c", "b", "a"]))
    folder = written(tmp_path, a=ROWS, b=packed)
    assert [items for _, items, _ in cells(open_log(folder))] == [["a", "b"]] * 2


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a": ROWS[["user", "time"]]}, r"a.parquet has the columns \['user', 'time'\]: it needs"),
        (
            {"a": ROWS, "b": ROWS.drop(columns="item")},
            "'item' is large_string in .*a.parquet and is missing in .*b.parquet",
        ),
        (
            {"a": ROWS, "b/c": ROWS.assign(user="x")},
            "'user' is int64 in .*a.parquet and is large_string in .*c.parquet",
        ),
        (
            {"a": ROWS.drop(columns="time"), "b": ROWS},
            "'time' is missing in .*a.parquet and is int64 in .*b.parquet",
        ),
        ({"a": ROWS.assign(item=[[1], [2]])}, "'item' of .*a.parquet is list<.*: it must have"),
        ({"a": ROWS.assign(user=[None, None])}, "'user' of .*a.parquet is null"),
        ({"a": ROWS.rename(columns={"time": "reviewTime"})}, "no column 'time', but 'reviewTime'"),
        ({}, "holds no file whose name ends in .parquet"),
    ],
)
def test_files_that_do_not_fit(tmp_path, files, words):
    with pytest.raises(InvalidInput, match=words):
        open_log(written(tmp_path, **files))


def test_files_that_are_none(tmp_path):
    with pytest.raises(InvalidInput, match=r"'.*none', and there is no such file"):
        open_log(tmp_path / "none")
    path = tmp_path / "x.parquet"
    path.write_text("user,item\n1,a\n")
    for what in (path, tmp_path):
        with pytest.raises(
            InvalidInput, match=r"x\.parquet cannot be read as a Parquet file \(Par"
        ):
            open_log(what)
    table = pa.table([[1], [2], ["a"]], names=["user", "user", "item"])
    pq.write_table(table, path)
    with pytest.raises(InvalidInput, match=r"x\.parquet has more than one column 'user'"):
        open_log(path)


def test_a_file_that_is_damaged_inside(tmp_path):
    path = written(tmp_path, a=ROWS) / "a.parquet"
    raw = path.read_bytes()
    path.write_bytes(raw[:4] + b"\xff" * 40 + raw[44:])
    log = open_log(path)
    with pytest.raises(InvalidInput, match=r"a\.parquet cannot be read as a Parquet file"):
        cells(log)
