"""The whole pipeline on planted truth: what comes out."""

import copy
import dataclasses
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from helpers.run_files import FILES
from helpers.runs import CONFIG, in_brief, planted, planted_run
from helpers.toy import user_table
from recsae.capture.store import ActivationStore
from recsae.concepts.attributes.table import DERIVED
from recsae.core.errors import ArtifactMismatch
from recsae.core.files import read_json
from recsae.finished.loaded import load_run
from recsae.pipeline.plan import STAGES, run_pipeline
from recsae.recommender.catalog import build_catalog
from recsae.recommender.evaluation import evaluate
from recsae.recommender.sequences import pad, split_users
from recsae.report import read_report
from recsae.report.schema.report import SCHEMA_FILE
from recsae.run.config import RunConfig
from recsae.run.record import Run
from recsae.sae.editing import insert_reconstruction
from recsae.sae.model import SAE
from recsae.testing.planted import PlantedRecommender

pytestmark = pytest.mark.end_to_end


KEYS = {
    "model": "name plugin site hidden_size n_items checkpoint_sha256",
    "data": "n_users n_construction_users n_heldout_users n_sequences attributes",
    "sae": "n_latents k activation fvu l0 dead_fraction n_activations_seen seconds",
    "accuracy": "all_users heldout",
    "concepts": "tested untested verified supported distinct_verified list",
    "protocol": "name min_positives min_users supported_excludes_verified",
    "named_share": "sae neurons random pca",
    "label_quality": "sae neurons random pca",
    "recsae_protocol": "sae neurons random pca",
    "baselines": "neurons random pca dense",
    "timings": "capture train concepts scoring steering report",
}
CODE_KEYS = {
    "named_share": "8 16 32 ndcg_kept_32 intervals n_verified sae_ahead",
    "label_quality": "value sae_ahead",
    "recsae_protocol": "n at_0_8 at_0_9 mean_recall mean_specificity mean_confidence",
    "baselines": "n_units tested verified supported distinct_verified "
    "distinct_verified_equal_units mean_balanced_accuracy",
}
LISTED = {
    "attributes": "attribute best_latent auc_sae auc_neurons auc_random auc_pca auc_supervised "
    "prevalence site",
    "steering": "target intervention target_share_before target_share_after ndcg_before "
    "ndcg_after n_users",
}
CONCEPT_KEYS = (
    "latent label labeler status precision precision_low recall recall_low f1 balanced_accuracy "
    "auc n_pos n_neg"
)


@pytest.fixture(scope="module")
def report(planted_run):
    return read_json(planted_run / "report.json")


@pytest.fixture(scope="module")
def heldout(planted_run):
    """Store of the held-out users, sorted as the cases are: (user row, position) ascending."""
    store = ActivationStore(planted_run / "heldout")
    columns = {c: store.column(c) for c in ("states", "sequence", "position", "top_items")}
    order = np.lexsort((columns["position"], columns["sequence"]))
    return {name: values[order] for name, values in columns.items()}


# -- one state per user ----------------------------------------------------------------------------


@pytest.mark.parametrize("linear", [True, False])
def test_a_model_of_users_goes_through_the_whole_pipeline(linear, tmp_path):
    recommender = user_table(150)
    if not linear:
        recommender.linear_head = lambda: None
    config = RunConfig(checkpoint="users", latents=32, k=2)
    run = run_pipeline(recommender, tmp_path, config)
    report = read_json(tmp_path / "report.json")
    jsonschema.Draft202012Validator(read_json(SCHEMA_FILE)).validate(report)
    assert run.is_finished(STAGES)
    held = int(split_users(recommender.sequences()).sum())
    assert report["data"]["n_construction_positions"] == 150 - held
    assert report["data"]["n_heldout_positions"] == report["accuracy"]["heldout"]["n_users"] == held
    own = evaluate(recommender, recommender.evaluation())
    assert len(own["ndcg@10"]) == 150
    users = report["accuracy"]["all_users"]
    assert users["base"] == {k: pytest.approx(v.mean()) for k, v in own.items()}
    assert users["n_cases"] == 450
    histories, learned = recommender.sequences(), recommender.sequences().learned
    names = recommender.catalog.external_ids
    for concept in report["concepts"]["list"]:
        for example in concept["examples"]:
            row = histories.row_of(example["user"])
            known = [names[i] for i in histories[row][: learned[row]]]
            assert example["items"] == known[-9:]
            assert example["top_recommendation"] not in known


