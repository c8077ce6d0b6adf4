"""Plain torch models of every make keep the whole protocol, at every site."""

import importlib.metadata
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

import recsae_torch
from recsae.core.errors import CannotOpenModel, InvalidInput, NotEnoughData, SiteNotFound
from recsae.recommender.plugins import get_plugin, load_recommender
from recsae.recommender.protocol import Recommender
from recsae.recommender.sequences import pad
from recsae.testing import PlantedRecommender, check_recommender

DATA = PlantedRecommender(n_users=60, n_items=60, n_concepts=4, width=8)
WIDTH = 8
LONGEST = 12
IDS = {item: i for i, item in enumerate(DATA.catalog.external_ids) if i}
HISTORIES = {
    user: [DATA.catalog.external_ids[i] for i in DATA.sequences()[row]]
    for row, user in enumerate(DATA.sequences().users)
}
N = len(IDS) + 1
SHORT = pad([[5, 9], [7, 3, 4, 8], [1]], LONGEST)


def right(histories):
    return pad_sequence([torch.tensor(h) for h in histories], batch_first=True)


def left(histories):
    return right([h[::-1] for h in histories]).flip(1)


def to_the_same_length(histories):
    return right([*histories, [0] * LONGEST])[:-1]


def attach(model, **options):
    given = {"histories": HISTORIES, "item_ids": IDS, "make_batch": right, "max_length": LONGEST}
    return recsae_torch.attach(model, **{**given, **options})


class GRU(nn.Module):
    """Scores after every item."""

    def __init__(self, *, both_ways=False):
        super().__init__()
        torch.manual_seed(3)
        self.items = nn.Embedding(N, WIDTH, padding_idx=0)
        self.gru = nn.GRU(
            WIDTH, WIDTH // (1 + both_ways), batch_first=True, bidirectional=both_ways
        )
        self.states = nn.Sequential(nn.LayerNorm(WIDTH), nn.Dropout(0.5))
        self.bias = nn.Parameter(torch.randn(N))

    def forward(self, items):
        return self.states(self.gru(self.items(items))[0]) @ self.items.weight.T + self.bias


class TwoGRUs(nn.Module):
    """Two layers with something in place between them; counts how often it is asked."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.items = nn.Embedding(N, WIDTH)
        self.first, self.second = (nn.GRU(WIDTH, WIDTH, batch_first=True) for _ in range(2))
        self.out = nn.Linear(WIDTH, N)
        self.asked = 0

    def forward(self, items):
        self.asked += 1
        first = self.first(self.items(items))[0]
        return self.out(self.second(first.clone())[0] + first.relu_())


class Attention(nn.Module):
    """Reads histories that are padded on the left, as the first SASRec in torch did."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.items = nn.Embedding(N, WIDTH, padding_idx=0)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, items, padding):
        later = torch.ones(items.shape[1], items.shape[1]).triu(1).bool()
        states = self.encoder(self.items(items), mask=later, src_key_padding_mask=padding)
        return states[:, -1] @ self.items.weight.T


def attention_batch(histories):
    items = left(histories)
    return {"items": items, "padding": items == 0}


class Packed(nn.Module):
    """Packs histories; its ids begin with 0 and nothing is padding."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.items = nn.Embedding(N - 1, WIDTH)
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.second = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, N - 1)

    def forward(self, items, lengths):
        packed = pack_padded_sequence(self.items(items), lengths, True, enforce_sorted=False)
        return self.out(self.second(self.gru(packed)[0])[1][-1])


class TimeFirst(nn.Module):
    """As torch's recurrent layers are by default: positions first, histories second."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.items = nn.Embedding(N, WIDTH)
        self.gru = nn.GRU(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, N)

    def forward(self, items, lengths):
        states = self.gru(self.items(items).transpose(0, 1))[0]
        return self.out(states[lengths - 1, torch.arange(len(lengths))])


class Sum(nn.Module):
    """State: sum over all positions, padding and all, of two numbers per item."""

    def __init__(self):
        super().__init__()
        self.items = nn.Embedding(N, 2)
        self.items.weight.data = torch.arange(2.0 * N).view(N, 2)
        self.out = nn.Linear(2, N)

    def forward(self, items):
        return self.out(self.items(items).sum(1))


def with_lengths(histories):
    return right(histories), torch.tensor([len(h) for h in histories])


