"""People's corrections: the file, what it does to names, and that it survives another SAE."""

import numpy as np
import pandas as pd
import pytest

from helpers.runs import CONFIG, copy_of, planted
from recsae.concepts.corrections import (
    DIRECTIONS,
    FILE,
    Entry,
    corrected,
    lost,
    names,
    place,
    read_entries,
    remember,
)
from recsae.concepts.corrections_file import BEFORE, changes, prepare
from recsae.concepts.dictionary import ConceptDictionary
from recsae.core import columns as C
from recsae.core.errors import InvalidInput
from recsae.core.files import write_arrays, write_parquet
from recsae.pipeline.plan import STAGES, run_pipeline
from recsae.run.record import Run

pytestmark = pytest.mark.end_to_end


NAMES = ["Horror", "Sci-Fi", "Horror", "1990s", "Drama", "Drama"]


def train(folder, directions):
    """An SAE with these directions."""
    write_arrays(folder / "sae" / "sae.safetensors", {"W_dec": np.array(directions, np.float32)})


@pytest.fixture
def folder(tmp_path):
    """A run of six latents with orthogonal directions, all but the last verified."""
    labels = [f"The last item is {n}." for n in NAMES]
    table = pd.DataFrame({C.LATENT: range(6), C.NAME: NAMES, C.ABOUT: NAMES, C.LABEL: labels})
    ConceptDictionary(table, pd.DataFrame({C.LATENT: [0]})).save(tmp_path)
    scores = {
        C.LATENT: range(6),
        C.STATUS: ["verified"] * 5 + ["unsupported"],
        C.F1: [0.81, 0.82, 0.83, 0.84, 0.85, 0.6],
    }
    write_parquet(tmp_path / "scores.parquet", pd.DataFrame(scores))
    train(tmp_path, np.eye(6, 8))
    return tmp_path


def write(folder, text):
    (folder / FILE).write_text(text, encoding="utf-8")


ALL = """
rename.1 = "Space"
reject.3 = "two things"
[merge]
"Sad films" = [4, 5]
"""


def test_without_a_file_nothing_changes(folder):
    table = corrected(ConceptDictionary.load(folder), folder).table
    assert list(table) == [C.LATENT, C.NAME, C.ABOUT, C.LABEL]
    assert read_entries(folder) == place(folder) == lost(folder) == []
    assert names(folder) == {}
    assert not (folder / DIRECTIONS).exists()


def test_rename_merge_and_reject(folder):
    write(folder, ALL)
    dictionary = corrected(ConceptDictionary.load(folder), folder)
    assert dictionary.table[C.NAME].tolist() == [
        *("Horror", "Space", "Horror", "latent 3 (rejected)", "Sad films", "Sad films"),
    ]
    assert dictionary.table["correction"].tolist() == [
        *("", "renamed", "", "rejected", "merged", "merged"),
    ]
    assert dictionary.table["tested_as"].tolist() == [None, "Sci-Fi", None, "1990s", *["Drama"] * 2]
    assert dictionary.table[C.LABEL].tolist() == [f"The last item is {n}." for n in NAMES]
    assert dictionary.find("sad films") == [4, 5]
    assert dictionary.find("Space") == [1]
    for gone in ("1990s", "Sci-Fi", "Drama"):
        with pytest.raises(InvalidInput, match="No concept is named"):
            dictionary.find(gone)
    assert dictionary.find("3") == [3]  # by number it can still be turned
    uncorrected = ConceptDictionary.load(folder)
    assert uncorrected.table[C.NAME].tolist() == NAMES


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("rename.1\nx = 2", r"corrections\.toml cannot be read: .*line 1"),
        ('renam.1 = "x"', r"'renam': the tables are .*Did you mean 'rename'\?"),
        ('rename.Horror = "x"', r"\[rename\] 'Horror': this must be the number of a latent"),
        ('reject.Horror = "x"', r"\[reject\] 'Horror': this must be the number"),
        ("rename.1 = 5", r"\[rename\] 1: .*string \(seen: 5\)"),
        ('rename = "x"', r"\[rename\]: .*dictionary"),
        ('merge.x = [1, "a"]', r"\[merge\] x: .*integer.*\(seen: 'a'\)"),
        ("merge.x = [1]", r"\[merge\] 'x': a merged concept needs two latents"),
        ("merge.x = [1, 1]", r"\[merge\] 'x': a merged concept needs two latents"),
        ('rename.1 = "a"\nreject.1 = "b"', "latent 1 is renamed and rejected: keep one entry"),
        ("merge.a = [1, 2]\nmerge.b = [2, 3]", "latent 2 is merged twice: keep one entry"),
        ('rename.1 = " "', "latent 1: ' ' cannot be a name"),
        ('rename.1 = "203"', "latent 1: '203' cannot be a name"),
        ('rename.1 = "a\\nb"', "is not one line of text"),
        ('rename.6 = "x"', "there is no latent 6: latents are numbered 0 to 5"),
        ("merge.x = [1, -2]", "there is no latent -2"),
    ],
)
def test_what_is_wrong_is_told(folder, text, match):
    write(folder, text)
    for read in (
        lambda: corrected(ConceptDictionary.load(folder), folder),
        lambda: changes(folder),
    ):
        with pytest.raises(InvalidInput, match=match):
            read()
    assert prepare(folder) is None  # the editor opens it as it is
    assert (folder / FILE).read_text() == text


