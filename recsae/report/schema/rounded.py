"""Numbers in base64: arrays are little-endian, row by row, and the page reads them as they are."""

import base64
import binascii
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from recsae.report.schema.parts import Count, Figure, Part

Kind = Literal["int8", "int16", "int24"]
BYTES: dict[Kind, int] = {"int8": 1, "int16": 2, "int24": 3}
FLOAT: "np.dtype[Any]" = np.dtype("<f4")


class Rounded(Part):
    """A matrix ``(n, d)``: row i is its integers times ``scales[i]``."""

    n: Count
    d: Count
    kind: Kind
    values: str
    scales: str

    @classmethod
    def of(cls, matrix: NDArray[np.float64], kind: Kind) -> "Rounded":
        """Round a matrix ``(n, d)``, each row to a scale of its own.

        >>> Rounded.of(np.array([[0.5, -1.0]]), "int8").matrix().round(2).tolist()
        [[0.5, -1.0]]
        """
        most = 2 ** (8 * BYTES[kind] - 1) - 1
        scales = (np.abs(matrix).max(1, initial=0) / most).astype(FLOAT)
        divisor = np.where(scales > 0, scales, 1)[:, None].astype(np.float64)
        values = np.clip(np.round(matrix / divisor), -most, most).astype("<i4")
        low = values.reshape(-1, 1).view(np.uint8)[:, : BYTES[kind]]
        n, d = matrix.shape
        return cls(n=n, d=d, kind=kind, values=encoded(low), scales=encoded(scales))

    def matrix(self) -> NDArray[np.float64]:
        """``(n, d)`` as the page reads it."""
        size = BYTES[self.kind]
        low = np.frombuffer(base64.b64decode(self.values), np.uint8).reshape(-1, size)
        values = low[:, -1].astype(np.int8).astype(np.int64)  # the last byte has the sign
        for place in reversed(range(size - 1)):
            values = values * 256 + low[:, place]
        scales = np.frombuffer(base64.b64decode(self.scales), FLOAT).astype(np.float64)
        return np.asarray(values.reshape(self.n, self.d) * scales[:, None])

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        check_length(self.values, self.n * self.d * BYTES[self.kind])
        check_length(self.scales, self.n * FLOAT.itemsize)
        return self


class Agreement(Part):
    """How many of the lists tried are those that the model makes: the same items in one order.

    ``largest_error`` is of a score, in standard deviations of the scores of its list.
    """

    n_lists: Count
    n_same: Count
    n_same_items: Count
    largest_error: Figure


def encoded(values: NDArray[Any]) -> str:
    """Base64 of an array, little-endian, row by row."""
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
    return base64.b64encode(little.tobytes()).decode("ascii")


def check_length(text: str, n_bytes: int | None, unit: int = 1) -> None:
    """Raise ValueError for an array that has not so many bytes, or no whole number of units."""
    try:
        found = len(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(f"an array is not base64: {error}") from error
    if found % unit:
        raise ValueError(f"an array has {found} bytes, no multiple of {unit}")
    if n_bytes is not None and found != n_bytes:
        raise ValueError(f"an array has {found} bytes, not {n_bytes}")
