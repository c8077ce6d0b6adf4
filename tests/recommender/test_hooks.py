"""Edits of somebody else's module are on for the length of a with, and always taken off."""

import pytest
import torch

from recsae.recommender.hooks import edited_output, replaced_method


@pytest.fixture
def layer():
    return torch.nn.Linear(3, 2)


def add_one(states: torch.Tensor) -> torch.Tensor:
    return states + 1


def test_both_ways_of_calling_are_edited(layer):
    x = torch.randn(4, 3)
    before = layer(x)
    with edited_output(layer, add_one):
        assert torch.equal(layer(x), before + 1)
        assert torch.equal(layer.forward(x), before + 1)  # RecBole calls forward itself
    assert torch.equal(layer(x), before)
    assert torch.equal(layer.forward(x), before)


def test_arguments_reach_the_module(layer):
    x = torch.randn(4, 3)
    with edited_output(layer, add_one):
        assert torch.equal(layer.forward(input=x), layer.forward(x))


def test_nothing_is_left_behind(layer):
    attributes, weights = dict(vars(layer)), layer.state_dict().keys()
    with edited_output(layer, add_one):
        assert layer.state_dict().keys() == weights
        assert not list(layer.children())
    assert vars(layer) == attributes
    assert layer.forward.__func__ is torch.nn.Linear.forward


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_taken_off_after_an_exception(layer, error):
    with pytest.raises(error), edited_output(layer, add_one):
        raise error
    assert "forward" not in vars(layer)


def test_taken_off_when_the_edit_itself_fails(layer):
    def broken(_: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError

    x = torch.randn(1, 3)
    before = layer(x)
    with pytest.raises(ZeroDivisionError), edited_output(layer, broken):
        layer(x)
    assert torch.equal(layer(x), before)


def test_edits_nest_and_the_last_one_sees_what_the_others_made(layer):
    x = torch.randn(1, 3)
    before = layer(x)
    with edited_output(layer, add_one):
        with edited_output(layer, lambda h: h * 10):
            assert torch.equal(layer(x), (before + 1) * 10)
        assert torch.equal(layer(x), before + 1)
    assert torch.equal(layer(x), before)


def test_other_modules_of_the_class_are_not_touched(layer):
    other = torch.nn.Linear(3, 2)
    x = torch.randn(1, 3)
    before = other(x)
    with edited_output(layer, add_one):
        assert torch.equal(other(x), before)


def test_method_that_was_set_on_the_object_is_put_back():
    class Thing:
        pass

    thing, own = Thing(), lambda: "own"
    thing.say = own
    with replaced_method(thing, "say", lambda before: lambda: before() + "!"):
        assert thing.say() == "own!"
    assert thing.say is own


def test_method_that_does_not_exist_is_an_error_at_once(layer):
    with (
        pytest.raises(AttributeError, match="say"),
        replaced_method(layer, "say", lambda before: before),
    ):
        pass
