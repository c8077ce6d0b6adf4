"""The verdict on two runs: sides made by hand, beside controls of known shares."""

import numpy as np
import pytest

from recsae.explore.verdict import ADVICE, STRICTER, Control, Side, controls_of, verdict

N = 40


def marked(share: float, n: int = N) -> np.ndarray:
    """The first ``share`` of n latents."""
    return np.arange(n) < round(share * n)


def side(found: float, *control: float, kind: str = "seeds", n: int = N) -> Side:
    """A run with n verified concepts, of which a share is found and others came back."""
    back = np.array([marked(share, n) for share in control])
    controls = {kind: Control(kind, back, 0.05)} if control else {}
    return Side(np.arange(n), marked(found, n), controls)


@pytest.mark.parametrize(
    ("before", "after", "kind", "title"),
    [
        (side(0.5, 0.5, 0.5), side(0.5, 0.5, 0.5), "alike", "As alike as"),
        (side(0.1, 0.5, 0.6), side(0.1, 0.5, 0.6), "less", "Less alike than"),
        (side(0.9, 0.5, 0.6), side(0.9, 0.5, 0.6), "more", "More alike than"),
        # one side decides that they are less alike; both are needed for more
        (side(0.5, 0.5), side(0.1, 0.6), "less", "Less alike than"),
        (side(0.9, 0.5), side(0.5, 0.5), "alike", "As alike as"),
        # a run without a control, or with few concepts, is not judged
        (side(0.1), side(0.9, 0.5), "more", "More alike than"),
        (side(0.1, 0.9, n=19), side(0.9, 0.5), "more", "More alike than"),
    ],
)
def test_runs_are_measured_by_what_comes_back_anyway(before, after, kind, title):
    said = verdict("direction", before, after)
    assert (said.kind, said.title) == (kind, f"{title} two dictionaries trained on one model")


def test_halves_of_the_users_are_called_that():
    halves = side(0.1, 0.5, kind="halves")
    said = verdict("direction", halves, halves).title
    assert said == "Less alike than a run and the same on half of its users"


def test_within_what_the_control_itself_varies_they_are_as_alike():
    """50 % is sure to be below the mean, 65 %, but one of the two trainings had no more."""
    said = verdict("direction", side(0.5, 0.5, 0.8), side(0.5, 0.5, 0.8))
    assert said.sides[0].difference[2] < 0
    assert said.kind == "alike"


def test_a_difference_that_chance_can_make_is_none():
    few = side(0.45, 0.5, n=20)  # one concept of 20
    assert few.found.sum() == 9
    assert verdict("direction", few, few).kind == "alike"


def test_other_seeds_go_before_halves_whichever_run_has_them():
    halves, seeds = side(0.2, 0.9, kind="halves"), side(0.9, 0.5)
    said = verdict("activity", halves, seeds)
    assert said.title == "More alike than two dictionaries trained on one model"
    assert [one.kind for one in said.sides] == [None, "seeds"]


def test_the_figures_are_those_of_the_verified_concepts():
    back = np.array([[True, False, True, False], [True, True, True, False]])
    one = Side(np.array([1, 2]), np.array([True, False]), {"seeds": Control("seeds", back, 0.25)})
    figures = verdict("direction", one, Side(np.arange(0), np.zeros(0, bool), {})).sides
    assert (figures[0].n, figures[0].found, figures[0].control) == (2, 0.5, (0.5, 1.0))
    # latent 1: found, and in one of two; latent 2: not found, and in both
    assert figures[0].difference[0] == pytest.approx(-0.25)
    half = 1.96 * np.std([0.5, -1], ddof=1) / np.sqrt(2)
    assert figures[0].difference[1:] == pytest.approx((-0.25 - half, -0.25 + half))
    assert (figures[1].n, figures[1].found, figures[1].difference) == (0, None, None)


def test_the_sentences_say_the_figures_and_the_criterion():
    said = verdict("activity", side(0.25, 0.5, 0.75), side(0.5, 0.5, 0.5)).detail
    assert said == (
        "Of the 40 verified concepts of the first run 25% have a counterpart in the second, and "
        "50% to 75% where its own dictionary was trained again with another seed; among random "
        "directions 5.0% have one. Of the 40 verified concepts of the second run 50% have a "
        "counterpart in the first, and 50% where its own dictionary was trained again with another "
        "seed; among random directions 5.0% have one. A counterpart is a latent whose activations "
        "on the same held-out cases have a correlation above 0.7."
    )


def test_without_a_control_it_says_how_to_get_one():
    said = verdict("direction", side(0.5), side(0.5))
    assert (said.kind, said.title) == ("unknown", "No control for how alike they are")
    assert said.detail.endswith(ADVICE)


def test_halves_ask_for_a_stricter_control_unless_the_runs_fail_even_that():
    halves = verdict("direction", side(0.5, 0.5, kind="halves"), side(0.5))
    assert halves.detail.endswith(STRICTER)
    assert STRICTER not in verdict("direction", side(0.1, 0.5, kind="halves"), side(0.5)).detail
    assert STRICTER not in verdict("direction", side(0.5, 0.5), side(0.5)).detail


def test_few_concepts_and_names_alone_are_not_judged():
    few = side(0.1, 0.9, n=19)
    assert verdict("direction", few, few).title == "Too few verified concepts to say"
    names = verdict(None, side(0.1, 0.9), side(0.1, 0.9))
    assert (names.kind, names.title) == ("unknown", "Compared by name alone")
    none = Side(np.arange(0), np.zeros(0, bool), {})
    assert verdict("direction", none, none).detail.startswith("The first run has no verified")


def test_twins_are_the_same_dictionary():
    said = verdict("direction", side(1.0, 0.5), side(1.0, 0.5), same=True)
    assert (said.kind, said.title) == ("same", "The same dictionary")


def test_controls_are_read_by_kind_and_criterion():
    figures = {"cosine": {"half-1": 0.95, "seed-1": 0.2}, "correlation": {"half-1": 0, "seed-1": 1}}
    other = {"cosine": {"half-1": 0.9, "seed-1": 0.91}, "correlation": {"half-1": 1, "seed-1": 0.7}}
    stability = {
        "dictionaries": [
            {"name": name, "kind": kind}
            for name, kind in (("half-1", "halves"), ("seed-1", "seeds"), ("chance", "chance"))
        ],
        "latents": [{"latent": 1, **other}, {"latent": 0, **figures}],
        "summary": [
            {"among": among, "level": level, "chance": chance}
            for among, level, chance in (
                *(("latents", "direction", 0.3), ("verified", "direction", 0.1)),
                ("verified", "activity", 0.2),
            )
        ],
    }
    by_direction = controls_of(stability, "direction")
    assert {kind: one.back.tolist() for kind, one in by_direction.items()} == {
        "halves": [[True, False]],  # more than 0.9
        "seeds": [[False, True]],
    }
    assert by_direction["halves"].chance == 0.1
    by_activity = controls_of(stability, "activity")
    assert by_activity["seeds"].back.tolist() == [[True, False]]
    assert by_activity["seeds"].chance == 0.2
    assert controls_of({}, "direction") == {}
