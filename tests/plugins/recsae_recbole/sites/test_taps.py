"""Reading and editing what passes in a model, on toys with numbers worked out by hand."""

import contextlib
import copy

import pytest
import torch
from torch import nn

from helpers.recbole_toys import GraphToy, PairOfToys, plus_one

pytest.importorskip("recbole")

from helpers.recbole_kit import loaded_by_recbole, run_by_recbole, small_checkpoint
from helpers.recbole_toys import ITEMS, Toy, sequences
from recsae.core.errors import CannotOpenModel
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.open import open_checkpoint
from recsae_recbole.scoring import ModelCaller
from recsae_recbole.sites.joint import JointTap, UserTableTap
from recsae_recbole.sites.taps import OutputTap, at_last_item, read, watching_gathered

pytestmark = pytest.mark.recbole


def seen_by(tap, model, interaction):
    """What passes the tap in one full scoring."""
    found = []
    with tap.watch(found.append):
        model.full_sort_predict(interaction)
    return found


def double(states):
    return 2 * states


class Noting:
    """An edit that adds one and keeps the shapes that it was given."""

    def __init__(self):
        self.shapes = []

    def __call__(self, states):
        self.shapes.append(tuple(states.shape))
        return states + 1


# -- one output ----------------------------------------------------------------------------------

TWO = ([1, 2], [3])  # states [0, 1] and [1, 1]


def test_rows_are_read_and_edited():
    model = Toy()
    tap = OutputTap(model, "forward")
    two = sequences(*TWO)
    states = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    (seen,) = seen_by(tap, model, two)
    assert torch.equal(seen, states)
    assert torch.equal(at_last_item(model, tap, seen, two), states)
    assert model.full_sort_predict(two).tolist() == [[0, 0, 1, 1], [0, 1, 1, 2]]
    with tap.edit(double), tap.edit(plus_one):  # [1, 3] and [3, 3]
        assert model.full_sort_predict(two).tolist() == [[0, 1, 3, 4], [0, 3, 3, 6]]
        assert seen_by(tap, model, two)[0].tolist() == [[1, 3], [3, 3]]
    with tap.edit(plus_one), tap.edit(double):  # [2, 4] and [4, 4]
        assert model.full_sort_predict(two).tolist() == [[0, 2, 4, 6], [0, 4, 4, 8]]
    assert model.full_sort_predict(two).tolist() == [[0, 0, 1, 1], [0, 1, 1, 2]]


def test_a_state_with_an_axis_too_many():
    """Some forwards give ``(n, 1, d)``: an edit sees ``(n, d)`` all the same."""

    class Column(Toy):
        def forward(self, *given):
            return super().forward(*given)[:, None]

        def _states(self, interaction):
            return super()._states(interaction)[:, 0]

    model, edit = Column(), Noting()
    tap, two = OutputTap(model, "forward"), sequences(*TWO)
    (seen,) = seen_by(tap, model, two)
    assert at_last_item(model, tap, seen, two).tolist() == [[0, 1], [1, 1]]
    with tap.edit(edit):  # [1, 2] and [2, 2]
        assert model.full_sort_predict(two).tolist() == [[0, 1, 2, 3], [0, 2, 2, 4]]
    assert edit.shapes == [(2, 2)]


class SumToy(Toy):
    """Scores are made from the sum over all columns of the window, padding too."""

    def forward(self, item_seq, lengths):
        return self.encoder(self.items[item_seq]).sum(1)


