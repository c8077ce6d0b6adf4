"""What of a run's folder is damaged: a line for each file, with the cure."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from helpers.runs import FEWER, command, copy_of, run_in_brief, taken_as_it_is
from recsae.core.errors import ArtifactMismatch
from recsae.core.files import has_digest, read_json, write_json
from recsae.explore import health
from recsae.explore.health import Damage, examine
from recsae.pipeline.plan import STAGES
from recsae.run.record import Run
from recsae.sae.editing import Intervention
from recsae.steering.files import Steering, place, save_steering

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def small(tmp_path, small_run):
    return copy_of(small_run, tmp_path / "run")


@pytest.fixture
def says(capsys):
    """Run ``recsae doctor FOLDER``: exit code and stdout; stderr stays quiet."""

    def run(*arguments):
        capsys.readouterr()
        code = command("doctor", *arguments)
        out, err = capsys.readouterr()
        assert err == ""
        return code, out

    return run


def test_a_whole_run(small, says):
    n_files = sum(len(stage["outputs"]) for stage in Run(small).record["stages"].values())
    assert n_files == sum(p.is_file() for p in small.rglob("*")) - 1  # run.json itself
    assert examine(small, STAGES) == health.Health(n_files, (), ())
    assert says(small) == (
        0,
        f"All {n_files} files of the run in {small} are as its stages left them.\n",
    )
    found = json.loads(says(small, "--json")[1])
    assert found == {"files": n_files, "damaged": [], "undone": []}


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_every_single_file(how, small):
    for file, stage in [
        (file, name) for name, s in Run(small).record["stages"].items() for file in s["outputs"]
    ]:
        before = (small / file).read_bytes()
        if how == "gone":
            (small / file).unlink()
        else:
            (small / file).write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert examine(small, STAGES).damaged == (Damage(file, "stage", how, stage),)
        (small / file).write_bytes(before)


def test_each_damaged_file_has_one_line_and_the_cure_works(small, says):
    shard = sorted((small / "activations").glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    (small / "firing.parquet").unlink()
    code, out = says(small)
    again = "run the same `recsae run` again, which makes it anew and keeps stages that are whole."
    assert (code, out.splitlines()) == (
        3,
        [
            f"activations/{shard.name}, of the stage capture, is not as the run left it: {again}",
            f"firing.parquet, of the stage evidence, is missing: {again}",
        ],
    )
    rows = json.loads(says(small, "--json")[1])["damaged"]
    assert [(row["file"], row["stage"], row["problem"]) for row in rows] == [
        (f"activations/{shard.name}", "capture", "changed"),
        ("firing.parquet", "evidence", "gone"),
    ]
    scores = (small / "scores.parquet").stat().st_mtime_ns
    run_in_brief(small, FEWER)
    assert says(small)[0] == 0
    assert (small / "scores.parquet").stat().st_mtime_ns == scores


def test_weights_and_states_that_cannot_be(small, says):
    """Though they are as the run left them."""
    for path, column in (
        (small / "sae/sae.safetensors", "W_dec"),
        (sorted((small / "heldout").glob("*.safetensors"))[0], "sequence"),
    ):
        arrays = load_file(path)
        arrays[column].flat[0] = np.nan if column == "W_dec" else -1
        save_file(arrays, path)
    code, out = says(taken_as_it_is(small))
    assert code == 3
    first, second = out.splitlines()
    assert "W_dec is not finite everywhere" in first
    assert "it is not of this store" in second
    assert first.endswith("The run left it so: make a new run, in another folder.")


def test_files_that_may_not_be_read(small, says, monkeypatch):
    def refused(path, digest):
        if path.name == "scores.parquet":
            raise health.RecSAEError(f"{path} cannot be read: Permission denied.")
        return has_digest(path, digest)

    monkeypatch.setattr(health, "has_digest", refused)
    code, out = says(small)
    assert code == 3
    assert out.startswith(f"{small / 'scores.parquet'} cannot be read: Permission denied. Let this")
    assert out.count("\n") == 1


def test_sources_and_what_people_made(small, says, tmp_path):
    source = tmp_path / "model.pth"
    source.write_text("weights")
    record = read_json(small / "run.json")
    write_json(small / "run.json", {**record, "sources": {str(source): "0" * 64}})
    save_steering(Steering([Intervention((0,), "set", 1.0)]), small, place(small, "good"))
    (small / "steering/bad.json").write_text("[]")
    (small / "corrections.toml").write_text('[rename]\n4000 = "Nowhere"\n')
    code, out = says(small)
    assert code == 3
    lines = out.splitlines()
    assert lines[0] == (
        f"{source}, which the run was made from, is not as the run left it: put it back, or make a "
        "new run in another folder."
    )
    assert "no latent 4000" in lines[1]
    assert lines[1].endswith(f"Mend it with `recsae concepts {small} --edit`.")
    assert "bad.json is no steering file" in lines[2]
    assert lines[2].endswith("Make it again, with `recsae tune` or `recsae steer --save`.")
    assert len(lines) == 3


def test_an_unfinished_run(small, says):
    record = read_json(small / "run.json")
    record["stages"] = {name: record["stages"][name] for name in ("capture", "core")}
    write_json(small / "run.json", record)
    code, out = says(small)
    later = ", ".join(list(STAGES)[2:])
    again = "run the same `recsae run` again, which goes on there."
    assert (code, out) == (3, f"Not done yet: {later}: {again}\n")


def test_no_run_or_a_damaged_record(small, tmp_path):
    with pytest.raises(ArtifactMismatch, match="holds no run"):
        examine(tmp_path, STAGES)
    os.truncate(small / "run.json", 100)
    with pytest.raises(ArtifactMismatch, match=r"run\.json is damaged: put back a copy"):
        examine(small, STAGES)
