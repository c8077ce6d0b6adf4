"""Models in memory and files by both doors, Python and the command line; and what is refused."""

import json
import logging
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

pytest.importorskip("rectools")

from rectools.models import PopularModel, SASRecModel
from rectools.models.nn.transformers.similarity import DistanceSimilarityModule

import recsae
from helpers.rectools_kit import dataset, fit, fitted, interactions
from recsae.cli.entry import group
from recsae.core.errors import CannotOpenModel, InvalidInput, NotEnoughData
from recsae_rectools.boundary import rectools_boundary

pytestmark = pytest.mark.rectools


def test_a_model_in_memory_by_its_data_set():
    recommender = recsae.load_recommender(fitted(), dataset=dataset(True))
    assert (recommender.name, recommender.plugin) == ("SASRecModel", "rectools")
    assert recommender.sources() == []
    assert recommender.model is fitted().torch_model
    assert recommender.catalog.attributes == ("genre", "kind")


def test_a_data_set_without_features_will_do():
    """The model has made their vectors its own, and RecTools needs none to recommend."""
    one, other = (
        recsae.load_recommender(fitted(with_features=True), dataset=dataset(with_features))
        for with_features in (False, True)
    )
    batch = one._probe
    assert torch.equal(one.score(batch), other.score(batch))
    assert one.catalog.attributes == ()


def test_by_the_command_line(tmp_path):
    with rectools_boundary():
        fitted().save(tmp_path / "model.pkl")
    interactions().to_csv(tmp_path / "interactions.csv", index=False)
    titles = "".join(f"{100 + i},Title {i},{'ab'[i % 2]}\n" for i in range(30))
    (tmp_path / "items.csv").write_text("item_id,title,genre\n" + titles)
    typed = ["inspect", str(tmp_path / "model.pkl"), "--items", str(tmp_path / "items.csv")]
    told = CliRunner().invoke(group, [*typed, "--trust", "--json"])
    assert told.exit_code == 0, told.output
    facts = json.loads(told.stdout)
    assert told.stderr == ""
    assert (facts["plugin"], facts["model"], facts["users"]) == ("rectools", "SASRecModel", 40)
    assert facts["title_column"] == "title"
    refused = CliRunner().invoke(group, typed)
    assert isinstance(refused.exception, CannotOpenModel)
    moved = tmp_path / "elsewhere.parquet"
    interactions().to_parquet(moved)
    (tmp_path / "interactions.csv").unlink()
    again = CliRunner().invoke(group, [*typed, "--trust", "--json", "--data-path", str(moved)])
    assert json.loads(again.stdout)["dataset"] == "elsewhere"


def test_a_data_set_in_a_file_for_a_model_in_memory(tmp_path):
    path = tmp_path / "dataset.pkl"
    path.write_bytes(pickle.dumps(dataset()))
    with pytest.raises(CannotOpenModel, match=r"a data set of RecTools'.*trust=True"):
        recsae.load_recommender(fitted(), data_path=path)
    found = recsae.load_recommender(fitted(), data_path=tmp_path, trust=True)
    assert found.sources() == [str(path)]


class OtherSimilarity(DistanceSimilarityModule):
    """Turns sessions round when it recommends, which nobody expects."""

    def _recommend_u2i(self, user_embs, **others):
        return super()._recommend_u2i(user_embs=-user_embs, **others)


def foreign_part(name, value):
    model = fit(SASRecModel, dataset())
    setattr(model.torch_model, name, value)
    return model


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (fitted, {}, r"holds no interactions: give SASRecModel its Dataset, load_recommender\(m"),
        (SASRecModel, {"dataset": dataset()}, "The SASRecModel is not fitted: there are no weig"),
        (PopularModel, {"dataset": dataset()}, "PopularModel of RecTools is no transformer: rec"),
        (lambda: fitted().lightning_model, {}, "TransformerLightningModule is a part of a RecTo"),
        (lambda: fitted().torch_model, {}, "TransformerTorchBackbone is a part of a RecTools mo"),
        (dataset, {}, "Dataset of RecTools is no transformer: recsae attaches to RecTools' tran"),
        (fitted, {"dataset": interactions()}, "is a DataFrame: it must be RecTools' Dataset, as"),
        (
            lambda: foreign_part("similarity_module", torch.nn.Identity()),
            {"dataset": dataset()},
            "its similarity is Identity, and recsae reads dot and cosine",
        ),
        (
            lambda: fit(SASRecModel, dataset(), similarity_module_type=OtherSimilarity),
            {"dataset": dataset()},
            "RecTools recommends other items to user 'u.*' than the states of SASRecModel say",
        ),
    ],
)
def test_what_cannot_be_attached_to(make, options, words):
    with rectools_boundary():
        model = make()
    with pytest.raises(CannotOpenModel, match=words) as raised:
        recsae.load_recommender(model, **options)
    assert "\n" not in str(raised.value)


def test_a_data_preparator_that_reads_more(tmp_path):
    table = interactions().assign(device="phone")
    with rectools_boundary():
        data = type(dataset()).construct(table, keep_extra_cols=True)
    model = fit(SASRecModel, data, data_preparator_kwargs={"extra_cols": ["device"]})
    with pytest.raises(CannotOpenModel, match=r"reads the columns \['device'\] beside items and"):
        recsae.load_recommender(model, dataset=data)


def test_a_training_that_diverged():
    model = fit(SASRecModel, dataset())
    with torch.no_grad():
        model.torch_model.pos_encoding_layer.pos_emb.weight[0] = float("inf")
    with pytest.raises(CannotOpenModel, match="of SASRecModel are NaN or infinite in 'pos_enc"):
        recsae.load_recommender(model, dataset=dataset())


def test_a_data_set_without_sequences():
    first = interactions().drop_duplicates("user_id")
    rest = interactions().drop_duplicates("item_id").assign(user_id=lambda t: t["item_id"])
    with rectools_boundary():
        data = type(dataset()).construct(pd.concat([first, rest], ignore_index=True))
    with pytest.raises(NotEnoughData, match="No user of the data set has two interactions with"):
        recsae.load_recommender(fitted(), dataset=data)


def test_a_device_that_is_not_there(tmp_path):
    with rectools_boundary():
        fitted().save(tmp_path / "model.pkl")
    with pytest.raises(InvalidInput, match="The device 'meta' cannot be used here"):
        recsae.load_recommender(tmp_path / "model.pkl", device="meta", trust=True)


def test_nothing_is_said_or_drawn_and_training_can_go_on(caplog, capfd, tmp_path):
    model = fit(SASRecModel, dataset())
    model.save(tmp_path / "model.pkl")
    caplog.clear()
    capfd.readouterr()
    weights = {name: value.clone() for name, value in model.torch_model.state_dict().items()}
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        recsae.load_recommender(tmp_path / "model.pkl", trust=True, dataset=dataset())
        recsae.load_recommender(model, dataset=dataset())
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")
    assert model.recommend_torch_device is None
    assert all(torch.equal(v, weights[n]) for n, v in model.torch_model.state_dict().items())
    assert all(p.requires_grad for p in model.torch_model.parameters())
    with rectools_boundary():
        model.fit_partial(dataset(), min_epochs=1, max_epochs=1)
