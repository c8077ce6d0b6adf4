"""General recommenders: RecBole's own split, and an order of every user's items."""

import numpy as np
import pytest

pytest.importorskip("recbole")

from helpers.recbole_kit import parts_of, small_checkpoint, write_data
from recsae.core.errors import RecSAEError
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.general_data import POSITION_FIELD
from recsae_recbole.open import open_checkpoint

pytestmark = pytest.mark.recbole


def write_rows(folder, rows, timed=True):
    folder.mkdir()
    heads = ["user_id:token", "item_id:token", "timestamp:float"][: 2 + timed]
    lines = ["\t".join(heads), *("\t".join(map(str, row[: 2 + timed])) for row in rows)]
    (folder / "shop.inter").write_text("\n".join(lines) + "\n")


ROWS = [  # a's items by time: p q r s; the others are there for RecBole to have other items
    *[("a", "s", 4), ("a", "q", 2), ("a", "p", 1), ("a", "r", 3)],
    *[("b", "t", 9), ("b", "u", 8), ("b", "s", 8)],
    ("c", "v", 5),
]


def words(data):
    """Every user's items and how many of them are learned, by outer ids."""
    names = data.dataset.field2id_token["item_id"]
    found = {}
    for row, user in enumerate(data.sequences.users):
        items = "".join(names[item] for item in data.sequences[row])
        found[str(user)] = (items, int(data.sequences.learned[row]))
    return found


def test_leave_one_out_by_time(tmp_path):
    """The split is by time; so is the train part; items of one time are in file order."""
    write_rows(tmp_path / "shop", ROWS)
    settings = {"eval_args": {"order": "TO", "split": {"LS": "valid_and_test"}}}
    path = small_checkpoint(tmp_path / "x.pth", "BPR", data_path=str(tmp_path), **settings)
    _, data, _ = parts_of(path)
    assert words(data) == {"a": ("pqrs", 2), "b": ("ust", 1), "c": ("v", 1)}
    assert [[*part.inter_feat[POSITION_FIELD].numpy()] for part in data.splits.values()] == [
        [0, 1, 0, 0],
        [2, 1],
        [3, 2],
    ]
    assert list(data.first_row) == [-1, 0, 1, 2]


def test_without_times_items_are_in_file_order(tmp_path):
    write_rows(tmp_path / "shop", ROWS, timed=False)
    settings = {"eval_args": {"split": {"RS": [1, 0, 0]}}, "load_col": None}
    path = small_checkpoint(tmp_path / "x.pth", "BPR", data_path=str(tmp_path), **settings)
    _, data, _ = parts_of(path)
    assert words(data) == {"a": ("sqpr", 4), "b": ("tus", 3), "c": ("v", 1)}


def split_by_recbole(path):
    import torch
    from recbole.data import create_dataset
    from recbole.utils import init_seed

    with recbole_boundary():
        config = torch.load(path, weights_only=False)["config"]
        init_seed(config["seed"], config["reproducibility"])
        return [part.inter_feat for part in create_dataset(config).build()]


@pytest.mark.parametrize("order", ["RO", "TO"])
@pytest.mark.parametrize("group_by", ["user", "none"])
@pytest.mark.parametrize("split", [{"RS": [0.8, 0.1, 0.1]}, {"LS": "valid_only"}])
def test_the_split_is_recboles(order, group_by, split, tmp_path):
    settings = {"eval_args": {"order": order, "group_by": group_by, "split": split}, "seed": 7}
    path = small_checkpoint(tmp_path / "x.pth", "BPR", **settings)
    _, data, _ = parts_of(path)
    for part, theirs in zip(data.splits.values(), split_by_recbole(path), strict=True):
        assert set(part.inter_feat.interaction) - set(theirs.interaction) == {POSITION_FIELD}
        for field, values in theirs.interaction.items():
            assert (part.inter_feat[field] == values).all()
    check_order(data)


def check_order(data):
    """Parts follow one another in every sequence, and each is by time."""
    items, parts, times = ([np.full(n, -1) for n in data.sequences.lengths] for _ in range(3))
    for number, part in enumerate(data.splits.values()):
        feat = part.inter_feat
        rows = data.first_row[feat["user_id"].numpy()]
        for row, item, time, position in zip(
            rows, feat["item_id"], feat["timestamp"], feat[POSITION_FIELD], strict=True
        ):
            assert items[row][position] == -1
            items[row][position], parts[row][position], times[row][position] = item, number, time
    for row, found in enumerate(items):
        assert (found == data.sequences[row]).all()
        assert (parts[row] == 0).sum() == data.sequences.learned[row]
        assert sorted(zip(parts[row], times[row], strict=True)) == [
            *zip(parts[row], times[row], strict=True)
        ]


def test_files_that_were_split_beforehand(tmp_path):
    (tmp_path / "shop").mkdir()
    parts = {"one": ROWS[:4], "two": ROWS[4:6], "three": ROWS[6:]}
    for name, rows in parts.items():
        lines = ["\t".join(("user_id:token", "item_id:token", "timestamp:float"))]
        lines += ["\t".join(map(str, row)) for row in rows]
        (tmp_path / "shop" / f"shop.{name}.inter").write_text("\n".join(lines) + "\n")
    settings = {"data_path": str(tmp_path), "benchmark_filename": [*parts]}
    path = small_checkpoint(tmp_path / "x.pth", "BPR", **settings)
    recommender = open_checkpoint(path, trust=True, data_path=tmp_path / "shop")
    assert words(recommender.data) == {"a": ("pqrs", 4), "b": ("uts", 0), "c": ("v", 0)}
    assert [f.name for f in recommender.data.files] == [f"shop.{name}.inter" for name in parts]
    assert recommender.evaluation("test").description == "split by files, full ranking"


def test_nothing_left_after_the_filters(tmp_path):
    path = small_checkpoint(tmp_path / "x.pth", "BPR")
    folder = write_data(tmp_path / "shop", "shop", n_users=1)  # who has too many items
    with pytest.raises(RecSAEError, match=r"cannot build the data set 'shop' .* feat is empty"):
        open_checkpoint(path, trust=True, data_path=folder)