def test_positions_are_edited_at_items_only():
    model, edit = SumToy(), Noting()
    tap = OutputTap(model, "encoder", "positions")
    two = sequences(*TWO)  # sums [1, 1] and [1, 1]
    (seen,) = seen_by(tap, model, two)
    assert seen.shape == (2, 3, 2)
    assert at_last_item(model, tap, seen, two).tolist() == [[0, 1], [1, 1]]
    with tap.edit(edit):  # two items, one item: [3, 3] and [2, 2]
        assert model.full_sort_predict(two).tolist() == [[0, 3, 3, 6], [0, 2, 2, 4]]
        padding = seen_by(tap, model, two)[0][torch.tensor([[0, 0, 1], [0, 1, 1]]).bool()]
    assert edit.shapes == [(3, 2)] * 2
    assert torch.equal(padding, torch.zeros(3, 2))
    with tap.edit(double), tap.edit(plus_one):  # 2 [1, 1] + 2 and 2 [1, 1] + 1
        assert model.full_sort_predict(two).tolist() == [[0, 4, 4, 8], [0, 3, 3, 6]]
    with tap.edit(edit):  # nothing is known of the sequences here: all columns are states
        assert model.encoder(torch.zeros(2, 3, 2)).sum() == 12


def test_positions_of_pairs():
    """RecBole repeats a sequence for each candidate; every copy is edited."""
    model = SumToy()
    pairs = sequences([1, 2], [1, 2], [3])
    pairs.interaction[model.ITEM_ID] = torch.tensor([1, 3, 3])
    assert model.predict(pairs).tolist() == [1, 2, 2]
    with OutputTap(model, "encoder", "positions").edit(plus_one):
        assert model.predict(pairs).tolist() == [3, 6, 4]


def test_positions_of_a_model_that_ranks_by_pairs():
    """The sequences of the inner call count: there each one comes once for every item."""

    class ByPairs(SumToy):
        def full_sort_predict(self, interaction):
            pairs = interaction.repeat_interleave(4)
            pairs.interaction[self.ITEM_ID] = torch.arange(4).repeat(len(interaction))
            return self.predict(pairs).view(-1, 4)

    model = ByPairs()
    with OutputTap(model, "encoder", "positions").edit(plus_one):  # [3, 3] and [2, 2]
        assert model.full_sort_predict(sequences(*TWO)).tolist() == [[0, 3, 3, 6], [0, 2, 2, 4]]


def test_the_last_column_is_read_and_every_column_edited():
    model, edit = SumToy(), Noting()
    tap = OutputTap(model, "encoder", "last column")
    two = sequences([1, 2, 3], [3])
    (seen,) = seen_by(tap, model, two)
    assert at_last_item(model, tap, seen, two).tolist() == [[1, 1], [0, 0]]  # an item, padding
    with tap.edit(edit):  # sums [2, 2] and [1, 1], each plus 3
        assert model.full_sort_predict(two).tolist() == [[0, 5, 5, 10], [0, 4, 4, 8]]
    assert edit.shapes == [(6, 2)]


class Encoder(nn.Module):
    """A table of all users, as GCMC's encoder gives one, with a table of items behind it."""

    def forward(self):
        return torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]), ITEMS


class UsersToy(Toy):
    """Scores are a user's row times the items', less a fifth of the table's sum."""

    def forward(self, users):
        table, _ = self.encoder()
        return table[users] - 0.2 * table.sum(0)

    def _states(self, interaction):
        return self.forward(interaction[self.USER_ID])


def test_of_a_table_of_users_those_of_the_call_are_edited():
    model, edit = UsersToy(Encoder()), Noting()
    tap = OutputTap(model, "encoder", "users")
    some = sequences([1], [1], [1], users=[3, 1, 3])
    (seen,) = seen_by(tap, model, some)
    assert at_last_item(model, tap, seen, some).tolist() == [[3, 3], [1, 0], [3, 3]]
    before = model.full_sort_predict(some)
    with tap.edit(edit):  # two rows of the table, and the sum by two: 1 - 0.4
        gain = model.full_sort_predict(some) - before
    assert edit.shapes == [(2, 2)]
    torch.testing.assert_close(gain, 0.6 * ITEMS.sum(1).expand(3, 4))
    with tap.swapped():
        (seen,) = seen_by(tap, model, sequences([1], [1], users=[1, 3]))
    assert seen.tolist() == [[0, 0], [3, 3], [0, 2], [1, 0]]


