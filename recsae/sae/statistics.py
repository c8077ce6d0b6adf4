"""Statistics of the activations of latents, kept with a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsae.core import columns as C
from recsae.core import layout
from recsae.core.files import read_parquet, write_parquet

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

FILE = layout.LATENTS
KNOTS = np.linspace(0, 1, 41)
"""The quantiles that are kept."""


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
