"""Parquet files give the histories that the same rows give as a DataFrame."""

import datetime
import re
import tempfile
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae.core.errors import InvalidInput, RecSAEError
from recsae_torch import out_of_core, parquet
from recsae_torch.dataset import make_catalog
from recsae_torch.histories import make_sequences

CATALOG, _ = make_catalog({item: i for i, item in enumerate("abcdef", 1)} | {7: 7}, *[None] * 3)
DAY = datetime.datetime(2020, 1, 31, 13)


@contextmanager
def small_batches(rows=3, at_once=4):
    before = parquet.BATCH, out_of_core.BATCH, out_of_core.ROWS_AT_ONCE
    parquet.BATCH = out_of_core.BATCH = rows
    out_of_core.ROWS_AT_ONCE = at_once
    try:
        yield
    finally:
        parquet.BATCH, out_of_core.BATCH, out_of_core.ROWS_AT_ONCE = before


def outcome(histories, max_users=None):
    """All that is said of histories, or why they are refused."""
    try:
        found, notes = make_sequences(histories, CATALOG, max_users)
    except InvalidInput as error:
        return str(error)
    flat, offsets = found.flat, found.offsets
    assert (flat.dtype, offsets.dtype) == (np.int32, np.int64)
    return flat.tolist(), offsets.tolist(), list(found.users), found.user_rows.tolist(), notes


def from_files(table, cuts, max_users=None):
    """The same of the rows in several files, some of them in folders."""
    with tempfile.TemporaryDirectory() as folder:
        bounds = [0, *sorted(cuts), len(table)]
        for number, (start, end) in enumerate(pairwise(bounds)):
            name = f"{number:03}/x.parquet" if number % 2 else f"{number:03}.parquet"
            Path(folder, name).parent.mkdir(exist_ok=True)
            pq.write_table(table.slice(start, end - start), Path(folder, name), row_group_size=2)
        with small_batches():
            return outcome(folder, max_users)


def some(values):
    return st.lists(values, min_size=12, max_size=12)


NUMBER = st.integers(0, 3)
MOMENT = st.builds(lambda days, hours: DAY + datetime.timedelta(days, hours=hours), NUMBER, NUMBER)
TEXT = st.sampled_from(["%d/%m/%Y", "%d.%m.%Y %H:%M", "%Y-%m-%dT%H:%M:%SZ", "%b %d, %Y", "%d%m%Y"])
TIMES = st.one_of(
    some(NUMBER),
    some(st.none() | NUMBER),
    some(st.sampled_from([0.5, -0.0, 0.0, 7.25, float("inf")])),
    some(st.sampled_from([31012020, 1022020, 2022020])),
    some(MOMENT),
    some(MOMENT.map(lambda time: time.replace(tzinfo=datetime.UTC))),
    some(MOMENT.map(datetime.datetime.date)),
    some(NUMBER.map(Decimal)),
    some(st.booleans()),
    some(st.sampled_from(["9", "10", "1e1", " 8"])),
    some(st.sampled_from(["9", "10", " ", None])),
    some(st.sampled_from(["monday", "2020-01-01"])),
    st.builds(lambda form, times: [time.strftime(form) for time in times], TEXT, some(MOMENT)),
)
USERS = st.one_of(
    some(NUMBER),
    some(st.sampled_from(["ann", "bob", "1", "é"])),
    some(st.sampled_from([0.5, 2.0, float("nan")])),
    some(MOMENT),
    some(st.none() | st.sampled_from(["ann", "bob"])),
)
ITEMS = st.one_of(
    some(st.sampled_from("abcdef")),
    some(st.just(7)),
    some(st.sampled_from(["a", "x", "yy", None])),
)


@settings(max_examples=200)
@given(
    st.integers(1, 12),
    USERS,
    ITEMS,
    TIMES,
    st.lists(st.integers(0, 12), max_size=4),
    st.none() | st.integers(1, 4),
    st.booleans(),
)
def test_files_give_what_a_dataframe_gives(n, users, items, times, cuts, max_users, packed):
    table = pa.table({"time": times[:n], "user": users[:n], "item": items[:n]})
    if packed:
        table = table.set_column(2, "item", table["item"].dictionary_encode())
    if any(pa.types.is_null(field.type) for field in table.schema):
        return
    cuts = [min(cut, n) for cut in cuts]
    assert from_files(table, cuts, max_users) == outcome(table.to_pandas(), max_users)


