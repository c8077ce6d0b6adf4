"""RecBole's models given vectors in place of items: which can be, and why the others cannot."""

import pytest
import torch

pytest.importorskip("recbole")

from helpers.recbole_kit import FOLDER, small_checkpoint
from recsae.attribution.integrated_gradients import baseline_vectors, integrate, vectors_of
from recsae.core.errors import CannotOpenModel
from recsae.recommender.protocol import Recommender
from recsae.recommender.sequences import Batch, pad
from recsae_recbole.open import open_checkpoint

pytestmark = pytest.mark.recbole


READ = (  # one of each way of asking for items
    *("SASRec", "BERT4Rec", "GRU4Rec", "CORE", "SHAN", "SRGNN", "HRM", "FPMC", "TransRec"),
    *("RepeatNet", "GRU4RecKG"),
)
NOT_READ = {
    "SASRecF": "SASRecF knows more of its items than the vectors that it looks up",
    "KSR": "KSR knows more of its items",
    "DIN": "DIN looks up no vector for each item of a history",
    "BPR": "BPR keeps one state for each user and reads no items",
}


def attached(model):
    return open_checkpoint(small_checkpoint(FOLDER / f"vectors-{model}.pth", model), trust=True)


def asked(recommender):
    """A user's history of five items, one of them twice."""
    items = recommender.sequences()[3][:4].tolist()
    return pad(
        [[*items, items[1]]], recommender.max_length, int(recommender.sequences().user_rows[3])
    )


@pytest.mark.parametrize("model", READ)
def test_gradients_by_what_it_reads_are_complete(model):
    recommender = attached(model)
    assert isinstance(recommender, Recommender)
    assert type(recommender).represent_from is not Recommender.represent_from
    batch = asked(recommender)
    vectors = vectors_of(recommender, batch)
    assert vectors.shape[0] == 5
    weights = torch.linspace(-1, 2, recommender.sites()[0].width)

    def numbers(points):
        n = len(points)
        padded = torch.zeros(n, recommender.max_length, points.shape[2])
        padded[:, :5] = points
        many = Batch(*(part.repeat_interleave(n, 0) for part in batch))
        return (recommender.represent_from(many, padded) @ weights)[:, None]

    own = float(recommender.represent(batch)[0] @ weights)
    begin = baseline_vectors(recommender, "popular-user", batch)
    found = integrate(numbers, vectors, begin)
    assert found.value[0] == pytest.approx(own, abs=1e-5)
    assert found.complete.all()
    assert abs(found.attributions).sum() > 0
    weights = list(recommender.model.parameters())
    assert all(p.grad is None for p in weights)
    assert not torch.is_anomaly_enabled()


@pytest.mark.parametrize("model", NOT_READ)
def test_why_gradients_are_not_available(model):
    recommender = attached(model)
    with pytest.raises(CannotOpenModel, match=NOT_READ[model]):
        vectors_of(recommender, asked(recommender))


def test_after_a_failure_the_model_is_as_before():
    recommender = attached("SASRec")
    batch = asked(recommender)
    before = recommender.score(batch)
    with pytest.raises(RuntimeError):
        recommender.represent_from(batch, torch.zeros(1, 2, 3))
    assert torch.equal(recommender.score(batch), before)
    assert all("forward" not in vars(m) for m in recommender.model.modules())
    assert torch.is_grad_enabled()


def test_a_model_that_fails_with_gradients_says_so(monkeypatch):
    recommender = attached("GRU4Rec")
    batch = asked(recommender)
    vectors = recommender.input_vectors(batch)

    def refuse(*_):
        raise RuntimeError("one of the variables has been modified by an inplace operation")

    monkeypatch.setattr(recommender.model, "forward", refuse)
    with pytest.raises(CannotOpenModel, match=r"GRU4Rec cannot be run with gradients .*inplace"):
        recommender.represent_from(batch, vectors)
