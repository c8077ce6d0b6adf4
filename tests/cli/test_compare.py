"""``recsae compare``: what a person sees, what a machine reads, what is refused."""

import json
import re
import shutil

import pytest

from helpers.runs import command, copy_of, taken_as_it_is
from recsae.core.files import read_json, write_json

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def says(capsys):
    """Run ``recsae compare``: exit code, stdout, stderr."""

    def run(*arguments):
        capsys.readouterr()
        code = command("compare", *arguments)
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def renamed(tmp_path_factory, planted_run):
    """A copy of a run where Comedy has another name and one latent is turned around."""
    import torch

    from recsae.concepts.dictionary import ConceptDictionary
    from recsae.core import columns as C
    from recsae.sae.model import SAE

    folder = copy_of(planted_run, tmp_path_factory.mktemp("compare") / "renamed")
    dictionary = ConceptDictionary.load(folder)
    table = dictionary.table
    table.loc[table[C.NAME] == "Comedy", [C.NAME, C.ABOUT]] = "Jokes"
    dictionary.save(folder)
    sae, meta = SAE.load(folder / "sae"), read_json(folder / "sae/cfg.json")
    with torch.no_grad():
        sae.W_dec[0] *= -1
    sae.save(folder / "sae", {"made_from": meta["made_from"]})
    return taken_as_it_is(folder)


def test_a_person_sees_how_counts_figures_and_the_strongest_changes(says, renamed, planted_run):
    code, out, err = says(planted_run, renamed)
    assert (code, err) == (0, "")
    assert out.startswith("No control for how alike they are. Of the ")
    assert "\nSame model and site: two latents are a pair where the decoder direction" in out
    assert "pairs with another name" in out
    assert "lost: there is none like it" in out
    assert f"\nbefore: {planted_run}\nafter: {renamed}\n" in out
    assert "named share, 32 concepts" in out
    assert "another name  Comedy" in out
    assert "Jokes" in out
    assert "names verified only after (1): Jokes" in out
    assert "--all shows them." in out
    table = out.split("\nchange ")[1].splitlines()
    assert max(map(len, table[:-2])) <= 80
    assert table[0].split()[:3] == ["before", "after", "similarity"]
    assert table[-2].startswith("Where there is room, ")
    assert re.search(r"^F1 of labels, by activation +\d+% +\d+%$", out, re.MULTILINE)


def test_all_shows_also_what_was_never_verified(says, renamed, planted_run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # with room for the status
    few, every = says(planted_run, renamed)[1], says(planted_run, renamed, "--all")[1]
    assert len(every.splitlines()) > len(few.splitlines())
    assert "untested" in every
    assert "--all" not in every
    assert (
        says(planted_run, renamed, "--json")[1] == says(planted_run, renamed, "--json", "--all")[1]
    )


def test_a_machine_reads_everything(says, renamed, planted_run):
    code, out, err = says(planted_run, renamed, "--json")
    found = json.loads(out)
    assert (code, err, found["how"]) == (0, "", "direction")
    assert found["counts"]["all"]["lost"] == found["counts"]["all"]["new"] == 1
    assert len(found["concepts"]) == 15 + 2  # one latent of 16 on either side has no pair
    assert found["verdict"]["kind"] == "unknown"
    assert 0 < found["verdict"]["sides"][0]["found"] < 1


def test_the_same_folder_twice_is_fine(says, planted_run):
    code, out, err = says(planted_run, planted_run)
    assert (code, err) == (0, "")
    assert "\nanother name" not in out
    assert "\nlost " not in out


def test_a_long_name_is_cut_in_the_table_and_whole_for_machines(
    says, renamed, tmp_path, planted_run
):
    from recsae.concepts.dictionary import ConceptDictionary
    from recsae.core import columns as C

    other, long = copy_of(renamed, tmp_path / "other"), "fans of " + "A, B and C, " * 9
    dictionary = ConceptDictionary.load(other)
    dictionary.table[C.ABOUT] = dictionary.table[C.ABOUT].replace("Jokes", long)
    dictionary.save(other)
    taken_as_it_is(other)
    table = says(planted_run, other)[1].split("\nchange ")[1]
    assert long not in table
    assert re.search(r"fans of A, B and C,.*…", table)
    assert long in json.loads(says(planted_run, other, "--json")[1])["names"]["new"]


def test_by_name_counts_are_of_names(says, renamed, tmp_path, planted_run):
    other = copy_of(renamed, tmp_path / "other")
    manifest = read_json(other / "heldout/manifest.json")
    write_json(other / "heldout/manifest.json", {**manifest, "model": "another"})
    taken_as_it_is(other)
    code, out, err = says(planted_run, other)
    assert (code, err) == (0, "")
    assert out.startswith("Compared by name alone. ")
    assert "\nA model in memory cannot be asked again who its users are. So only names" in out
    assert "\nnames " in out
    assert "merged" not in out


def test_a_page_is_written_beside_what_is_printed(says, renamed, tmp_path, planted_run):
    page = tmp_path / "new folder" / "both.html"
    code, out, err = says(planted_run, renamed, "--html", page)
    assert (code, err) == (0, "")
    assert out.endswith(f"\nPage: {page}\n")
    assert out.startswith(says(planted_run, renamed)[1])
    text = page.read_text(encoding="utf-8")
    assert "Jokes" in text
    assert "Both runs are of the same model, so its lists are the same." in text
    code, out, err = says(planted_run, renamed, "--html", page, "--json")
    assert (code, json.loads(out)["how"], err) == (0, "direction", "")


@pytest.mark.parametrize("name", ["both.txt", "folder.html", "report.html"])
def test_what_is_no_page_or_a_run_s_own_is_refused_before_anything_is_read(
    says, renamed, tmp_path, name
):
    (tmp_path / "folder.html").mkdir()
    page = (renamed if name == "report.html" else tmp_path) / name
    code, out, err = says(renamed, tmp_path / "no run", "--html", page)
    assert (code, out) == (2, "")
    said = {"report.html": "give the comparison another name"}.get(name, "ends in .html")
    assert said in err
    assert err.count("\n") == 1


def refused(found):
    """One short line on stderr and nothing else; the line."""
    code, out, err = found
    assert (code, out) == (3, ""), err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    return err


def test_no_run_is_refused_in_one_sentence(says, tmp_path, planted_run):
    assert "holds no run" in refused(says(tmp_path / "nothing", planted_run))
    assert "holds no run" in refused(says(planted_run, tmp_path))


def test_an_unfinished_or_damaged_run_is_refused_in_one_sentence(says, tmp_path, planted_run):
    half = copy_of(planted_run, tmp_path / "half")
    record = read_json(half / "run.json")
    write_json(half / "run.json", {**record, "stages": {"capture": record["stages"]["capture"]}})
    assert "is not finished" in refused(says(half, planted_run))
    broken = copy_of(planted_run, tmp_path / "broken")
    (broken / "sae/sae.safetensors").write_bytes(b"nothing")
    assert "sae.safetensors is not as the run left it" in refused(says(planted_run, broken))
    shutil.rmtree(broken / "heldout")
    assert "is missing" in refused(says(planted_run, broken))


def test_two_folders_are_needed(says, planted_run):
    code, out, err = says(planted_run)
    assert (code, out) == (2, "")
    assert "DIR2" in err
