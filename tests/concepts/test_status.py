"""What concepts are sorted by, with and without dictionaries that were made again."""

import pandas as pd
import pytest

from recsae.concepts.status import usefulness, with_back
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.files import write_json

CONCEPTS = pd.DataFrame({C.LATENT: [0, 1, 2], C.PRECISION: [0.5, 0.5, 1.0], C.EXPLAINS: [0.4] * 3})


def test_usefulness_counts_how_often_a_concept_comes_back(tmp_path):
    write_json(tmp_path / layout.STABILITY, {})
    assert usefulness(with_back(CONCEPTS, tmp_path)).tolist() == pytest.approx([0.2, 0.2, 0.4])
    rows = [{C.LATENT: j, "back": {"label": back}} for j, back in ((0, 1.0), (1, 0.5), (2, None))]
    write_json(tmp_path / layout.STABILITY, {"latents": rows})
    assert usefulness(with_back(CONCEPTS, tmp_path)).tolist() == pytest.approx([0.2, 0.1, 0.0])