# -- what an output can be -----------------------------------------------------------------------


class Gives(nn.Module):
    def __init__(self, made):
        super().__init__()
        self.made = made

    def forward(self, states):
        return self.made(states)


class UnpackedToy(Toy):
    """Takes the state where the encoder has it."""

    def __init__(self, made, taken):
        super().__init__(Gives(made))
        self.taken = taken

    def forward(self, item_seq, lengths):
        states = self.taken(self.encoder(self.items[item_seq]))
        return states[torch.arange(len(lengths)), lengths - 1]


def values(given):
    if isinstance(given, torch.Tensor):
        return given.unique().tolist()
    return [value for part in given for value in values(part)]


@pytest.mark.parametrize(
    ("made", "taken", "edited"),
    [
        (lambda h: (h, -h), lambda given: given[0], [2, -1]),  # as recurrent layers
        (lambda h: (h, (h, -h)), lambda given: given[0], [2, 1, -1]),  # as an LSTM
        (lambda h: [-h, h], lambda given: given[-1], [-1, 2]),  # as encoders, layer by layer
    ],
)
def test_tuples_and_lists(made, taken, edited):
    model, two = UnpackedToy(made, taken), sequences(*TWO)
    tap = OutputTap(model, "encoder", "positions")
    (seen,) = seen_by(tap, model, two)
    assert torch.equal(seen, ITEMS[two[model.ITEM_SEQ]])
    with tap.edit(plus_one):  # [1, 2] and [2, 2]
        assert model.full_sort_predict(two).tolist() == [[0, 1, 2, 3], [0, 2, 2, 4]]
        output = model.encoder(torch.ones(1, 3, 2))
    assert type(output) is type(made(torch.ones(1)))
    assert values(output) == edited  # the rest of it is as it was


def test_packed_sequences_are_no_states():
    def packed(states):
        lengths = torch.full((len(states),), 3)
        return nn.utils.rnn.pack_padded_sequence(states, lengths, batch_first=True)

    model = UnpackedToy(
        packed, lambda given: nn.utils.rnn.pad_packed_sequence(given, batch_first=True)[0]
    )
    two = sequences(*TWO)
    tap = OutputTap(model, "encoder", "positions")
    (seen,) = seen_by(tap, model, two)  # passes as it is, and the model goes on
    with pytest.raises(CannotOpenModel, match="encoder of UnpackedToy gives no tensor"):
        at_last_item(model, tap, seen, two)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [("rows", (2, 3, 2)), ("rows", (3, 2)), ("positions", (2,)), ("last column", (4, 2))],
)
def test_outputs_of_another_shape_are_refused(layout, shape):
    model = Toy()
    tap = OutputTap(model, "encoder", layout)
    with pytest.raises(CannotOpenModel, match="for 2 sequences, where one vector for each") as e:
        at_last_item(model, tap, torch.zeros(shape), sequences(*TWO))
    assert f"gives a tensor {shape}" in str(e.value)


# -- several outputs -----------------------------------------------------------------------------


def test_several_outputs_are_one_state():
    model, edit = PairOfToys(), Noting()
    tap = JointTap(model, ["user", "last"])
    two = sequences(*TWO, users=[1, 2])
    assert tap.call == "user + last"
    before = model.full_sort_predict(two)
    assert before.tolist() == [[0, 21, 20, 41], [0, 30, 32, 62]]  # of [21, 20] and [30, 32]
    states = torch.tensor([[1.0, 0, 20], [0, 2, 30]])
    found = seen_by(tap, model, two)[0]
    assert torch.equal(at_last_item(model, tap, found, two), states)
    with tap.edit(edit):  # each part one more: two more in each dimension
        assert model.full_sort_predict(two).tolist() == [[0, 23, 22, 45], [0, 32, 34, 66]]
    assert edit.shapes == [(2, 3)]
    with tap.edit(double), tap.edit(plus_one):  # [3, 1, 41] and [1, 5, 61]
        assert seen_by(tap, model, two)[0].tolist() == [[3, 1, 41], [1, 5, 61]]
        assert model.full_sort_predict(two).tolist() == [[0, 44, 42, 86], [0, 62, 66, 128]]
    with tap.swapped():
        assert torch.equal(model.full_sort_predict(two), before.roll(1, 0))
    assert torch.equal(model.full_sort_predict(two), before)