# -- every make of model passes the kit -----------------------------------------------------------
@pytest.mark.parametrize(
    ("model", "options", "every_position", "linear"),
    [
        (GRU, {"site": "states", "other_sites": ("gru", "states.0")}, [True] * 3, True),
        (
            lambda: GRU(both_ways=True),
            {"site": "states", "make_batch": to_the_same_length},
            [False],
            True,
        ),
        (TwoGRUs, {"site": "out.input", "other_sites": ("first",)}, [True] * 2, True),
        (
            Attention,
            {
                "site": "encoder",
                "other_sites": ("encoder.layers.0", "encoder.layers.1.linear1"),
                "make_batch": attention_batch,
                "padding": "left",
            },
            [True] * 3,
            True,
        ),
        (
            Packed,
            {
                "site": "out.input",
                "other_sites": ("gru", "second.input"),
                "make_batch": with_lengths,
                "item_ids": {item: i - 1 for item, i in IDS.items()},
            },
            [False, True, True],
            True,
        ),
        (
            TimeFirst,
            {"site": "out.input", "other_sites": ("gru",), "make_batch": with_lengths},
            [False, True],
            True,
        ),
        (GRU, {"site": "gru"}, [True], False),  # a LayerNorm stands behind it
    ],
    ids=["GRU", "both ways", "two GRUs", "attention", "packed", "time first", "not linear"],
)
def test_model_passes_the_kit(model, options, every_position, linear):
    recommender = attach(model(), **options)
    assert isinstance(recommender, Recommender)
    assert [s.every_position for s in recommender.sites()] == every_position
    assert (recommender.linear_head() is not None) == linear
    assert "nothing is changed" in check_recommender(recommender)


def test_head_that_is_measured_is_the_models_own():
    model = GRU()
    head = attach(model, site="states").linear_head()
    assert torch.allclose(head.items[1:], model.items.weight[1:], atol=1e-5)
    assert torch.allclose(head.bias[1:], model.bias[1:], atol=1e-5)
    model.bias.data.zero_()
    assert attach(model, site="states").linear_head().bias is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_precision_is_the_models_own(dtype):
    recommender = attach(GRU().to(dtype), site="states")
    assert recommender.score(SHORT).dtype == recommender.represent(SHORT).dtype == dtype


def test_scores_are_those_of_each_history_alone():
    model = Packed()
    ids = {item: 7 * i % (N - 1) for item, i in IDS.items()}  # in an order of the model's own
    recommender = attach(model, site="out.input", make_batch=with_lengths, item_ids=ids)
    item_of = recommender.catalog.external_ids
    assert [ids[item] for item in item_of[1:]] == list(range(N - 1))
    numbers = torch.tensor([[ids[item_of[i]] for i in (7, 3, 4, 8)]])
    with torch.no_grad():
        alone = model(numbers, torch.tensor([4]))
    assert recommender.score(SHORT).shape == (3, N)
    assert torch.allclose(recommender.score(SHORT)[1, 1:], alone[0], atol=1e-6)


def test_score_of_ones_own():
    model = TwoGRUs()
    model.eval()
    doubled = attach(model, site="out.input", score=lambda m, batch: 2 * m(batch)[:, :LONGEST])
    assert torch.equal(doubled.score(SHORT), 2 * attach(model, site="out.input").score(SHORT))


# -- sites inside ---------------------------------------------------------------------------------
def test_states_at_inner_sites_are_those_of_submodules_run_by_hand():
    model = TwoGRUs()
    recommender = attach(model, site="out.input", other_sites=("items", "first", "second"))
    model.asked = 0
    names = ["items", "first", "second", "out.input"]
    found = recommender.represent_sites(SHORT, names, positions=True)
    assert model.asked == 1
    with torch.no_grad():
        items = model.items(SHORT.items)
        first = model.first(items)[0]
        second = model.second(first)[0]
    by_hand = (items, first, second, second + first.relu())
    last = SHORT.lengths - 1
    for name, expected in zip(names, by_hand, strict=True):
        for row, length in enumerate(SHORT.lengths.tolist()):
            assert torch.allclose(found[name][row, :length], expected[row, :length], atol=1e-6)
            assert not found[name][row, length:].any()
        at_last = recommender.represent(SHORT, name)
        assert torch.allclose(at_last, expected[torch.arange(3), last], atol=1e-6)


def test_edit_at_the_first_layer_is_the_second_run_on_what_it_made():
    model = TwoGRUs()
    recommender = attach(model, site="out.input", other_sites=("first",))
    direction = torch.linspace(-1, 1, WIDTH)
    with recommender.edit(lambda h: h * 0.5 + direction, "first"):
        scores = recommender.score(SHORT)
    with torch.no_grad():
        first = model.first(model.items(SHORT.items))[0] * 0.5 + direction
        behind = model.out(model.second(first)[0] + first.relu())
    expected = behind[torch.arange(3), SHORT.lengths - 1]
    assert torch.allclose(scores[:, 1:], expected[:, 1:], atol=1e-6)


