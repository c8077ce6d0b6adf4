"""Where a model's default site is: known for RecBole's odd ones, tried out for all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from recsae.core.errors import CannotOpenModel
from recsae_recbole.boundary import one_line
from recsae_recbole.sites.joint import JointTap, UserTableTap
from recsae_recbole.sites.taps import Layout, OutputTap, Tap, at_last_item, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import torch

    from recsae_recbole.scoring import ModelCaller

ALL_OF_IT = 0.9999
ENOUGH = 0.5
WHOLE = "what the model knows of a sequence: its scores are made from this vector alone"
WHOLE_OF_USER = "what the model knows of a user: its scores are made from this vector alone"
UNIT = "; it has length 1, and edits are not normalised again, which changes no ranking"
PADDED = (
    "what stands in the last column of the window, from which the model scores (padding, behind "
    "short histories); it also reads earlier columns, so all of them are edited"
)
PAIR = (
    "what the last layer makes a score from, for one sequence and one candidate: there is no state "
    "of a sequence alone; stored for each sequence with its own last item as the candidate, "
    "edited for every candidate"
)


class Known(NamedTuple):
    """A default site that cannot be found by trying."""

    calls: tuple[str, ...]
    layout: Layout
    meaning: str


KNOWN = {
    "RepeatNet": Known(
        ("gru",),
        "positions",
        "what the GRU knows after each item; how likely a repetition is, which one, and what is "
        "new are decided from these vectors together",
    ),
    "GRU4RecCPR": Known(("forward",), "last column", PADDED),
    "SASRecCPR": Known(("forward",), "last column", PADDED),
    "FPMC": Known(
        ("UI_emb", "LI_emb"),
        "rows",
        "the user's vector and the last item's side by side: scores are made from these alone",
    ),
    "DIN": Known(("dnn_mlp_layers",), "rows", PAIR),
    "DIEN": Known(("dnn_mlp_layers",), "rows", PAIR),
    "NNCF": Known(
        ("user_embedding", "user_conv"),
        "rows",
        "the user's vector and that of similar users side by side: all scores are made from them",
    ),
    "GCMC": Known(("GcEncoder",), "users", WHOLE_OF_USER),
    "SimpleX": Known(("get_UI_aggregation",), "rows", WHOLE_OF_USER),
    "MultiVAE": Known(("reparameterize",), "rows", WHOLE_OF_USER),
    "RaCT": Known(("reparameterize",), "rows", WHOLE_OF_USER),
    "RecVAE": Known(("reparameterize",), "rows", WHOLE_OF_USER),
}

NO_VECTOR = {
    "FISM": "its scores add up similarities of the candidate to each item of the history",
    "NAIS": "its scores weigh each item of the history anew for every candidate",
    "MacridVAE": "it keeps several vectors of a user, one for each group of items",
    "DiffRec": "it denoises the whole history, item by item, without a narrower state",
    "NCEPLRec": "its scores come from a closed form over the whole history",
}


class Found(NamedTuple):
    """A default site."""

    tap: Tap
    meaning: str
    share: float
    """Share of the scores' variance that follows a state moved to another sequence."""


class Look(NamedTuple):
    """A model, how it scores, and sequences to try things on."""

    model: Any
    scorer: ModelCaller
    interaction: Any
    even: Any
    """The same sequences, all cut to one length."""
    real: torch.Tensor
    """``(n_items,)`` which rows of the item table are items."""

    def states(self, tap: Tap) -> torch.Tensor:
        """States ``(n, d)`` at a tap; CannotOpenModel if there are none."""
        found = read([tap], lambda: self.scorer.until(self.interaction))[0]
        if not found:
            raise CannotOpenModel(f"{tap.call} takes no part in the model's scoring.")
        return at_last_item(self.model, tap, found[-1], self.interaction)

    def share(self, tap: Tap) -> float:
        """Move the states of each sequence to another and see how far the scores follow.

        ``1 - sum (moved - wanted)^2 / sum (before - wanted)^2``, at least 0: 1 if they follow
        wholly.
        """
        before = self.scorer.trial(self.even, self.real)
        with tap.swapped():
            after = self.scorer.trial(self.even, self.real)
        wanted = before.roll(1, 0)
        room = float((before - wanted).square().sum())
        missed = float((after - wanted).square().sum())
        return max(0.0, 1 - missed / room) if room > 0 and missed == missed else 0.0


