"""The peak of a block, and what cannot fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae.core.errors import InvalidInput
from recsae.run.config import RunConfig
from recsae.run.memory import (
    PeakMemory,
    bytes_of,
    refuse_what_cannot_fit,
    refuse_what_cannot_open,
)
from recsae.run.settings import open_recommender


def test_the_peak_is_that_of_the_block():
    with PeakMemory() as nothing:
        pass
    with PeakMemory() as much:
        np.ones(2**25).sum()
    with PeakMemory() as later:
        pass
    assert 200 < much.peak_mb - nothing.peak_mb < 400  # 2 ** 25 numbers are 256 MB
    assert later.peak_mb < nothing.peak_mb + 100


@pytest.mark.parametrize("text", ["", "GB", "2 gallons", "-1GB", "0GB", "nan", "1e3", "2GBB"])
def test_what_is_no_size(text):
    with pytest.raises(InvalidInput, match="A size is a number and a unit"):
        bytes_of(text)


@given(st.integers(1, 10**6), st.sampled_from(["", "K", "m", "G", "T"]))
def test_sizes(number, unit):
    size = number * 1000 ** "KMGT".find(unit.upper() or " ") * (1000 if unit else 1)
    expected = number if not unit else size
    assert bytes_of(f"{number}{unit}B") == bytes_of(f" {number} {unit}") == expected


def test_a_catalogue_that_cannot_fit_is_refused_with_the_arithmetic():
    refuse_what_cannot_fit(3_416, 64, 1_000)
    with pytest.raises(InvalidInput) as error:
        refuse_what_cannot_fit(10**10, 64, 200_000)
    assert "2,560,000 MB for an item table of 10,000,000,000 items of 64 numbers" in str(
        error.value
    )
    assert "1,000 MB for 200,000 cases" in str(error.value)
    assert "This machine has free for it" in str(error.value)
    with pytest.raises(InvalidInput, match="--memory allows 900 MB"):
        refuse_what_cannot_fit(1_000, 64, 200_000, 900 * 10**6)
    refuse_what_cannot_fit(1_000, 64, 200_000, 10**11)


def test_a_file_larger_than_memory_is_refused_before_it_is_opened(tmp_path):
    weights = tmp_path / "model.pth"
    with weights.open("wb") as file:
        file.truncate(10**13)  # a hole: takes no room on the disk
    with pytest.raises(InvalidInput, match=r"its 10,000,000 MB take .* This machine has free"):
        open_recommender(RunConfig(checkpoint=str(weights)), trust=True, device="cpu")
    refuse_what_cannot_open(weights, 2 * 10**13)
    with pytest.raises(InvalidInput, match="--memory allows 9,000,000 MB"):
        refuse_what_cannot_open(weights, 9 * 10**12)
    refuse_what_cannot_open(tmp_path / "nothing.pth")
