"""What a run does only when asked: training again (``--stability``), asking a language model."""

import pytest

pytest.importorskip("recbole")

from helpers.llm_server import LLMServer
from helpers.runs import checkpoint, command, copy_of, in_brief, settings
from recsae.core.files import read_json

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


KEPT = ("scores.parquet", "stability.json", "language.json", "report.json")


@pytest.fixture
def run_again(tmp_path, capsys, monkeypatch, recbole_run):
    """Ask for a finished run again with more options; exit code, stdout, stderr and the folder."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    folder = copy_of(recbole_run, tmp_path / "run")
    file = tmp_path / "settings.toml"
    file.write_text(settings().read_text())

    def run(*options):
        capsys.readouterr()
        with in_brief():
            code = command(
                *(
                    "run",
                    checkpoint(),
                    "--trust",
                    "--out",
                    folder,
                    "--config",
                    file,
                    "--replace",
                    *options,
                )
            )
        return code, *capsys.readouterr(), folder

    run.settings = file
    return run


def finished(folder):
    """When each stage was finished, by the modification times of what it left."""
    return {name: (folder / name).stat().st_mtime_ns for name in KEPT}


def test_other_seeds_are_tried_when_asked_for(run_again):
    code, _, err, folder = run_again("--stability", 3)
    done = [line.split(":")[0] for line in err.splitlines()]
    assert (code, done) == (0, ["stability", "report"])
    found = read_json(folder / "stability.json")
    assert {d["kind"] for d in found["dictionaries"]} == {"seeds", "halves", "chance"}
    shown = read_json(folder / "report.json")["stability"]
    assert shown == {key: value for key, value in found.items() if key in shown}
    assert set(shown) == set(found) - {"latents"}
    before = finished(folder)
    code, out, _, _ = run_again("--stability", 3)
    assert (code, out.splitlines()[0].startswith("Nothing to do")) == (0, True)
    assert finished(folder) == before


def test_a_language_model_names_and_judges_when_asked(run_again):
    with run_again.settings.open("a") as file:
        file.write("[language]\nconcepts = 10\n")
    with LLMServer() as server:
        asked = ("--llm-base-url", server.url, "--llm-model", "judge")
        code, _, err, folder = run_again(*asked)
        done = [line.split(":")[0] for line in err.splitlines()]
        assert (code, done) == (0, ["language", "report"])
        assert {body["model"] for body in server.requests} == {"judge"}
        n_asked = len(server.requests)
        assert n_asked > 10
        assert read_json(folder / "language.json")["tokens"]["answers"] == n_asked
        assert run_again(*asked)[0] == 0
        assert len(server.requests) == n_asked  # every answer is kept
    assert set(server.keys) == {"Bearer secret-key"}
    for path in folder.rglob("*"):
        assert path.is_dir() or b"secret-key" not in path.read_bytes(), path
    assert read_json(folder / "report.json")["language"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--stability", -1), "stability"),
        (("--llm-base-url", "http://127.0.0.1:1/v1"), "language.model"),
        (("--llm-model", "judge"), "language.base_url"),
    ],
)
def test_what_cannot_be_asked_is_refused(run_again, options, what, recbole_run):
    code, out, err, folder = run_again(*options)
    assert (code, out) == (2, "")
    assert err.startswith(f"Error: Setting {what!r}")
    assert err.count("\n") == 1
    assert finished(folder) == finished(recbole_run)
