"""Calibration of an opened run, in Python."""

import pytest

from helpers.runs import planted_open
from recsae.core.errors import InvalidInput
from recsae.finished.calibrated import calibrated
from recsae.steering.tuning.request import goal_request

pytestmark = pytest.mark.end_to_end
HOW = {"method": "per-user", "candidates": None, "compare": False}


def test_what_is_found_can_be_looked_at_and_used():
    request = goal_request((), (), (), None, 0.05)
    found = calibrated(planted_open(), "genre", request, **HOW)
    assert repr(found).startswith("CalibratedSteering(CalibrationResult(genre: per-user, error ")
    assert "calibrated to each user&#x27;s own genre" in found._repr_html_()
    change = found.steered.lists(user="u3")
    assert [str(step) for step in change.steps] == [found.result.done]
    with (
        pytest.raises(InvalidInput, match="this is done to lists: calibrated to each user's own"),
        found.steered.model(),
    ):
        pass