def test_edit_of_a_transformers_first_layer_is_the_second_run_on_what_it_made():
    model = Attention()
    recommender = attach(
        model,
        site="encoder",
        other_sites=("encoder.layers.0",),
        make_batch=attention_batch,
        padding="left",
    )
    history = pad([[7, 3, 4, 8]], LONGEST)
    with recommender.edit(lambda h: -h, "encoder.layers.0"):
        scores = recommender.score(history)
    later = torch.ones(4, 4).triu(1).bool()
    with torch.no_grad():
        first, second = model.encoder.layers
        after = second(-first(model.items(history.items[:, :4]), later), later)
        expected = after[:, -1] @ model.items.weight.T
    assert torch.allclose(scores[:, 1:], expected[:, 1:], atol=1e-5)


def test_edits_leave_padding_alone():
    recommender = attach(
        Sum(), make_batch=to_the_same_length, site="out.input", other_sites=("items",)
    )
    # item i is (2i, 2i + 1); padding, (0, 1), fills up to twelve positions
    assert recommender.represent(SHORT).tolist() == [[28, 40], [44, 56], [2, 14]]
    with recommender.edit(lambda h: h + 100, "items"):
        assert recommender.represent(SHORT).tolist() == [[228, 240], [444, 456], [102, 114]]


def test_latest_edit_sees_what_the_others_made_and_reading_sees_all():
    recommender = attach(
        Sum(), make_batch=to_the_same_length, site="out.input", other_sites=("items",)
    )
    for site in ("out.input", "items"):
        before = recommender.represent(SHORT, site)
        with recommender.edit(lambda h: h + 1, site), recommender.edit(lambda h: h * 10, site):
            assert torch.equal(recommender.represent(SHORT, site), (before + 1) * 10)
        assert torch.equal(recommender.represent(SHORT, site), before)


def test_edit_reaches_calls_of_the_model_by_others():
    model = GRU()
    recommender = attach(model, site="states")
    items = SHORT.items[:, :4]
    with torch.no_grad(), recommender.edit(torch.zeros_like):
        assert torch.equal(model(items), model.bias.expand(3, 4, N))


def test_arguments_by_name_are_read_and_edited():
    class ByName(Sum):
        def forward(self, items):
            return self.out(input=self.items(items).sum(1))

    model = ByName()
    model.items.weight.data[0] = 0
    check_recommender(attach(model, site="out.input"), n=8)


def test_square_shapes_are_told_apart():
    """As many histories as positions: with one history fewer it shows which dimension is which."""
    histories = dict(list(HISTORIES.items())[:LONGEST])
    recommender = attach(
        TimeFirst(),
        site="out.input",
        other_sites=("gru", "items"),
        make_batch=with_lengths,
        histories=histories,
    )
    firsts = [place.batch_first for place in recommender.places]
    assert firsts == [True, False, True]


# -- what cannot be attached, and how it says so --------------------------------------------------
class HiddenOnly(GRU):
    def forward(self, items):
        return self.gru(self.items(items))[1][-1] @ self.items.weight.T


class Twice(GRU):
    def forward(self, items):
        return self.states(self.states(self.gru(self.items(items))[0])) @ self.items.weight.T


class Aside(GRU):
    def __init__(self, what):
        super().__init__()
        self.what, self.aside = what, nn.Identity()

    def forward(self, items):
        self.aside(self.what(self, items))
        return super().forward(items)


class LastPosition(GRU):
    """Takes its last position, for batches that are padded on the left."""

    def forward(self, items):
        return super().forward(items)[:, -1]


