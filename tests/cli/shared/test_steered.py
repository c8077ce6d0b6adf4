"""What steering does, as a person reads it."""

from recsae.cli.shared.steered import show_list_change
from recsae.steering.lists import ListChange, ListedItem, ListPlace, Push


def place(number, *latents):
    item = ListedItem(f"Item {number}", str(number))
    pushes = tuple(Push(latent, f"name {latent}", 0.5) for latent in latents)
    return ListPlace(number, item, item, number, pushes)


def test_latents_are_named_by_what_they_promote_and_else_by_their_names(capsys):
    places = (place(1, 12, 3), place(2, 3))
    promoted = {12: "Horror", 3: None}
    done = ("latent 12 (promotes Horror): switched off",)
    show_list_change(ListChange(("Alien",), (), done, None, (), places, promoted))
    out = capsys.readouterr().out
    assert "changed: latent 12 (promotes Horror): switched off" in out
    assert out.endswith("3 is name 3; 12 promotes Horror (name 12).\n")


def test_a_list_that_stays_says_for_whom_the_steering_is(capsys):
    show_list_change(ListChange(("Alien",), (), (), "7", (), (place(1),), {}, 2))
    out = capsys.readouterr().out
    assert out.startswith("nothing changes: the steering is for other users: 7 is not among them\n")
    assert "unknown users: 2" in out
