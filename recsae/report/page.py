"""``report.html``: one file that opens offline and makes no request."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from recsae.report.offline import offline_page
from recsae.report.page_data import page_data
from recsae.report.schema.report import Report
from recsae.report.schema.turn import TurnData
from recsae.report.words import findings, first_screen, formats, values
from recsae.report.words import goals as goal_words
from recsae.report.words import headlines as words
from recsae.report.words import obeyed as obeyed_words

_STYLES = ("page.css", "map.css", "turn.css")
_SCRIPTS = (
    "helpers.js",
    "evidence.js",
    "table.js",
    "map.js",
    "forward.js",
    "typed.js",
    "turn.js",
    "page.js",
)


def page(
    report: Report,
    turn: TurnData | None = None,
    sliders: Sequence[int] | None = None,
    *,
    charts: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the text of ``report.html``, with those charts that are given, by their names.

    With ``turn`` concepts can be turned in it; ``sliders`` are latents that have one when it
    opens, by default those of the first screen.
    """
    from markupsafe import Markup

    placed = [c for c in report.concepts.list if c.x is not None]
    cards = first_screen.cards(report)
    return offline_page(
        "page.html",
        styles=_STYLES,
        scripts=_SCRIPTS,
        data=page_data(report, turn, sliders or [card.latent for card in cards]),
        filters={
            "share_of": words.share_of,
            "value": partial(
                values.value_words, titles={key: report.title(key) for key in report.items}
            ),
            "place": values.place_words,
            "done": values.intervention_words,
            "brief": values.brief,
            **_GOAL_FILTERS,
        },
        r=report,
        verdict=words.verdict(report),
        headlines=words.headlines(report),
        heldout_note=words.heldout_note(report),
        first={
            "headline": first_screen.headline(report),
            "attention": first_screen.attention(report),
            "kinds": first_screen.kinds(report),
            "cards": cards,
            "trust": first_screen.trust(report),
            "steps": first_screen.steps(report, cards),
        },
        code_names=words.CODE_NAMES,
        bar_names=words.BAR_NAMES,
        core=findings.core(report),
        labels_stand=words.standing(words.label_outcomes(report)),
        mean_auc=lambda code: words.mean_auc(report.attributes, code),
        methods=findings.METHODS,
        measures=findings.MEASURES,
        has_lift=report.supervised is not None and "lift" in report.supervised.means,
        again=findings.stability_section(report),
        cost=findings.cost(report),
        corrections=findings.corrections(report),
        **_goals(report, charts),
        turn=turn,
        n_placed=len(placed),
        n_mapped=sum(c.correction != "rejected" for c in placed),
        figures={name: Markup(svg) for name, svg in charts.items()},
    )


_GOAL_FILTERS: dict[str, Callable[..., Any]] = {
    "amount": goal_words.amount,
    "area": goal_words.area,
    "beside_heading": goal_words.beside_heading,
    "correlation": formats.correlation,
    "from_to": goal_words.from_to,
    "interval": formats.interval,
    "is_share": goal_words.is_share,
    "signed": formats.signed,
    "times": formats.times,
}


def _goals(report: Report, charts: Mapping[str, str]) -> dict[str, Any]:
    """Return what the section on steering by goal shows."""
    from markupsafe import Markup

    shown = goal_words.goals(report)
    tried = {way.way for one in shown for way in one.ways}
    check = report.goals.check if report.goals else None
    return {
        "goals": shown,
        "charts": [Markup(charts.get(f"goal{n}", "")) for n in range(len(shown))],
        "skipped": goal_words.skipped(report),
        "losses": goal_words.LOSSES,
        "ways": {
            name.strip(): does
            for name, does in goal_words.METHODS.items()
            if any(name in way for way in tried)
        },
        "check_says": goal_words.check_says(check) if check else "",
        "obeyed": _obeyed(report),
    }


def _obeyed(report: Report) -> dict[str, Any]:
    """Return what the two-by-two of readable and obeyed shows."""
    block = report.goals.obeyed if report.goals else None
    if block is None:
        return {}
    return {
        "finding": obeyed_words.finding(block),
        "heads": obeyed_words.HEADS,
        "table": obeyed_words.table(block),
        "without_items": obeyed_words.without_items(block),
        "not_turned": obeyed_words.not_turned(block),
    }
