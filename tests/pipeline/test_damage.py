"""Damage of a finished run: what is made anew, and that nobody reads it."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from helpers.run_files import contents
from helpers.runs import FEWER, copy_of, run_in_brief, small_planted, taken_as_it_is
from recsae.core import layout
from recsae.core.errors import ArtifactMismatch
from recsae.explore.compare import ComparedRun
from recsae.finished.loaded import load_run
from recsae.pipeline.plan import STAGES
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.sae.model import SAE

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def small(tmp_path, small_run):
    return copy_of(small_run, tmp_path / "run")


def flip_a_bit(path):
    """In the last bytes, which are weights or states in every safetensors file."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


def shard_of(folder, store, number=0):
    return sorted((folder / store).glob(layout.SHARDS))[number]


DAMAGE = {
    "a bit of a shard": lambda folder: flip_a_bit(shard_of(folder, "activations", 1)),
    "a shard of held-out users": lambda folder: shard_of(folder, "heldout").unlink(),
    "a bit of the SAE": lambda folder: flip_a_bit(folder / layout.SAE_WEIGHTS),
    "a bit of the core": lambda folder: flip_a_bit(folder / layout.CORE_ARRAYS),
    "a bit of the plain SAE": lambda folder: flip_a_bit(folder / "plain/sae.safetensors"),
    "the plain SAE": lambda folder: (folder / "plain/cfg.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_made_anew_to_the_same_bits(damage, small, small_run):
    DAMAGE[damage](small)
    assert not Run(small, FEWER).is_finished(STAGES)
    whole = [shard_of(small, store, -1) for store in layout.STORES]
    before = {path: path.stat().st_mtime_ns for path in whole}
    run_in_brief(small, FEWER)
    assert Run(small, FEWER).is_finished(STAGES)
    assert contents(small) == contents(small_run)
    assert {path: path.stat().st_mtime_ns for path in whole} == before


def test_shards_are_read_only_as_they_were_captured(small):
    work = Workspace(Run(small), small_planted(), finished=True)
    assert len(work.heldout_store) > 500
    flip_a_bit(shard_of(small, "heldout"))
    for read in (
        lambda: Workspace(Run(small), small_planted(), finished=True).heldout_store,
        lambda: ComparedRun(small, load_run(small)).store,
    ):
        with pytest.raises(ArtifactMismatch, match=r"heldout/.* is not as the run left it: run"):
            read()
    shard_of(small, "activations").unlink()
    with pytest.raises(ArtifactMismatch, match=r"activations/.*safetensors is missing"):
        _ = Workspace(Run(small), small_planted(), finished=True).construction_store


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (layout.REPORT, lambda run: run.report),
        (layout.REPORT, lambda run: run.goals),
        (layout.CONCEPTS, lambda run: run.concepts),
        (layout.SCORES, lambda run: run.concepts),
        (layout.EXAMPLES, lambda run: run.examples),
    ],
)
def test_tables_are_read_only_as_they_were_written(name, read, small):
    opened = load_run(small)
    read(opened)
    path = small / name
    path.write_bytes(path.read_bytes().replace(b"1", b"7", 1))
    with pytest.raises(ArtifactMismatch, match=f"{name} is not as the run left it"):
        read(opened)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w["W_dec"].__setitem__((0, 0), np.nan), "W_dec is not finite everywhere"),
        (lambda w: w["gate_bound"].__setitem__(0, np.inf), "gate_bound is not finite everywhere"),
        (
            lambda w: w.update(b_enc=w["b_enc"].astype(np.float64)),
            r"b_enc is \(16,\) torch.float64, not \(16,\) torch.float32",
        ),
        (lambda w: w.update(gate_bound=w["gate_bound"][1:]), "16 and 5 of width 8"),
        (lambda w: w.update(gate_decoder=w["gate_decoder"][:, 1:]), "gates have other sizes"),
        (
            lambda w: w.update(W_enc=w["W_enc"][:, 1:]),
            r"W_enc is \(16, 7\) torch.float32, not \(16, 8\)",
        ),
        (lambda w: w.pop("mean"), "mean"),
    ],
)
def test_an_sae_with_weights_that_cannot_be_is_refused(change, said, small):
    """Even where the record has the digest of just these."""
    path = small / layout.SAE_WEIGHTS
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    taken_as_it_is(small)
    with pytest.raises(ArtifactMismatch, match=f"The SAE in .* is damaged.*{said}"):
        SAE.load(small / layout.SAE_FOLDER)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("position"),
        lambda a: a.update(states=a["states"][:, 1:]),
        lambda a: a.update(states=a["states"].astype(np.int32)),
        lambda a: a.update(sequence=a["sequence"][1:]),
        lambda a: a.update(sequence=a["sequence"].astype(np.float32)),
        lambda a: a.update(top_items=a["top_items"][:, 0]),
        lambda a: a["sequence"].__setitem__(0, -1),
        lambda a: a["top_items"].__setitem__((0, 0), -1),
    ],
)
def test_a_shard_that_is_none_is_refused(change, small):
    path = shard_of(small, "heldout")
    arrays = load_file(path)
    change(arrays)
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, path)
    work = Workspace(Run(taken_as_it_is(small)), small_planted(), finished=True)
    with pytest.raises(ArtifactMismatch, match="it is not of this store"):
        _ = work.heldout_store


@pytest.mark.parametrize("column", ["sequence", "position", "top_items"])
def test_states_of_other_users_or_items_are_refused(column, small):
    path = shard_of(small, "heldout")
    arrays = load_file(path)
    arrays[column].flat[0] = 10_000
    save_file(arrays, path)
    work = Workspace(Run(taken_as_it_is(small)), small_planted(), finished=True)
    with pytest.raises(ArtifactMismatch, match="are of other sequences or items than the model's"):
        _ = work.heldout


@pytest.mark.parametrize(
    "change",
    [lambda latents: latents + 7, lambda latents: latents[::-1], lambda latents: 0 * latents],
)
def test_a_table_of_other_latents_is_refused(change, small):
    path = small / layout.CONCEPTS
    table = pd.read_parquet(path)
    table["latent"] = change(table["latent"].to_numpy())
    table.to_parquet(path, index=False)
    taken_as_it_is(small)
    with pytest.raises(ArtifactMismatch, match="has not one row for each latent"):
        _ = load_run(small).concepts


@pytest.mark.parametrize("name", ["steering", "language", "language/cache/ab", "stability/seed-1"])
def test_a_folder_that_leads_out_of_the_run_is_refused(name, small, tmp_path):
    """What is written into it would be written elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (small / name).parent.mkdir(parents=True, exist_ok=True)
    (small / name).symlink_to(elsewhere)
    with pytest.raises(ArtifactMismatch, match=f"{name} is a link to another place"):
        load_run(small)
