"""The data set of a checkpoint: where it is found, its ids, titles and attributes."""

import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("recbole")

from helpers.recbole_kit import (
    TINY,
    more_data,
    opened,
    parts_of,
    small_checkpoint,
    small_data,
    tiny,
    write_data,
)
from recsae.core.errors import CannotOpenModel, InvalidInput, RecSAEError
from recsae_recbole import dataset as module
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.dataset import find_data
from recsae_recbole.open import open_checkpoint

pytestmark = pytest.mark.recbole


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return small_checkpoint(tmp_path_factory.mktemp("checkpoint") / "shop.pth")


@pytest.fixture
def data(tmp_path):
    """A copy of the small data set that a test may spoil."""
    return Path(shutil.copytree(small_data(), tmp_path / "shop"))


def refused(path, match, **options):
    with pytest.raises(RecSAEError, match=match) as caught:
        open_checkpoint(path, trust=True, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    return caught.value


# -- where it is -----------------------------------------------------------------------------------


def touch(folder, name="shop"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.inter").touch()
    return folder


def test_given_folders(tmp_path):
    folder = touch(tmp_path / "data" / "shop")
    checkpoint = tmp_path / "x.pth"
    for given in (folder, folder.parent, str(folder)):
        assert find_data("shop", "/gone", checkpoint, given) == folder
    with pytest.raises(CannotOpenModel, match=r"no shop\.inter in .*elsewhere or .*shop"):
        find_data("shop", str(folder), checkpoint, tmp_path / "elsewhere")


@pytest.mark.parametrize("configured", ["/gone/away/dataset/shop", "../stuff/shop", "dataset/shop"])
@pytest.mark.parametrize("place", ["dataset/shop", "data/shop", "shop", "."])
def test_places_beside_the_checkpoint(configured, place, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    checkpoint = tmp_path / "project" / "saved" / "x.pth"
    for base in (tmp_path, tmp_path / "project", checkpoint.parent, tmp_path / "work"):
        folder = touch(base / place)  # each nearer than the one before
        assert find_data("shop", configured, checkpoint, None) == folder


def test_what_the_checkpoint_says_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "dataset" / "shop")
    told = touch(tmp_path / "told" / "shop")
    checkpoint = tmp_path / "saved" / "x.pth"
    assert find_data("shop", str(told), checkpoint, None) == told
    assert find_data("shop", "told/shop", checkpoint, None) == told
    monkeypatch.chdir("/")
    assert find_data("shop", "told/shop", checkpoint, None) == told


def test_ml_100k_comes_with_recbole(tmp_path):
    folder = find_data("ml-100k", "/gone", tmp_path / "x.pth", None)
    assert folder.parts[-3:] == ("recbole", "dataset_example", "ml-100k")
    assert opened().sources()[1:] == [
        str(folder / f"ml-100k.{s}") for s in ("inter", "item", "user")
    ]


def test_a_longer_name_is_another_data_set(tmp_path):
    touch(tmp_path / "shop-2", "shop-2")
    with pytest.raises(CannotOpenModel, match=r"There is shop-2\.inter in .*has another name"):
        find_data("shop", "/gone", tmp_path / "x.pth", tmp_path / "shop-2")


def test_nowhere(shop, tmp_path, monkeypatch):
    path = Path(shutil.copy(shop, tmp_path / "x.pth"))
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "iterdir", lambda folder: iter(()))
        error = refused(path, r"'shop' of the checkpoint was not found: there is no shop\.inter in")
    for part in (str(small_data()), str(tmp_path), "dataset/shop", "--data-path"):
        assert part in str(error)
    assert error.exit_code == 3


# -- interactions ----------------------------------------------------------------------------------


def test_histories_ids_and_order(shop):
    recommender = open_checkpoint(shop, trust=True)
    table = pd.read_csv(small_data() / "shop.inter", sep="\t", dtype=str)
    table.columns = ["user", "item", "time"]
    sequences, catalog = recommender.sequences(), recommender.catalog
    assert list(sequences.users) == list(table.user.unique())
    assert sequences.users[7] == "007"
    for row, (_, history) in enumerate(table.groupby("user", sort=False)):
        assert [catalog.external_ids[i] for i in sequences[row]] == list(history.item)
    for internal in range(1, catalog.n_items):
        assert catalog.internal(catalog.external_ids[internal]) == internal
    assert catalog.external_ids[catalog.internal("007")] == "007"
    with pytest.raises(InvalidInput, match="'7'"):
        catalog.internal("7")


def test_same_data_as_recboles_own(tmp_path):
    """Ids, histories and splits of ours, against every prefix that RecBole makes."""
    import torch
    from recbole.data import create_dataset

    ours = opened()
    with recbole_boundary():
        config = torch.load(tiny(), weights_only=False)["config"]
        theirs = create_dataset(config)
        splits = dict(zip(("train", "valid", "test"), theirs.build(), strict=True))
    assert list(theirs.field2id_token["item_id"][1:]) == ours.catalog.external_ids[1:]
    for name, split in splits.items():
        mine, feat = ours.data.splits[name].inter_feat, split.inter_feat
        assert (mine["user_id"] == feat["user_id"]).all()
        assert (mine["item_id"] == feat["item_id"]).all()
        rows, ends = ours.data.first_row[mine["user_id"]], mine[module.POSITION_FIELD].numpy()
        starts = np.maximum(0, ends - TINY["MAX_ITEM_LIST_LENGTH"])
        batch = ours.sequences().batch(rows, starts, ends, TINY["MAX_ITEM_LIST_LENGTH"])
        assert (batch.items == feat["item_id_list"]).all()
        assert (batch.lengths == feat["item_length"]).all()


def test_only_what_evaluation_reads_is_kept_of_interactions():
    data = opened().data
    fields = {"user_id", "item_id", module.POSITION_FIELD}
    parts = [data.dataset, *data.splits.values()]
    assert [set(part.inter_feat.interaction) for part in parts] == [fields] * 4
    assert not any(hasattr(part, "recsae_history") for part in parts)


def test_side_files_are_among_the_sources(tmp_path):
    path = small_checkpoint(tmp_path / "x.pth", "GRU4RecKG")
    _, data, _ = parts_of(path)
    suffixes = ("inter", "item", "user", "kg", "link", "ent", "rel")
    assert data.files == [more_data() / f"shop.{suffix}" for suffix in suffixes]


@pytest.mark.parametrize(
    ("suffix", "model"),
    [("kg", "GRU4RecKG"), ("link", "KSR"), ("ent", "GRU4RecKG"), ("rel", "KSR")],
)
def test_missing_side_files(suffix, model, tmp_path):
    path = small_checkpoint(tmp_path / "x.pth", model)
    folder = Path(shutil.copytree(more_data(), tmp_path / "shop"))
    (folder / f"shop.{suffix}").unlink()
    refused(path, rf"cannot build the data set 'shop' .*shop\.{suffix}\]", data_path=folder)


def test_no_negative_items_are_drawn_for_histories(tmp_path, monkeypatch):
    from recbole.sampler import SeqSampler

    path = small_checkpoint(tmp_path / "x.pth", "DIEN")
    monkeypatch.delattr(SeqSampler, "sample_neg_sequence")
    _, data, _ = parts_of(path)
    lengths = data.sequences.lengths
    assert list(lengths) == [30, *(5 + user % 9 for user in range(1, 20))]


def test_interactions_are_read_as_recbole_reads_them(shop, data, monkeypatch):
    """pandas' C parser gives what the one in Python gives, odd values included."""
    path = data / "shop.inter"
    odd = ["007\t\t99.5\n", "008\tNA\t1e3\n", "\t003\t100\n", "009\t1.0\t\n", '010\ta"b\t3.25\n']
    path.write_text(path.read_text() + "".join(odd))
    read = []
    monkeypatch.setattr(module, "_light_class", lambda *_: lambda config: read_raw(config, read))
    for fast in (module._fast_csv, recbole_boundary):
        monkeypatch.setattr(module, "_fast_csv", fast)
        refused(shop, "StopHere", data_path=data)
    pd.testing.assert_frame_equal(*read)
    assert len(read[0]) == len(path.read_text().splitlines()) - 1


def read_raw(config, read):
    from recbole.data.dataset import Dataset

    class Raw(Dataset):
        def _data_processing(self):
            read.append(self.inter_feat)
            raise type("StopHere", (Exception,), {})

    return Raw(config)


SINGLE = b"".join(b"%d\t%03d\t1\n" % (i, i) for i in range(30))


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda text: text.replace(b"\t1\n", b"\t\xff\n"), "UnicodeDecodeError"),
        (
            lambda text: text.replace(b":token", b""),
            "cannot build the data set 'shop' .*ValueError",
        ),
        (lambda text: text.replace(b"timestamp", b"when"), "cannot build the data set"),
        (lambda text: text[:42], "cannot build the data set"),
        (lambda text: b"", "cannot build the data set"),
        (lambda text: text.splitlines(True)[0] + SINGLE, r"shop\.inter has two interactions left"),
        (lambda text: text.replace(b"\t1\n", b"\tMonday\n"), "cannot build .*'Monday'"),
    ],
)
def test_spoiled_interactions(spoil, match, shop, data):
    path = data / "shop.inter"
    path.write_bytes(spoil(path.read_bytes()))
    assert refused(shop, match, data_path=data).exit_code == 3


