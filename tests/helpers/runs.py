"""Finished runs: two on planted truth, one on a RecBole checkpoint.

Each is made once, by the first process that needs it, in a folder that all processes of a test
session share. Tests that change a run copy it.
"""

import contextlib
import copy
import fcntl
import functools
import os
import shutil
import sys
import tempfile
from io import StringIO
from pathlib import Path

import pytest
import torch

from recsae.capture import store as activations
from recsae.cli import main
from recsae.concepts.dictionary import ConceptDictionary
from recsae.core import columns as C
from recsae.core.distributed import SINGLE_PROCESS
from recsae.pipeline.plan import run_pipeline
from recsae.recommender.sequences import pad
from recsae.run.config import RunConfig
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.testing.planted import PlantedRecommender

CONFIG = RunConfig(core="none", k=3, latents=16, samples=250_000, stability=0)
WITH_CORE = CONFIG.model_copy(update={"core": "statements"})
FEWER = WITH_CORE.model_copy(update={"samples": 20_000})
SHARD = 500
RECBOLE = {"latents": 128, "samples": 80_000, "stability": 0}
FOLDER = Path(os.environ.get("RECSAE_TEST_RUNS") or tempfile.mkdtemp(prefix="recsae-runs-"))


def made_once(name, make):
    """The path of what ``make(path)`` leaves there, made by the first process that asks for it."""
    path, made = FOLDER / name, FOLDER / f"{name}.made"
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make(path)
            made.touch()
    return path


@functools.cache
def planted():
    """400 users, 240 items, 6 genres; little noise, so that the genres can be found."""
    return PlantedRecommender(
        n_users=400,
        n_items=240,
        n_concepts=6,
        width=12,
        length=24,
        max_length=10,
        noise=0.1,
        seed=1,
    )


@functools.cache
def planted_run():
    """Folder of a finished run on :func:`planted`."""
    return made_once("planted", lambda folder: run_pipeline(planted(), folder, CONFIG))


@functools.cache
def core_run():
    """Folder of a finished run on :func:`planted`, with a core."""
    return made_once("core", lambda folder: run_pipeline(planted(), folder, WITH_CORE))


@functools.cache
def small_planted():
    """160 users, 100 items, 4 genres, for tests that make the same run several times."""
    return PlantedRecommender(
        n_users=160,
        n_items=100,
        n_concepts=4,
        width=8,
        length=16,
        max_length=8,
        noise=0.1,
        seed=1,
    )


@functools.cache
def small_run():
    """Folder of a finished run on :func:`small_planted`, :func:`in_brief`."""
    return made_once("small", lambda folder: run_in_brief(folder, FEWER))


def run_in_brief(folder, config, ranks=SINGLE_PROCESS, *, replace=False):
    """A run on :func:`small_planted`, :func:`in_brief`."""
    with in_brief():
        return run_pipeline(small_planted(), folder, config, ranks=ranks, replace=replace)


@contextlib.contextmanager
def in_brief():
    """Runs of several shards, no goal tried and nothing drawn, for tests that look at neither.

    Files, keys and stages are those of any run.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(activations, "SHARD", SHARD)
        patched.setattr("recsae.pipeline.stages.goals._goals", lambda work: ())
        patched.setattr("recsae.report.figures.drawn", lambda draws: {})
        yield


def planted_open():
    """That run opened, attached to the planted recommender itself."""
    return Workspace(Run(planted_run()), planted(), finished=True)


def with_pieces(work, **pieces):
    """The same run with some of its pieces replaced."""
    other = copy.copy(work)
    other.__dict__ = {**vars(work), **pieces}
    return other


def relabelled(opened, **cells):
    """An opened run with every label replaced."""
    table = opened.dictionary.table.assign(**{C.SECOND_ATTRIBUTE: None} | cells)
    dictionary = ConceptDictionary(table, opened.dictionary.examples)
    return with_pieces(opened, dictionary=dictionary)


def planted_top(history, edit=None, without=()):
    """Ids of the planted recommender's ten best items, from the scores themselves."""
    state = planted().represent(pad([history], planted().max_length))
    scores = ((edit(state) if edit else state) @ planted().model.items.T)[0]
    scores[[0, *without]] = -torch.inf
    return scores.sort(descending=True, stable=True).indices[:10].tolist()


@functools.cache
def checkpoint():
    """A SASRec trained for a few seconds on a part of ml-100k: 202 users, 234 items."""
    pytest.importorskip("recbole")
    from recsae_recbole.demo.train import train_sasrec

    few = {"user_inter_num_interval": "[20,40]", "item_inter_num_interval": "[5,inf)"}
    return made_once(
        "sasrec.pth",
        lambda path: train_sasrec(path, max_epochs=6, config_overrides=few, seed=7),
    )


@functools.cache
def settings():
    """A TOML file of settings small enough for tests."""
    path = FOLDER / "settings.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in RECBOLE.items()))
    return path


@functools.cache
def recbole_run():
    """Folder of a run that the command line made of :func:`checkpoint`."""
    pytest.importorskip("recbole")
    return made_once("recbole", _run_recsae)


def _run_recsae(folder):
    said = StringIO(), StringIO()
    with contextlib.redirect_stdout(said[0]), contextlib.redirect_stderr(said[1]):
        done = command("run", checkpoint(), "--trust", "--out", folder, "--config", settings())
    assert done == 0, said[1].getvalue()
    for name, text in zip(("stdout", "stderr"), said, strict=True):
        (FOLDER / name).write_text(text.getvalue())


def first_output():
    """What the command that made :func:`recbole_run` said: stdout and stderr."""
    recbole_run()
    return (FOLDER / "stdout").read_text(), (FOLDER / "stderr").read_text()


def command(*arguments):
    """``recsae ARGUMENTS`` in this process, through ``main``; its exit code."""
    before = sys.argv
    sys.argv = ["recsae", *map(str, arguments)]
    try:
        main()
    except SystemExit as stop:
        return stop.code
    finally:
        sys.argv = before


def copy_of(folder, to):
    """A run's folder to tamper with."""
    return Path(shutil.copytree(folder, to))


def taken_as_it_is(folder):
    """A run's folder whose files, tampered with, are recorded as what its stages left."""
    run = Run(folder)
    for name in run.record["stages"]:
        run.keep(name)
    return folder