# -- tables that a model keeps -------------------------------------------------------------------


@pytest.mark.parametrize("filled", [False, True])
def test_a_table_that_the_model_keeps(filled):
    model, edit = GraphToy(), Noting()
    tap = UserTableTap(model)
    some = sequences([1], [1], users=[3, 1])
    if filled:
        model.full_sort_predict(some)
    kept = model.restore_user_e
    with tap.edit(edit):  # [4, 4] and [2, 1]
        assert model.full_sort_predict(some).tolist() == [0, 4, 4, 8, 0, 2, 1, 3]
        assert torch.equal(model.restore_user_e, GraphToy.USERS)  # after the call, and whole
        assert seen_by(tap, model, some)[0].tolist() == [[4, 4], [2, 1]]
    assert edit.shapes == [(2, 2)] * 2
    assert not filled or model.restore_user_e is kept
    assert model.full_sort_predict(some).tolist() == [0, 3, 3, 6, 0, 1, 0, 1]
    with tap.edit(double), tap.edit(plus_one):  # [7, 7] and [3, 1]
        assert model.full_sort_predict(some).tolist() == [0, 7, 7, 14, 0, 3, 1, 4]
    with tap.swapped():
        assert model.full_sort_predict(some).tolist() == [0, 1, 0, 1, 0, 3, 3, 6]
    assert model.forwards == 1
    assert not {"forward", "full_sort_predict", "predict"} & set(vars(model))


def test_pairs_under_an_edit_of_the_table():
    """``predict`` makes the tables anew, for a batch with the same user twice."""
    model = GraphToy()
    pairs = sequences([1], [1], [1], users=[3, 1, 3])
    pairs.interaction[model.ITEM_ID] = torch.tensor([1, 2, 3])
    assert model.predict(pairs).tolist() == [3, 0, 6]
    with UserTableTap(model).edit(plus_one):
        assert model.predict(pairs).tolist() == [4, 1, 8]
    assert model.predict(pairs).tolist() == [3, 0, 6]


# -- all of them ---------------------------------------------------------------------------------

EVERY = {
    "rows": lambda: (m := Toy(), OutputTap(m, "forward")),
    "positions": lambda: (m := SumToy(), OutputTap(m, "encoder", "positions")),
    "last column": lambda: (m := SumToy(), OutputTap(m, "encoder", "last column")),
    "users": lambda: (m := UsersToy(Encoder()), OutputTap(m, "encoder", "users")),
    "joint": lambda: (m := PairOfToys(), JointTap(m, ["user", "last"])),
    "user table": lambda: (m := GraphToy(), UserTableTap(m)),
}


def attributes(model):
    """What hooks would be among: the attributes of the model and of its submodules."""
    return [set(vars(module)) for module in model.modules()]


