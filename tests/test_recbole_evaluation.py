"""The base model's own evaluation: ours and RecBole's Trainer.evaluate give the same digits."""

import contextlib

import pytest

pytest.importorskip("recbole")

from recbole_kit import FOLDER, TINY, opened, run_by_recbole, save_checkpoint
from recsae.accuracy import evaluate
from recsae.errors import CannotOpenModel, InvalidInput, NotEnoughData
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.opening import open_checkpoint

METRICS = {"metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision"], "topk": [5, 10, 20]}
# RecBole takes seconds to score the candidates of more users
FEWER = {"user_inter_num_interval": "[20,21]", "item_inter_num_interval": None}
BY_RATIO = {"RS": [0.8, 0.1, 0.1]}
SETTINGS = {
    "leave-one-out": ({"LS": "valid_and_test"}, "full", "SASRec"),
    "gru": ({"LS": "valid_and_test"}, "full", "GRU4Rec"),
    "test only": ({"LS": "test_only"}, "full", "SASRec"),
    "ratio": (BY_RATIO, "full", "SASRec"),
    "time": ({"TS": [0.8, 0.1, 0.1]}, "full", "GRU4Rec"),
    "uniform candidates": ({"LS": "valid_and_test"}, "uni100", "SASRec"),
    "popular candidates": ({"LS": "valid_and_test"}, "pop100", "GRU4Rec"),
    "candidates per user": (BY_RATIO, "uni100", "SASRec"),
    "popular candidates per user": (BY_RATIO, "pop100", "SASRec"),
}


def checkpoint_with(name, split, mode, model):
    settings = {"split": split, "order": "TO", "group_by": "user", "mode": mode}
    path = FOLDER / f"evaluation-{name.replace(' ', '-')}.pth"
    data = TINY if mode == "full" else TINY | FEWER
    return save_checkpoint(path, model, **data, **METRICS, eval_args=settings)


def by_recbole(path, folder, split):
    from recbole.utils import init_seed

    with recbole_boundary(), contextlib.chdir(folder):
        trainer, loaders = run_by_recbole(path, folder)
        init_seed(trainer.config["seed"], trainer.config["reproducibility"])
        return trainer.evaluate(loaders[split], load_best_model=False)


@pytest.mark.parametrize("name", SETTINGS)
def test_same_digits_as_recbole(name, tmp_path):
    path = checkpoint_with(name, *SETTINGS[name])
    theirs = by_recbole(path, tmp_path, "test")
    recommender = open_checkpoint(path, trust=True)
    cases = recommender.evaluation("test")
    ours = {key: round(value.mean(), 4) for key, value in evaluate(recommender, cases).items()}
    assert ours == dict(theirs)
    assert len(ours) == 15
    assert sum(ours.values()) > 0
    assert (cases.candidates is None) == (SETTINGS[name][1] == "full")


def test_validation_part_and_repeated_calls(tmp_path):
    path = checkpoint_with("valid", {"LS": "valid_only"}, "uni100", "SASRec")
    theirs = by_recbole(path, tmp_path, "valid")
    recommender = open_checkpoint(path, trust=True)
    for _ in range(2):  # drawing candidates leaves no trace
        values = evaluate(recommender, recommender.evaluation("valid"))
        assert {key: round(value.mean(), 4) for key, value in values.items()} == dict(theirs)
    with pytest.raises(NotEnoughData, match=r"valid_only.*nothing in the test part"):
        recommender.evaluation("test")


def test_splits_are_recboles():
    recommender = opened()
    lengths = recommender.sequences().lengths
    for split, held in (("test", 1), ("valid", 2)):
        cases = recommender.evaluation(split)
        assert (cases.ends == lengths[cases.rows] - held).all()
        assert cases.metrics == ("recall", "mrr", "ndcg", "hit", "precision")
        assert cases.topk == (10,)
        assert cases.description == "split LS valid_and_test, full ranking"
    with pytest.raises(InvalidInput, match="tets"):
        recommender.evaluation("tets")


def test_labels_are_no_ranking():
    labels = {"metrics": ["AUC"], "valid_metric": "AUC", "threshold": {"rating": 3}}
    settings = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "labeled"}
    columns = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    path = save_checkpoint(
        FOLDER / "labels.pth", **TINY, **labels, eval_args=settings, load_col=columns
    )
    recommender = open_checkpoint(path, trust=True)
    with pytest.raises(CannotOpenModel, match="labeled"):
        recommender.evaluation("test")
