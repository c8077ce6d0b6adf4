"""Data that are not those of the training are refused, by validation score or by their own maps."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("recbole")

import recsae
from helpers.recbole_kit import FEW, FOLDER, SMALL, built_by_recbole, small_checkpoint
from recsae.core.errors import CannotOpenModel, InvalidInput
from recsae.recommender.validation import compare_with_stated
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.open import open_checkpoint

pytestmark = pytest.mark.recbole

HEAD = "user_id:token\titem_id:token\ttimestamp:float"
SETTINGS = SMALL | {
    "MAX_ITEM_LIST_LENGTH": 10,
    "hidden_size": 16,
    "n_layers": 1,
    "epochs": 6,
    "learning_rate": 0.02,
    "train_batch_size": 256,
    "topk": [5, 10],
    "metrics": ["Recall", "NDCG"],
    "valid_metric": "NDCG@10",
}


def walks(n_users=120, n_items=40):
    """Users who mostly go on to the next item, by time."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(n_users):
        steps = rng.choice([1, 1, 1, 2], 5 + user % 9)
        items = (rng.integers(n_items) + np.cumsum(steps)) % n_items
        rows += [(f"u{user}", f"i{item}", 10 * t) for t, item in enumerate(items)]
    return rows


def write(rows, folder):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [HEAD, *("\t".join(map(str, row)) for row in rows)]
    (folder / "shop.inter").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def trained():
    """A checkpoint that RecBole's trainer wrote, and its data's folder."""
    folder = write(walks(), FOLDER / "walks" / "shop")
    with recbole_boundary(), contextlib.redirect_stdout(None), contextlib.chdir(FOLDER):
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation
        from recbole.trainer import Trainer
        from recbole.utils import get_model, init_seed

        fixed = {"use_gpu": False, "checkpoint_dir": str(FOLDER / "walked"), "worker": 0}
        fixed |= {"data_path": str(folder.parent), "train_neg_sample_args": None}
        config = Config(model="SASRec", dataset="shop", config_dict=SETTINGS | fixed)
        init_seed(1, True)
        train, valid, _ = data_preparation(config, create_dataset(config))
        trainer = Trainer(config, get_model("SASRec")(config, train._dataset))
        trainer.fit(train, valid, verbose=False)
    return Path(trainer.saved_model_file), folder


def changed(path, to, change):
    checkpoint = torch.load(path, weights_only=False)
    change(checkpoint)
    torch.save(checkpoint, to)
    return to


def test_on_its_own_data_a_model_scores_what_the_checkpoint_says(trained):
    recommender = open_checkpoint(trained[0], trust=True)
    assert not any("validation" in note for note in recommender.catalog.notes)
    found = compare_with_stated(recommender, every_case=True)
    assert found.metric == "ndcg@10"
    assert found.n_cases == found.n_all == 120
    assert round(found.found, 4) == found.stated == recommender.stated_score().value > 0.3


@pytest.mark.parametrize(
    "other",
    [
        lambda rows: sorted(rows, key=lambda row: (row[2], row[0])),
        lambda rows: rows[::-1],
        lambda rows: [*rows, *((f"u{u}", "i3", 999) for u in range(60))],
        lambda rows: [row for row in rows if row[2] != 10],
    ],
    ids=["by time", "backwards", "rows appended", "rows left out"],
)
def test_other_data_are_refused(trained, tmp_path, other):
    folder = write(other(walks()), tmp_path / "shop")
    words = r"not the data that SASRec was trained on.*NDCG@10 .* instead of .*validation \(120"
    with pytest.raises(CannotOpenModel, match=words):
        open_checkpoint(trained[0], trust=True, data_path=folder)


def test_a_few_rows_more_are_said(trained, tmp_path):
    folder = write([*walks(), ("u7", "i3", 999)], tmp_path / "shop")
    notes = open_checkpoint(trained[0], trust=True, data_path=folder).catalog.notes
    assert "the data may differ a little" in notes[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(best_valid_score=-np.inf), "Nothing was validated when"),
        (lambda c: c.pop("best_valid_score"), "Nothing was validated when"),
        (lambda c: c.update(best_valid_score=0.0), "scored 0 in validation"),
        (
            lambda c: c["config"].final_config_dict.update(valid_metric="MAP@10"),
            "does not know the metric 'MAP@10'",
        ),
        (
            lambda c: c["config"].final_config_dict.update(valid_metric="MRR@10"),
            "the metric 'MRR@10' is none of the checkpoint's",
        ),
        (
            lambda c: c["config"]["eval_args"].update(split={"LS": "test_only"}),
            "No interactions are kept for validation",
        ),
    ],
)
def test_what_cannot_be_compared_is_said(trained, tmp_path, change, words):
    path = changed(trained[0], tmp_path / "x.pth", change)
    recommender = open_checkpoint(path, trust=True)
    assert words.lower() in recommender.catalog.notes[-1].lower()
    assert "could not be tried by its score in validation" in recommender.describe()["notes"][-1]