@pytest.mark.parametrize("kind", EVERY)
def test_an_edit_that_changes_nothing_and_one_that_fails(kind):
    model, tap = EVERY[kind]()
    some = sequences([1, 2], [3], users=[1, 3])
    before, clean = model.full_sort_predict(some).clone(), attributes(model)
    kept = getattr(model, "restore_user_e", None)
    with tap.edit(lambda h: h):
        assert torch.equal(model.full_sort_predict(some), before)
    with tap.edit(plus_one):
        assert not torch.equal(model.full_sort_predict(some), before)
    with pytest.raises(ZeroDivisionError), tap.edit(lambda h: h / (1 // 0)):
        model.full_sort_predict(some)
    assert attributes(model) == clean
    with pytest.raises(ZeroDivisionError), tap.edit(plus_one), tap.edit(lambda h: h / (1 // 0)):
        model.full_sort_predict(some)
    with pytest.raises(KeyError), tap.edit(plus_one):
        model.full_sort_predict({})  # the model fails, not the edit
    with pytest.raises(RuntimeError), tap.watch(lambda _: None):
        raise RuntimeError
    assert attributes(model) == clean
    assert getattr(model, "restore_user_e", None) is kept
    assert torch.equal(model.full_sort_predict(some), before)


def test_reading_stops_behind_the_last_tap():
    model, two = PairOfToys(), sequences(*TWO, users=[1, 2])
    scorer, done = ModelCaller(model, 4, two), []
    score = model.full_sort_predict
    model.full_sort_predict = lambda i: (score(i), done.append(1))
    taps = [OutputTap(model, "last"), OutputTap(model, "user")]
    last, user = read(taps, lambda: scorer.until(two))
    assert [len(last), len(user)] == [1, 1]
    assert user[0].tolist() == [[1, 0], [0, 2]]
    assert last[0][:, 0].tolist() == [[20], [30]]
    assert not done
    (never,) = read([OutputTap(model, "encoder")], lambda: scorer.until(two))
    assert never == []
    assert done


def test_what_is_gathered_is_watched():
    class Gathering(Toy):
        def gather_indexes(self, output, index):
            return output[torch.arange(len(index)), index]

        def forward(self, item_seq, lengths):
            return self.gather_indexes(self.encoder(self.items[item_seq]), lengths - 1)

    model, gathered = Gathering(), []
    with watching_gathered(model, gathered):
        model.full_sort_predict(sequences(*TWO))
    assert gathered[0].tolist() == [[[1, 0], [0, 1], [0, 0]], [[1, 1], [0, 0], [0, 0]]]
    assert "gather_indexes" not in vars(model)


# -- RecBole's own evaluation --------------------------------------------------------------------


def negated(model):
    """A copy whose states are those of the model times minus one, made without any tap."""
    other = copy.deepcopy(model)
    forward = type(model).forward
    if type(model).__name__ == "BPR":
        other.user_embedding.weight.data.neg_()
    elif type(model).__name__ == "LightGCN":

        def minus():
            users, items = forward(other)
            return -users, items

        other.restore_user_e = other.restore_item_e = None
        other.forward = minus
    else:
        other.forward = lambda *given: -forward(other, *given)
    return other


@pytest.mark.parametrize("mode", ["full", "uni5"])
@pytest.mark.parametrize("name", ["SASRec", "BPR", "LightGCN"])
def test_recboles_own_evaluation_sees_an_edit(name, mode, tmp_path):
    split = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": mode}
    settings = {"eval_args": split, "metrics": ["NDCG"], "topk": [3], "metric_decimal_place": 9}
    path = small_checkpoint(tmp_path / "x.pth", name, **settings)
    recommender = open_checkpoint(path, trust=True)
    with recbole_boundary(), contextlib.chdir(tmp_path):
        from recbole.utils import init_seed

        trainer, loaders = run_by_recbole(path, tmp_path)

        def evaluated(model):
            init_seed(1, reproducibility=True)  # candidates are drawn anew in each evaluation
            trainer.model = model
            return dict(trainer.evaluate(loaders["test"], load_best_model=False))

        before = evaluated(recommender.model)
        assert before == evaluated(loaded_by_recbole(path)[1].eval())
        with recommender.edit(lambda h: h):
            assert evaluated(recommender.model) == before
        with recommender.edit(lambda h: -h):
            inside = evaluated(recommender.model)
        assert inside == evaluated(negated(recommender.model))
        assert inside != before
        assert evaluated(recommender.model) == before
