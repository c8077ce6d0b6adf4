"""The sparse autoencoder: raw states in, at most k active latents, raw states out."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from helpers.toy import store
from recsae.core import topk
from recsae.core.errors import ArtifactMismatch, InvalidInput, NotEnoughData
from recsae.sae.codes import Code, sparse_code
from recsae.sae.config import SAEConfig, make_config
from recsae.sae.model import CONFIG, SAE, WEIGHTS


def by_hand() -> SAE:
    """Two dimensions, three latents, k = 2; the input is h - (1, 1), halved."""
    sae = SAE(make_config(n_latents=3, k=2), 2)
    with torch.no_grad():
        sae.W_enc.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
        sae.b_enc.copy_(torch.tensor([0.0, 0.0, -1.0]))
        sae.b_dec.copy_(torch.tensor([0.5, 0.0]))
        sae.mean.fill_(1.0)
        sae.scale.fill_(2.0)
    return sae.eval()


def drawn(seed: int = 0, width: int = 6, **config) -> SAE:
    """An SAE with nothing left at zero."""
    sae = SAE(make_config(**{"n_latents": 20, "k": 3, "seed": seed, **config}), width)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (sae.b_enc, sae.b_dec, sae.mean):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
        sae.scale.fill_(3.7)
    return sae.eval()


def states(n: int, width: int = 6, seed: int = 1) -> torch.Tensor:
    return 4 * torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def test_by_hand():
    # h = (7, 5): x = (3, 2), x - b_dec = (2.5, 2); pre-activations 2.5, 2 and 2.5 + 2 - 1 = 3.5.
    # The best two: latent 2 at 3.5 and latent 0 at 2.5.
    # x_hat = 3.5 (.6, .8) + 2.5 (1, 0) + (.5, 0) = (5.1, 2.8); h_hat = 2 x_hat + 1 = (11.2, 6.6)
    sae, h = by_hand(), torch.tensor([[7.0, 5.0]])
    assert sae.encode(h).tolist() == [[2.5, 0.0, 3.5]]
    assert sae.encode_sparse(h).indices.tolist() == [[2, 0]]
    torch.testing.assert_close(sae(h), torch.tensor([[11.2, 6.6]]))


def test_negative_preactivations_are_not_active():
    # h = (-1, 3): x - b_dec = (-1.5, 1); pre-activations -1.5, 1, -1.5
    h = torch.tensor([[-1.0, 3.0]])
    assert by_hand().encode(h).tolist() == [[0.0, 1.0, 0.0]]


def test_directions_are_what_one_unit_adds_to_a_raw_state():
    sae, z = by_hand(), torch.tensor([[0.5, 0.0, 2.0]])
    one_more = z + torch.tensor([[0.0, 1.0, 0.0]])
    torch.testing.assert_close((sae.decode(one_more) - sae.decode(z))[0], sae.directions()[1])
    assert not sae.directions().requires_grad


@pytest.mark.parametrize("compiled", [True, False])
def test_dense_and_topk_forms_agree(monkeypatch, compiled):
    if not compiled:
        monkeypatch.setattr(topk, "kernels", lambda: None)
    sae, h = drawn(), states(500)
    code, dense = sae.encode_sparse(h), sae.encode(h)
    again = torch.zeros_like(dense)
    for row in range(len(h)):
        for index, value in zip(code.indices[row], code.values[row], strict=True):
            again[row, index] += value
    assert torch.equal(dense, again)
    assert int((dense > 0).sum(1).max()) == sae.config.k
    assert bool((dense >= 0).all())
    torch.testing.assert_close(sae.decode_sparse(code), sae.decode(dense))
    torch.testing.assert_close(sae(h), sae.decode(dense))


@given(
    width=st.integers(1, 5),
    n_latents=st.integers(1, 12),
    k=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_at_most_k_are_active_and_they_are_the_largest(width, n_latents, k, seed):
    k = min(k, n_latents)
    sae, h = drawn(seed, width, n_latents=n_latents, k=k), states(7, width, seed)
    dense = sae.encode(h)
    pre = sae.preactivations(h).detach()
    for z, p in zip(dense, pre, strict=True):
        on = z > 0
        assert int(on.sum()) == min(k, int((p > 0).sum()))
        assert torch.equal(z[on], p[on])
        if on.any() and not on.all():
            assert float(p[~on].max()) <= float(z[on].min())


def test_states_of_one_batch_do_not_depend_on_each_other():
    sae, h = drawn(), states(50)
    torch.testing.assert_close(sae.encode(h)[:3], sae.encode(h[:3]))


def test_new_sae_has_unit_directions_and_the_same_bits_for_the_same_seed():
    one, same, other = (SAE(make_config(k=2, seed=s), 4) for s in (3, 3, 4))
    assert one.n_latents == 64
    assert one.width == 4
    torch.testing.assert_close(one.W_dec.norm(dim=1), torch.ones(64))
    assert torch.equal(one.W_dec, same.W_dec)
    assert not torch.equal(one.W_dec, other.W_dec)
    assert torch.equal(one.W_enc, one.W_dec)


def test_making_one_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    SAE(SAEConfig(), 4)
    assert torch.equal(torch.rand(1), expected)


def test_save_and_load_give_the_same_bits_on_raw_states(tmp_path):
    sae, h = drawn(), states(300)
    sae.save(tmp_path, {"made_from": "abc"})
    again = SAE.load(tmp_path)
    assert torch.equal(again.encode(h), sae.encode(h))
    assert torch.equal(again(h), sae(h))
    assert again.config == sae.config
    assert not again.training
    assert json.loads((tmp_path / CONFIG).read_text())["made_from"] == "abc"
    assert sorted(p.name for p in tmp_path.iterdir()) == [CONFIG, WEIGHTS]


def test_weights_are_complete(tmp_path):
    """Mean and scale travel with the weights: a loaded SAE needs no store."""
    from safetensors.torch import load_file

    drawn().save(tmp_path)
    gates = {"gate_weight", "gate_bound", "gate_decoder"}
    names = {"W_enc", "b_enc", "W_dec", "b_dec", "mean", "scale", *gates}
    assert load_file(tmp_path / WEIGHTS).keys() == names


def truncated(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9])


def other_shape(folder):
    config = (folder / CONFIG).read_text()
    drawn(n_latents=21).save(folder)
    (folder / CONFIG).write_text(config)


def other_config(change):
    def damage(folder):
        meta = json.loads((folder / CONFIG).read_text())
        change(meta)
        (folder / CONFIG).write_text(json.dumps(meta))

    return damage


def other_gates(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / WEIGHTS)
    weights["gate_weight"] = torch.zeros(0, 99)
    save_file(weights, folder / WEIGHTS)


def not_finite(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / WEIGHTS)
    weights["W_enc"][0, 0] = float("nan")
    save_file(weights, folder / WEIGHTS)


SIZES = {"n_latents": 1_000_000, "prefixes": [1_000_000]}
DAMAGES = {
    "weights cut short": truncated,
    "weights empty": lambda f: (f / WEIGHTS).write_bytes(b""),
    "weights gone": lambda f: (f / WEIGHTS).unlink(),
    "weights of another shape": other_shape,
    "config gone": lambda f: (f / CONFIG).unlink(),
    "config cut short": lambda f: (f / CONFIG).write_text('{"config": {'),
    "config a list": lambda f: (f / CONFIG).write_text("[]"),
    "config inside a list": other_config(lambda m: m.update(config=[1])),
    "k too large": other_config(lambda m: m["config"].update(k=99)),
    "unknown key": other_config(lambda m: m["config"].update(colour="red")),
    "another width": other_config(lambda m: m.update(width=7)),
    "no width": other_config(lambda m: m.pop("width")),
    "width of text": other_config(lambda m: m.update(width="wide")),
    "width without end": other_config(lambda m: m.update(width=float("inf"))),
    "width that is none": other_config(lambda m: m.update(width=float("nan"))),
    "width beyond all": other_config(lambda m: m.update(width=10**300)),
    "more latents than weights": other_config(lambda m: m["config"].update(SIZES)),
    "latents beyond all": other_config(lambda m: m["config"].update(n_latents=10**8)),
    "more gates than weights": other_config(lambda m: m.update(n_gates=10**9)),
    "a rate that is none": other_config(lambda m: m["config"].update(learning_rate=float("nan"))),
    "a rate without end": other_config(lambda m: m["config"].update(learning_rate=1e999)),
    "a seed beyond all": other_config(lambda m: m["config"].update(seed=2**65)),
    "config that nests without end": lambda f: (f / CONFIG).write_text("[" * 100_000),
    "gates of another width": other_gates,
    "weights that are none": not_finite,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_files_are_noticed(tmp_path, damage):
    drawn().save(tmp_path)
    damage(tmp_path)
    with pytest.raises(ArtifactMismatch, match=r"damaged"):
        SAE.load(tmp_path)


def test_nothing_is_made_that_the_weights_do_not_hold(tmp_path, monkeypatch):
    """A small file must not ask for gigabytes."""
    drawn().save(tmp_path)
    DAMAGES["more latents than weights"](tmp_path)
    monkeypatch.setattr(SAE, "__init__", None)
    with pytest.raises(
        ArtifactMismatch,
        match=r"cfg\.json speaks of 1000000 latents and 0 gates of width \d+, the weights are",
    ):
        SAE.load(tmp_path)


@pytest.mark.parametrize("values", [{"n_latents": 4, "k": 5}, {"k": 33}])
def test_k_larger_than_the_latents_is_one_sentence(values):
    with pytest.raises(InvalidInput) as caught:
        make_config(**values).resolved(2)  # 32 latents where they are not given
    message = str(caught.value)
    n = values.get("n_latents") or 32
    assert f"k={values['k']} is larger than the number of latents ({n})" in message
    assert len(message) < 200
    assert "\n" not in message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"k": 0}, r"SAE k: .*greater than or equal to 1 \(seen: 0\)"),
        ({"kk": 8}, "SAE kk: Extra inputs are not permitted"),
        ({"learning_rate": -1.0}, "SAE learning_rate: .*greater than 0"),
        ({"n_latents": "many"}, "SAE n_latents: .*'many'"),
        ({"activation": "gelu"}, "SAE activation: .*'topk'"),
        (
            {"bandwidth": 0.1},
            "SAE configuration: bandwidth is a setting of jumprelu, .*'matryoshka'",
        ),
        (
            {"activation": "batch_topk", "sparsity_weight": 1.0},
            "of relu and jumprelu, .*'batch_topk'",
        ),
        (
            {"activation": "matryoshka", "n_latents": 8, "k": 2, "prefixes": (4, 2, 8)},
            r"prefixes=\(4, 2, 8\) must rise from 1 or more to the number of latents \(8\)",
        ),
        ({"activation": "matryoshka", "n_latents": 8, "k": 2, "prefixes": (4,)}, "latents .8."),
    ],
)
def test_config_errors_are_one_sentence(values, words):
    with pytest.raises(InvalidInput, match=words):
        make_config(**values)


def test_config_is_frozen_and_resolves_its_defaults():
    config = SAEConfig()
    with pytest.raises(ValidationError):
        config.k = 4
    resolved = config.resolved(64)
    assert (resolved.n_latents, resolved.aux_k, resolved.k) == (1024, 32, 8)
    assert resolved.resolved(64) == resolved
    assert make_config(n_latents=5, k=2, aux_k=1).resolved(64).n_latents == 5


def test_input_is_centred_and_scaled(tmp_path):
    rows = np.random.default_rng(0).normal(3.0, [1.0, 5.0, 0.1], (4000, 3)).astype(np.float32)
    sae = SAE(make_config(k=2), 3)
    sae.fit_input(store(tmp_path, rows, shard=1500))
    x = sae.normalised(torch.from_numpy(rows)).double()
    torch.testing.assert_close(x.mean(0), torch.zeros(3).double(), atol=1e-5, rtol=0)
    assert float(x.square().sum(1).mean()) == pytest.approx(3, rel=1e-5)
    # one scalar: the ratio of the dimensions' spreads is that of the raw states
    assert float(x.std(0)[1] / x.std(0)[0]) == pytest.approx(
        rows.std(0)[1] / rows.std(0)[0], rel=1e-3
    )


def test_states_that_are_all_the_same_are_refused(tmp_path):
    with pytest.raises(NotEnoughData, match="the same"):
        SAE(make_config(k=2), 3).fit_input(store(tmp_path, np.ones((50, 3))))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_states_that_are_no_numbers_are_refused(tmp_path, bad):
    rows = np.random.default_rng(0).normal(size=(50, 3))
    rows[7, 1] = bad
    with pytest.raises(NotEnoughData, match="NaN or infinite"):
        SAE(make_config(k=2), 3).fit_input(store(tmp_path, rows))


def test_sparse_code_equals_the_dense_one(monkeypatch):
    monkeypatch.setattr("recsae.sae.codes.STATES_AT_ONCE", 37)
    sae, h = drawn(), states(100)
    code = sparse_code(sae.encode_sparse, h.numpy(), sae.n_latents)
    assert code.shape == (100, 20)
    assert code.has_sorted_indices
    assert (code.data > 0).all()  # zeros are not stored
    np.testing.assert_allclose(code.toarray(), sae.encode(h).numpy(), rtol=1e-5, atol=1e-6)


def test_sparse_code_of_any_encoder(monkeypatch):
    monkeypatch.setattr("recsae.sae.codes.STATES_AT_ONCE", 4)
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)

    def encode(h: torch.Tensor) -> Code:  # unit h[0] / 2 has the value h[1], but for the first row
        return Code(h[:, 1:] * (h[:, :1] > 0), (h[:, :1] // 2).long())

    code = sparse_code(encode, rows, 7)
    expected = np.zeros((6, 7))
    expected[range(1, 6), range(1, 6)] = [3, 5, 7, 9, 11]
    np.testing.assert_array_equal(code.toarray(), expected)
    assert code.nnz == 5
