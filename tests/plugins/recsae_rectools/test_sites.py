"""Sites of every kind of model, and that what is read there is what the model has there."""

import pytest
import torch

pytest.importorskip("rectools")

from helpers.rectools_kit import MODELS, attached
from recsae.core.errors import SiteNotFound
from recsae.recommender.sequences import pad

pytestmark = pytest.mark.rectools

SASREC = [
    ("session", "the session representation, that scores are products of"),
    ("transformer_layers.transformer_blocks.0", "output of block 0"),
    ("transformer_layers.transformer_blocks.0.multi_head_attn", "what attention of block 0 adds"),
    (
        "transformer_layers.transformer_blocks.0.feed_forward",
        "what the feed-forward layer of block 0 adds",
    ),
]


def shown(name):
    return [(site.name, site.meaning) for site in attached(name).sites()]


def test_names_and_meanings():
    assert shown("SASRec")[:4] == shown("BERT4Rec")[:4] == SASREC
    assert len(shown("SASRec")) == 7
    gated = [meaning for _, meaning in shown("LiGR")]
    assert gated[2:4] == [f"{meaning}, before its gate" for _, meaning in SASREC[2:]]
    assert shown("HSTU") == [
        SASREC[0],
        ("transformer_layers.stu_blocks.0", "output of block 0"),
        ("transformer_layers.stu_blocks.0.output_mlp", "what block 0 adds"),
        ("transformer_layers.stu_blocks.1", "output of block 1"),
        ("transformer_layers.stu_blocks.1.output_mlp", "what block 1 adds"),
    ]
    with pytest.raises(SiteNotFound, match=r"no site 'stu_blocks.0'.*It has: \['session', 'tr"):
        attached("HSTU").represent(pad([[1]], 6), "stu_blocks.0")


@pytest.mark.parametrize("name", MODELS)
def test_all_scores_go_through_sessions_and_blocks(name):
    """And only a part of them through what a block adds."""
    sites = attached(name).sites()
    whole = [site for site in sites if site.name == "session" or site.name[-2:] in (".0", ".1")]
    assert len(whole) == 3
    assert min(site.share for site in whole) > 0.999
    assert max(site.share for site in sites if site not in whole) < 0.99


def test_the_parts_of_a_block_are_what_it_adds():
    """In a layer of HSTU's: what goes in, and what it adds, are what comes out, at items."""
    recommender = attached("HSTU")
    batch = pad([[3, 1], [9, 8, 7, 6, 5, 4]], 6)
    first, second, added = (
        recommender.represent(batch, f"transformer_layers.stu_blocks.{path}", positions=True)
        for path in ("0", "1", "1.output_mlp")
    )
    assert torch.allclose(first + added, second, atol=1e-6)
    assert first.shape == (2, 6, 8)
    assert not first[0, 2:].any()  # behind the history


def test_sessions_have_length_one_if_the_similarity_is_cosine():
    batch = pad([[3, 1], [9, 8, 7, 6, 5, 4]], 6)
    cosine, dot = (attached("SASRec", distance) for distance in ("cosine", "dot"))
    assert torch.allclose(cosine.represent(batch).norm(dim=1), torch.ones(2))
    assert not torch.allclose(dot.represent(batch).norm(dim=1), torch.ones(2), atol=0.05)
    assert torch.allclose(cosine.linear_head().items.norm(dim=1), torch.ones(31))