def test_text_that_is_no_text(folder):
    (folder / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_entries(folder)


# -- another SAE -----------------------------------------------------------------------------------


def turned(rng, directions, cosine):
    """Directions at this cosine to the given ones."""
    own = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    other = rng.normal(size=own.shape)
    other -= (other * own).sum(1, keepdims=True) * own
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return cosine * own + np.sqrt(1 - cosine**2) * other


@pytest.mark.parametrize("cosine", [0.92, 0.89])
def test_corrections_follow_the_directions(folder, cosine):
    write(folder, ALL)
    remember(folder)
    rng = np.random.default_rng(0)
    wide = np.eye(6, 8)
    new = turned(rng, wide, cosine)[[5, 4, 3, 2, 1, 0]] * rng.uniform(0.5, 2, (6, 1))
    train(folder, new)
    found = {p.entry.latent: p.latent for p in place(folder)}
    assert found == ({1: 4, 3: 2, 4: 1, 5: 0} if cosine > 0.9 else dict.fromkeys((1, 3, 4, 5)))
    expected = (
        {
            4: Entry(4, "renamed", "Space"),
            2: Entry(2, "rejected", "two things"),
            1: Entry(1, "merged", "Sad films"),
            0: Entry(0, "merged", "Sad films"),
        }
        if cosine > 0.9
        else {}
    )
    assert names(folder) == expected
    assert len(lost(folder)) == (0 if cosine > 0.9 else 4)
    assert read_entries(folder)[0].latent == 1  # the file is as it was
    assert corrected(ConceptDictionary.load(folder), folder).table[C.NAME].iloc[4] == (
        "Space" if cosine > 0.9 else NAMES[4]
    )


def test_an_opposite_direction_is_another_latent(folder):
    write(folder, 'rename.1 = "Space"')
    remember(folder)
    train(folder, -np.eye(6, 8))
    assert place(folder)[0].latent is None


def test_no_latent_is_taken_twice(folder):
    write(folder, 'rename.0 = "A"\nrename.1 = "B"')
    train(folder, [[1, 0], [1, 0.1], [0, 1]])
    remember(folder)
    train(folder, [[0, 1], [1, 0.09]])
    assert {p.entry.text: p.latent for p in place(folder)} == {"A": None, "B": 1}


def test_of_equal_directions_the_own_number_wins(folder):
    train(folder, [[1, 0], [1, 0], [1, 0]])
    write(folder, 'rename.1 = "A"\nrename.2 = "B"')
    assert {p.entry.text: p.latent for p in remember(folder)} == {"A": 1, "B": 2}


def test_an_sae_of_another_width_loses_all(folder):
    write(folder, 'rename.1 = "A"')
    remember(folder)
    train(folder, np.eye(4, 5))
    assert place(folder)[0].latent is None


def test_an_entry_added_after_the_rerun_is_taken_by_its_number(folder):
    write(folder, 'rename.1 = "Space"')
    remember(folder)
    train(folder, np.eye(6, 8)[::-1])
    write(folder, 'rename.1 = "Space"\nrename.3 = "New"')
    assert {p.entry.text: p.latent for p in remember(folder)} == {"Space": 4, "New": 3}
    train(folder, np.eye(6, 8))
    assert {p.entry.text: p.latent for p in place(folder)} == {"Space": 1, "New": 2}


def test_a_removed_entry_is_forgotten(folder):
    write(folder, 'rename.1 = "Space"')
    remember(folder)
    write(folder, "")
    remember(folder)
    assert not (folder / DIRECTIONS).exists()


def test_before_the_first_sae_the_file_is_only_read(folder):
    (folder / "sae" / "sae.safetensors").unlink()
    write(folder, ALL)
    assert remember(folder) == []
    write(folder, "oops")
    with pytest.raises(InvalidInput):
        remember(folder)


def test_a_folder_that_cannot_be_written(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr("recsae.concepts.corrections.write_arrays", refuse)
    write(folder, ALL)
    assert corrected(ConceptDictionary.load(folder), folder).find("Space") == [1]


# -- the file for people ---------------------------------------------------------------------------


def test_a_new_file_has_the_verified_concepts_as_lines(folder):
    assert prepare(folder) is None
    text = (folder / FILE).read_text()
    lines = [line for line in text.splitlines() if line.startswith("# ") and line[2].isdigit()]
    assert [line.split()[1] for line in lines] == ["4", "3", "2", "1", "0"]  # best first
    assert "The last item is Drama." in lines[0]
    assert read_entries(folder) == []
    assert changes(folder) == []
    write(folder, text.replace('# 4 = "Drama"', '4 = "Tears"'))
    assert read_entries(folder) == [Entry(4, "renamed", "Tears")]
    assert prepare(folder) is None
    assert '\n4 = "Tears"' in (folder / FILE).read_text()


def test_names_that_toml_would_trip_over(folder):
    table = corrected(ConceptDictionary.load(folder), folder).table
    table[C.NAME] = ['a "b" \\ c', "# no", "x\ny", "é\x7f", "[t]", "z"]
    table[C.LABEL] = "line\nbreak\r\x00"
    ConceptDictionary(table, pd.DataFrame({C.LATENT: [0]})).save(folder)
    prepare(folder)
    text = (folder / FILE).read_text()
    opened = "\n".join(
        line[2:] if line[:2] == "# " and line[2:3].isdigit() else line for line in text.split("\n")
    )
    write(folder, opened)
    found = {e.latent: e.text for e in read_entries(folder)}
    assert found == {0: 'a "b" \\ c', 1: "# no", 2: "x y", 3: "é ", 4: "[t]"}


def test_what_changes(folder):
    write(folder, 'rename.1 = "Horror"\nreject.3 = "two things"')
    rows = changes(folder)
    assert rows == [
        {
            "latent": 1,
            "correction": "renamed",
            "name": "Horror",
            "tested as": "Sci-Fi",
            "tested": "verified",
            "note": "2 more have this name",
        },
        {
            "latent": 3,
            "correction": "rejected",
            "name": "two things",
            "tested as": "1990s",
            "tested": "verified",
            "note": "",
        },
    ]


def test_a_rerun_renumbers_the_file_when_it_is_edited(folder):
    write(folder, '# mine\nrename.0 = "Fear"' + ALL)
    before = (folder / FILE).read_text()
    remember(folder)
    new = np.eye(8)[[5, 4, 3, 6, 1]]  # 0 is gone, and 4 and 5 have changed places
    train(folder, new)
    found = {r["name"]: (r["latent"], r["correction"]) for r in changes(folder)}
    assert found["Fear"] == (0, "lost")
    assert [r["note"] for r in changes(folder) if r["name"] == "Space"] == [
        "was latent 1 (cosine 1.00)"
    ]
    remark = prepare(folder)
    assert remark.startswith("The SAE has changed: 4 of 5 entries were found again")
    assert (folder / BEFORE).read_text() == before
    text = (folder / FILE).read_text()
    assert '# lost: latent 0, renamed: "Fear" (nearest direction: cosine 0.00)' in text
    assert [(e.latent, e.text) for e in read_entries(folder)] == [
        (4, "Space"),
        (1, "Sad films"),
        (0, "Sad films"),
        (2, "two things"),
    ]
    assert all(p.latent == p.entry.latent for p in place(folder))
    assert prepare(folder) is None  # once
    train(folder, np.eye(8)[[0, 3]])  # what was lost before stays in the file
    prepare(folder)
    assert '# lost: latent 0, renamed: "Fear"' in (folder / FILE).read_text()
    assert [(e.latent, e.text) for e in read_entries(folder)] == [(1, "two things")]


def test_one_latent_left_of_a_merged_concept(folder):
    write(folder, "merge.Sad = [4, 5]")
    remember(folder)
    train(folder, np.eye(8)[[5, 6]])
    prepare(folder)
    assert read_entries(folder) == [Entry(0, "renamed", "Sad")]


# -- on a run --------------------------------------------------------------------------------------


def test_corrections_make_no_stage_run_again(tmp_path, planted_run):
    folder = copy_of(planted_run, tmp_path / "run")
    write(folder, 'rename.3 = "Mine"')
    assert corrected(ConceptDictionary.load(folder), folder).find("Mine") == [3]
    assert Run(folder, CONFIG).is_finished(STAGES)
    before = (folder / "run.json").read_bytes()
    run_pipeline(planted(), folder, CONFIG)
    assert (folder / "run.json").read_bytes() == before
