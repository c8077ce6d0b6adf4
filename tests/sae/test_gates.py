"""Gates beside the latents that are trained: one code, one file, and training leaves them alone."""

import pytest
import torch

from helpers.toy import store
from helpers.training import SMALL, planted, weights
from recsae.core.errors import ArtifactMismatch
from recsae.sae.config import make_config
from recsae.sae.editing import Intervention, make_edit
from recsae.sae.model import SAE, Gates
from recsae.sae.train import train_sae

STATES, _ = planted()
GATES = Gates(
    torch.eye(8)[:2] * 2,
    torch.tensor([1.0, 0.5]),
    torch.nn.functional.normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(0))),
)
H = torch.from_numpy(STATES[:50])


@pytest.fixture(scope="module")
def states_stored(tmp_path_factory):
    return store(tmp_path_factory.mktemp("store"), STATES, shard=128)


@pytest.fixture(scope="module")
def trained(states_stored):
    return train_sae(states_stored, make_config(**SMALL), gates=GATES)


def z_of_gates():
    return (H @ GATES.weight.T - GATES.bound).relu()


def test_the_first_latents_are_the_gates_in_units_of_the_scaled_states(trained):
    assert (trained.n_gates, trained.n_details, trained.n_latents) == (2, 12, 14)
    code = trained.encode(H)
    torch.testing.assert_close(code[:, :2] * trained.scale, z_of_gates())
    assert ((code[:, 2:] > 0).sum(1) <= 2).all()
    torch.testing.assert_close(trained.decoder()[:2], GATES.decoder * trained.scale)


def test_the_others_see_what_the_gates_leave(trained):
    rest = torch.from_numpy(STATES) - (
        (torch.from_numpy(STATES) @ GATES.weight.T - GATES.bound).relu() @ GATES.decoder
    )
    torch.testing.assert_close(trained.rest(torch.from_numpy(STATES)), rest)
    torch.testing.assert_close(trained.mean, rest.mean(0), atol=1e-5, rtol=1e-4)
    x = (rest - trained.mean) / trained.scale
    assert float(x.square().sum(1).mean()) == pytest.approx(8, rel=1e-4)


def test_a_state_is_the_sum_of_both(trained):
    code = trained.encode(H)
    details = code[:, 2:] @ trained.W_dec + trained.b_dec
    by_hand = z_of_gates() @ GATES.decoder + details * trained.scale + trained.mean
    torch.testing.assert_close(trained(H), by_hand)
    torch.testing.assert_close(trained.decode(code), by_hand)
    torch.testing.assert_close(trained.decode_sparse(trained.encode_sparse(H)), by_hand)
    assert torch.equal(trained.preactivations(H).relu()[:, :2], code[:, :2])


def test_one_more_unit_of_a_latent_adds_its_row_of_the_decoder(trained):
    code = trained.encode(H)
    before = trained.decode(code)
    for latent in (0, 1, 5):
        turned = code.clone()
        turned[:, latent] += 1
        added = trained.decode(turned) - before
        torch.testing.assert_close(added, trained.decoder()[latent].expand(len(H), -1))


@pytest.mark.parametrize(("op", "value"), [("set", 3.0), ("add", 1.5), ("scale", 10.0)])
def test_a_gate_that_is_turned_reads_what_it_was_turned_to(trained, op, value):
    z = trained.encode(H)[:, 0]
    wanted = {"set": torch.full_like(z, value), "add": z + value, "scale": z * value}[op]
    steered = make_edit(trained, [Intervention((0,), op, value)])(H)
    open_before = z > 0
    torch.testing.assert_close(trained.encode(steered)[open_before, 0], wanted[open_before])
    assert open_before.any()


def test_no_smaller_change_turns_a_gate(trained):
    """The direction is along the gate's weight; what is added at right angles reads nothing."""
    weight, direction = trained.gate_weight, trained.directions()[:2]
    assert torch.cosine_similarity(weight, direction).tolist() == pytest.approx([1, 1])
    assert (weight * direction).sum(1).tolist() == pytest.approx([1, 1])
    torch.testing.assert_close(trained.directions()[2:], trained.decoder()[2:])


def test_an_ablated_gate_is_closed(trained):
    ablated = make_edit(trained, [Intervention((0,), "set", 0.0)])(H)
    assert float(trained.encode(ablated)[:, 0].max()) <= 1e-5 < float(trained.encode(H)[:, 0].max())


def test_saved_and_read_again(trained, tmp_path):
    trained.save(tmp_path)
    again = SAE.load(tmp_path)
    assert weights(again) == weights(trained)
    assert torch.equal(again(H), trained(H))
    assert again.n_gates == 2


def test_files_without_gates_are_of_another_version(trained, tmp_path):
    from safetensors.torch import load_file, save_file

    trained.save(tmp_path)
    file = tmp_path / "sae.safetensors"
    save_file({k: v for k, v in load_file(file).items() if "gate" not in k}, file)
    with pytest.raises(ArtifactMismatch, match="damaged or of another version"):
        SAE.load(tmp_path)


def test_no_gates_are_the_plain_sae(states_stored):
    plain = train_sae(states_stored, make_config(**SMALL))
    none = Gates(torch.zeros(0, 8), torch.zeros(0), torch.zeros(0, 8))
    assert weights(train_sae(states_stored, make_config(**SMALL), gates=none)) == weights(plain)
    assert plain.n_gates == 0


def test_activations_by_torch_alone_are_the_same(trained):
    torch.testing.assert_close(trained.encode_plainly(H), trained.encode(H))
