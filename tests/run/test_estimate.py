"""Time and memory of a run: what is measured, and what is extrapolated from it."""

import json

import numpy as np
import pytest
import torch

from recsae.capture.windows import windows_of
from recsae.run import estimate as estimating
from recsae.run.estimate import MEASURED_POSITIONS, REFERENCE_SECONDS, Estimate, estimate
from recsae.run.memory import needed_mb
from recsae.run.preview import in_words, inspection
from recsae.testing import PlantedRecommender

SIZE = {"n_cases": 1_000, "width": 64, "n_latents": 1024, "trainings": 4}


@pytest.fixture(scope="module")
def recommender():
    return PlantedRecommender(n_users=300, n_items=40, n_concepts=4, width=8)


@pytest.fixture
def windows(recommender):
    rows = np.arange(len(recommender.sequences()))
    return windows_of(recommender, recommender.sites()[0], rows, None, 0)


@pytest.fixture
def clock(monkeypatch):
    """Everything takes as long as on the machine of reference; what was done is returned."""
    done = []

    def timed(work):
        done.append(work())
        return REFERENCE_SECONDS

    monkeypatch.setattr(estimating, "_cpu_seconds", timed)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    return done


def test_the_stages_of_the_machine_of_reference(recommender, windows, clock):
    found = estimate(recommender, "sequence", [windows], **SIZE)
    assert found.train_seconds == pytest.approx(7.0)  # 1,024 latents at width 64
    scores = 1_000 * recommender.catalog.n_items
    assert found.other_seconds == pytest.approx(25 + 1_000 * 2e-4 + scores * 1.6e-8)
    least, most = found.seconds
    assert least == pytest.approx(found.capture_seconds + 7 + found.other_seconds)
    assert most == pytest.approx(found.capture_seconds + 28 + 1.6 * found.other_seconds)


def test_a_capture_is_extrapolated_from_some_of_its_windows(recommender, windows, clock):
    found = estimate(recommender, "sequence", [windows, windows], **SIZE)
    read = [len(made.position) for made in clock if hasattr(made, "position")]
    assert len(read) == 2
    assert all(0 < n <= MEASURED_POSITIONS < windows.n_positions for n in read)
    shares = sum(windows.n_positions / n for n in read)
    assert found.capture_seconds == pytest.approx(REFERENCE_SECONDS * shares)


def test_where_a_product_takes_four_times_as_long_the_stages_take_twice(
    recommender, windows, clock, monkeypatch
):
    here = estimate(recommender, "sequence", [windows], **SIZE)
    monkeypatch.setattr(estimating, "_product_seconds", lambda: 4 * REFERENCE_SECONDS)
    slower = estimate(recommender, "sequence", [windows], **SIZE)
    assert slower.train_seconds == pytest.approx(2 * here.train_seconds)
    assert slower.other_seconds == pytest.approx(2 * here.other_seconds)
    assert slower.capture_seconds == here.capture_seconds  # which is measured itself


def test_memory_is_what_a_run_is_refused_by(recommender, windows):
    found = estimate(recommender, "sequence", [windows], **SIZE)
    assert found.memory_mb == pytest.approx(
        needed_mb(recommender.catalog.n_items, 64, 1_000).total, rel=0.2
    )
    assert found.capture_seconds > 0  # by the clock of this machine


def test_inspect_says_it_in_words_and_in_figures(recommender, clock):
    takes = inspection(recommender)["estimate"]
    assert json.loads(json.dumps(takes)) == takes
    assert takes["seconds"][0] < takes["seconds"][1]
    words = in_words(takes)
    assert words["would take"].startswith("about 30 s, 50 s where more")
    assert words["would need"].endswith("GB of memory")
    one = Estimate(2.0, 10.0, 30.0, trainings=1, memory_mb=2_000.0)
    assert one.seconds == (42.0, 42.0)
    assert in_words(one.to_dict())["would take"] == "about 40 s; of these 2 s to capture"


def test_a_model_that_is_broken_is_still_inspected(monkeypatch):
    recommender = PlantedRecommender(n_users=30, n_items=40, n_concepts=4, width=8)
    given = PlantedRecommender.represent_sites

    def broken(self, *arguments, **options):
        return {
            name: states * torch.nan for name, states in given(self, *arguments, **options).items()
        }

    monkeypatch.setattr(PlantedRecommender, "represent_sites", broken)
    facts = inspection(recommender)
    assert "NaN or infinite states" in facts["estimate"]["unknown"]
    assert in_words(facts["estimate"])["would take"].startswith("unknown: Planted gives NaN")
