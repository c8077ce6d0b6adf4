"""The activations: how each selects, what each minimises, and what all of them promise."""

import numpy as np
import pytest
import torch

from helpers.toy import store
from helpers.training import SMALL, Killed, killed_at, planted, weights
from recsae.sae import gradients
from recsae.sae.codes import above, sparse_code
from recsae.sae.config import make_config
from recsae.sae.editing import Intervention, make_edit
from recsae.sae.model import CONFIG, SAE, WEIGHTS
from recsae.sae.quality import quality
from recsae.sae.train import train_sae
from recsae.sae.trainer import Trainer
from recsae.sae.variants import VARIANTS
from recsae.sae.variants.batch_topk import move
from recsae.sae.variants.feature_choice import underused
from recsae.sae.variants.jumprelu import HeavisideStep, Jump

NAMES = list(VARIANTS)


def small(name: str, **config):
    return make_config(**{**SMALL, "activation": name, **config})


@pytest.fixture
def states(tmp_path):
    return store(tmp_path / "store", planted()[0], shard=128)


def axes(name: str, n_latents: int = 3, **config) -> SAE:
    """An SAE whose pre-activations are the state itself."""
    sae = SAE(make_config(activation=name, n_latents=n_latents, **config), n_latents)
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(n_latents))
        sae.W_dec.copy_(torch.eye(n_latents))
        sae.b_enc.zero_()
    return sae


# what each selects, by hand

PRE = torch.tensor([[5.0, 4.0, 3.0], [2.0, -1.0, 1.0], [6.0, 0.5, -2.0]])


def trained(name: str) -> list[list[float]]:
    return VARIANTS[name].activate(axes(name, k=1), PRE).tolist()


@pytest.mark.parametrize("name", ["topk", "matryoshka"])
def test_topk_keeps_the_best_of_each_state(name):
    expected = [[5.0, 0.0, 0.0], [2.0, 0.0, 0.0], [6.0, 0.0, 0.0]]
    assert trained(name) == expected
    assert axes(name, k=1).encode(PRE).tolist() == expected


def test_batch_topk_keeps_the_best_of_the_batch():
    # three states at k = 1: the three largest of nine, 6, 5 and 4
    assert trained("batch_topk") == [[5.0, 4.0, 0.0], [0.0, 0.0, 0.0], [6.0, 0.0, 0.0]]
    sae = axes("batch_topk", k=1)
    sae.threshold.fill_(3.0)
    assert sae.encode(PRE).tolist() == [[5.0, 4.0, 3.0], [0.0, 0.0, 0.0], [6.0, 0.0, 0.0]]


def test_feature_choice_keeps_the_best_of_each_latent():
    # 3 states, k = 1, 3 latents: each has one state
    assert trained("feature_choice") == [[0.0, 4.0, 3.0], [0.0, 0.0, 0.0], [6.0, 0.0, 0.0]]
    sae = axes("feature_choice", k=1)
    sae.threshold.copy_(torch.tensor([6.0, 0.0, 1.0]))
    assert sae.encode(PRE).tolist() == [[0.0, 4.0, 3.0], [0.0, 0.0, 1.0], [6.0, 0.5, 0.0]]


def test_feature_choice_does_not_spend_more_than_k_per_state():
    # 2 states, k = 1, 3 latents: one state each would be 3 pairs, the best two stay
    z = VARIANTS["feature_choice"].activate(axes("feature_choice", k=1), PRE[:2])
    assert z.tolist() == [[5.0, 4.0, 0.0], [0.0, 0.0, 0.0]]


def test_jumprelu_keeps_what_exceeds_its_threshold():
    sae = axes("jumprelu", k=1)
    with torch.no_grad():
        sae.log_threshold.copy_(torch.tensor([5.5, 0.4, 1.5]).log())
    expected = [[0.0, 4.0, 3.0], [0.0, 0.0, 0.0], [6.0, 0.5, 0.0]]
    assert sae.encode(PRE).tolist() == expected
    assert VARIANTS["jumprelu"].activate(sae, PRE).tolist() == expected


def test_relu_keeps_what_is_positive():
    expected = [[5.0, 4.0, 3.0], [2.0, 0.0, 1.0], [6.0, 0.5, 0.0]]
    assert trained("relu") == expected
    assert axes("relu", k=1).encode(PRE).tolist() == expected


def test_codes_are_padded_with_zeros():
    code = above(torch.tensor([[1.0, 3.0, 2.0], [-1.0, 0.0, 2.5]]), torch.tensor([0.0, 0.0, 2.5]))
    assert code.values.tolist() == [[3.0, 1.0], [2.5, 0.0]]
    assert code.indices[0].tolist() == [1, 0]
    assert code.indices[1, 0] == 2
    assert above(torch.full((2, 3), -1.0), 0.0).values.tolist() == [[0.0], [0.0]]
    assert above(torch.empty(0, 3), 0.0).values.shape == (0, 1)


