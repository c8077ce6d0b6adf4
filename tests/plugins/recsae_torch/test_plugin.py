"""Files of weights alone are known for what they are."""

import pickle
import struct

import numpy as np
import pytest
import torch
from torch import nn

from recsae.core.errors import CannotOpenModel
from recsae.recommender.plugins import load_recommender
from recsae_torch import arrays_in, weights_in


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"epoch": 3, "model": w}])
def test_weights_alone_are_refused_with_the_cure(wrap, tmp_path):
    path = tmp_path / "gru.pth"
    torch.save(wrap(nn.GRU(4, 4).state_dict()), path)
    words = r"holds weights alone, 4 of them such as 'weight_ih_l0'.*recsae_torch\.attach\(model"
    with pytest.raises(CannotOpenModel, match=words):
        load_recommender(path, trust=True)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize("content", [{}, {"a": 1}, [1], {"a": Trap()}, nn.Linear(2, 2)])
def test_other_files_are_not_taken_for_weights(content, tmp_path):
    path = tmp_path / "x.pth"
    torch.save(content, path)
    assert weights_in(path) is None
    path.write_bytes(pickle.dumps(3))
    assert weights_in(path) is None


def test_weights_are_known_without_reading_them(tmp_path):
    """A file of many gigabytes is looked at by each plug-in, and then refused."""
    path = tmp_path / "big.pth"
    torch.save({"epoch": 3, "model": {"weight": torch.zeros(1000)}}, path)
    weights = weights_in(path)
    with path.open("r+b") as file:  # nothing of it is in memory yet
        file.seek(path.read_bytes().index(bytes(4000)))
        file.write(struct.pack("<f", 7.0) * 1000)
    assert weights["weight"].sum() == pytest.approx(7000, rel=0.1)  # they begin at a multiple of 64


def test_arrays_alone_are_refused_with_the_cure(tmp_path):
    """As implicit saves a model."""
    path = tmp_path / "als.npz"
    np.savez(path, user_factors=np.zeros((3, 2)), item_factors=np.zeros((4, 2)))
    words = r"holds arrays alone, user_factors, item_factors, .*recsae_torch\.attach_factors\("
    with pytest.raises(CannotOpenModel, match=words):
        load_recommender(path, trust=True)
    torch.save(nn.GRU(4, 4).state_dict(), path)
    assert arrays_in(path) == []
    path.write_bytes(b"PK\x03\x04 and no archive")
    assert arrays_in(path) == arrays_in(tmp_path) == []
