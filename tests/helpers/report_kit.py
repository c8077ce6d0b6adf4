"""A finished run with everything that a report can show, made once per process."""

import functools
import json
import os

from helpers import runs
from helpers.llm_server import LLMServer, data_of, truthful
from recsae.core.llm.settings import LanguageSettings
from recsae.pipeline.plan import run_pipeline
from recsae.report import read_report

N_EXPLAINED = 3
HOSTILE_NAME = "<img src=x onerror='window.hacked = 9'>"


def one_is_silent(prompts):
    """A judge that fails on the first latent that it is to name; its other names are hostile."""

    def say(prompt):
        if "level" not in data_of(prompt)[0]:
            return truthful(prompt)
        prompts.append(prompt)
        if len(prompts) == 1:
            return "no idea"
        return json.dumps({**json.loads(truthful(prompt)), "name": HOSTILE_NAME})

    return say


@functools.cache
def full_run():
    """Folder of the planted run with stability and a language model; one latent has no name."""
    return runs.made_once("full", _run_in_full)


def _run_in_full(folder):
    runs.copy_of(runs.planted_run(), folder)
    os.environ["NO_PROXY"] = "127.0.0.1"
    with LLMServer(one_is_silent([])) as server:
        asked = LanguageSettings(
            base_url=server.url,
            model="judge-7b",
            concepts=N_EXPLAINED,
            concurrency=1,
            retries=0,
            price_in=1,
            price_out=1,
        )
        config = runs.CONFIG.model_copy(update={"stability": 3, "language": asked})
        run_pipeline(runs.planted(), folder, config, replace=True)


@functools.cache
def full_report():
    """Its report."""
    return read_report(full_run())