def as_numbers(model, batch):
    return model(batch.long())


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (HiddenOnly, {"site": "gru"}, "stay the same when the states at 'gru' change"),
        (Twice, {"site": "states"}, "'states' is called 2 times when the model scores"),
        (HiddenOnly, {"site": "states"}, "'states' is never called when the model scores"),
        (
            lambda: Aside(lambda m, _: m.items.weight),
            {"site": "aside"},
            r"'aside' gives \(61, 8\) for 60 histories of up to 12 items",
        ),
        (lambda: Aside(lambda _, items: items), {"site": "aside"}, "no states, but a torch.int64"),
        (lambda: Aside(lambda *_: "text"), {"site": "aside"}, "no states, but <class 'str'>"),
        (GRU, {"site": "gru", "make_batch": left}, "pads short .* on the left.*say padding='left'"),
        (GRU, {"site": "gru", "padding": "left"}, "on the right, .*say padding='right', or"),
        (
            GRU,
            {"site": "gru", "make_batch": lambda h: left(h).float(), "score": as_numbers},
            "say padding='left' if make_batch pads there",
        ),
        (LastPosition, {"site": "states"}, "51 of 60 histories, .* taken from a position of pad"),
        (
            GRU,
            {"site": "gru", "score": lambda m, b: m(b)[:, :, :9]},
            r"gives \(60, 12, 9\) for 60 histories, and item ids go up to 60",
        ),
        (GRU, {"site": "gru", "score": lambda m, b: [m(b)]}, "gives list for 60 histories"),
        (lambda: GRU(both_ways=True), {"site": "gru"}, "depend on the others in its batch"),
    ],
)
def test_model_that_cannot_be_asked_like_that(model, options, words):
    with pytest.raises(CannotOpenModel, match=words):
        attach(model(), **options)


@pytest.mark.parametrize(("site", "words"), [("grus", "'gru'"), ("grus.input", "'gru'")])
def test_unknown_site_is_refused_with_the_nearest(site, words):
    with pytest.raises(SiteNotFound, match=f"GRU has no submodule 'grus'.*{words}"):
        attach(GRU(), site=site)


def test_one_state_for_each_history_has_no_positions():
    recommender = attach(Sum(), make_batch=to_the_same_length, site="out.input")
    with pytest.raises(CannotOpenModel, match=r"one state for each history at 'out\.input'"):
        recommender.represent(SHORT, positions=True)


# -- data -----------------------------------------------------------------------------------------
TINY = {"item_ids": {"a": 1, "b": 2, "c": 3}, "site": "states"}
ROWS = pd.DataFrame(
    {
        "user": [2, 1, 2, 1, 2],
        "item": ["c", "a", "a", "b", "b"],
        "time": pd.to_datetime(
            ["2020-03-03", "2020-01-01", "2020-01-01", "2020-01-02", "2020-02-02"]
        ),
    }
)


def test_histories_as_a_table():
    found = attach(GRU(), histories=ROWS, **TINY).sequences()
    assert {u: found[found.row_of(u)].tolist() for u in ("1", "2")} == {"1": [1, 2], "2": [1, 2, 3]}
    unordered = attach(GRU(), histories=ROWS.drop(columns="time"), **TINY).sequences()
    assert unordered[unordered.row_of("2")].tolist() == [3, 1, 2]


def test_histories_as_a_file(tmp_path):
    path = tmp_path / "log.parquet"
    ROWS.to_parquet(path)
    prints = [attach(GRU(), histories=x, **TINY).fingerprint() for x in (ROWS, path, str(path))]
    assert len(set(prints)) == 1
    one = attach(GRU(), histories=path, max_users=1, **TINY)
    assert len(one.sequences()) == 1
    assert "1 of 2 users were drawn at random (max_users)." in one.describe()["notes"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"histories": "no.parquet"}, InvalidInput, "'no.parquet', and there is no such file"),
        ({"max_users": 0}, InvalidInput, "max_users is 0"),
        ({"histories": [["a", "b"]]}, InvalidInput, "dict of lists of items by user.*not a list"),
        ({"histories": ROWS[["user", "time"]]}, InvalidInput, r"\['user', 'time'\]: it needs"),
        ({"histories": {1: "ab", 2: "ax"}}, InvalidInput, "1 of 4 interactions .* 'x' among them"),
        ({"histories": {1: ["a"]}}, NotEnoughData, "No history has two items"),
        ({"item_ids": {"a": 1, "b": 1, "c": 2}}, InvalidInput, "1 comes twice"),
        ({"item_ids": {"a": -1, "b": 1}}, InvalidInput, r"from 0 on.*'a': -1"),
        ({"item_ids": {}}, InvalidInput, "item_ids says which number"),
        ({"items": ROWS.iloc[:2, [2, 1]]}, InvalidInput, "first column must be the item id"),
        ({"items": "no.csv"}, InvalidInput, "Cannot read the item table no.csv"),
    ],
)
def test_data_that_do_not_fit(options, error, words):
    with pytest.raises(error, match=words):
        attach(GRU(), **{"histories": {1: "ab", 2: "abc"}, **TINY, **options})


