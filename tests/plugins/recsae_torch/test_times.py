"""Interactions are in order of time, however it is written, or they are refused."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae.core.errors import InvalidInput
from recsae_torch.times import order_of as numbers_in_order
from recsae_torch.times import time_column

LATE = pd.Timestamp("2020-03-01 00:30:05")
EARLY = pd.Timestamp("2020-02-13 23:59:00")
EARLIEST = pd.Timestamp("2019-12-25 08:00:00")


def order_of(times):
    return np.argsort(numbers_in_order(pd.Series(times), "time"), kind="stable").tolist()


@pytest.mark.parametrize(
    "form",
    [
        *("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%Y-%m-%d", "%Y/%m/%d"),
        *("%Y-%m-%dT%H:%M:%SZ", "%m %d, %Y", "%d %B %Y", "%b %d, %Y", "%m/%d/%Y %I:%M:%S %p"),
        *("%a %b %d %H:%M:%S +0000 %Y", "%Y%m%d", "%d%m%Y", "%m%d%Y"),
        *("%d%m%Y%H%M", "%m%d%Y%H%M%S", "%Y%m%d%H%M"),
    ],
)
def test_dates_as_text(form):
    times = [time.strftime(form) for time in (LATE, EARLIEST, EARLY)]
    assert order_of(times) == [1, 2, 0]


@pytest.mark.parametrize("form", ["%d%m%Y", "%m%d%Y%H%M", "%Y%m%d"])
@pytest.mark.parametrize("kind", ["int64", "float64", "Int64"])
def test_dates_as_numbers(form, kind):
    """As a CSV file is read; 01032020 has lost its first digit."""
    times = [int(time.strftime(form)) for time in (LATE, EARLIEST, EARLY)]
    assert order_of(pd.Series(times, dtype=kind)) == [1, 2, 0]


def test_numbers_are_no_dates():
    """Of which one or another may look like a date."""
    assert order_of([31122020, 1012021, 31122020.5]) == [1, 0, 2]
    assert order_of([31122020, 1012021, 99999999]) == [1, 0, 2]
    assert order_of(["311220", "010121", "999999"]) == [1, 0, 2]
    assert order_of(["991231", "980704"]) == [1, 0]


@pytest.mark.parametrize(
    "times",
    [
        ["10", "9", "100"],
        ["9007199254740993", "9007199254740992", "9007199254740994"],
        [" 1e1", "9.5 ", "10.5"],
        [LATE, EARLY, LATE + pd.Timedelta(1, "s")],
        [datetime.date(2020, 2, 1), datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)],
        pd.Series([2, 1, 3], dtype="Int64"),
        pd.Categorical(["20", "3", "100"]),
    ],
    ids=["digits", "long digits", "decimals", "times", "dates", "whole numbers", "categories"],
)
def test_times_as_other_things(times):
    assert order_of(times) == [1, 0, 2]


TIMES = st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1))


@given(st.lists(TIMES, min_size=1, max_size=9))
def test_any_times_come_out_in_order_or_are_refused(times):
    expected = list(np.argsort(np.array(times, dtype="M8[us]"), kind="stable"))
    assert order_of([time.isoformat() for time in times]) == expected
    days = [time.date() for time in times]
    text = [day.strftime("%d/%m/%Y") for day in days]
    ours, theirs = (
        list(np.argsort(np.array([f(d) for d in days]), kind="stable"))
        for f in (datetime.date.toordinal, lambda d: (d.year * 12 + d.day) * 31 + d.month)
    )
    if all(day.day <= 12 for day in days) and ours != theirs:
        with pytest.raises(InvalidInput, match="may begin with the day or with the month"):
            order_of(text)
    else:
        assert order_of(text) == ours


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (["01/02/2020", "03/01/2020"], "'01/02/2020', may begin with the day or with the month"),
        (["01022020", "01032020", "03012020"], "'01022020', may begin with the day or"),
        ([311220, 10121], "such as 311220, may be dates that begin with the year, the month or"),
        (["201231", "210704"], "such as 201231, may be dates"),
        ([3.0, None], "1 of 2 times in the column 'time' of histories are missing"),
        (["5", " "], "1 of 2 times"),
        ([True, False], "no times, but yes and no"),
        (["monday", "friday"], "'monday' and 'friday', are text that cannot be read"),
        (["2020-01-01", "yesterday"], "cannot be read as times, or not all alike"),
        ([1, "2"], "text and other values"),
        ([datetime.time(3), datetime.time(2)], "cannot be put in order"),
    ],
)
def test_times_that_are_not_clear(times, words):
    with pytest.raises(InvalidInput, match=words):
        order_of(times)


def test_times_under_another_name():
    assert time_column(["user", "item", "time", "date"]) == "time"
    assert time_column(["user", "item", "Timestamp", 3]) == "Timestamp"
    assert time_column(["user", "item", "candidate"]) is None
    with pytest.raises(InvalidInput, match="no column 'time', but 'reviewTime': rename"):
        time_column(["user", "reviewTime"])
    with pytest.raises(InvalidInput, match="'date', 'timestamp'"):
        time_column(["date", "timestamp"])
