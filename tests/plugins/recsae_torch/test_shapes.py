"""The page's lines attach models of the shapes that the usual repositories have."""

import numpy as np
import pytest
import torch
from torch import nn

import recsae_torch
from helpers.pages import python_of
from recsae.core.errors import CannotOpenModel
from recsae.recommender.sequences import pad
from recsae.testing import PlantedRecommender, check_recommender

_, _, WITH_PREDICT, WITH_MASK, WITH_DICT = python_of("docs/torch.md")
DATA = PlantedRecommender(n_users=60, n_items=60, n_concepts=4, width=8)
IDS = {item: i for i, item in enumerate(DATA.catalog.external_ids) if i}
HISTORIES = {
    user: [DATA.catalog.external_ids[i] for i in DATA.sequences()[row]]
    for row, user in enumerate(DATA.sequences().users)
}
N, WIDTH, LENGTH = 61, 8, 50
SHORT = pad([[5, 9], [7, 3, 4, 8], [1]], LENGTH)
ROWS = [[5, 9], [7, 3, 4, 8], [1]]


class SASRec(nn.Module):
    """As SASRec.pytorch: padded on the left, read as NumPy arrays, scored by ``predict``."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.item_emb = nn.Embedding(N, WIDTH, padding_idx=0)
        self.pos_emb = nn.Embedding(LENGTH + 1, WIDTH, padding_idx=0)
        self.attention = nn.MultiheadAttention(WIDTH, 1)
        self.last_layernorm = nn.LayerNorm(WIDTH)

    def log2feats(self, log_seqs):
        places = np.tile(np.arange(1, log_seqs.shape[1] + 1), (len(log_seqs), 1)) * (log_seqs != 0)
        x = self.item_emb(torch.as_tensor(log_seqs)) + self.pos_emb(torch.as_tensor(places))
        mask = ~torch.tril(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool))
        x = x.transpose(0, 1)
        x = x + self.attention(x, x, x, attn_mask=mask)[0]
        return self.last_layernorm(x.transpose(0, 1))

    def forward(self, user_ids, log_seqs, pos_seqs, neg_seqs):
        states = self.log2feats(log_seqs)
        return [(states * self.item_emb(torch.as_tensor(s))).sum(-1) for s in (pos_seqs, neg_seqs)]

    def predict(self, user_ids, log_seqs, item_indices):
        states = self.log2feats(log_seqs)[:, -1]
        vectors = self.item_emb(torch.as_tensor(item_indices))
        return vectors.matmul(states.unsqueeze(-1)).squeeze(-1)


class BERT4Rec(nn.Module):
    """Scores at every position; the mask is the number after the last item."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.token, self.place = nn.Embedding(N + 1, WIDTH, padding_idx=0), nn.Embedding(50, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, 0.0, batch_first=True)
        self.bert = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.out = nn.Linear(WIDTH, N)

    def forward(self, tokens):
        x = self.token(tokens) + self.place.weight[: tokens.shape[1]]
        return self.out(self.bert(x, src_key_padding_mask=tokens == 0))


