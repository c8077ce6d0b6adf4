"""The base model's own evaluation: ours and RecBole's Trainer.evaluate give the same digits."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("recbole")

from helpers.recbole_kit import (
    FOLDER,
    TINY,
    loaded_by_recbole,
    opened,
    run_by_recbole,
    save_checkpoint,
    small_checkpoint,
    write_data,
)
from helpers.runs import checkpoint
from recsae.core.errors import CannotOpenModel, InvalidInput, NotEnoughData
from recsae.recommender.evaluation import evaluate
from recsae.run.open import open_workspace
from recsae.steering.context import steer
from recsae.steering.steps.goals import goal_of
from recsae.steering.steps.kinds import Wishes
from recsae.steering.tuning.tune import tune
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.open import open_checkpoint

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


METRICS = {"metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision"], "topk": [5, 10, 20]}
# RecBole runs a sequential model once for each candidate: fewer users, and a small model
FEWER = {"user_inter_num_interval": "[20,21]", "item_inter_num_interval": None}
FEWER |= {"hidden_size": 16, "inner_size": 16}
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


def test_recboles_trainer_sees_a_tuned_steering(tmp_path, recbole_run):
    """Before, inside and after; inside it gives the digits of our own evaluation, steered alike."""
    from recbole.utils import get_trainer

    work = open_workspace(recbole_run)
    recommender = work.recommender
    goal = goal_of(work, Wishes(more=("Comedy",)))
    steps = tune(work, goal, 0.1, method="latents", compare=False).steering.steps
    cases = recommender.evaluation("test")
    with recbole_boundary(), contextlib.chdir(tmp_path):
        config, _, loaders = loaded_by_recbole(checkpoint(), checkpoint_dir=str(tmp_path))
        kind = get_trainer(config["MODEL_TYPE"], config["model"])
        trainer = kind(config, recommender.model)
        told = [trainer.evaluate(loaders["test"], load_best_model=False)]
        with steer(recommender, work.sae, steps, site=work.site):
            told.append(trainer.evaluate(loaders["test"], load_best_model=False))
            ours = {k: round(v.mean(), 4) for k, v in evaluate(recommender, cases).items()}
        told.append(trainer.evaluate(loaders["test"], load_best_model=False))
    before, inside, after = map(dict, told)
    assert before == after
    assert inside != before
    assert {k: v for k, v in ours.items() if k in inside} == inside


# -- general models --------------------------------------------------------------------------------

USERS = {  # order, split, group_by, mode
    "ratio of each user": ("RO", BY_RATIO, "user", "full"),
    "ratio of all": ("RO", BY_RATIO, None, "full"),
    "ratio by time": ("TO", BY_RATIO, "user", "full"),
    "one at random": ("RO", {"LS": "valid_and_test"}, "user", "full"),
    "time": ("TO", {"TS": [0.8, 0.1, 0.1]}, "user", "full"),
    "uniform candidates": ("RO", BY_RATIO, "user", "uni100"),
    "popular candidates": ("TO", BY_RATIO, None, "pop100"),
}


def general_checkpoint(path, order, split, group_by, mode, **settings):
    evaluation = {"order": order, "split": split, "group_by": group_by, "mode": mode}
    columns = {"inter": ["user_id", "item_id", "timestamp"]}
    options = {**TINY, **METRICS, "load_col": columns, "metric_decimal_place": 15, **settings}
    return save_checkpoint(path, "BPR", **options, eval_args=evaluation)


def trained_by_recbole(path, folder):
    """One epoch of RecBole's own training, saved as a checkpoint."""
    with recbole_boundary(), contextlib.chdir(folder):
        trainer, loaders = run_by_recbole(path, folder)
        trainer.epochs = 1
        trainer.fit(loaders["train"], saved=True, verbose=False, show_progress=False)
    return Path(folder / trainer.saved_model_file)


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize("name", USERS)
def test_same_means_as_recbole_over_users(name, split, tmp_path):
    path = general_checkpoint(tmp_path / "x.pth", *USERS[name])
    theirs = by_recbole(path, tmp_path, split)
    recommender = open_checkpoint(path, trust=True)
    cases = recommender.evaluation(split)
    ours = {key: value.mean() for key, value in evaluate(recommender, cases).items()}
    assert len(ours) == 15
    assert sum(ours.values()) > 0.1
    assert ours == pytest.approx(dict(theirs), abs=1e-7)
    assert cases.filters_seen


@pytest.mark.parametrize("name", ["ratio of each user", "time", "uniform candidates"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_model_whose_items_are_had_again_hides_nothing(name, split, tmp_path):
    path = general_checkpoint(tmp_path / "x.pth", *USERS[name], repeatable=True)
    theirs = by_recbole(path, tmp_path, split)
    recommender = open_checkpoint(path, trust=True)
    cases = recommender.evaluation(split)
    ours = {key: value.mean() for key, value in evaluate(recommender, cases).items()}
    assert ours == pytest.approx(dict(theirs), abs=1e-7)
    assert not cases.filters_seen
    assert not recommender.filters_seen
    assert recommender.sites()[0].per_user


def test_every_user_of_a_trained_model_as_recbole_has_them(tmp_path):
    first = general_checkpoint(tmp_path / "x.pth", *USERS["ratio of each user"])
    path = trained_by_recbole(first, tmp_path)
    with recbole_boundary(), contextlib.chdir(tmp_path):
        trainer, loaders = run_by_recbole(path, tmp_path)
        trainer.evaluator.evaluate = lambda collected: collected
        collected = trainer.evaluate(loaders["test"], load_best_model=False)
        metrics = trainer.evaluator.metric_class
        theirs = {
            name: metrics[name].metric_info(*metrics[name].used_info(collected))[:, 9]
            for name in ("recall", "ndcg")
        }
    recommender = open_checkpoint(path, trust=True)
    cases = recommender.evaluation("test")
    ours = evaluate(recommender, cases)
    assert 150 < len(theirs["recall"]) < len(cases.rows)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[f"{name}@10"], values, atol=1e-7)
    users = loaders["test"].uid_list
    assert (recommender.sequences().user_rows[cases.group_rows] == users.numpy()).all()


def test_items_that_come_again(tmp_path):
    """RecBole counts a repeated item once, and does not leave it out where it is asked for."""
    folder = write_data(tmp_path / "shop", "shop")
    path = folder / "shop.inter"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *rows, *rows[::2], *rows[::3]]) + "\n")
    settings = {"data_path": str(tmp_path), "user_inter_num_interval": "[0,25]", **METRICS}
    checkpoint = small_checkpoint(tmp_path / "x.pth", "BPR", metric_decimal_place=15, **settings)
    theirs = by_recbole(checkpoint, tmp_path, "test")
    recommender = open_checkpoint(checkpoint, trust=True)
    cases = recommender.evaluation("test")
    sequences = recommender.sequences()
    before = [
        target in sequences[row][:end]
        for row, end, target in zip(cases.rows, cases.ends, cases.targets, strict=True)
    ]
    assert any(before)
    ours = {key: value.mean() for key, value in evaluate(recommender, cases).items()}
    assert ours == pytest.approx(dict(theirs), abs=1e-7)


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
