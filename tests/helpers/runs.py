"""Finished runs, made once per process: one on planted truth, one on a RecBole checkpoint."""

import atexit
import contextlib
import copy
import functools
import shutil
import sys
import tempfile
from io import StringIO
from pathlib import Path

import torch

from recsae.cli import main
from recsae.concepts.dictionary import ConceptDictionary
from recsae.core import columns as C
from recsae.pipeline.plan import run_pipeline
from recsae.recommender.sequences import pad
from recsae.run.config import RunConfig
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.testing.planted import PlantedRecommender

CONFIG = RunConfig(k=3, latents=16, samples=150_000, chance_directions=60)
RECBOLE = {"latents": 128, "samples": 150_000, "chance_directions": 50}
_folder = tempfile.TemporaryDirectory(prefix="recsae-runs-")
atexit.register(_folder.cleanup)
FOLDER = Path(_folder.name)


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
    run_pipeline(planted(), FOLDER / "planted", CONFIG)
    return FOLDER / "planted"


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
    from recsae_recbole.demo.train import train_sasrec

    few = {"user_inter_num_interval": "[20,40]", "item_inter_num_interval": "[5,inf)"}
    train_sasrec(FOLDER / "sasrec.pth", max_epochs=6, config_overrides=few, seed=7)
    return FOLDER / "sasrec.pth"


@functools.cache
def settings():
    """A TOML file of settings small enough for tests."""
    path = FOLDER / "settings.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in RECBOLE.items()))
    return path


@functools.cache
def recbole_run():
    """Folder of a run that the command line made of :func:`checkpoint`."""
    folder = FOLDER / "recbole"
    said = StringIO(), StringIO()
    with contextlib.redirect_stdout(said[0]), contextlib.redirect_stderr(said[1]):
        done = command("run", checkpoint(), "--trust", "--out", folder, "--config", settings())
    assert done == 0, said[1].getvalue()
    for name, text in zip(("stdout", "stderr"), said, strict=True):
        (FOLDER / name).write_text(text.getvalue())
    return folder


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