def test_item_table_as_a_file_and_as_a_table(tmp_path):
    table = pd.DataFrame(
        {"id": ["c", "a"], "name": ["Sea", None], "tags": ["Science Fiction|War", "War"]}
    )
    path = tmp_path / "items.csv"
    table.to_csv(path, index=False)
    for items, sources in ((table, []), (path, [str(path)]), (str(path), [str(path)])):
        recommender = attach(GRU(), histories=ROWS, items=items, **TINY)
        assert recommender.catalog.titles[1:] == ["a", "b", "Sea"]
        assert recommender.catalog.frame["tags"][3] == ("Science Fiction", "War")
        assert recommender.sources() == sources
    lists = table.assign(tags=[["Science Fiction", "War"], ("War",)])
    told = attach(GRU(), histories=ROWS, items=lists, **TINY)
    assert told.catalog.frame["tags"][3] == ("Science Fiction", "War")
    whole = attach(GRU(), histories=ROWS, items=table, separator="none", **TINY)
    assert whole.catalog.frame["tags"][3] == ("Science Fiction|War",)
    named = attach(GRU(), histories=ROWS, items=table, title_column="tags", **TINY)
    assert named.catalog.titles[1] == "War"


def test_a_table_of_users():
    assert attach(GRU(), histories=ROWS, **TINY).user_table() is None
    users = pd.DataFrame({"id": [2, 1, 7], "age": [31, None, 5], "job": ["nurse", "none", "cook"]})
    recommender = attach(GRU(), histories=ROWS, users=users, **TINY)
    known = recommender.user_table().loc[["1", "2"]]
    assert sorted(recommender.user_table().index) == ["1", "2"]
    assert known["age"].isna().tolist() == [True, False]
    assert known.loc["2", "age"] == 31
    assert known["job"].tolist() == [(), ("nurse",)]
    everybody = pd.DataFrame({"id": [*HISTORIES], "name": [*HISTORIES]})
    check_recommender(attach(GRU(), site="states", users=everybody))


@pytest.mark.parametrize(
    ("users", "words"),
    [
        ([1, 2], "users is a list: it is a DataFrame with a row per user"),
        (pd.DataFrame({"user": [1, 2]}), r"users has the columns \['user'\]"),
        (pd.DataFrame({"user": ["x"], "age": [1]}), "first column must be the user id"),
        (pd.DataFrame({"user": [1, 1], "age": [1, 2]}), "1 repeated ids, '1' among them"),
    ],
)
def test_tables_of_users_that_do_not_fit(users, words):
    with pytest.raises(InvalidInput, match=words):
        attach(GRU(), histories=ROWS, users=users, **TINY)


def test_fingerprint_is_of_all_that_changes_a_run():
    tiny = {"histories": {1: "ab", 2: "abc"}, **TINY}
    changed = [
        {"histories": {1: "ab", 2: "abb"}},
        {"histories": {1: "ab", 3: "abc"}},
        {"item_ids": {"a": 1, "b": 3, "c": 2}},
        {"items": pd.DataFrame({"id": ["a"], "title": ["Alien"]})},
        {"max_length": 9},
        {"other_sites": ("gru",)},
    ]
    prints = [attach(GRU(), **{**tiny, **change}).fingerprint() for change in [{}, {}, *changed]]
    assert prints[0] == prints[1]
    model = GRU()
    model.bias.data[1] += 1
    prints.append(attach(model, **tiny).fingerprint())
    assert len(set(prints[1:])) == len(prints) - 1


# -- the plug-in ----------------------------------------------------------------------------------
def test_plugin_says_how_a_module_becomes_a_recommender():
    plugin = get_plugin("torch")
    assert plugin.versions() == {"torch": importlib.metadata.version("torch")}
    assert not plugin.recognises(Path("model.pt"))
    with pytest.raises(CannotOpenModel, match=r"GRU is a module without data: recsae_torch.attach"):
        load_recommender(GRU())
    recommender = attach(GRU(), site="states")
    assert load_recommender(recommender) is recommender
    json.dumps(recommender.describe())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_length": 0}, "max_length is 0: it is a whole number from 1 on"),
        ({"max_length": 2.5}, "max_length is 2.5"),
        ({"padding": "middle"}, "padding is 'middle': say 'left' or 'right'"),
        ({"item_ids": list(IDS)}, "a dict of whole numbers, and is a list"),
        ({"item_ids": dict.fromkeys(IDS, "1")}, "has the number '1'"),
        ({"items": 5}, "items is a int: it is a DataFrame"),
        ({"histories": {"u": 5}}, "history of user 'u' is a int"),
        ({"max_users": 0}, "max_users is 0"),
        ({"users": [1]}, "users is a list"),
    ],
)
def test_settings_of_a_wrong_kind_are_refused_in_a_sentence(options, match):
    with pytest.raises(InvalidInput, match=match):
        attach(GRU(), site="states", **options)
