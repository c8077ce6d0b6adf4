"""Dropout by random bytes."""

import numpy as np
import pytest
import torch
from torch import nn

from recsae_recbole.demo.dropout import dropout_by_bytes


@pytest.mark.parametrize("p", [0.25, 0.4])
def test_about_p_are_dropped_and_the_rest_is_scaled_up(p):
    model = nn.Sequential(nn.Dropout(p))
    x = torch.ones(100, 1000, requires_grad=True)
    with dropout_by_bytes(model, np.random.default_rng(0)):
        y = model(x)
    kept = y > 0
    assert float(kept.float().mean()) == pytest.approx(1 - round(p * 256) / 256, abs=0.01)
    assert y.mean().item() == pytest.approx(1, abs=0.01)
    assert y[kept].unique().tolist() == pytest.approx([256 / (256 - round(p * 256))])
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, y.detach())


def test_the_seed_decides_and_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Dropout(0.5))
    first, again, other = (mask(model, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert "forward" not in vars(model[0])


def mask(model, seed):
    with dropout_by_bytes(model, np.random.default_rng(seed)):
        return model(torch.ones(50, 50))


def test_nothing_is_dropped_outside_of_training_or_at_0_and_all_at_1():
    x = torch.ones(3, 4)
    with dropout_by_bytes(still := nn.Sequential(nn.Dropout(0.5)).eval(), RNG):
        assert still(x) is x
    with dropout_by_bytes(none := nn.Sequential(nn.Dropout(0.0)), RNG):
        assert none(x) is x
    with dropout_by_bytes(whole := nn.Sequential(nn.Dropout(1.0)), RNG):
        assert not whole(x).any()


RNG = np.random.default_rng(0)