@given(st.integers(1, 12), USERS, st.none() | st.integers(1, 4))
def test_without_times_a_file_is_in_order_and_several_are_not(n, users, max_users):
    table = pa.table({"user": users[:n], "item": list("abcdefabcdef")[:n]})
    if pa.types.is_null(table.schema.field("user").type):
        return
    expected = outcome(table.to_pandas(), max_users)
    assert from_files(table, [], max_users) == expected
    half = [set(map(str, part)) for part in (users[: n // 2], users[n // 2 : n])]
    found = from_files(table, [n // 2], max_users)
    if isinstance(expected, str) or not half[0] & half[1]:
        assert found == expected
    elif max_users is None:
        assert "is in " in found
        assert "the order of files is none of time" in found


def test_numbers_of_items_of_which_one_is_missing():
    """As a DataFrame they would be 7.0."""
    table = pa.table({"user": [1, 1, 1, 1], "item": [7, None, 7, None]})
    assert re.match("2 of 4 interactions are with .* 'nan' among them", from_files(table, []))
    assert from_files(table.slice(0, 1), [])[0] == [7]


def test_by_hand(tmp_path):
    """Files are read by their names: bob's two at time 5 keep the order of the files."""
    late = pd.DataFrame({"user": ["bob", "ann"], "item": ["a", "b"], "time": [5, 9]})
    early = pd.DataFrame({"user": ["bob", "ann"], "item": ["c", "d"], "time": [5, 1]})
    late.to_parquet(tmp_path / "2.parquet")
    early.to_parquet(tmp_path / "1.parquet")
    found, notes = make_sequences(str(tmp_path), CATALOG)
    assert list(found.users) == ["ann", "bob"]
    assert [found[row].tolist() for row in (0, 1)] == [[4, 2], [3, 1]]
    assert notes[0].startswith("1 of 4 interactions have the time of another one")


def test_more_parts_than_files_may_be_open(tmp_path):
    rows = pd.DataFrame({"user": range(600), "item": "a", "time": range(600, 0, -1)})
    rows.to_parquet(tmp_path / "x.parquet")
    with small_batches(50, 1):
        found, _ = make_sequences(tmp_path / "x.parquet", CATALOG)
    assert list(found.users) == [str(user) for user in range(599, -1, -1)]


@pytest.fixture
def room(tmp_path, monkeypatch):
    """The folder of temporary files."""
    folder = tmp_path / "room"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_temporary_files_are_removed(tmp_path, room, monkeypatch):
    seen = []
    gathered = out_of_core._Parts._gathered
    monkeypatch.setattr(
        out_of_core._Parts,
        "_gathered",
        lambda *args: seen.extend(list(room.iterdir())) or gathered(*args),
    )
    rows = pd.DataFrame({"user": [1, 2], "item": ["a", "b"]})
    rows.to_parquet(tmp_path / "x.parquet")
    make_sequences(tmp_path / "x.parquet", CATALOG)
    assert len(seen) == 1
    assert seen[0].name.startswith("recsae-histories-")
    assert not list(room.iterdir())
    both = tmp_path / "both"
    both.mkdir()
    for name in "xy":
        rows.to_parquet(both / f"{name}.parquet")
    with pytest.raises(InvalidInput, match=r"user '1' is in .*x\.parquet and in .*y\.parquet: the"):
        make_sequences(both, CATALOG)
    assert not list(room.iterdir())


def test_no_room_for_temporary_files(tmp_path, room):
    pd.DataFrame({"user": [1], "item": ["a"]}).to_parquet(tmp_path / "x.parquet")
    room.rmdir()
    with pytest.raises(RecSAEError, match=r"folder .*room \(No such .*\): let TMPDIR"):
        make_sequences(tmp_path / "x.parquet", CATALOG)


def test_no_rows(tmp_path):
    pd.DataFrame({"user": [], "item": []}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InvalidInput, match="histories has no rows"):
        make_sequences(tmp_path, CATALOG)