class DictStyle(nn.Module):
    """Reads and gives dicts; its scores have no column for padding."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.items, self.gru = nn.Embedding(N, WIDTH, padding_idx=0), nn.GRU(WIDTH, WIDTH)

    def forward(self, batch):
        states = self.gru(self.items(batch["item_seq"]).transpose(0, 1))[0].transpose(0, 1)
        last = states[torch.arange(len(states)), batch["seq_len"] - 1]
        return {"logits": last @ self.items.weight[1:].T, "loss": None}


def attached(code, model):
    names = {"model": model.eval(), "histories": HISTORIES, "ids": IDS}
    exec(compile(code, "docs/torch.md", "exec"), names)
    recommender = names["recommender"]
    assert "nothing is changed" in check_recommender(recommender)
    return recommender


def test_sasrec_with_predict():
    model = SASRec()
    recommender = attached(WITH_PREDICT, model)
    assert recommender.linear_head() is not None
    assert not recommender.sites()[0].every_position  # places are counted from the left
    for row, history in enumerate(ROWS):
        left = np.array([[0] * (LENGTH - len(history)) + history])
        with torch.no_grad():
            own = model.predict(None, left, np.arange(N))[0]
        assert torch.allclose(recommender.score(SHORT)[row, 1:], own[1:], atol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_bert4rec_with_a_mask(side):
    """States and scores are at the mask, wherever padding is, and the mask is edited too."""
    model = BERT4Rec()
    assert "lambda x: [*[0] * (49 - len(x)), *x, mask]" in WITH_MASK
    code = WITH_MASK
    if side == "right":
        code = code.replace("[*[0] * (49 - len(x)), *x, mask]", "[*x, mask, *[0] * (49 - len(x))]")
        code = code.replace('padding="left"', 'padding="right"')
    recommender = attached(code, model)
    assert not recommender.sites()[0].every_position
    assert recommender.linear_head() is not None
    states = recommender.represent(SHORT)
    with recommender.edit(torch.zeros_like):
        edited = recommender.score(SHORT)
    for row, history in enumerate(ROWS):
        blank = [0] * (49 - len(history))
        line = [*blank, *history, N] if side == "left" else [*history, N, *blank]
        where = -1 if side == "left" else len(history)
        with torch.no_grad():
            own = model(torch.tensor([line]))[0, where]
        assert torch.allclose(recommender.score(SHORT)[row, 1:], own[1:], atol=1e-5)
        assert torch.allclose(model.out(states[row])[1:], own[1:], atol=1e-5)
        assert torch.allclose(edited[row, 1:], model.out.bias[1:], atol=1e-6)


def bert(make_batch, **options):
    settings = {"site": "out.input", "max_length": 40, "histories": HISTORIES, "item_ids": IDS}
    return recsae_torch.attach(BERT4Rec(), make_batch=make_batch, **{**settings, **options})


def with_tokens(before, behind, change=0):
    """Batches of 48 positions, padded on the right."""
    lines = lambda x: [*before, *(i + change for i in x), *behind]  # noqa: E731
    return lambda rows: torch.tensor([[*(x := lines(r)), *[0] * (48 - len(x))] for r in rows])


@pytest.mark.parametrize("behind", [(), (N,)])
def test_a_token_before_the_oldest_item(behind):
    """As BERT's first token; the number 60, which is an item's, will do for one."""
    recommender = bert(with_tokens((60, N), behind))
    assert "nothing is changed" in check_recommender(recommender)
    for row, history in enumerate(ROWS):
        line = torch.tensor([[60, N, *history, *behind, *[0] * (46 - len(history) - len(behind))]])
        with torch.no_grad():
            own = recommender.model(line)[0, 1 + len(history) + len(behind)]
        assert torch.allclose(recommender.score(SHORT)[row, 1:], own[1:], atol=1e-5)


@pytest.mark.parametrize(
    ("make_batch", "options", "words"),
    [
        (with_tokens((), (N, 60)), {}, r"puts 2 tokens behind the newest item, and states at 'out"),
        (
            lambda rows: with_tokens((), ())([r[::-1] for r in rows]),
            {},
            "puts the newest item first",
        ),
        (
            with_tokens((), (), 1),
            {"item_ids": {item: i - 1 for item, i in IDS.items()}},
            "make_batch adds 1 to the numbers in item_ids, and BERT4Rec has 61 outputs",
        ),
        (
            with_tokens((), (N,)),
            {"score": lambda model, batch: model(batch).roll(1, 1)},
            "60 of 60 histories stay the same when the state of their last item at 'out.input'",
        ),
    ],
    ids=["two tokens", "newest first", "numbers", "a position early"],
)
def test_scores_and_states_of_other_places_are_refused(make_batch, options, words):
    with pytest.raises(CannotOpenModel, match=words):
        bert(make_batch, **options)


def test_dicts_and_outputs_without_padding():
    model = DictStyle()
    recommender = attached(WITH_DICT, model)
    for row, history in enumerate(ROWS):
        batch = {"item_seq": torch.tensor([history]), "seq_len": torch.tensor([len(history)])}
        with torch.no_grad():
            own = model(batch)["logits"][0]
        assert torch.allclose(recommender.score(SHORT)[row, 1:], own, atol=1e-6)


# -- and if they are not attached like that, the message has the argument that helps ---------------
def table(lists):
    return torch.tensor([[*[0] * (LENGTH - len(x)), *x] for x in lists])


def a_dict(lists):
    return {"item_seq": table(lists), "seq_len": torch.tensor([len(x) for x in lists])}


class ByUserAndTime(SASRec):
    def forward(self, user_ids, log_seqs, time_matrices):
        return self.log2feats(log_seqs)


@pytest.mark.parametrize(
    ("model", "make_batch", "score", "words"),
    [
        (
            SASRec,
            table,
            None,
            r"missing .*made for training: .*score=.* it has predict\(user_ids, log",
        ),
        (DictStyle, a_dict, None, r"reads the dict itself, say score=lambda model, batch: model\("),
        (DictStyle, a_dict, lambda m, b: m(b), r"\['logits'\]: say .*model\(batch\)\['logits'\]"),
        (
            DictStyle,
            a_dict,
            lambda m, b: m(b)["logits"],
            r"60 outputs leave out padding, put a column before them: .*pad\(model\(batch\), \(1",
        ),
        (BERT4Rec, table, lambda m, b: (m(b), None), r"choose one: .*model\(batch\)\[0\]"),
        (BERT4Rec, table, lambda m, b: m.token(b), r"\(60, 50, 8\).*If these are states"),
        (ByUserAndTime, table, None, "reads users, let make_batch put in something constant"),
        (ByUserAndTime, table, None, "reads times, let make_batch put in something constant"),
        (
            BERT4Rec,
            lambda lists: 1 / 0,
            None,
            "make_batch fails .*ZeroDivisionError.* lists of 1 to",
        ),
        (BERT4Rec, table, lambda m, b: m.none(b), "score fails on a tensor .60, 50. .*let score"),
        (BERT4Rec, lambda lists: (1, 2), None, r"forward takes \(tokens\): let make_batch make"),
    ],
)
def test_what_helps(model, make_batch, score, words):
    given = {
        "histories": HISTORIES,
        "item_ids": IDS,
        "make_batch": make_batch,
        "max_length": LENGTH,
    }
    site = next(name for name, _ in model().named_modules() if name)
    with pytest.raises(CannotOpenModel, match=words):
        recsae_torch.attach(
            model(), site=site, padding="left", **given, **({"score": score} if score else {})
        )