# what each keeps


def test_thresholds_follow_the_smallest_activation_that_was_kept():
    threshold = torch.tensor([0.0, 2.0, 2.0, 0.0])
    move(threshold, torch.tensor([3.0, 4.0, torch.inf, torch.inf]))
    torch.testing.assert_close(threshold, torch.tensor([3.0, 2.1, 2.0, 0.0]))
    z = torch.tensor([[0.0, 4.0, 0.0], [7.0, 5.0, 0.0]])
    shared, own = axes("batch_topk", k=1), axes("feature_choice", k=1)
    for sae in (shared, own):
        sae.variant.follow(sae, z)
    assert shared.threshold.tolist() == 4.0
    assert own.threshold.tolist() == [7.0, 4.0, 0.0]
    # density: from 1/3 a twentieth of the way to 1/2, 1 and 0
    expected = torch.tensor([1 / 3 + 1 / 120, 1 / 3 + 1 / 30, 1 / 3 - 1 / 60])
    torch.testing.assert_close(own.density, expected)


def test_underused_latents_are_those_below_zipfs_law():
    # k = 2, n = 4: H = 25/12, so ranks expect .96, .48, .32 and .24, but at most .9 * 2/4 = .45
    assert underused(torch.tensor([0.2, 0.5, 0.31, 0.46]), 2).tolist() == [0, 2]
    assert underused(torch.tensor([0.25, 0.5, 0.33, 0.46]), 2).tolist() == []


def test_zipf_loss_trains_the_underused():
    sae = axes("feature_choice", k=1)
    sae.density.copy_(torch.tensor([1 / 3, 1 / 3, 0.0]))
    assert sae.variant.neglected(sae, torch.empty(0, dtype=torch.int64)).tolist() == [2]


# losses and gradients


def test_relus_loss_by_hand():
    # d = 3, mean L1 norm (3 + 4 + 3) / 2 = 5, L0 = 1.5 and k = 1: w is 1.5 times 0.8
    sae = axes("relu", k=1, sparsity_weight=0.8)
    z = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 7.0]])
    with torch.no_grad():
        assert float(sae.variant.penalty(sae, z, z)) == pytest.approx(1.5 * 0.8 / 3 * 5)
        assert float(sae.variant.fit(sae, z, z + 1)) == pytest.approx(1.0)
    sae.variant.follow(sae, z)
    assert float(sae.penalty) == pytest.approx(0.8 * 1.5**0.005)
    sae.variant.follow(sae, torch.zeros(2, 3))  # clamped
    assert float(sae.penalty) == pytest.approx(0.8 * 1.5**0.005 * np.exp(-0.005))


def test_matryoshkas_loss_by_hand():
    sae = axes("matryoshka", k=2, prefixes=(1, 3))
    z = torch.tensor([[1.0, 2.0, 0.0]])
    # x = (1, 2, 3): the first latent alone misses 4 + 9, all of them 9; a third of each
    loss = sae.variant.fit(sae, z, torch.tensor([[1.0, 2.0, 3.0]]))
    assert loss.item() == pytest.approx(13 / 3 + 9 / 3)


@pytest.mark.parametrize("path", ["compiled", "torch"])
@pytest.mark.parametrize("prefixes", [(12,), (3, 12), (1, 2, 5, 6, 12)])
def test_matryoshkas_written_out_gradients_equal_autograds(path, prefixes, monkeypatch):
    if path == "torch":
        monkeypatch.setattr(gradients, "kernels", lambda: None)
    sae, x = random_sae("matryoshka", prefixes=prefixes)
    with torch.no_grad():
        sae.b_enc -= 0.5  # some of the best three are negative
        assert Trainer(sae, 100).gradients(x) == pytest.approx(
            float((sae.mix(sae.variant.activate(sae, sae.preactivations(x))) - x).square().mean())
        )
    ours = {name: parameter.grad.clone() for name, parameter in sae.named_parameters()}
    sae.zero_grad()
    loss_of(sae, x).backward()
    for name, parameter in sae.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-9, atol=1e-12)
        assert bool(parameter.grad.any())


def test_levels_are_the_smallest_prefix_a_latent_is_in():
    sae = axes("matryoshka", n_latents=6, k=2, prefixes=(1, 3, 6))
    assert sae.variant.smallest_prefix(sae).tolist() == [0, 1, 1, 2, 2, 2]


def test_jumprelus_penalty_by_hand():
    sae = axes("jumprelu", k=1, sparsity_weight=0.5)
    with torch.no_grad():
        sae.log_threshold.copy_(torch.tensor([5.5, 0.4, 1.5]).log())
    # 4 active on 3 states: 0.5 (4/3 - 1)^2
    assert sae.variant.penalty(sae, PRE, PRE).item() == pytest.approx(0.5 / 9)


