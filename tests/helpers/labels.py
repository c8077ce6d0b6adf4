"""Two attributes of eight items, and their labeler."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.labeler import AttributeLabeler

# items 1-3 are red, 3-6 are old, 7 and 8 neither
RED = [1, 2, 3]
OLD = [3, 4, 5, 6]


NAMES = (("colour", "red"), ("age", "old"))


def two_attributes() -> ItemAttributes:
    matrix = np.zeros((9, 2), dtype=np.int32)
    matrix[RED, 0] = 1
    matrix[OLD, 1] = 1
    return ItemAttributes(scipy.sparse.csr_matrix(matrix), NAMES)


LABELER = AttributeLabeler(two_attributes())