# -- what comes out --------------------------------------------------------------------------------


def test_the_folder(report, planted_run):
    folder = planted_run
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    shards = {name for name in found if name.endswith(".safetensors")} - FILES
    assert found - shards == FILES
    assert {Path(name).parent.name for name in shards} == {"activations", "heldout"}
    record = read_json(folder / "run.json")
    assert set(record["stages"]) == set(STAGES)
    assert Run(folder, CONFIG).is_finished(STAGES)


def test_the_report_follows_both_schemas(report, planted_run):
    jsonschema.Draft202012Validator(read_json(SCHEMA_FILE)).validate(report)
    assert read_report(planted_run).model_dump(mode="json", by_alias=True) == report


def test_the_report_has_the_keys_of_the_design(report):
    for part, keys in KEYS.items():
        missing = set(keys.split()) - set(report[part])
        if part == "timings":
            missing -= {"report"}  # written by the stage that it would measure
        assert not missing, part
    for part, keys in CODE_KEYS.items():
        for code in ("sae", "neurons", "random", "pca"):
            assert set(keys.split()) <= set(report[part][code]), (part, code)
    for part, keys in LISTED.items():
        assert report[part]
        assert all(set(keys.split()) <= set(row) for row in report[part])
    assert len(report["concepts"]["list"]) == 16
    assert all(set(CONCEPT_KEYS.split()) <= set(c) for c in report["concepts"]["list"])
    for users in ("all_users", "heldout"):
        for model in ("base", "reconstructed"):
            assert {"recall@10", "ndcg@10"} <= set(report["accuracy"][users][model])
    kept = {"ndcg_kept", "ndcg_kept_ci", "rbo", "kendall", "latents_for_99", "n_users"}
    assert kept <= set(report["accuracy"]["heldout"])
    assert {"neurons", "pca"} <= set(report["baselines"]["dense"])


def test_the_planted_concepts_come_out(report, planted_run):
    shares = {code: share["8"] for code, share in report["named_share"].items()}
    assert shares["sae"] > 0.85
    assert shares["sae"] > shares["random"] + 0.1
    assert shares["sae"] > shares["neurons"] + 0.05
    assert shares["sae"] > shares["pca"] + 0.05
    verified = [c for c in report["concepts"]["list"] if c["status"] == "verified"]
    planted_names = set(planted().concepts)
    first_said = {c["latent"]: c["name"].split(", ")[0] for c in verified}
    assert planted_names <= set(first_said.values())
    assert {c["value"] for c in verified if c["attribute"] == "genre"} == planted_names
    others = [c for c in verified if c["attribute"] != "genre"]
    assert {c["attribute"] for c in others} <= {"item", "fans of"}  # a few items
    said = load_run(planted_run).concepts
    about = said[said["status"] == "verified"]["about"]
    assert report["concepts"]["distinct_verified"] == about.nunique()
    names = [c["name"] for c in report["concepts"]["list"]]
    assert len(set(names)) == len(names)


def test_numbers_of_users_and_positions(report):
    held, lengths = split_users(planted().sequences()), planted().sequences().lengths
    data = report["data"]
    assert (data["n_construction_users"], data["n_heldout_users"]) == ((~held).sum(), held.sum())
    assert data["n_construction_positions"] == (lengths[~held] - 1).sum()
    assert data["n_heldout_positions"] == (lengths[held] - 1).sum()


