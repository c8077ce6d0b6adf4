"""SAEs of one's own: what is read off any object that encodes and decodes, and what is refused."""

import pytest
import torch

from helpers.toy import store
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import read_json
from recsae.sae.config import make_config
from recsae.sae.editing import Intervention, make_edit
from recsae.sae.model import SAE
from recsae.sae.own import OwnSAE, as_sae, digest_of_sae, given_again, is_own, save_own
from recsae.sae.saelens import read_saelens


class Halves:
    """Two dimensions, four latents: the positive and the negative part of each, at half size."""

    def encode(self, h):
        return torch.cat([h, -h], 1).relu() / 2

    def decode(self, z):
        return 2 * (z[:, :2] - z[:, 2:]) + 1


class Changed(Halves):
    def __init__(self, encode=None, decode=None):
        self._encode, self._decode = encode, decode

    def encode(self, h):
        return self._encode(h) if self._encode else super().encode(h)

    def decode(self, z):
        return self._decode(z) if self._decode else super().decode(z)


class Squared(Halves):
    """What encodes so is none of recsae's."""

    def encode(self, h):
        return super().encode(h) ** 2


def test_by_hand():
    sae, h = OwnSAE(Halves(), 2), torch.tensor([[3.0, -1.0]])
    assert (sae.n_latents, sae.width, sae.n_gates) == (4, 2, 0)
    assert sae.encode(h).tolist() == [[1.5, 0.0, 0.0, 0.5]]
    assert sae(h).tolist() == [[4.0, 0.0]]  # its own constant is 1
    assert sae.directions().tolist() == [[2, 0], [0, 2], [-2, 0], [0, -2]]
    assert sae.b_dec.tolist() == [1, 1]
    assert sae.kind == "own (Halves)"


def test_a_latent_is_turned_along_its_direction():
    edit = make_edit(OwnSAE(Halves(), 2), [Intervention((0,), "set", 0.0)])
    assert edit(torch.tensor([[3.0, -1.0]])).tolist() == [[0.0, -1.0]]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (object(), "object has no encode and no decode: an SAE of your own has"),
        (Changed(encode=lambda h: h[0]), r"encode must give \(n, n_latents\) of states \(n, 2\)"),
        (Changed(encode=lambda h: 3), r"\(seen: int\)"),
        (Changed(decode=lambda z: z), r"decode must give \(n, 2\) of activations \(n, 4\)"),
        (Changed(decode=lambda z: (z[:, :2] - z[:, 2:]).exp()), "no sum of directions"),
    ],
)
def test_what_is_no_sae_is_refused_in_a_sentence(given, words):
    with pytest.raises(InvalidInput, match=words):
        OwnSAE(given, 2)


def test_negative_activations_are_refused_when_they_are_seen():
    sae = OwnSAE(Changed(encode=lambda h: torch.cat([h, -h], 1)), 2)
    with pytest.raises(InvalidInput, match=r"4 activations of 0 or more .* lowest -3"):
        sae.encode(torch.tensor([[3.0, 0.0]]))


def test_a_run_counts_how_many_are_active(states):
    assert as_sae(Halves(), states).config.k == 2  # one of each pair, always
    with pytest.raises(InvalidInput, match="of states of 3 numbers, those of the model have 2"):
        as_sae(SAE(make_config(n_latents=4, k=2), 3), states)
    relu = SAE(make_config(n_latents=4, k=1, activation="relu"), 2)
    with torch.no_grad():
        relu.b_enc.fill_(100.0)
    assert as_sae(relu, states).config.k == 4  # all of them
    fixed = SAE(make_config(n_latents=4, k=3, activation="topk"), 2)
    assert as_sae(fixed, states).config.k == 3  # its k decides what is active


def test_what_tells_one_from_another():
    one, other = digest_of_sae(Halves(), 2), Changed(decode=lambda z: 2 * (z[:, :2] - z[:, 2:]))
    assert one == digest_of_sae(Changed(), 2)
    assert one != digest_of_sae(other, 2)


@pytest.fixture
def states(tmp_path):
    return store(tmp_path / "store", torch.randn(300, 2).numpy())


class OfWeights:
    """An SAE of 12 latents, 3 of them active or all that are positive; the last one is dead."""

    def __init__(self, k):
        generator = torch.Generator().manual_seed(3)
        self.reads, self.writes = (torch.randn(12, 2, generator=generator) for _ in "rw")
        self.bias, self.k = torch.randn(12, generator=generator), k
        self.reads[-1], self.bias[-1] = 0, -1

    def encode(self, h):
        z = (h @ self.reads.T + self.bias).relu()
        return z * (z >= z.topk(self.k, dim=1).values[:, -1:]) if self.k else z

    def decode(self, z):
        return z @ self.writes - 2


@pytest.mark.parametrize(("k", "kind"), [(3, "topk"), (None, "relu")])
def test_what_encodes_as_ours_do_is_kept_as_one_of_them(tmp_path, states, k, kind):
    given = OfWeights(k)
    save_own(as_sae(given, states), states, tmp_path)
    assert not is_own(tmp_path)
    sae, h = SAE.load(tmp_path / "sae"), 2 * torch.randn(200, 2)
    assert sae.kind == kind
    torch.testing.assert_close(sae.encode(h), given.encode(h))
    torch.testing.assert_close(sae(h), given.decode(given.encode(h)))
    torch.testing.assert_close(sae.directions(), given.writes)


def no_gradients(h):
    return torch.from_numpy(torch.cat([h, -h], 1).detach().numpy().clip(0))


@pytest.mark.parametrize(
    "given",
    [Squared(), Changed(encode=no_gradients), Changed(encode=lambda h: Halves().encode(h.abs()))],
)
def test_other_encoders_stay_what_they_are(given, states):
    sae, h = as_sae(given, states), torch.randn(50, 2)
    assert sae.kind == f"own ({type(given).__name__})"
    torch.testing.assert_close(sae.encode(h), given.encode(h))


def test_what_was_saved_says_that_its_code_is_elsewhere(tmp_path, states):
    save_own(as_sae(Squared(), states), states, tmp_path)
    assert read_json(tmp_path / "sae" / "cfg.json")["own"] == "own (Squared)"
    assert is_own(tmp_path)
    with pytest.raises(ArtifactMismatch, match=r"own \(Squared\), .* recsae\.open_run\('.*', sae="):
        SAE.load(tmp_path / "sae")
    plain = SAE(make_config(n_latents=4, k=2), 2)
    save_own(plain, states, tmp_path)
    assert torch.equal(SAE.load(tmp_path / "sae").W_dec, plain.W_dec)
    assert not is_own(tmp_path)
    assert not is_own(tmp_path / "nowhere")


def test_it_is_given_again_if_it_is_the_same(tmp_path, states):
    again = given_again(Squared(), digest_of_sae(Squared(), 2), states, tmp_path)
    assert again.kind == "own (Squared)"
    with pytest.raises(ArtifactMismatch, match="is not the one that the run in"):
        given_again(Halves(), digest_of_sae(Squared(), 2), states, tmp_path)
    with pytest.raises(ArtifactMismatch, match="trained its own SAE: leave sae= out"):
        given_again(Halves(), None, states, tmp_path)


def test_saelens_says_what_is_missing(tmp_path):
    with pytest.raises(ArtifactMismatch):
        read_saelens(tmp_path)


def test_activations_that_are_recorded_are_the_objects():
    sae = OwnSAE(Halves(), 2)
    states = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    assert torch.equal(sae.encode_plainly(states), sae.encode(states))