def test_three_users(tmp_path):
    write_data(tmp_path / "shop", "shop", n_users=3)
    path = small_checkpoint(tmp_path / "x.pth", data_path=str(tmp_path))
    recommender = open_checkpoint(path, trust=True)
    assert list(recommender.sequences().users) == ["000", "001", "002"]
    assert len(recommender.evaluation("test").rows) == 3


# -- items -----------------------------------------------------------------------------------------


def test_items_are_read_though_the_checkpoint_does_not_load_them(shop):
    recommender = open_checkpoint(shop, trust=True)
    assert recommender.config["load_col"] == {"inter": ["user_id", "item_id", "timestamp"]}
    catalog = recommender.catalog
    assert catalog.title_column == "title"
    assert catalog.attributes == ("genres", "decade")
    first = catalog.frame.iloc[catalog.internal("007")]
    assert first.title == "Star Wars 7"
    assert first.genres == ("Drama",)
    assert first.decade == ("1970s",)
    assert catalog.frame.iloc[catalog.internal("006")].genres == ("Horror", "Sci-Fi")
    assert catalog.titles[catalog.internal("004")] == 'He said "no" 4'
    assert "<script>" in catalog.titles[catalog.internal("005")]
    assert len(catalog.notes) == 1  # nothing was validated
    assert recommender.items.columns == ("item_id", "title", "genres", "release_year")