def test_construction_and_heldout_users_never_meet(heldout, planted_run):
    held = split_users(planted().sequences())
    construction = ActivationStore(planted_run / "activations").column("sequence")
    assert not held[construction].any()
    assert held[heldout["sequence"]].all()
    users = planted().sequences().users
    shown = set(load_run(planted_run).examples["user"])
    assert shown <= set(users[~held])


# -- three figures, worked out again without recsae ------------------------------------------------


def naive_activations(states):
    """TopK SAE in NumPy, double precision, from the saved weights."""
    w = {
        k: v.astype(np.float64) for k, v in load_file(planted_run() / "sae/sae.safetensors").items()
    }
    x = (states.astype(np.float64) - w["mean"]) / w["scale"]
    pre = np.maximum((x - w["b_dec"]) @ w["W_enc"].T + w["b_enc"], 0)
    kth = np.sort(pre, axis=1)[:, -CONFIG.k][:, None]
    return np.where(pre >= kth, pre, 0.0)


def test_fire_rates(report, planted_run):
    active = naive_activations(ActivationStore(planted_run / "activations").column("states")) > 0
    for concept in report["concepts"]["list"]:
        assert concept["fire_rate"] == pytest.approx(active[:, concept["latent"]].mean(), abs=2e-4)


def test_precision_recall_and_counts(report, heldout):
    recommender = planted()
    active = naive_activations(heldout["states"]) > 0
    genre = list(recommender.catalog.frame["genre"])
    checked = 0
    for concept in report["concepts"]["list"]:
        if concept["status"] != "verified" or concept["attribute"] != "genre":
            continue
        if concept["second_attribute"] is not None or concept["negated"]:
            continue
        counts = np.zeros((2, 2))
        for case, (row, position) in enumerate(
            zip(heldout["sequence"], heldout["position"], strict=True)
        ):
            top = heldout["top_items"][case]
            history = recommender.sequences()[row][: position + 1]
            items = {f"last{k}": history[-k:] for k in (5, 20, 50)}
            items |= {"last": history[-1:], "top1": top[:1], "top10": top}
            level = sum(concept["value"] in genre[i] for i in items[concept["predicate_site"]])
            said = int(level >= concept["threshold"])
            counts[said, int(active[case, concept["latent"]])] += 1
        assert concept["n_pos"] == counts[:, 1].sum()
        assert concept["n_neg"] == counts[:, 0].sum()
        assert concept["precision"] == pytest.approx(counts[1, 1] / counts[1].sum())
        assert concept["recall"] == pytest.approx(counts[1, 1] / counts[:, 1].sum())
        checked += 1
    assert checked >= 4


def ndcg(scores, target):
    scores[0] = -np.inf
    rank = int((scores > scores[target]).sum())
    return 1 / np.log2(rank + 2) if rank < 10 else 0.0


def test_ndcg_kept(report, heldout, planted_run):
    """By the model's own scoring under the edit, position by position."""
    recommender, values = planted(), []
    sae = SAE.load(planted_run / "sae")
    cases = list(zip(heldout["sequence"].tolist(), heldout["position"].tolist(), strict=True))
    histories = [recommender.sequences()[row][: end + 1].tolist() for row, end in cases]
    targets = [int(recommender.sequences()[row][end + 1]) for row, end in cases]
    batch = pad(histories, recommender.max_length)
    with torch.no_grad():
        before = recommender.score(batch).numpy()
        with recommender.edit(insert_reconstruction(sae)):
            after = recommender.score(batch).numpy()
    for scores in (before, after):
        values.append(np.mean([ndcg(s, t) for s, t in zip(scores, targets, strict=True)]))
    accuracy = report["accuracy"]["heldout"]
    assert accuracy["base"]["ndcg@10"] == pytest.approx(values[0], abs=1e-9)
    assert accuracy["reconstructed"]["ndcg@10"] == pytest.approx(values[1], abs=1e-4)
    assert accuracy["ndcg_kept"] == pytest.approx(values[1] / values[0], abs=1e-3)
    assert accuracy["ndcg_kept_ci"][0] < accuracy["ndcg_kept"] < accuracy["ndcg_kept_ci"][1]


