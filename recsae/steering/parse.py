"""Settings as people type them, read into interventions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from recsae.concepts.labeler import PARTS
from recsae.concepts.wording import concept_name
from recsae.core import columns as C
from recsae.core.errors import InvalidInput
from recsae.sae.editing import Intervention, Op
from recsae.sae.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from recsae.concepts.dictionary import ConceptDictionary
    from recsae.run.workspace import Workspace

_NUMBER = r"\d*\.?\d+(?:e[-+]?\d+)?|\d+\."
_SETTING = re.compile(
    rf"^(?P<what>.+?)\s*(?P<op>\+=|-=|<=|>=|=)\s*(?:(?P<off>off)|(?P<times>[x*×])?\s*"
    rf"(?P<q>q)?(?P<sign>[-+])?(?P<number>{_NUMBER})(?P<sd>\s*sd)?)"
    r"(?P<where>\s*@\s*active)?$",
    re.I,
)
FORMS = (
    "write CONCEPT=VALUE, e.g. 'Horror=0' to switch it off, '203=x2' to double latent 203, "
    "'203=1.5' to set it, '203+=2sd' to add two of its standard deviations, 'Horror>=q50' to raise "
    "it to its median at least; '@active' at the end: only where it is active"
)


def parse_intervention(
    text: str,
    dictionary: ConceptDictionary | None,
    among: NDArray[np.int64] | None = None,
    statistics: Statistics | None = None,
) -> Intervention:
    """Read a setting.

    ``CONCEPT=V`` sets, ``=off`` ablates, ``=xV`` scales, ``+=V`` and ``-=V`` add, ``<=V`` and
    ``>=V`` clamp. V is an activation, with ``sd`` in the latent's own standard deviations, or
    ``qP`` the P % quantile of its activations where it is active. With ``@active`` at the end only
    sequences on which the latent is active are changed.

    A concept's name stands for all its latents (those in ``among``, e.g. the verified ones, if any
    of them is there).

    >>> parse_intervention("203=x2", None)
    Intervention(latents=(203,), op='scale', value=2.0, name='203', where='everyone')

    Raises
    ------
    InvalidInput
        Not of that form, no such latent or concept, or units without ``statistics``.
    """
    match = _SETTING.match(text.strip())
    if match is None or not _makes_sense(match):
        raise InvalidInput(f"Cannot read the setting {text!r}: {FORMS}.")
    what = match["what"].strip()
    if dictionary is not None:
        latents = tuple(dictionary.find(what, among))
    elif what.isdecimal():
        latents = (int(what),)
    else:
        raise InvalidInput(f"{what!r} is a name, and there is no concept dictionary to look it up.")
    value = 0.0 if match["off"] else float((match["sign"] or "") + match["number"])
    signs: dict[str, Op] = {"=": "set", "+=": "add", "-=": "add", "<=": "at_most", ">=": "at_least"}
    op = "scale" if match["times"] else signs[match["op"]]
    values = _in_units(match, value, latents, statistics)
    if match["op"] == "-=":
        values = -values if isinstance(values, float) else tuple(-v for v in values)
    return Intervention(latents, op, values, what, "active" if match["where"] else "everyone")


def _makes_sense(match: re.Match[str]) -> bool:
    plain = match["op"] == "="
    quantile = match["q"] is not None
    if (match["off"] or match["times"]) and not plain:
        return False
    if match["times"] and (quantile or match["sd"]):
        return False
    if quantile:
        unsigned = match["sign"] is None and not match["sd"]
        return unsigned and match["op"] in ("=", "<=", ">=") and float(match["number"]) <= 100
    return match["off"] is not None or bool(np.isfinite(float(match["number"])))


def _in_units(
    match: re.Match[str], value: float, latents: tuple[int, ...], statistics: Statistics | None
) -> float | tuple[float, ...]:
    if not (match["q"] or match["sd"]):
        return value
    if statistics is None:
        raise InvalidInput(
            "Standard deviations and quantiles are known of a run's latents only: give a number."
        )
    if match["sd"]:
        return tuple(value * float(statistics.sd[j]) for j in latents)
    quantiles = tuple(statistics.quantile(j, value / 100) for j in latents)
    for latent, quantile in zip(latents, quantiles, strict=True):
        if np.isnan(quantile):
            raise InvalidInput(f"Latent {latent} is never active: it has no quantiles.")
    return quantiles


def read_interventions(work: Workspace, settings: tuple[str, ...]) -> list[Intervention]:
    """Read settings such as ``Horror=0`` by the concepts of a run."""
    return [
        parse_intervention(text, work.dictionary, work.verified, work.statistics)
        for text in settings
    ]


def scaled(work: Workspace, factors: Mapping[int | str, float]) -> list[Intervention]:
    """Multiply concepts, given by name or latent, by their factors; 0 switches one off.

    Raises
    ------
    InvalidInput
        No such latent or concept, or a factor that is no number.
    """
    for concept, factor in factors.items():
        if isinstance(factor, bool) or not isinstance(factor, int | float | np.number):
            raise InvalidInput(
                f"{concept!r} cannot be multiplied by {factor!r}: give a number, such as 0 to "
                "switch it off or 2 to double it."
            )
    return [
        Intervention(
            tuple(work.dictionary.find(str(concept), work.verified)),
            "scale",
            float(factor),
            str(concept),
        )
        for concept, factor in factors.items()
    ]


def targets_of(work: Workspace, intervention: Intervention) -> dict[str, NDArray[np.bool_]]:
    """Return what an intervention's concept says of items, and which items ``(n_items,)`` fit."""
    row = work.dictionary.table.set_index(C.LATENT).loc[intervention.latents[0]]
    titles = work.recommender.catalog.title_of
    predicates = (
        (row[attribute], row[value])
        for attribute, value, *_ in PARTS
        if isinstance(row[attribute], str)
    )
    fits = {concept_name(*one, titles): work.attributes.items_with(*one) for one in predicates}
    return {name: has for name, has in fits.items() if has.any()}
