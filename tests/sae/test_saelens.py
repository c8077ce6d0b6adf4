"""The format of SAELens: written by hand as SAELens has it, and there and back."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.sae.config import make_config
from recsae.sae.model import SAE, Gates
from recsae.sae.own import OwnSAE
from recsae.sae.saelens import CONFIG, WEIGHTS, read_saelens, write_saelens

WIDTH, LATENTS = 3, 6
ACTIVATIONS = ["topk", "matryoshka", "relu", "jumprelu", "batch_topk", "feature_choice"]


def drawn(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (WIDTH, LATENTS), "b_enc": (LATENTS,), "W_dec": (LATENTS, WIDTH)}
    shapes |= {"b_dec": (WIDTH,), "threshold": (LATENTS,)}
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return weights | {"threshold": weights["threshold"].abs()}


def kept(folder, weights, **config):
    folder.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / WEIGHTS)
    whole = {"d_in": WIDTH, "d_sae": LATENTS, "apply_b_dec_to_input": True, **config}
    (folder / CONFIG).write_text(json.dumps(whole))
    return folder


def states(n=40):
    return 3 * torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(5))


def of_ours(activation):
    """An SAE with every weight other than 0 and 1."""
    sae = SAE(make_config(n_latents=LATENTS, k=2, activation=activation), WIDTH)
    with torch.no_grad():
        for value in (sae.b_enc, sae.b_dec, sae.mean):
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(2)))
        sae.scale.fill_(2.5)
        if hasattr(sae, "threshold"):
            sae.threshold.fill_(0.4)
    return sae


def theirs(weights, h, architecture, applied=True):
    """What SAELens computes."""
    pre = (h - applied * weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    if architecture == "topk":
        best = pre.topk(2, dim=1)
        return torch.zeros_like(pre).scatter(1, best.indices, best.values.relu())
    return pre.relu() * (pre > weights["threshold"]) if architecture == "jumprelu" else pre.relu()


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu"])
@pytest.mark.parametrize("applied", [True, False])
def test_what_saelens_saved_gives_its_activations(tmp_path, architecture, applied):
    weights, more = drawn(), {"k": 2} if architecture == "topk" else {}
    folder = kept(
        tmp_path / "lens",
        weights,
        architecture=architecture,
        **more | {"apply_b_dec_to_input": applied},
    )
    sae, h = read_saelens(folder), states()
    z = theirs(weights, h, architecture, applied)
    assert (z > 0).any()
    torch.testing.assert_close(sae.encode(h), z)
    torch.testing.assert_close(sae(h), z @ weights["W_dec"] + weights["b_dec"])


def test_activations_rescaled_by_the_norms_of_the_decoder(tmp_path):
    weights, h = drawn(), states()
    folder = kept(
        tmp_path / "lens", weights, architecture="topk", k=2, rescale_acts_by_decoder_norm=True
    )
    norm = weights["W_dec"].norm(dim=1)
    scaled = weights | {"W_enc": weights["W_enc"] * norm, "b_enc": weights["b_enc"] * norm}
    z, sae = theirs(scaled, h, "topk"), read_saelens(folder)
    torch.testing.assert_close(sae.encode(h), z)
    torch.testing.assert_close(sae(h), z / norm @ weights["W_dec"] + weights["b_dec"])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_there_and_back(tmp_path, activation):
    sae = of_ours(activation)
    write_saelens(sae, tmp_path / "lens")
    weights, h = load_file(tmp_path / "lens" / WEIGHTS), states()
    architecture = json.loads((tmp_path / "lens" / CONFIG).read_text())["architecture"]
    torch.testing.assert_close(theirs(weights, h, architecture), sae.encode(h))
    again = read_saelens(tmp_path / "lens")
    torch.testing.assert_close(again.encode(h), sae.encode(h))
    torch.testing.assert_close(again(h), sae(h))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"architecture": "gated"}, "'gated': standard, topk, jumprelu can be read"),
        ({"normalize_activations": "layer_norm"}, "has normalize_activations='layer_norm': fold"),
        ({"reshape_activations": "hook_z"}, "has reshape_activations='hook_z'"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, config, words):
    with pytest.raises(InvalidInput, match=words):
        read_saelens(kept(tmp_path / "lens", drawn(), **config))


@pytest.mark.parametrize(
    "change",
    [
        {"W_enc": torch.zeros(LATENTS, WIDTH)},
        {"b_dec": torch.full((WIDTH,), torch.nan)},
        {"b_enc": None},
    ],
)
def test_damaged_weights_are_refused(tmp_path, change):
    weights = {n: v for n, v in (drawn() | change).items() if v is not None}
    with pytest.raises(ArtifactMismatch, match="is damaged or incomplete"):
        read_saelens(kept(tmp_path / "lens", weights, architecture="standard"))


def test_what_saelens_cannot_hold_is_not_written(tmp_path):
    gates = Gates(torch.eye(WIDTH)[:1], torch.zeros(1), torch.eye(WIDTH)[:1])
    with pytest.raises(InvalidInput, match="has gates, which SAELens cannot hold"):
        write_saelens(SAE(make_config(n_latents=4, k=2), WIDTH, gates), tmp_path)
    with pytest.raises(InvalidInput, match=r"is own \(SAE\)"):
        write_saelens(OwnSAE(SAE(make_config(n_latents=4, k=2), WIDTH), WIDTH), tmp_path)


# -- SAELens itself --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saelens():
    reason = "sae_lens is not installed: its format is compared with its formulas alone"
    return pytest.importorskip("sae_lens", reason=reason)


def close(one, other):
    return float((one - other).abs().max()) <= 1e-6 * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_saelens_reads_what_is_written(tmp_path, saelens, activation):
    sae, h = of_ours(activation), states(500)
    write_saelens(sae, tmp_path / "lens")
    read = saelens.SAE.load_from_disk(tmp_path / "lens", device="cpu")
    with torch.no_grad():
        z = sae.encode(h)
        assert (z > 0).any()
        assert close(read.encode(h), z)
        assert close(read.decode(z), sae.decode(z))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("Standard", {}),
        ("JumpReLU", {}),
        ("TopK", {"k": 2}),
        ("TopK", {"k": 2, "rescale_acts_by_decoder_norm": True}),
    ],
)
@pytest.mark.parametrize("applied", [True, False])
def test_what_saelens_itself_saved_is_read(tmp_path, saelens, kind, more, applied):
    config = getattr(saelens, f"{kind}SAEConfig")
    settings = {"d_in": WIDTH, "d_sae": LATENTS, "device": "cpu", "apply_b_dec_to_input": applied}
    own = getattr(saelens, f"{kind}SAE")(config(**settings, **more))
    weights, h = drawn(), states(500)
    with torch.no_grad():
        for name, value in own.named_parameters():
            value.copy_(weights[name])
        own.save_model(tmp_path / "lens")
        read, z = read_saelens(tmp_path / "lens"), own.encode(h)
        assert (z > 0).any()
        assert close(read.encode(h), z)
        assert close(read.decode(z), own.decode(z))
