"""Charts are drawn once for all tests of the report that have the same numbers in them."""

import pytest

from recsae.report import figures

DRAWINGS = {}


@pytest.fixture
def drawn_anew():
    """For tests of the drawing itself: every chart is drawn each time."""


@pytest.fixture(autouse=True)
def drawn_once(request, monkeypatch):
    if "drawn_anew" in request.fixturenames:
        return
    draw = figures.drawn

    def remembered(draws):
        key = tuple((name, repr(how.args)) for name, how in draws.items())
        if key not in DRAWINGS:
            DRAWINGS[key] = draw(draws)
        return dict(DRAWINGS[key])

    monkeypatch.setattr(figures, "drawn", remembered)