def test_scores_among_drawn_candidates_are_compared_roughly(trained, tmp_path):
    def sampled(checkpoint):
        drawn = {"distribution": "uniform", "sample_num": 20}
        checkpoint["config"]["eval_args"]["mode"] = {"valid": "uni20", "test": "full"}
        checkpoint["config"].final_config_dict["valid_neg_sample_args"] = drawn
        checkpoint["best_valid_score"] = 0.88

    path = changed(trained[0], tmp_path / "x.pth", sampled)
    assert "drawn at random" in open_checkpoint(path, trust=True).catalog.notes[-1]
    other = write(walks()[::-1], tmp_path / "shop")
    with pytest.raises(CannotOpenModel, match="not the data that SASRec was trained on"):
        open_checkpoint(path, trust=True, data_path=other)


# -- models in memory -----------------------------------------------------------------------------


def in_memory(folder, kind=None, model="SASRec", **settings):
    """Config, model and data set, as RecBole makes them of a folder."""
    settings = {**SETTINGS, "data_path": str(folder.parent), **settings}
    with recbole_boundary(), contextlib.redirect_stdout(None):
        from recbole.data import create_dataset

        config, built = built_by_recbole(model, "shop", settings)
        return config, built, (kind or create_dataset)(config)


@pytest.mark.parametrize(("model", "settings"), [("SASRec", {}), ("BPR", FEW)])
@pytest.mark.parametrize("split", [False, True])
def test_the_data_set_of_a_model_in_memory_is_compared(trained, tmp_path, model, settings, split):
    config, built, dataset = in_memory(trained[1], model=model, **settings)
    assert "no dataset was given" in recsae.load_recommender((config, built)).catalog.notes[-1]
    if split:
        with recbole_boundary():
            dataset.build()
    opened = recsae.load_recommender((config, built), dataset=dataset)
    assert not any("dataset" in note for note in opened.catalog.notes)
    other = write(walks()[::-1], tmp_path / "shop")
    with pytest.raises(CannotOpenModel, match=r"user number 1 is 'u0' in it and 'u119' in them"):
        recsae.load_recommender((config, built), dataset=dataset, data_path=other)


def test_other_interactions_of_the_same_users_and_items(trained, tmp_path):
    config, built, dataset = in_memory(trained[1])
    rows = walks()
    rows[-1] = (rows[-1][0], "i3", rows[-1][2])
    for other in (rows, walks()[:-1]):
        folder = write(other, tmp_path / str(len(other)) / "shop")
        with pytest.raises(CannotOpenModel, match=r"it has 1,0\d\d interactions"):
            recsae.load_recommender((config, built), dataset=dataset, data_path=folder)


def test_a_data_set_of_ones_own_class_is_opened_by_it(trained):
    from recbole.data.dataset import SequentialDataset

    class EarlyOnly(SequentialDataset):
        def _data_filtering(self):
            super()._data_filtering()
            self.inter_feat = self.inter_feat[self.inter_feat["timestamp"] < 60]

    config, built, dataset = in_memory(trained[1], EarlyOnly)
    opened = recsae.load_recommender((config, built), dataset=dataset)
    assert opened.sequences().lengths.max() == 6
    assert recsae.load_recommender((config, built)).sequences().lengths.max() == 13


def test_what_is_no_data_set(trained):
    config, built, _ = in_memory(trained[1])
    with pytest.raises(InvalidInput, match=r"what RecBole's create_dataset gives, not a list"):
        recsae.load_recommender((config, built), dataset=[1, 2])


def test_checkpoint_that_was_saved_without_validation_opens(tmp_path):
    recommender = open_checkpoint(small_checkpoint(tmp_path / "x.pth"), trust=True)
    assert "validation" in recommender.catalog.notes[-1]
