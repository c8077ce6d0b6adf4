"""An explanation speaks of titles and of concepts by their names."""

import numpy as np
import pytest

from recsae.core.errors import InvalidInput
from recsae.recommender.sequences import pad

pytestmark = pytest.mark.end_to_end


def test_an_explanation_speaks_of_titles_and_names(run):
    history = [7, 30, 31]
    ids, titles = run.recommender.catalog.external_ids, run.recommender.catalog.titles
    why = run.explain(sequence=[ids[i] for i in history])
    assert [item.title for item in why.history] == [titles[i] for i in history]
    scores = run.recommender.score(pad([history], 10))[0]
    best = int(scores[1:].argmax()) + 1
    assert why.item == (titles[best], ids[best])
    named = run.concepts.set_index("latent")["name"]
    assert (named[why.terms["latent"]].to_numpy() == why.terms["name"]).all()
    adds = why.terms["centred"].abs().to_numpy()
    assert (np.diff(adds) <= 1e-9).all()


def test_drivers_are_of_the_score_or_of_a_latent(run):
    ids = run.recommender.catalog.external_ids
    why = run.explain(sequence=f"{ids[7]}, {ids[30]}", method="leave-one-out")
    driven = why.drivers()
    assert sorted(driven["back"]) == [1, 2]
    assert (np.diff(driven["left_out"].abs()) <= 0).all()
    assert len(why.drivers(int(why.terms["latent"].iloc[0]))) == 2
    assert why.drivers(-1).empty


@pytest.mark.parametrize("who", [{}, {"user": "u0", "sequence": "1"}])
def test_one_of_user_and_sequence(run, name, who):
    with pytest.raises(InvalidInput, match="Give one of user and sequence"):
        run.explain(**who)
    with pytest.raises(InvalidInput, match="Give one of user and sequence"):
        run.steer({name: 0}).lists(**who)


def test_an_empty_sequence_is_refused(run):
    with pytest.raises(InvalidInput, match="The sequence is empty"):
        run.explain(sequence=[])
