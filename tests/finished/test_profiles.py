"""Profiles as they are shown: of one choice, and what differs."""

import pytest

from recsae.core.errors import InvalidInput
from recsae.explore.cohorts import FALSE_DISCOVERIES

pytestmark = pytest.mark.end_to_end


@pytest.mark.parametrize("choice", [{}, {"item": "i1", "user": "u1"}])
def test_a_profile_is_of_one(run, choice):
    with pytest.raises(InvalidInput, match="Give one of item, user, users and cohort"):
        run.profile(**choice)


def test_what_differs_is_a_part_of_what_was_compared(run, name):
    profile = run.profile(cohort=f"concept:{name}>0.2", each_latent=True)
    assert 0 < len(profile.different) < len(profile.compared)
    assert (profile.different["p_adjusted"] <= FALSE_DISCOVERIES).all()
    rest = profile.compared.drop(profile.different.index)
    assert (rest["p_adjusted"] > FALSE_DISCOVERIES).all()


def test_a_user_is_not_compared_as_a_group(run):
    profile = run.profile(user="u1")
    assert profile.different.empty
    assert profile.own is not None