def test_straight_through_estimates_by_hand():
    pre = torch.tensor([[1.0, 1.2, 1.9], [0.9, 2.5, 2.1]], requires_grad=True)
    threshold = torch.tensor([1.1, 2.0, 2.0], requires_grad=True)
    slope = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    # bandwidth 0.5: all of the first latent and the third are within 0.25 of t, none of the second
    (Jump.apply(pre, threshold, 0.5) * slope).sum().backward()
    torch.testing.assert_close(threshold.grad, -torch.tensor([1.1 / 0.5 * 5, 0.0, 2 / 0.5 * 9]))
    assert pre.grad.tolist() == [[0.0, 0.0, 0.0], [0.0, 5.0, 6.0]]
    pre.grad = threshold.grad = None
    (HeavisideStep.apply(pre, threshold, 0.5) * slope).sum().backward()
    torch.testing.assert_close(threshold.grad, -torch.tensor([5 / 0.5, 0.0, 9 / 0.5]))
    assert pre.grad is None


def test_straight_through_estimate_is_the_slope_of_the_mean():
    """Over states spread evenly, the mean L0 falls with t as the estimator says."""
    pre = torch.linspace(0, 2, 200_001, dtype=torch.float64)[:, None]
    threshold = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    HeavisideStep.apply(pre, threshold, 0.2).mean().backward()
    low, high = ((pre > t).double().mean() for t in (0.95, 1.05))
    assert float(threshold.grad) == pytest.approx(float(high - low) / 0.1, rel=1e-3)


def random_sae(name: str, **config) -> tuple[SAE, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sae = SAE(
        make_config(activation=name, n_latents=12, k=3, dead_after=10**6, **config), 6
    ).double()
    with torch.no_grad():
        for parameter in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec):
            parameter.normal_(generator=generator)
    return sae, torch.randn(20, 6, dtype=torch.float64, generator=generator)


def loss_of(sae: SAE, x: torch.Tensor) -> torch.Tensor:
    pre = sae.preactivations(x)
    z = sae.variant.activate(sae, pre)
    return sae.variant.fit(sae, z, x) + sae.variant.penalty(sae, pre, z)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name):
    """In random directions of the weights, so near that the selection stays the same."""
    sae, x = random_sae(name)
    if name == "feature_choice":
        sae.density.fill_(1.0)  # the Zipf loss is for another test
    trainer = Trainer(sae, 100)
    with torch.no_grad():
        fvu = trainer.gradients(x)
        again = random_sae(name)[0]  # as it was when its gradient was taken
        z = again.variant.activate(again, again.preactivations(x))
        assert fvu == pytest.approx(float((again.mix(z) - x).square().mean()), rel=1e-12)
        generator = torch.Generator().manual_seed(1)
        for weight in ("W_enc", "b_enc", "W_dec", "b_dec"):
            parameter, gradient = getattr(again, weight), getattr(sae, weight).grad
            step = torch.randn(parameter.shape, dtype=torch.float64, generator=generator) * 1e-7
            parameter += step
            after = float(loss_of(again, x))
            parameter -= 2 * step
            before = float(loss_of(again, x))
            parameter += step
            assert float((gradient * step).sum()) == pytest.approx((after - before) / 2, rel=1e-5)


@pytest.mark.parametrize("name", ["batch_topk", "feature_choice", "jumprelu", "matryoshka"])
@pytest.mark.parametrize("aux_weight", [0.0, 1.0])
def test_auxiliary_loss_trains_a_dead_latent_towards_the_residual(name, aux_weight):
    """Its direction gets the gradient ``-weight * 2 / ||r||^2 * sum z (r - z W_dec)``.

    A dead ReLU has no positive pre-activation that could be trained; test_train has TopK's.
    """
    sae, x = random_sae(name, aux_weight=aux_weight)
    with torch.no_grad():
        sae.W_enc[5] = 0.0
        sae.b_enc[5] = 1e-4  # positive and never among the best
    if name == "feature_choice":
        sae.density.fill_(1.0)[5] = 0.0
        x = x[:1]  # three pairs among twelve latents
    trainer = Trainer(sae, 100)
    trainer.idle[5] = 10**7
    with torch.no_grad():
        trainer.gradients(x)
        z = sae.variant.activate(sae, sae.preactivations(x))
        residual = x - sae.mix(z)
        left = (residual - 1e-4 * sae.W_dec[5]).sum(0) * 1e-4
        expected = -aux_weight * 2 / residual.square().sum() * left
    torch.testing.assert_close(sae.W_dec.grad[5], expected)


# what all promise


