"""The files for Ray and Spark run, and make the store that one process makes, byte for byte.

The engines themselves are in no environment but that of ``make engines``.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.pages import python_of
from recsae.capture import capture, capture_shard, merge_shards
from recsae.capture import store as activations
from recsae.recommender import split_users
from recsae.testing import PlantedRecommender

pytestmark = pytest.mark.processes

PAGES = {"ray": "docs/examples/ray.md", "pyspark": "docs/examples/spark.md"}
FROM = {"ray": (2, 40), "pyspark": (4, 0)}
"""The first versions that are tried: RecBole brings ray 2.6."""
SHARD = 500
"""Positions in a shard here, so that there are several."""
SMALL = f"    import recsae.capture.store as small; small.SHARD = {SHARD}\n"


def why_missing(engine):
    """Why an engine cannot be tried here; None if it can."""
    try:
        found = version(engine)
    except PackageNotFoundError:
        return f"{engine} is not installed here: `make engines` does that"
    if engine == "pyspark" and shutil.which("java") is None:
        return "Spark needs Java, which is not installed here"
    if tuple(map(int, found.split(".")[:2])) < FROM[engine]:
        return f"{engine} is {found} here, as RecBole asks for: `make engines` has a new one"
    return None


def definitions(page):
    """The names in a page's file up to where it attaches the model, without the engine."""
    (code,) = python_of(page)
    names = {}
    first = re.sub(r"^(import ray|from pyspark.*)$", "", code.split("\n_, plan =")[0], flags=re.M)
    exec(compile(first, page, "exec"), names)
    return names


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(params=PAGES)
def engine(request):
    return request.param


@pytest.fixture
def attached(engine, tmp_path, monkeypatch):
    """What a page attaches, in a folder with the ratings and the weights that it speaks of."""
    planted = PlantedRecommender(n_users=150, n_items=60, n_concepts=4, width=8, length=20)
    ids, sequences = planted.catalog.external_ids, planted.sequences()
    rows = [(u, ids[i], t) for u in range(150) for t, i in enumerate(sequences[u])]
    table = pd.DataFrame(rows, columns=["user", "item", "time"])
    table.to_csv(tmp_path / "ratings.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(activations, "SHARD", SHARD)
    names = definitions(PAGES[engine])
    torch.manual_seed(0)
    torch.save(names["NextItem"](61).state_dict(), "gru.pt")
    return names["attached"]()


@pytest.fixture
def one(attached, tmp_path):
    """The store that one process captures at once."""
    recommender, plan = attached
    users = np.flatnonzero(~split_users(recommender.sequences()))
    store = capture(recommender, users, tmp_path / "one")
    assert len(plan) == len(store.shards) > 3
    return store


def test_without_its_engine_the_file_plans_that_store(attached, one, tmp_path):
    recommender, plan = attached
    for number in reversed(range(len(plan))):
        capture_shard(recommender, plan, number, tmp_path / f"part {number % 2}")
    merge_shards(plan, [tmp_path / "part 0", tmp_path / "part 1"], tmp_path / "store")
    assert files(tmp_path / "store") == files(one.folder)


def test_with_its_engine_the_file_makes_that_store(engine, one, tmp_path):
    if why := why_missing(engine):
        pytest.skip(why)
    (code,) = python_of(PAGES[engine])
    # workers make the plan too: the small shards are set where all do
    code = code.replace("def attached():\n", f"def attached():\n{SMALL}")
    (tmp_path / "example.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "example.py"],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    n, variance = re.search(r"([\d,]+) positions, variance ([\d.]+)$", done.stdout, re.M).groups()
    assert int(n.replace(",", "")) == len(one)
    assert float(variance) == pytest.approx(one.moments().variance, rel=1e-12)
    assert files(tmp_path / "store") == files(one.folder)
