"""A folder of hostile files, and how any command line that names them must end.

``RECSAE_FUZZ`` is how many examples each fuzzing test tries; without it they are the same on every
run.
"""

import contextlib
import io
import itertools
import json
import os
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, settings

from helpers.runs import checkpoint, command, copy_of, recbole_run
from recsae.core.errors import RecSAEError
from recsae.run import open as opening
from recsae.run.record import Run

N_EXAMPLES = int(os.environ.get("RECSAE_FUZZ", "0"))


def tries(n):
    """Settings of a test that tries n examples, or as many as are asked for."""
    return settings(
        max_examples=N_EXAMPLES or n,
        derandomize=not N_EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


NUMBER = itertools.count()
STEERING = {
    "deep": "[" * 100_000,
    "nan": '{"version": 1, "model": "x", "sae": "x", "site": null, "steps": '
    '[{"latents": [3], "op": "set", "value": NaN}]}',
    "nobody": '{"version": 1, "model": "x", "sae": "x", "site": null, "users": [], "steps": []}',
}
TOML = {
    "good": "latents = 32\nk = 4\n",
    "deep": "a = " + "[" * 100_000,
    "huge": f"latents = {10**30}\n",
    "nan": "samples = nan\n",
    "odd": "latents = 1979-05-27\n",
    "llm": "[language]\nbase_url = 'http://127.0.0.1:9/v1'\nmodel = 'm'\nconcepts = 1\n"
    "timeout = inf\n[language.extra]\nx = nan\n",
}


def made(folder):
    """Files of every kind to name in a command line; the run and the model among them."""
    copy_of(recbole_run(), folder / "run")
    for name in ("FOLDER", "norun", "oddrun", "half"):
        (folder / name).mkdir()
    (folder / "oddrun" / "run.json").write_text("[]")
    (folder / "half" / "run.json").write_text((folder / "run" / "run.json").read_text())
    (folder / "FOLDER" / "x").write_text("mine")
    (folder / "empty").touch()
    (folder / "binary.bin").write_bytes(bytes(range(256)) * 40)
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    for name, text in STEERING.items():
        (folder / f"{name}.json").write_text(text)
    for name, text in TOML.items():
        (folder / f"{name}.toml").write_text(text)
    (folder / "users.txt").write_text("71\n61\n")
    (folder / "text.pth").write_text("no model")
    (folder / "half.pth").write_bytes(checkpoint().read_bytes()[:5000])
    with zipfile.ZipFile(folder / "zip.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x/data.pkl", bytes(10**7))
    torch.save({"w": torch.zeros(2)}, folder / "weights.pth")
    (folder / "items.csv").write_text("id,title\n50,\x1b[31mred\n181,\u202ebackwards\n")
    (folder / "odd.csv").write_text('id,"title\n50,"\n')
    (folder / "twice.csv").write_text("id,title\n50,a\n50,b\n")
    (folder / "deep.csv").write_text("id,genres\n50," + "[" * 10_000 + "\n181,x\n")
    command("steer", folder / "run", "--set", "3=0", "--user", "71", "--save", "kept")
    command("steer", folder / "run", "--set", "3=0", "--user", "71", "--save", folder / "good.json")
    return folder


@contextlib.contextmanager
def hostile_folder(folder):
    """The folder in which commands are typed; nothing that they do there takes long."""
    made(folder)
    open_recommender = opening.open_recommender
    opened = {}

    def once(config, *, trust, device):
        key = (config.model_dump_json(), trust, device)
        if key not in opened:
            opened[key] = open_recommender(config, trust=trust, device=device)
        return opened[key]

    def stop(*_, **__):
        raise RecSAEError("the small run is not made again.")

    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("EDITOR", "true")
        patched.setattr(opening, "open_recommender", once)
        patched.setattr(Run, "stage", stop)
        patched.setattr("recsae.report.figures.drawn", lambda draws: {})
        patched.setattr("recsae.pipeline.sites._captured", stop)
        patched.setattr("recsae_recbole.RecBolePlugin.demo_checkpoint", stop)
        yield folder


def harmless(text):
    return all(c.isprintable() or c == "\n" for c in text)


def run(words, folder):
    known = {"RUN": str(folder / "run"), "MODEL": str(checkpoint())}
    known["NEW"] = str(folder / f"new{next(NUMBER)}")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = command(*(known.get(word, word) for word in words))
    return code, out.getvalue(), err.getvalue()


def check(words, folder):
    """One command line ends as it should."""
    code, out, err = run(words, folder)
    assert "something unexpected" not in err, err
    assert "Traceback" not in err
    assert "Warning" not in err
    assert code in (0, 2, 3), (code, err)
    assert harmless(out)
    assert harmless(err)
    if code and err:
        assert len(err) < 4000
        told = err.rpartition("Error: ")[2]
        assert told.count("\n") == 1
        assert told[0] != "\n"
    assert code == 0 or "Error: " in err or "fails" in out or "Usage: " in out
    if "--json" in words and code == 0 and "--help" not in words and "-h" not in words:
        json.loads(out)
    assert not list(folder.rglob("*.part"))