def find_default(look: Look, *, general: bool) -> Found:
    """The place from which the model's scores are made.

    Raises
    ------
    CannotOpenModel
        No place was found; the message says what was tried.
    """
    model = look.model
    seen: list[str] = []
    for name in _names(model):
        if name in KNOWN:
            try:
                return _known(look, KNOWN[name])
            except CannotOpenModel as error:  # another model of that name
                seen.append(str(error).rstrip("."))
    whole = WHOLE_OF_USER if general else WHOLE
    partly = []
    for tap in _tries(look, general=general):
        try:
            states = look.states(tap)
        except CannotOpenModel as error:
            seen.append(str(error).rstrip("."))
            continue
        except Exception as error:  # the model's own code, used in a way that it may not stand
            seen.append(f"{tap.call} cannot be read: {one_line(error)}")
            continue
        _check_finite(look, states)
        share = 0.0 if _are_the_scores(look, states) else look.share(tap)
        if share >= ALL_OF_IT:
            return Found(tap, whole + (UNIT if _is_unit(states) else ""), share)
        seen.append(f"{share:.0%} of its scores' variance follows {tap.call}")
        partly.append(Found(tap, f"part of what scores are made from: {seen[-1]}", share))
    if partly and max(found.share for found in partly) >= ENOUGH:
        return max(partly, key=lambda found: found.share)
    reason = next((NO_VECTOR[n] for n in _names(model) if n in NO_VECTOR), "; ".join(seen))
    raise CannotOpenModel(
        f"recsae cannot attach to {type(model).__name__}: it found no vector from which the scores "
        f"are made ({reason or 'no submodule gives one for each user'}). A model attaches if its "
        "forward, or a submodule of a model of users, returns that vector."
    )


def _is_unit(states: torch.Tensor) -> bool:
    return bool(((states.norm(dim=1) - 1).abs() < 1e-3).all())


def _names(model: Any) -> list[str]:
    return [base.__name__ for base in type(model).__mro__]


def _check_finite(look: Look, states: torch.Tensor) -> None:
    if not bool(states.isfinite().all()):
        raise CannotOpenModel(
            f"{type(look.model).__name__} gives NaN or infinite states on its own data: the model "
            "is broken, nothing can be learned from it."
        )


def _known(look: Look, known: Known) -> Found:
    modules = dict(look.model.named_modules())
    for call in known.calls:
        if call not in modules and not hasattr(look.model, call):
            raise CannotOpenModel(f"{type(look.model).__name__} has no {call}.")
    tap: Tap = (
        OutputTap(look.model, known.calls[0], known.layout)
        if len(known.calls) == 1
        else JointTap(look.model, known.calls)
    )
    _check_finite(look, look.states(tap))
    return Found(tap, known.meaning, look.share(tap))


def _tries(look: Look, *, general: bool) -> Iterable[Tap]:
    model = look.model
    if not general:
        yield OutputTap(model, "forward")
        yield OutputTap(model, "gather_indexes")
        return
    if _keeps_tables(model):
        yield UserTableTap(model)
        return
    n, n_items = len(look.interaction), len(look.real)
    if not look.scorer.by_pairs:
        vectors = [
            (shape[1], call)
            for call, shape in outputs(look)
            if len(shape) == 2 and shape[0] == n and shape[1] not in (1, n_items)
        ]
        # of several places in a row the narrowest is the representation, the others lead there
        for _, call in sorted(vectors, key=lambda vector: vector[0]):
            yield OutputTap(model, call)
    tables = [call for call, module in model.named_modules() if _is_of_users(model, module)]
    if tables:
        yield JointTap(model, tables)


def _keeps_tables(model: Any) -> bool:
    """Whether ranking, which was tried before, has left tables of all users and items."""
    import torch

    kept = [getattr(model, name, None) for name in ("restore_user_e", "restore_item_e")]
    plain = all(isinstance(t, torch.Tensor) and not isinstance(t, torch.nn.Parameter) for t in kept)
    return plain and len(kept[0]) == model.n_users  # type: ignore[arg-type]


def _is_of_users(model: Any, module: Any) -> bool:
    return bool(getattr(module, "num_embeddings", None) == model.n_users)


def _are_the_scores(look: Look, states: torch.Tensor) -> bool:
    """Whether they rank items as the scores do, like what goes into a last softmax."""
    if states.shape[1] != len(look.real):
        return False
    states, scores = states[:, look.real], look.scorer(look.interaction)[:, look.real]
    ranked = scores.gather(1, states.argsort(1))
    return bool((ranked.diff(dim=1) >= -1e-4 * scores.abs().max()).all())


def outputs(look: Look) -> list[tuple[str, tuple[int, ...]]]:
    """Path and shape of what each submodule gives, of those called once, in order of calls."""
    calls: list[tuple[str, tuple[int, ...]]] = []

    def noting(call: str) -> Callable[[torch.Tensor], None]:
        return lambda output: calls.append((call, tuple(getattr(output, "shape", ()))))

    from contextlib import ExitStack

    with ExitStack() as stack:
        for call, _ in look.model.named_modules():
            if call:
                stack.enter_context(OutputTap(look.model, call).watch(noting(call)))
        look.scorer.until(look.interaction)
    names = [call for call, _ in calls]
    return [(call, shape) for call, shape in calls if names.count(call) == 1]
