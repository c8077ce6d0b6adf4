"""``report.html``: one file that opens offline and asks no host for anything.

The template escapes what it prints; what the script shows travels as JSON and becomes text
nodes, never markup. The page's own policy allows no other script and no request.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

from recsae.report import words
from recsae.report.escape import script_json
from recsae.report.figures import figures
from recsae.report.parts import Concept, Example
from recsae.report.schema import Report

_HERE = Path(__file__).parent
_PLAIN = (
    "latent", "name", "label", "labeler", "attribute", "value", "predicate_site", "threshold",
    "status", "precision", "recall", "specificity", "hard_specificity", "f1",
    "balanced_accuracy", "ci_low", "auc", "average_precision", "n_pos", "n_neg", "n_users_pos",
    "chance_percentile", "fire_rate",
)  # fmt: skip


def page(report: Report) -> str:
    """Return the text of ``report.html``."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(pct=words.percent, num=words.number, count=lambda n: f"{n:,}")
    script = _read("page.js")
    return environment.get_template("page.html").render(
        r=report,
        verdict=words.verdict(report),
        headlines=words.headlines(report),
        heldout_note=words.heldout_note(report),
        examples=[c.name for c in words.best_distinct(report, 3)],
        bars=_bars(report),
        code_names=words.CODE_NAMES,
        mean_auc=lambda code: words.mean_auc(report.attributes, code),
        style=Markup(_read("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(script_json(page_data(report))),
        figures={name: Markup(svg) for name, svg in figures(report).items()},
    )


def page_data(report: Report) -> dict[str, Any]:
    """Return what the page's script shows: concepts, and each item's title and attributes."""
    items = {
        key: [report.title(key), item.attributes] if item.attributes else [report.title(key)]
        for key, item in report.items.items()
    }
    return {
        "items": items,
        "concepts": [_concept(c) for c in report.concepts.list],
        "level": report.protocol.one_sided_level,
    }


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8").rstrip("\n")


def _bars(report: Report) -> list[tuple[str, str, float]]:
    """Return name, code and share of every code whose named share is known, the SAE first."""
    shares = ((code, report.named_share.get(code)) for code in ("sae", *words.BASELINES))
    return [
        (words.CODE_NAMES[code], code, value)
        for code, share in shares
        if share is not None and (value := words.explained(share)) is not None
    ]


def _short(value: Any) -> Any:
    """Round a float to what a page can show."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _concept(concept: Concept) -> dict[str, Any]:
    shown = {name: _short(getattr(concept, name)) for name in _PLAIN}
    shown["key"] = "\n".join(words.distinct_key(concept))
    if concept.histogram:
        shown["histogram"] = {
            "edges": [_short(e) for e in concept.histogram.edges],
            "counts": concept.histogram.counts,
        }
    for name in ("promotes", "demotes"):
        shown[name] = [[w.item, _short(w.weight)] for w in getattr(concept, name)]
    shown["examples"] = [_example(e) for e in concept.examples]
    return {key: value for key, value in shown.items() if value is not None}


def _example(example: Example) -> dict[str, Any]:
    return {
        "kind": example.kind,
        "quantile": _short(example.quantile),
        "user": example.user,
        "items": example.items,
        "top": example.top_recommendation,
        "activation": _short(example.activation),
    }
