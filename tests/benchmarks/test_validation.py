"""Does the score tell truth from chance? On a recommender whose concepts are known."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

pytestmark = pytest.mark.end_to_end

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
LIMITS = ("precision_0.5", "recall_0.5", "absorbed_half")
CLUSTERED = ("precision_0.5_clustered", "recall_0.5_clustered", "absorbed_half_clustered")
KINDS = ("stricter", "joined", "items")


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import validation

        found: dict[str, float] = validation.validation_figures(
            seed=0, n_users=620, n_planted=550, n_above=160
        )
    return found


def at_most_5_percent(share: float, n: int) -> bool:
    """Whether a share over n concepts is what a true 5 % gives but once in a thousand times."""
    return share * n <= binom.ppf(0.999, n, 0.05)


def test_true_concepts_come_out_verified(figures: dict[str, float]) -> None:
    assert figures["true_codes_verified"] >= 0.9
    assert figures["true_directions_verified"] >= 0.9


@pytest.mark.parametrize("kind", ["and", "or", "and_not"])
def test_true_pairs_come_out_verified(kind: str, figures: dict[str, float]) -> None:
    assert figures[f"pairs_{kind}_verified"] >= 0.9


@pytest.mark.parametrize("within", ["across", "within_users"])
def test_permuted_activations_are_never_verified(within: str, figures: dict[str, float]) -> None:
    assert figures[f"permuted_{within}_concepts"] >= 200
    assert figures[f"permuted_{within}_verified"] == 0
    assert figures[f"permuted_{within}_best_bound"] < 0.45


@pytest.mark.parametrize("kind", LIMITS + CLUSTERED)
def test_concepts_exactly_at_the_limit_are_rarely_verified(
    kind: str, figures: dict[str, float]
) -> None:
    n = int(figures[f"{kind}_concepts"])
    assert n >= 500
    assert at_most_5_percent(figures[f"{kind}_verified"], n)


@pytest.mark.parametrize("kind", ["", "_clustered"])
def test_concepts_above_the_limit_are_verified(kind: str, figures: dict[str, float]) -> None:
    assert figures[f"both_0.8{kind}_measured_precision"] == pytest.approx(0.8, abs=0.02)
    assert figures[f"both_0.8{kind}_measured_recall"] == pytest.approx(0.8, abs=0.02)
    assert figures[f"both_0.8{kind}_verified"] >= 0.75  # the rest are active too seldom to be sure


def test_sets_of_items_are_found_as_sets_and_attributes_as_attributes(
    figures: dict[str, float],
) -> None:
    assert figures["true_codes_said_by_attribute"] == 1
    assert figures["sets_said_as_sets"] >= 0.9
    assert figures["sets_items_named"] >= 0.8
    assert figures["sets_verified"] >= 0.9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["parents", "children", "absorbed"])
def test_a_concept_and_its_part_come_out_verified(
    kind: str, part: str, figures: dict[str, float]
) -> None:
    """Parents too that are not active where their child is, as SAEs have them."""
    assert figures[f"hierarchy_{kind}_{part}_verified"] >= 0.9
    assert figures[f"hierarchy_{kind}_{part}_said"] >= 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_permuted_parents_are_never_verified(kind: str, figures: dict[str, float]) -> None:
    assert figures[f"hierarchy_{kind}_absorbed_permuted_verified"] == 0


def test_a_child_is_a_part_of_its_parent_that_matters() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        from validation_hierarchy import Family

    def sides(n: int) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(100) < n, np.arange(100) < n

    assert Family("Drama", sides(20), sides(5)).fits()
    assert not Family("Drama", sides(20), sides(19)).fits()  # nearly all of it
    assert not Family("Drama", sides(60), sides(20)).fits()  # a general-purpose parent


def test_true_concepts_explain_far_more_than_random_directions(figures: dict[str, float]) -> None:
    for code in ("true_codes", "true_directions"):
        true = {size: figures[f"named_share_{code}_{size}"] for size in (8, 16)}
        chance = {size: figures[f"named_share_random_{size}"] for size in (8, 16)}
        assert true[8] > chance[8] + 0.1
        assert true[16] > chance[16] + 0.1
        assert 1 - true[16] < 0.2 * (1 - chance[16])
        assert true[16] > figures["named_share_random_32"] + 0.05
