"""Charts are kept: drawn anew where they show something else, or hold what none does."""

import json
from pathlib import Path

import pytest

from helpers.reports import make_plain, make_report
from recsae.report import figures, write_report
from recsae.report.figures import charted
from recsae.report.kept_figures import KeptFigures, kept_figures
from recsae.report.schema.report import Report

DRAWN = {"share": "<svg role='img'><path d='M 0 0'/></svg>"}


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was drawn, one after another; each drawing is the same."""
    done: list[object] = []
    monkeypatch.setattr(figures, "figures", lambda data: done.append(data) or DRAWN)
    return done


def test_charts_of_the_same_figures_are_drawn_once(tmp_path: Path, drawings: list[object]) -> None:
    data = charted(make_report())
    first = kept_figures(tmp_path, data)
    (tmp_path / "figures.json").write_text(first.to_json())
    assert first.svg == DRAWN
    assert kept_figures(tmp_path, data) == first
    assert drawings == [data]


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["baselines"]["sae"].update(verified=3),
        lambda plain: plain["named_share"]["sae"].update({"8": 0.123}),
        lambda plain: plain["protocol"].update(threshold=0.77),
        lambda plain: plain["concepts"]["list"][0].update(precision=0.123),
        lambda plain: plain["concepts"]["list"][0].update(status="untested"),
    ],
)
def test_other_figures_are_drawn_anew(
    change: object, tmp_path: Path, drawings: list[object]
) -> None:
    plain = make_plain()
    kept = kept_figures(tmp_path, charted(Report.model_validate(plain)))
    (tmp_path / "figures.json").write_text(kept.to_json())
    change(plain)  # type: ignore[operator]
    other = kept_figures(tmp_path, charted(Report.model_validate(plain)))
    assert len(drawings) == 2
    assert other.drawn_from != kept.drawn_from


@pytest.mark.parametrize(
    "svg",
    [
        "<svg role='img'><script>alert(1)</script></svg>",
        "<svg role='img'><path onload = 'alert(1)'/></svg>",
        "<svg role='img'><use href='https://example.org/x'/></svg>",
        "<svg role='img'><foreignObject><p>x</p></foreignObject></svg>",
        "<svg role='img'><path d='M 0",
        "no chart",
        7,
    ],
)
def test_what_no_chart_holds_is_not_shown(
    svg: object, tmp_path: Path, drawings: list[object]
) -> None:
    data = charted(make_report())
    kept = KeptFigures(kept_figures(tmp_path, data).drawn_from, {"share": svg})  # type: ignore[dict-item]
    (tmp_path / "figures.json").write_text(kept.to_json())
    assert kept_figures(tmp_path, data).svg == DRAWN
    assert len(drawings) == 2


@pytest.mark.parametrize("content", ["", "[]", "7", "{}", '{"drawn_from": "x", "svg": null}', "{"])
def test_a_damaged_file_counts_as_none(
    content: str, tmp_path: Path, drawings: list[object]
) -> None:
    (tmp_path / "figures.json").write_text(content)
    assert kept_figures(tmp_path, charted(make_report())).svg == DRAWN


def test_the_charts_of_a_page_are_those_kept_with_it(tmp_path: Path) -> None:
    page = write_report(make_report(), tmp_path).read_text(encoding="utf-8")
    kept = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert kept["svg"]
    assert all(svg in page for svg in kept["svg"].values())
    again = write_report(None, tmp_path).read_text(encoding="utf-8")
    assert again == page