# -- models and items of which less is known -------------------------------------------------------


class Bare(PlantedRecommender):
    """Scores that nobody may take apart, and items without titles or attributes."""

    def __init__(self):
        super().__init__(n_users=120, n_items=40, n_concepts=4, width=8, length=20, max_length=10)
        self.catalog = build_catalog(self.catalog.external_ids, None)

    def linear_head(self):
        return None


def test_without_a_linear_head_titles_or_attributes(tmp_path):
    config = CONFIG.model_copy(update={"samples": 20_000})
    run_pipeline(Bare(), tmp_path / "run", config)
    report = read_json(tmp_path / "run" / "report.json")
    assert report["model"]["linear_head"] is False
    assert report["data"]["attributes"] == []
    assert any("No titles or attributes" in note for note in report["data"]["notes"])
    assert {c["attribute"] for c in report["concepts"]["list"]} <= {
        *(*DERIVED, "item", "fans of", None)
    }
    assert all(c["promotes"] == [] for c in report["concepts"]["list"])
    assert report["named_share"]["sae"]["ndcg_kept_32"] is None
    held = report["accuracy"]["heldout"]
    assert 0.3 < held["rbo"] < 1
    assert 0.3 < held["ndcg_kept"] < 1.7
    assert held["n_positions"] > 10 * held["n_users"]
    assert "item" in (tmp_path / "run" / "report.html").read_text()


def test_categories_that_are_numbers_are_no_latents(tmp_path):
    """A shop's category 7001 is steered by its name, though a number typed in means a latent."""
    recommender = copy.copy(planted())
    frame, names = recommender.catalog.frame.copy(), planted().concepts
    codes = {name: str(i) for i, name in enumerate(names[:3])}
    codes |= {name: str(7000 + i) for i, name in enumerate(names[3:])}
    frame["genre"] = [tuple(codes[v] for v in values) for values in frame["genre"]]
    recommender.catalog = dataclasses.replace(recommender.catalog, frame=frame)
    with in_brief():
        run_pipeline(recommender, tmp_path / "run", CONFIG)
    rows = read_json(tmp_path / "run" / "steering.json")
    plain = {row["name"] for row in rows} & set(codes.values())
    assert len(plain) >= 3
    assert plain & {"7000", "7001", "7002"}
    assert plain & {"0", "1", "2"}
    ablated = [
        row for row in rows if row["intervention"].startswith("ablate") and row["name"] in plain
    ]
    assert all(row["target_share_after"] < row["target_share_before"] for row in ablated)


# -- read back -------------------------------------------------------------------------------------


def test_a_run_read_back_as_tables(report, planted_run):
    run = load_run(planted_run)
    assert run.report == report
    assert len(run.concepts) == 16
    assert list(run.concepts["latent"]) == list(range(16))
    assert {"name", "label", "status", "fire_rate"} <= set(run.concepts)
    assert {"precision", "precision_low", "recall", "recall_low", "f1"} <= set(run.concepts)
    assert set(run.examples.columns) >= {"latent", "kind", "user", "items", "activation"}
    assert run.examples.groupby(["latent", "kind"]).size().max() == 5
    for table, name in ((run.attributes, "attributes"), (run.steering, "steering")):
        assert isinstance(table, pd.DataFrame)
        assert len(table) == len(report[name])
        assert list(table.columns) == list(report[name][0])
    codes = {"neurons", "pca", "random", "sae", "statements", "words"}
    assert set(run.named_share.index) == codes
    assert run.named_share.loc["sae", "8"] == report["named_share"]["sae"]["8"]


def test_no_run_to_read_back(tmp_path):
    with pytest.raises(ArtifactMismatch, match="holds no run"):
        load_run(tmp_path)
