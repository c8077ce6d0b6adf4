"""What can be done to latents, as people write it: ``Horror=off``, ``203+=2sd``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from recsae.core import columns as C
from recsae.core.errors import InvalidInput
from recsae.core.files import read_parquet, write_parquet

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.concepts.dictionary import ConceptDictionary

FILE = "latents.parquet"
KNOTS = np.linspace(0, 1, 41)
LIMIT = 1e9
"""Activations beyond it would overflow in the scores."""
Op = Literal["set", "scale", "add", "at_most", "at_least"]
SIGNS: dict[Op, str] = {"set": "=", "add": "+=", "at_most": "<=", "at_least": ">="}


@dataclass(frozen=True)
class Intervention:
    """What happens to the activation z of some latents.

    ``set``: z becomes the value; ``scale``: z times the value; ``add``: z plus the value;
    ``at_most`` and ``at_least``: z is clamped. Setting to 0 or scaling by 0 ablates; scaling by 1
    does nothing. ``value`` is one number, or one for each latent. All sequences are reached, but
    with ``where="active"`` only those on which the latent is active (what is scaled has to be).
    """

    latents: tuple[int, ...]
    op: Op
    value: float | tuple[float, ...]
    name: str = ""
    where: Literal["everyone", "active"] = "everyone"

    def __str__(self) -> str:
        who = self.name or ", ".join(map(str, self.latents))
        if self.op in ("set", "scale") and self.value == 0:
            what = " ablated"
        elif self.op == "scale":
            what = f" x{_words(self.value)}"
        else:
            what = f" {SIGNS[self.op]} {_words(self.value)}"
        return who + what + (" where active" if self.where == "active" else "")

    @property
    def values(self) -> tuple[float, ...]:
        """The value for each latent."""
        if isinstance(self.value, tuple):
            return self.value
        return (self.value,) * len(self.latents)


def _words(value: float | tuple[float, ...]) -> str:
    if not isinstance(value, tuple):
        return f"{value:g}"
    low, high = min(value), max(value)
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


@dataclass(frozen=True)
class Statistics:
    """How large activations of latents are, on construction users.

    ``sd (m,)`` over all cases, the inactive included; ``quantiles (m, 41)`` of the activations
    where a latent is active, from the lowest to the highest; NaN for one that never is.
    """

    sd: NDArray[np.float64]
    quantiles: NDArray[np.float64]

    @classmethod
    def of(cls, code: scipy.sparse.csr_matrix) -> Statistics:
        """Of activations ``(n, m)``.

        >>> import scipy.sparse
        >>> found = Statistics.of(scipy.sparse.csr_matrix([[2.0], [4.0], [0.0]]))
        >>> found.quantile(0, 0.5), round(float(found.sd[0]), 3)
        (3.0, 1.633)
        """
        m = code.shape[1]
        mean = np.asarray(code.mean(0), dtype=np.float64).ravel()
        square = np.asarray(code.power(2).mean(0), dtype=np.float64).ravel()
        by_latent = code.tocsc()
        quantiles = np.full((m, len(KNOTS)), np.nan)
        for j, (first, last) in enumerate(
            zip(by_latent.indptr, by_latent.indptr[1:], strict=False)
        ):
            if last > first:
                quantiles[j] = np.quantile(by_latent.data[first:last], KNOTS)
        return cls(np.sqrt(np.maximum(square - mean**2, 0)), quantiles)

    def quantile(self, latent: int, q: float) -> float:
        """Of a latent's activations where it is active; between knots by straight lines."""
        return float(np.interp(q, KNOTS, self.quantiles[latent]))

    def save(self, folder: Path) -> None:
        """Write ``latents.parquet``: latent, sd, and the quantiles."""
        latents = {C.LATENT: np.arange(len(self.sd)), C.SD: self.sd}
        write_parquet(folder / FILE, pd.DataFrame({**latents, C.QUANTILES: list(self.quantiles)}))

    @classmethod
    def load(cls, folder: Path) -> Statistics:
        """Read what ``save`` wrote."""
        table = read_parquet(folder / FILE)
        return cls(table[C.SD].to_numpy(), np.stack(list(table[C.QUANTILES])))


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
    sequences on which the latent is active are reached.

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
    found = _in_units(match, value, latents, statistics)
    if match["op"] == "-=":
        found = -found if isinstance(found, float) else tuple(-v for v in found)
    return Intervention(latents, op, found, what, "active" if match["where"] else "everyone")


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
    found = tuple(statistics.quantile(j, value / 100) for j in latents)
    for latent, quantile in zip(latents, found, strict=True):
        if np.isnan(quantile):
            raise InvalidInput(f"Latent {latent} is never active: it has no quantiles.")
    return found
