"""``recsae sites``: what is said, what is left behind, how it fails."""

import json
import tempfile

import pytest

pytest.importorskip("recbole")

from helpers.runs import checkpoint, command
from recsae.pipeline import sites

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


QUICK = ("--trust", "--positions", 1500, "--latents", 32, "--k", 4)
SCANS = []


@pytest.fixture
def says(capsys, tmp_path, monkeypatch):
    """Run the command with a temporary folder of its own: exit code, stdout, stderr."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def run(*arguments):
        capsys.readouterr()
        code = command("sites", *arguments)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def scanned_once(monkeypatch):
    """Let the tests that only look at what is said share one scan."""
    scan = sites.scan_sites

    def once(*given):
        if not SCANS:
            SCANS.append(scan(*given))
        return SCANS[0]

    monkeypatch.setattr(sites, "scan_sites", once)


def test_a_table_a_recommendation_and_what_to_type_next(says, scanned_once, tmp_path):
    code, out, err = says(checkpoint(), *QUICK)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("site ")
    assert lines[1].startswith("sequence ")
    assert "trm_encoder.layer.0.multi_head_attention.dense" in out
    assert "\nRecommended: " in out
    assert "\nRule: of the sites that all scores go through" in out
    assert lines[-1].startswith(f"  recsae run {checkpoint()} --trust --site ")
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith("torchinductor")] == []


def test_for_machines(says, scanned_once):
    code, out, _ = says(checkpoint(), *QUICK, "--json")
    found = json.loads(out)
    assert code == 0
    names = [row["site"] for row in found["sites"]]
    assert found["recommended"]["site"] in names
    assert found["command"].endswith(f"--site {found['recommended']['site']} --out DIR")
    assert found["n_heldout"] <= 500
    first, low, high = found["sites"][0], *found["sites"][0]["named_share_interval"]
    assert low <= first["named_share"] <= high
    assert first["share_of_states_interval"] is None


def test_what_to_type_next_reads_the_same_columns(says, scanned_once):
    columns = "--attribute-columns", "class", "--separator", "none"
    _, out, _ = says(checkpoint(), *QUICK, *columns)
    last = out.splitlines()[-1]
    assert " --attribute-columns class --separator none --site " in last


def test_columns_that_do_not_exist_are_refused(says):
    code, _, err = says(checkpoint(), *QUICK, "--attribute-columns", "klass")
    assert code in (2, 3)
    assert "klass" in err
    assert "class" in err


def test_a_site_without_figures_says_why(says, monkeypatch):
    measured = sites.measured

    def broken(work, *asked):
        if work.site != "sequence":
            raise sites.NotEnoughData("No state varies.")
        return measured(work, *asked)

    monkeypatch.setattr(sites, "measured", broken)
    code, out, _ = says(checkpoint(), *QUICK)
    assert code == 0
    assert "  not measured: No state varies." in out
    assert "Recommended: sequence: the default; there is no other" in out


def test_nothing_is_left_after_control_c(says, tmp_path, monkeypatch):
    seen = []

    def stopped(*asked):
        seen.extend(tmp_path.rglob("*.safetensors"))
        raise KeyboardInterrupt

    monkeypatch.setattr(sites, "measured", stopped)
    code, out, err = says(checkpoint(), *QUICK)
    assert (code, out) == (130, "")
    assert err.strip() == "Stopped. Nothing was kept."
    assert seen  # states had been written
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith("torchinductor")] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 3, "--trust"),
        (("--trust", "--k", 0), 2, "'k'"),
        (("--trust", "--k", 60, "--latents", 48), 2, "k=60"),
        (("--trust", "--positions", 1), 2, "positions"),
        (("--trust", "--latents", "many"), 2, "latents"),
    ],
)
def test_errors_are_one_sentence(says, tmp_path, arguments, code, words):
    seen, out, err = says(checkpoint(), *arguments)
    assert (seen, out) == (code, "")
    assert words in err
    assert "Traceback" not in err
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith("torchinductor")] == []


def test_a_missing_checkpoint(says):
    code, _, err = says("nowhere.pth", "--trust")
    assert code == 3
    assert "nowhere.pth" in err