def items_of(shop, data, text, encoding="utf-8"):
    (data / "shop.item").write_bytes(text.encode(encoding))
    return open_checkpoint(shop, trust=True, data_path=data)


def test_no_item_file(shop, data):
    (data / "shop.item").unlink()
    catalog = open_checkpoint(shop, trust=True, data_path=data).catalog
    assert catalog.title_column is None
    assert catalog.notes[:-1] == (
        "No titles or attributes of items were found; labels are by item and popularity.",
    )
    assert catalog.titles[catalog.internal("007")] == "007"


def test_columns_as_their_types_say(shop, data):
    """The id need not be the first column; a ``token`` is one value, a ``token_seq`` several."""
    rows = [f"Hair Care\ta b\t{i:03d}\tB_{i}" for i in range(29)]
    head = "category:token\ttags:token_seq\titem_id:token\ttitle:token_seq"
    catalog = items_of(shop, data, "\n".join([head, *rows]) + "\n029\n").catalog
    first = catalog.frame.iloc[catalog.internal("007")]
    assert (first.category, first.tags, first.title) == (("Hair Care",), ("a", "b"), "B 7")
    assert "1 of 30 items are not in the item table." in catalog.notes


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("item_id:token\ttitle:token\n007\tA\n007\tB\n", r"shop\.item: .*1 repeated ids, '007'"),
        ("item_id:token\ttitle:token\n7\tA\n", r"shop\.item: No id in column 'item_id'.*'7'"),
        (
            "id:token\ttitle:token\n7\tA\n",
            r"shop\.item has no column 'item_id'.*\['id', 'title'\].*--items",
        ),
        ("", r"shop\.item cannot be read \(EmptyDataError"),
    ],
)
def test_spoiled_item_files(text, match, shop, data):
    (data / "shop.item").write_text(text)
    assert refused(shop, match, data_path=data).exit_code == 2


def test_item_file_of_another_key_is_joined_by_its_ids(shop, data):
    rows = [f"Title {i}\t{i:03d}" for i in range(30)]
    catalog = items_of(shop, data, "\n".join(["name:token\tvenue_id:token", *rows])).catalog
    assert catalog.titles[catalog.internal("007")] == "Title 7"
    assert "joined by the column 'venue_id'" in " ".join(catalog.notes)


