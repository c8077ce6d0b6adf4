"""Rows that were split into files beforehand are positions of one sequence of each user."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("recbole")

from helpers.recbole_kit import run_by_recbole, small_checkpoint
from recsae.core.errors import CannotOpenModel
from recsae.recommender.evaluation import evaluate
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.open import open_checkpoint
from recsae_recbole.split_files import one_sequence

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


def rows_of(sequence, longest):
    return [tuple(sequence[max(0, e - longest) : e + 1]) for e in range(1, len(sequence))]


@given(st.lists(st.integers(1, 3), min_size=2, max_size=9), st.integers(1, 9))
def test_every_row_has_its_history_again(sequence, longest):
    rows = rows_of(sequence, longest)
    found = one_sequence(rows, longest)
    for row, end in zip(rows, found.positions, strict=True):
        assert end is not None
        assert found.sequence[max(0, end - longest) : end + 1] == list(row)


def test_rows_by_hand():
    assert one_sequence([(1, 2, 3, 4), (1, 2)], 5) == ([1, 2, 3, 4], [3, 1])
    assert one_sequence([(1, 2), (1, 2, 3, 4), (1, 2, 3)], 5) == ([1, 2, 3, 4], [1, 3, 2])
    assert one_sequence([(1, 2), (7, 8, 9)], 5) == ([1, 2], [1, None])
    assert one_sequence([(1, 2, 3), (2, 3)], 5).positions[0] is None  # 2 is read alone in one row


def split_data(folder, sequences, fields="user_id:token\titem_id_list:token_seq\titem_id:token"):
    folder.mkdir()
    parts = {"train": [], "valid": [], "test": []}
    for user, sequence in sequences.items():
        for end, row in enumerate(rows_of(sequence, 4), 1):
            left = len(sequence) - end
            part = {1: "test", 2: "valid"}.get(left, "train")
            *history, target = (f"i{i}" for i in row)
            parts[part].append((f"u{user}", " ".join(history), target))
    for part, rows in parts.items():
        lines = [fields, *("\t".join(row) for row in rows)]
        (folder / f"shop.{part}.inter").write_text("\n".join(lines) + "\n")


SEQUENCES = {u: [1 + (3 * u + j * (1 + u % 3)) % 20 for j in range(4 + u % 7)] for u in range(24)}
SETTINGS = {
    "benchmark_filename": ["train", "valid", "test"],
    "load_col": {"inter": ["user_id", "item_id_list", "item_id"]},
    "alias_of_item_id": ["item_id_list"],
    "MAX_ITEM_LIST_LENGTH": 4,
    "user_inter_num_interval": None,
    "item_inter_num_interval": None,
}


@pytest.mark.parametrize("mode", ["full", "uni5"])
def test_the_same_digits_as_recbole(mode, tmp_path):
    folder = tmp_path / "shop"
    split_data(folder, SEQUENCES)
    args = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": mode}
    with recbole_boundary():
        settings = {**SETTINGS, "data_path": str(tmp_path), "eval_args": args}
        path = small_checkpoint(tmp_path / "x.pth", **settings)
    recommender = open_checkpoint(path, trust=True, data_path=folder)
    known = recommender.catalog.external_ids
    for user, sequence in SEQUENCES.items():
        row = recommender.data.sequences.row_of(f"u{user}")
        assert [known[i] for i in recommender.data.sequences[row]] == [f"i{i}" for i in sequence]
    ours = evaluate(recommender, recommender.evaluation("test"))
    with recbole_boundary():
        from recbole.utils import init_seed

        trainer, loaders = run_by_recbole(path, tmp_path)
        init_seed(trainer.config["seed"], trainer.config["reproducibility"])
        theirs = dict(trainer.evaluate(loaders["test"], load_best_model=False))
    shared = {name: value for name, value in theirs.items() if name in ours}
    assert shared
    assert {name: round(float(ours[name].mean()), 4) for name in shared} == shared


def test_rows_of_several_sequences_are_refused(tmp_path):
    folder = tmp_path / "shop"
    split_data(folder, SEQUENCES)
    with (folder / "shop.test.inter").open("a") as file:
        file.write("u3\ti9 i1 i9\ti2\n")
    with recbole_boundary():
        path = small_checkpoint(tmp_path / "x.pth", **SETTINGS, data_path=str(tmp_path))
    with pytest.raises(CannotOpenModel, match=r"1 of their .* rows, one of user 'u3' among them"):
        open_checkpoint(path, trust=True, data_path=folder)
