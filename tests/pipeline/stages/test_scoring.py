"""The measuring stages: counts by hand, halves that never meet, steering worked out again."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from helpers.runs import planted
from recsae.concepts.attributes.names import ITEM_ITSELF, SEPARATOR
from recsae.concepts.dictionary import ConceptDictionary
from recsae.concepts.status import MEANING, VERIFIED, verified_latents
from recsae.core import columns as C
from recsae.core.files import read_json, read_parquet
from recsae.core.intervals import UserEstimate
from recsae.evaluation import counts as counts_module
from recsae.evaluation import share as share_module
from recsae.evaluation.scoring import score_concepts
from recsae.evaluation.share import SIZES, MeanShare
from recsae.pipeline.stages import scoring as stages
from recsae.pipeline.stages import steering
from recsae.recommender.sequences import split_users
from recsae.run.record import Run
from recsae.run.workspace import Workspace

pytestmark = pytest.mark.end_to_end


CODES = ("sae", "neurons", "random", "pca")


@pytest.fixture(scope="module")
def report(planted_run):
    return read_json(planted_run / "report.json")


@pytest.fixture
def work(planted_run):
    return Workspace(Run(planted_run), planted(), None)


# -- counts ----------------------------------------------------------------------------------------


def counts(*units, best_of=99):
    """Counts of units given as (status, F1 and balanced accuracy, value, more of the label)."""
    latents = range(len(units))
    scores = pd.DataFrame(
        {
            C.LATENT: latents,
            C.STATUS: [unit[0] for unit in units],
            C.F1: [unit[1] for unit in units],
            C.BALANCED_ACCURACY: [unit[1] for unit in units],
        }
    )
    labels = [
        dict.fromkeys(MEANING) | {C.ATTRIBUTE: "genre", C.VALUE: value, C.NEGATED: False} | more
        for _, _, value, more in (unit if len(unit) == 4 else (*unit, {}) for unit in units)
    ]
    table = pd.DataFrame(labels).assign(**{C.LATENT: latents})
    dictionary = ConceptDictionary(table, pd.DataFrame())
    return counts_module.count_statuses(scores, dictionary, best_of).to_dict()


UNITS = [
    ("verified", 0.9, "Horror"),
    ("verified", 0.85, "Horror"),
    ("verified", 0.95, "Drama"),
    ("supported", 0.82, "Comedy"),
    ("unsupported", 0.6, "Crime"),
    ("untested", 0.99, "Crime"),
    ("dead", float("nan"), "Crime"),
]


def test_counts_by_hand():
    assert counts(*UNITS) == {
        "n_units": 7,
        "tested": 5,
        "verified": 3,
        "supported": 1,
        "distinct_verified": 2,
        "distinct_verified_equal_units": 2,
        "mean_balanced_accuracy": pytest.approx((0.9 + 0.85 + 0.95 + 0.82 + 0.6) / 5),
    }


def test_at_equal_numbers_only_the_best_units_count():
    assert counts(*UNITS, best_of=1)["distinct_verified_equal_units"] == 1
    assert counts(*UNITS, best_of=2)["distinct_verified_equal_units"] == 2


def test_labels_that_say_different_things_count_apart():
    """The same value, the other way round, or as half of a pair, is another concept."""
    second = {C.SECOND_ATTRIBUTE: "genre", C.SECOND_VALUE: "Drama", C.SECOND_NEGATED: False}
    meanings = (
        {},
        {C.NEGATED: True},
        {C.JOINT: "and"} | second,
        {C.JOINT: "or"} | second,
        {C.JOINT: "or"} | second | {C.SECOND_NEGATED: True},
    )
    units = [("verified", 0.9, "Horror", more) for more in meanings]
    assert counts(*units, *units)["distinct_verified"] == len(meanings)


def test_counts_of_nothing_tested():
    found = counts(("dead", float("nan"), "Horror"))
    assert found["mean_balanced_accuracy"] is None
    assert found["tested"] == found["distinct_verified_equal_units"] == 0


def test_counts_of_the_report(report):
    status = [c["status"] for c in report["concepts"]["list"]]
    tested = [s for s in status if s in ("verified", "supported", "unsupported")]
    concepts, mine = report["concepts"], report["baselines"]["sae"]
    assert concepts["tested"] == mine["tested"] == len(tested)
    assert concepts["untested"] == len(status) - len(tested)
    for name in ("verified", "supported", "unsupported"):
        assert concepts[name] == status.count(name)
    assert mine["verified"] == concepts["verified"]
    assert mine["distinct_verified"] == concepts["distinct_verified"]
    units = {name: report["baselines"][name]["n_units"] for name in CODES}
    assert units == {"sae": 16, "neurons": 24, "random": 16, "pca": 24}
    assert report["baselines"]["dense"]["pca"]["n_units"] == 24
    for name in CODES:
        block = report["baselines"][name]
        assert (
            block["distinct_verified"] <= block["verified"] <= block["tested"] <= block["n_units"]
        )
        paper = report["recsae_protocol"][name]
        assert paper["at_0_9"] <= paper["at_0_8"] <= paper["n"] <= block["n_units"]
        assert 0 <= paper["mean_confidence"] <= 1


# -- held-out users --------------------------------------------------------------------------------


def test_labels_of_baselines_are_kept(report, planted_run):
    """One row per unit, and as many verified ones as the report counts."""
    kept = read_parquet(planted_run / "baselines.parquet")
    counts = report["baselines"]
    assert set(kept["code"]) == {"neurons", "random", "pca"}
    for code, rows in kept.groupby("code"):
        assert rows[C.LATENT].tolist() == list(range(counts[code]["n_units"]))
        assert (rows[C.STATUS] == VERIFIED).sum() == counts[code]["verified"]
    assert (kept[C.ATTRIBUTE].notna() == kept[C.VALUE].notna()).all()


def test_concepts_are_verified_on_one_half_and_the_share_measured_on_the_other(
    work, monkeypatch, planted_run
):
    tested, shared = [], []
    real_test, real_share = stages.measure_concepts, share_module._named_share

    def measure(code, dictionary, cases, labeler, **options):
        found = real_test(code, dictionary, cases, labeler, **options)
        if "parts" not in options:
            return found
        for half, (rows, own) in enumerate(work.halves):
            alone = score_concepts(code[rows], dictionary, own, labeler, hard_negatives=False)
            assert verified_latents(alone).tolist() == found.verified_of[half].tolist()
        tested.append(found.verified_of)
        return found

    def share(fitted, code, cases, candidates, head):
        shared.append((set(cases.sequence.tolist()), candidates))
        assert not set(work.construction.sequence.tolist()) & set(cases.sequence.tolist())
        return real_share(fitted, code, cases, candidates, head)

    monkeypatch.setattr(stages, "measure_concepts", measure)
    monkeypatch.setattr(share_module, "_named_share", share)
    scoring = stages.scoring_stage(work)
    held = set(np.flatnonzero(split_users(planted().sequences())).tolist())
    # four codes, each both ways round
    assert len(tested) == len(CODES)
    shared = shared[: 2 * len(tested)]  # what follows are statements, which no activation verifies
    halves = [set(cases.sequence.tolist()) for _, cases in work.halves]
    assert halves[0] | halves[1] == held
    assert not halves[0] & halves[1]
    assert abs(len(halves[0]) - len(halves[1])) <= 1
    for verified, one, other in zip(tested, shared[::2], shared[1::2], strict=True):
        assert [one[0], other[0]] == halves[::-1]
        assert [one[1].tolist(), other[1].tolist()] == [part.tolist() for part in verified]
    mean = np.mean([len(verified) for verified in tested[0]])
    assert scoring.shares["sae"].n_verified == round(mean)
    pd.testing.assert_frame_equal(scoring.scores, read_parquet(planted_run / "scores.parquet"))


def test_a_share_and_by_how_much_it_is_ahead_by_hand():
    """Of two users; the interval by hand: 1.96 standard errors from what each user adds."""
    first, second = np.array([0.1, -0.1]), np.array([0.3, -0.1])
    nothing = UserEstimate(float("nan"), np.zeros(2))
    one = MeanShare(dict.fromkeys(SIZES, UserEstimate(0.5, first)), nothing, 3)
    other = MeanShare(dict.fromkeys(SIZES, UserEstimate(0.7, second)), nothing, 4)
    half, said = 1.959964 * np.sqrt(2 * (0.3**2 + 0.1**2)), other.to_dict()
    for size in ("8", "16", "32"):
        assert said[size] == pytest.approx(0.7)
        assert said["intervals"][size] == pytest.approx([0.7 - half, 0.7 + half])
    assert said["n_verified"] == 4
    half = 1.959964 * np.sqrt(2 * 0.2**2)
    assert one.ahead_of(other)["32"] == pytest.approx([-0.2, -0.2 - half, -0.2 + half])
    assert said["ndcg_kept_32"] is None
    assert said["intervals"]["ndcg_kept_32"] == [None, None]


def test_shares_and_labels_of_the_report_are_ahead_user_by_user(report, planted_run):
    scoring = read_json(planted_run / "scoring.json")
    for part in ("named_share", "label_quality"):
        assert report[part] == scoring[part]
    for name in CODES:
        ours, theirs = report["named_share"]["sae"], report["named_share"][name]
        for size in ("8", "16", "32"):
            value, low, high = theirs["sae_ahead"][size]
            assert value == pytest.approx(ours[size] - theirs[size], abs=1e-12)
            assert low <= value <= high
            assert theirs["intervals"][size][0] <= theirs[size] <= theirs["intervals"][size][1]
        quality = report["label_quality"][name]
        difference = report["label_quality"]["sae"]["value"][0] - quality["value"][0]
        assert quality["sae_ahead"][0] == pytest.approx(difference, abs=1e-12)
    assert report["named_share"]["sae"]["sae_ahead"]["32"] == [0, 0, 0]


def test_verified_is_both_bounds_and_supported_both_values(report):
    for c in report["concepts"]["list"]:
        if c["status"] in ("untested", "dead"):
            continue
        tells = (c["precision"] or 0) > c["n_pos"] / (c["n_pos"] + c["n_neg"])
        sure = tells and min(c["precision_low"], c["recall_low"]) >= 0.5
        likely = tells and min(c["precision"] or 0, c["recall"]) >= 0.5
        expected = "verified" if sure else "supported" if likely else "unsupported"
        assert c["status"] == expected
    assert report["protocol"]["threshold"] == 0.5
    assert report["protocol"]["name"] == "held-out precision and recall"


def test_the_kept_table_has_every_value_that_a_label_says(report, work):
    """Sets of items too, which the attributes that labels were chosen among do not have."""
    said = work.tested_dictionary.values_said()
    sets = [pair for pair in said if pair[0] == ITEM_ITSELF]
    assert sets
    assert not {*sets} & {*work.labeler.attributes.names}
    assert work.attributes.names == (*work.labeler.attributes.names, *sets)
    external = np.array(work.recommender.catalog.external_ids)
    for attribute, value in sets:
        fits = external[work.attributes.items_with(attribute, value)]
        assert set(fits) == set(value.split(SEPARATOR))
    places = {(v["attribute"], v["value"]): n for n, v in enumerate(report["label_values"])}
    assert {*sets} <= {*places}
    for item, known in report["items"].items():
        has = {
            value for (a, value), n in places.items() if a == ITEM_ITSELF and n in known["values"]
        }
        assert has == {value for _, value in sets if item in value.split(SEPARATOR)}
    assert not [name for name in report["skipped_attributes"] if name.startswith(ITEM_ITSELF)]


# -- steering --------------------------------------------------------------------------------------


def test_what_is_steered(report):
    """Up to six different concepts, each ablated, amplified and set, all verified."""
    rows = report["steering"]
    targets = list(dict.fromkeys(row["target"] for row in rows))
    assert len(rows) == 3 * len(targets)
    assert {t.removeprefix("genre: ") for t in targets} == set(planted().concepts)
    status = {c["latent"]: c["status"] for c in report["concepts"]["list"]}
    assert {status[row["latent"]] for row in rows} == {"verified"}


def test_sets_of_items_are_steered_after_plain_attributes(work):
    table, scores = work.tested_dictionary.table, work.label_scores
    latents = steering._latents(work)
    attributes = table.set_index(C.LATENT).loc[latents, C.ATTRIBUTE].tolist()
    assert attributes == ["genre"] * 6
    itself = table.loc[table[C.ATTRIBUTE] == ITEM_ITSELF, C.LATENT]
    alone = scores[C.STATUS].where(~scores[C.LATENT].isin(latents), "supported")
    best = scores.loc[scores[C.F1].where(scores[C.LATENT].isin(itself)).idxmax(), C.LATENT]
    alone = alone.where(scores[C.LATENT] != best, "verified")
    work.label_scores = scores.assign(**{C.STATUS: alone})
    rest = steering._latents(work)
    by_latent = table.set_index(C.LATENT)
    kinds = [by_latent.loc[j, C.ATTRIBUTE] for j in rest]
    assert ITEM_ITSELF in kinds
    plain = [
        k == "genre" and pd.isna(by_latent.loc[j, C.SECOND_ATTRIBUTE])
        for j, k in zip(rest, kinds, strict=True)
    ]
    assert plain == sorted(plain, reverse=True)
    row = by_latent.loc[rest[kinds.index(ITEM_ITSELF)]]
    steered = [r for r in steering.steering_stage(work) if r["name"] == row[C.NAME]]
    assert len(steered) == 3
    assert steered[0]["target_share_after"] < steered[0]["target_share_before"]


def test_effects_worked_out_again(report, planted_run):
    """From the saved weights, in NumPy: h + (z' - z) W_dec, scores, lists, shares, NDCG."""
    recommender, weights = planted(), load_file(planted_run / "sae/sae.safetensors")
    cases = Workspace(Run(planted_run), recommender, None).heldout
    states = cases.states
    pre = (states - weights["mean"]) / weights["scale"] - weights["b_dec"]
    pre = np.maximum(pre @ weights["W_enc"].T + weights["b_enc"], 0)
    z = np.where(pre >= np.sort(pre, axis=1)[:, -3:-2], pre, 0)
    verified = {c["latent"]: c for c in report["concepts"]["list"] if c["status"] == "verified"}
    genre = list(recommender.catalog.frame["genre"])
    for row in report["steering"]:
        turned = z.copy()
        mine = [j for j, c in verified.items() if c["name"] == row["name"]]
        if row["intervention"].startswith("ablate"):
            assert row["intervention"] == f"ablate all its latents ({len(mine)})"
            turned[:, mine] = 0
        elif row["intervention"].startswith("x10"):
            turned[:, mine] *= 10
        else:
            median = [e for e in verified[row["latent"]]["examples"] if e["quantile"] == 0.5]
            turned[:, row["latent"]] = median[0]["activation"]
        moved = states + (turned - z) @ weights["W_dec"] * weights["scale"]
        scores = moved @ recommender.model.items.numpy().T
        scores[:, 0] = -np.inf
        lists = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        has = np.array([row["name"] in g for g in genre])
        rank = (lists == cases.targets[:, None]) @ (1 / np.log2(np.arange(2, 12)))
        assert (row["n_users"], row["n_positions"]) == (cases.n_users, len(cases))
        assert row["ndcg_kept"][1] < row["ndcg_kept"][0] < row["ndcg_kept"][2]
        kept = row["ndcg_after"] / row["ndcg_before"]
        times = row["target_share_after"] / row["target_share_before"]
        assert (row["ndcg_kept"][0], row["target_share_times"][0]) == pytest.approx((kept, times))
        assert row["target_share_after"] == pytest.approx(has[lists].mean(), abs=2e-3)
        assert row["ndcg_after"] == pytest.approx(rank.mean(), abs=2e-3)


def test_ablating_lowers_and_setting_raises_the_share_of_the_target(report):
    for row in report["steering"]:
        if row["intervention"].startswith("ablate"):
            assert row["target_share_after"] < row["target_share_before"]
        elif "for all" in row["intervention"]:
            assert row["target_share_after"] > row["target_share_before"] + 0.1
    assert len({row["ndcg_before"] for row in report["steering"]}) == 1
