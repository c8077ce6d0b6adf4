"""Every model of RecBole's through the conformance kit: its sites, its head, or why it has none."""

import pytest
import torch

pytest.importorskip("recbole")

from helpers.recbole_kit import FOLDER, GENERAL, SEQUENTIAL, small_checkpoint
from recsae.core.errors import CannotOpenModel
from recsae.testing import check_recommender
from recsae_recbole.open import open_checkpoint

pytestmark = pytest.mark.recbole


CAUSAL = {"SASRec", "SASRecF", "S3Rec", "GRU4Rec", "GRU4RecF", "GRU4RecKG", "RepeatNet"}
NO_HEAD = {
    *("TransRec", "RepeatNet", "GRU4RecCPR", "SASRecCPR", "DIN", "DIEN"),
    *(
        "CDAE",
        "ConvNCF",
        "DMF",
        "GCMC",
        "MultiDAE",
        "MultiVAE",
        "NNCF",
        "NeuMF",
        "RaCT",
        "SimpleX",
    ),
}
PARTLY = {"RepeatNet", "GRU4RecCPR", "SASRecCPR"}
BY_PAIRS = {"DIN", "DIEN", "ConvNCF", "NNCF", "NeuMF"}
REFUSED = {
    "FISM": "each item of the history",
    "NAIS": "each item of the history",
    "MacridVAE": "several vectors of a user",
    "DiffRec": "denoises the whole history",
    "NCEPLRec": "closed form",
}
INNER = {
    **dict.fromkeys(("SASRec", "SASRecF", "S3Rec", "BERT4Rec", "LightSANs", "SASRecCPR"), 6),
    **dict.fromkeys(("FEARec", "CORE"), 6),
    "GCSAN": 6,
    "FDSA": 12,
    **dict.fromkeys(("GRU4Rec", "GRU4RecCPR", "NARM", "KSR"), 1),
    **dict.fromkeys(("GRU4RecF", "GRU4RecKG"), 2),
}
PARTS = {"FPMC": 2, "NeuMF": 2}


def moved(checkpoint):
    """Weights that no seed gives, biases that are not zero."""
    generator = torch.Generator().manual_seed(5)
    for value in checkpoint["state_dict"].values():
        if value.is_floating_point():
            value.add_(0.05 * torch.randn(value.shape, generator=generator))


@pytest.fixture(scope="module")
def attach():
    """Opens each model's small checkpoint once, with weights that no seed gives."""
    known = {}

    def attached(model):
        if model not in known:
            path = FOLDER / f"attached-{model}.pth"
            settings = {"reg_weight": [1e-4] * 3} if model == "NARM" else {}
            small_checkpoint(path, model, change=moved, **settings)
            known[model] = open_checkpoint(path, trust=True)
        return known[model]

    return attached


@pytest.mark.parametrize("model", [m for m in (*SEQUENTIAL, *GENERAL) if m not in REFUSED])
def test_it_attaches(attach, model):
    recommender = attach(model)
    passed = check_recommender(recommender)
    assert "no-op edit leaves scores bit-equal" in passed
    first, *inner = recommender.sites()
    assert first.name == ("user" if model in GENERAL else "sequence")
    assert first.per_user == (model in GENERAL)
    assert first.every_position == (model in CAUSAL)
    assert (first.share >= 0.9999) == (model not in PARTLY)
    assert (recommender.linear_head() is None) == (model in NO_HEAD)
    by_pairs = recommender.describe()["scores_by"] == "pairs (predict)"
    assert by_pairs == (model in BY_PAIRS)
    assert len(inner) == INNER.get(model, 0)


@pytest.mark.parametrize("model", REFUSED)
def test_it_is_refused_with_the_reason(attach, model):
    with pytest.raises(CannotOpenModel, match=REFUSED[model]) as caught:
        attach(model)
    assert str(caught.value).startswith(f"recsae cannot attach to {model}: ")


@pytest.mark.parametrize(
    ("model", "parameter"),
    [
        ("SASRec", "item_embedding.weight"),
        ("HGN", "item_embedding_for_prediction.weight"),
        ("BERT4Rec", "item_embedding.weight, plus a bias"),
        ("CORE", "item_embedding.weight, rows normalised, times 14.29"),
        ("NPE", "item_embedding.weight, negative values cut off"),
        ("S3Rec", "item_embedding.weight"),
        ("KSR", "asked of the model with unit vectors"),
        ("FPMC", "asked of the model with unit vectors"),
        ("BPR", "item_embedding.weight"),
        ("LightGCN", "asked of the model with unit vectors"),
    ],
)
def test_heads(attach, model, parameter):
    """Bias, second table, truncated table, normalised rows, temperature: told, and verified."""
    head = attach(model).describe()["head"]
    assert head["parameter"] == parameter
    assert head["relative_error"] < 1e-5


def test_every_site_in_one_scoring(attach):
    recommender = attach("SASRec")
    sequences = recommender.sequences()
    rows = torch.arange(8).numpy()
    batch = sequences.batch(rows, 0 * rows, sequences.lengths[rows].clip(max=6), 6)
    names = [site.name for site in recommender.sites()]
    calls = []
    forward = recommender.model.forward
    recommender.model.forward = lambda *a: (calls.append(1), forward(*a))[1]
    try:
        together = recommender.represent_sites(batch, names, positions=True)
    finally:
        del recommender.model.forward
    assert len(calls) == 1
    for name in names:
        alone = recommender.represent(batch, name, positions=True)
        assert torch.equal(together[name], alone)