def test_item_file_with_commas_between_values_and_csv_quotes(shop, data):
    """As Yelp's and Amazon's are, though the settings say that blanks separate."""
    rows = [
        f'{i:03d}\t"The ""{i}"""\tRestaurants, Coffee & Tea\t\'Home\', \'Kitchen & Bar\''
        for i in range(30)
    ]
    head = "item_id:token\ttitle:token_seq\tcategories:token_seq\ttags:token_seq"
    catalog = items_of(shop, data, "\n".join([head, *rows])).catalog
    first = catalog.frame.iloc[catalog.internal("007")]
    assert first.title == 'The "7"'
    assert first.categories == ("Restaurants", "Coffee & Tea")
    assert first.tags == ("Home", "Kitchen & Bar")
    told = open_checkpoint(shop, trust=True, data_path=data, separator="none").catalog
    assert told.frame["categories"][1] == ("Restaurants, Coffee & Tea",)


def test_item_file_in_another_encoding(shop, data):
    text = "item_id:token\ttitle:token\n007\tAmélie\n"
    assert items_of(shop, data, text).catalog.titles.count("Amélie") == 1
    (data / "shop.item").write_bytes(text.encode("latin-1"))
    error = refused(shop, r"shop\.item cannot be read \(Unicode.*--items", data_path=data)
    assert error.exit_code == 2


ROWS = [("007", "Good, the Bad; the Ugly", "x|y"), ("008", "Tab", "x")]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_items_from_a_csv_file(separator, mark, shop, tmp_path):
    path = tmp_path / "items.csv"
    lines = [("id", "name", "genres"), *((i, f'"{title}"', genres) for i, title, genres in ROWS)]
    path.write_text(mark + "\n".join(separator.join(line) for line in lines), encoding="utf-8")
    recommender = open_checkpoint(shop, trust=True, items=path)
    catalog = recommender.catalog
    first = catalog.frame.iloc[catalog.internal("007")]
    assert first.title == "Good, the Bad; the Ugly"
    assert first.genres == ("x", "y")
    assert catalog.title_column == "name"
    assert catalog.notes[0] == "28 of 30 items are not in the item table."
    assert "separated by '|' in genres; --separator says otherwise" in catalog.notes[1]
    assert recommender.sources()[-1] == str(path)
    assert recommender.describe()["item_columns"] == ["id", "name", "genres"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("id,name\n007,A\n007,B\n", r"items\.csv: The item table has 1 repeated ids, '007'"),
        ("id,name\n7,A\n", r"items\.csv: No id in column 'id' .*\(e\.g\. '7' against '000'\)"),
        ("id\n007\n", "item table .*items.csv"),
        ("", "Cannot read the item table .*items.csv"),
        ("id,name\n", "0 rows"),
    ],
)
def test_csv_files_that_cannot_be_used(text, match, shop, tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(text)
    assert refused(shop, match, items=path).exit_code == 2


def test_no_csv_file(shop, tmp_path):
    assert (
        refused(shop, r"Cannot read .*nothing\.csv", items=tmp_path / "nothing.csv").exit_code == 2
    )


def test_columns_can_be_chosen(shop):
    options = {"title_column": "release_year", "attribute_columns": ["genres"]}
    catalog = open_checkpoint(shop, trust=True, **options).catalog
    assert (catalog.title_column, catalog.attributes) == ("release_year", ("genres",))
    error = refused(shop, r"shop\.item: .*no title column 'nmae'", title_column="nmae")
    assert error.exit_code == 2


def test_opening_is_quick(shop):
    """No prefix is made and nothing is read twice: a tenth of a second, a second when crowded."""
    started = time.process_time()
    open_checkpoint(shop, trust=True)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("users", [[], [7], [3, 1, 3, 3, 2, 1], [5, 5, 2, 2]])
def test_rows_of_users_are_grouped_as_recbole_does(users):
    from recbole.data.dataset import SequentialDataset

    light, users = module._light_class({"model": "SASRec"}, None), np.array(users, dtype=np.int64)
    expected = list(SequentialDataset._grouped_index(None, users))
    assert light._grouped_index(None, users) == expected
