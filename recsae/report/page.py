"""``report.html``: one file that opens offline and makes no request."""

from collections.abc import Callable, Sequence
from typing import Any

from recsae.report.figures import figures, goal_figures
from recsae.report.offline import offline_page
from recsae.report.page_data import page_data
from recsae.report.schema.report import Report
from recsae.report.schema.turn import TurnData
from recsae.report.words import findings, first_screen, formats
from recsae.report.words import goals as goal_words
from recsae.report.words import headlines as words

_STYLES = ("page.css", "map.css", "turn.css")
_SCRIPTS = ("helpers.js", "evidence.js", "table.js", "map.js", "turn.js", "page.js")


def page(report: Report, turn: TurnData | None = None, sliders: Sequence[int] | None = None) -> str:
    """Return the text of ``report.html``.

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
        filters={"share_of": words.share_of, **_GOAL_FILTERS},
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
            "steps": first_screen.steps(report),
        },
        code_names=words.CODE_NAMES,
        core=findings.core(report),
        labels_stand=words.standing(words.label_outcomes(report)),
        mean_auc=lambda code: words.mean_auc(report.attributes, code),
        methods=findings.METHODS,
        measures=findings.MEASURES,
        has_lift=report.supervised is not None and "lift" in report.supervised.means,
        again=findings.stability_section(report),
        cost=findings.cost(report),
        corrections=findings.corrections(report),
        **_goals(report),
        turn=turn,
        n_placed=len(placed),
        n_mapped=sum(c.correction != "rejected" for c in placed),
        figures={name: Markup(svg) for name, svg in figures(report).items()},
    )


_GOAL_FILTERS: dict[str, Callable[..., Any]] = {
    "amount": goal_words.amount,
    "area": goal_words.area,
    "correlation": formats.correlation,
    "from_to": goal_words.from_to,
    "interval": formats.interval,
    "is_share": goal_words.is_share,
    "signed": formats.signed,
    "times": formats.times,
}


def _goals(report: Report) -> dict[str, Any]:
    """Return what the section on steering by goal shows."""
    from markupsafe import Markup

    shown = goal_words.goals(report)
    tried = {way.way for one in shown for way in one.ways}
    check = report.goals.check if report.goals else None
    return {
        "goals": shown,
        "charts": [Markup(svg) for svg in goal_figures(report)],
        "losses": goal_words.LOSSES,
        "ways": {
            name.strip(): does
            for name, does in goal_words.METHODS.items()
            if any(name in way for way in tried)
        },
        "interventions": goal_words.INTERVENTIONS,
        "check_says": goal_words.check_says(check) if check else "",
    }