@pytest.mark.parametrize("name", NAMES)
def test_save_and_load_give_the_same_bits(states, tmp_path, name):
    sae = train_sae(states, small(name), tmp_path / "sae")
    again = SAE.load(tmp_path / "sae")
    h = torch.from_numpy(states.column("states"))
    assert weights(again) == weights(sae)
    assert again.config == sae.config
    assert torch.equal(again.encode(h), sae.encode(h))
    assert torch.equal(again(h), sae(h))


@pytest.mark.parametrize("name", NAMES)
def test_encoding_dense_and_sparse_agree_and_row_by_row(states, monkeypatch, name):
    monkeypatch.setattr("recsae.sae.codes.STATES_AT_ONCE", 37)
    sae = train_sae(states, small(name))
    rows = states.column("states")
    h = torch.from_numpy(rows)
    with torch.no_grad():
        dense, code = sae.encode(h), sae.encode_sparse(h)
        assert bool((dense >= 0).all())
        assert bool((dense > 0).any())
        torch.testing.assert_close(sae(h), sae.decode(dense))
        alone = torch.cat([sae.encode(row[None]) for row in h[:40]])
    torch.testing.assert_close(alone, dense[:40], rtol=1e-5, atol=1e-5)
    assert int((code.values > 0).sum()) == int((dense > 0).sum())
    found = sparse_code(sae.encode_sparse, rows, 12)
    assert (found.data > 0).all()
    np.testing.assert_allclose(found.toarray(), dense.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bits_and_another_seed_others(states, name):
    one, same, other = (train_sae(states, small(name, seed=seed)) for seed in (0, 0, 1))
    assert weights(one) == weights(same)
    assert weights(one) != weights(other)


@pytest.mark.parametrize("name", NAMES)
def test_killed_and_resumed_gives_the_same_bits(states, tmp_path, name):
    straight = train_sae(states, small(name), tmp_path / "straight")
    with pytest.raises(Killed):
        train_sae(states, small(name), tmp_path / "killed", progress=killed_at(20))
    seen = []
    resumed = train_sae(
        states, small(name), tmp_path / "killed", progress=lambda done, *_: seen.append(done)
    )
    assert seen == [30, 40]  # it went on and did not begin again
    assert weights(resumed) == weights(straight)
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == [CONFIG, WEIGHTS]


@pytest.mark.parametrize("name", NAMES)
def test_directions_keep_length_one_and_idle_latents_are_counted(states, name):
    sae = SAE(small(name, aux_weight=0.0), states.width)
    sae.fit_input(states)
    with torch.no_grad():
        sae.b_enc[4] = -1e6
    trainer = Trainer(sae, len(states))
    for block in states.blocks(seed=0):
        trainer.train_block(block)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(12))
    assert trainer.idle[4] == len(states)
    assert trainer.idle.min() == 0


@pytest.mark.parametrize("name", NAMES)
def test_an_edit_that_changes_nothing_leaves_the_bits(states, name):
    sae = train_sae(states, small(name))
    h = torch.from_numpy(states.column("states"))
    busiest = int((sae.encode(h) > 0).sum(0).argmax())
    same = make_edit(sae, [Intervention((busiest,), "scale", 1.0)])
    assert torch.equal(same(h), h)
    active = sae.encode(h)[:, busiest] > 0
    ablated = make_edit(sae, [Intervention((busiest,), "set", 0.0)])(h)
    assert torch.equal((ablated != h).any(1), active)
    # switching off takes away what the latent added
    gone = sae.encode(h)[:, [busiest]] * sae.directions()[busiest]
    torch.testing.assert_close(ablated, h - gone)


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", NAMES)
def test_planted_directions_are_rebuilt_with_k_latents(tmp_path, name):
    rows = planted(n=4000, width=24, n_directions=24)[0]
    known, held = store(tmp_path / "a", rows[:3000]), store(tmp_path / "b", rows[3000:])
    config = {"n_latents": 48, "k": 2, "batch_size": 128, "dead_after": 3000}
    sae = train_sae(known, make_config(activation=name, n_samples=60_000, **config))
    found = quality(sae, held)
    assert 1.4 <= found["l0"] <= 2.6
    # an L1 norm also shrinks what is active: where few latents may be, that costs a lot
    assert found["fvu"] < (0.75 if name == "relu" else 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_activations_by_torch_alone_are_the_same(name):
    sae = axes(name, k=2)
    with torch.no_grad():
        for kept, value in (("threshold", 1.5), ("log_threshold", 0.4)):
            if hasattr(sae, kept):
                getattr(sae, kept).fill_(value)
    assert sae.encode_plainly(PRE).tolist() == sae.encode(PRE).tolist()
    trained = SAE(small(name), 8)
    states = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(trained.encode_plainly(states), trained.encode(states))
