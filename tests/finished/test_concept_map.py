"""The concepts as Embedding Atlas and Neuronpedia read them, by hand and on the planted run."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recsae
from helpers.reports import make_plain
from helpers.runs import copy_of
from recsae.core.errors import ArtifactMismatch
from recsae.finished.concept_map import COLUMNS, concept_map, features
from recsae.report.schema.report import Report


def together(latent, phi, kind="with"):
    return {"kind": kind, "latent": latent, "n_together": 30, "lift": 2.0, "phi": phi}


@pytest.fixture
def report():
    """Four concepts, of which 0, 2 and 3 have a place."""
    plain = make_plain(4)
    concepts = plain["concepts"]["list"]
    near = {
        0: [together(1, 0.9), together(3, 0.5), together(2, 0.75), together(2, -0.8, "instead")],
        1: [together(0, 0.9)],
        2: [together(1, 0.6), together(3, None)],
        3: [],
    }
    for concept in concepts:
        concept["together"] = near[concept["latent"]]
    for latent, x, y in [(0, -1.0, 0.5), (2, 0.0, 0.0), (3, 1.0, -0.25)]:
        concepts[latent] |= {"x": x, "y": y, "kind": "theme"}
    return Report.model_validate(plain)


# -- the map ---------------------------------------------------------------------------------------


def test_all_concepts_by_hand(report):
    table = concept_map(report, placed=False)
    assert tuple(table.columns) == COLUMNS
    assert table["latent"].tolist() == [0, 1, 2, 3]
    assert table["x"].isna().tolist() == [False, True, False, False]
    assert table["kind"].tolist() == ["theme", None, "theme", "theme"]
    assert table["neighbors"].tolist() == [
        {"ids": [1, 2, 3], "distances": [0.1, 0.25, 0.5]},
        {"ids": [0], "distances": [0.1]},
        {"ids": [1], "distances": [0.4]},
        {"ids": [], "distances": []},
    ]


def test_of_placed_concepts_ids_are_rows_of_the_smaller_table(report):
    table = concept_map(report, placed=True)
    assert table["latent"].tolist() == [0, 2, 3]
    assert table["neighbors"].tolist() == [
        {"ids": [1, 2], "distances": [0.25, 0.5]},
        {"ids": [], "distances": []},
        {"ids": [], "distances": []},
    ]


def test_figures_are_numbers_where_none_is_known(report):
    unknown = {"precision": None, "recall": None, "explains": None, "x": None, "y": None}
    listed = [one.model_copy(update=unknown) for one in report.concepts.list]
    concepts = report.concepts.model_copy(update={"list": listed})
    table = concept_map(report.model_copy(update={"concepts": concepts}), placed=False)
    assert {str(table[name].dtype) for name in unknown} == {"float64"}
    assert concept_map(report.model_copy(update={"concepts": concepts}), placed=True).empty


# -- features --------------------------------------------------------------------------------------


def test_a_feature_by_hand(report):
    concept = report.concepts.list[0]
    feature = features(report)[0]
    titles = {item: known.title for item, known in report.items.items()}
    assert (feature["modelId"], feature["layer"], feature["index"]) == ("SASRec", "sequence", "0")
    assert feature["explanations"] == [{"description": concept.label}]
    assert feature["pos_str"] == [titles[f"i{n}"] for n in range(5)]
    assert feature["pos_values"] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])
    assert feature["neg_str"] == [titles[f"i{n}"] for n in range(5, 10)]
    shown, example = feature["activations"][0], concept.examples[0]
    assert shown["tokens"] == [titles[item] for item in example.items]
    assert shown["values"] == [None] * 8 + [example.activation]
    assert (shown["maxValue"], shown["maxValueTokenIndex"]) == (example.activation, 8)
    assert feature["maxActApprox"] == max(one["maxValue"] for one in feature["activations"])


# -- a run -----------------------------------------------------------------------------------------


@pytest.mark.end_to_end
def test_the_table_of_a_run_says_what_its_other_tables_say(planted_run):
    run = recsae.load_run(planted_run)
    table, searched = run.concept_map(), run.search().set_index("latent")
    assert table["latent"].tolist() == list(range(16))
    for name in ("name", "label", "status"):
        assert table[name].tolist() == searched.loc[table["latent"], name].tolist()
    assert table["precision"].to_numpy() == pytest.approx(
        searched.loc[table["latent"], "precision"].to_numpy(), nan_ok=True
    )
    placed = run.concept_map(placed=True)
    assert {*placed["status"]} == {"verified"}
    assert placed["latent"].tolist() == table.loc[table["x"].notna(), "latent"].tolist()


@pytest.mark.end_to_end
@pytest.mark.parametrize("placed", [False, True])
def test_embedding_atlas_finds_what_it_reads(planted_run, tmp_path, placed):
    """Of each row a struct of two lists of one length; ids are rows, counted from 0."""
    table = recsae.load_run(planted_run).concept_map(placed=placed)
    path = tmp_path / "concepts-map.parquet"
    table.to_parquet(path)
    lists = {"ids": pa.int64(), "distances": pa.float64()}
    kind = pq.read_schema(path).field("neighbors").type
    assert {kind.field(i).name: kind.field(i).type.value_type for i in range(2)} == lists
    back = pd.read_parquet(path)
    assert back.drop(columns="neighbors").equals(table.drop(columns="neighbors"))
    for row, (made, read) in enumerate(zip(table["neighbors"], back["neighbors"], strict=True)):
        assert {key: list(values) for key, values in read.items()} == made
        ids, distances = made["ids"], made["distances"]
        assert len(ids) == len(distances) == len({*ids})
        assert row not in ids
        assert {*ids} <= {*range(len(table))}
        assert distances == sorted(distances)
    assert any(made["ids"] for made in table["neighbors"])


@pytest.mark.end_to_end
def test_corrections_are_in_both(planted_run, tmp_path):
    run = recsae.load_run(copy_of(planted_run, tmp_path / "run"))
    path, _ = run.corrections_file()
    path.write_text('[rename]\n3 = "Mine"\n[reject]\n4 = "Nothing"\n', encoding="utf-8")
    table = run.concept_map().set_index("latent")
    assert table.loc[3, "name"] == "Mine"
    assert table.loc[4, "status"] == "rejected"
    listed = run.features()
    assert (listed[3]["name"], listed[4]["status"]) == ("Mine", "rejected")


@pytest.mark.end_to_end
def test_features_hide_the_users_that_the_page_hides(planted_run, tmp_path):
    run = recsae.load_run(copy_of(planted_run, tmp_path / "run"))

    def shown():
        listed = json.loads(json.dumps(run.features(), allow_nan=False))
        return [one for feature in listed for one in feature["activations"]]

    ids = {one["user"] for one in shown()}
    assert max(len(one["tokens"]) for one in shown()) > 3
    assert not any(user.startswith("user ") for user in ids)
    run.write_report(redact_users=True, max_history=3)
    assert {one["user"] for one in shown()}.isdisjoint(ids)
    assert all(one["user"].startswith("user ") for one in shown())
    assert max(len(one["tokens"]) for one in shown()) == 3
    (run.folder / "hidden.json").write_text("{}}", encoding="utf-8")
    with pytest.raises(ArtifactMismatch, match="hides of users"):
        run.features()
