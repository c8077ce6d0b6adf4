"""The default site of a model: listed for RecBole's odd models, found by trying for all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from recsae.core.errors import CannotOpenModel, summary_of
from recsae.recommender.checks import share_that_follows
from recsae_recbole.sites.joint import JointTap, UserTableTap
from recsae_recbole.sites.taps import Layout, OutputTap, Tap, at_last_item, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import torch

    from recsae_recbole.scoring import ModelCaller

ALL_OF_IT = 0.9999
"""Share of the scores' variance from which scores count as made from a state alone; the rest is
rounding."""
ENOUGH = 0.5
"""Share of the scores' variance that the best place must have where no place has all of it."""
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


class KnownSite(NamedTuple):
    """A default site that cannot be found by trying."""

    calls: tuple[str, ...]
    """Methods or submodules whose outputs, side by side, are the state."""
    layout: Layout
    meaning: str


KNOWN = {
    "RepeatNet": KnownSite(
        ("gru",),
        "positions",
        "what the GRU knows after each item; how likely a repetition is, which one, and what is "
        "new are decided from these vectors together",
    ),
    "GRU4RecCPR": KnownSite(("forward",), "last column", PADDED),
    "SASRecCPR": KnownSite(("forward",), "last column", PADDED),
    "FPMC": KnownSite(
        ("UI_emb", "LI_emb"),
        "rows",
        "the user's vector and the last item's side by side: scores are made from these alone",
    ),
    "DIN": KnownSite(("dnn_mlp_layers",), "rows", PAIR),
    "DIEN": KnownSite(("dnn_mlp_layers",), "rows", PAIR),
    "NNCF": KnownSite(
        ("user_embedding", "user_conv"),
        "rows",
        "the user's vector and that of similar users side by side: all scores are made from them",
    ),
    "GCMC": KnownSite(("GcEncoder",), "users", WHOLE_OF_USER),
    "SimpleX": KnownSite(("get_UI_aggregation",), "rows", WHOLE_OF_USER),
    "MultiVAE": KnownSite(("reparameterize",), "rows", WHOLE_OF_USER),
    "RaCT": KnownSite(("reparameterize",), "rows", WHOLE_OF_USER),
    "RecVAE": KnownSite(("reparameterize",), "rows", WHOLE_OF_USER),
}
"""Default sites by the class of the model, or of a base of it."""

NO_VECTOR = {
    "FISM": "its scores add up similarities of the candidate to each item of the history",
    "NAIS": "its scores weigh each item of the history anew for every candidate",
    "MacridVAE": "it keeps several vectors of a user, one for each group of items",
    "DiffRec": "it denoises the whole history, item by item, without a narrower state",
    "NCEPLRec": "its scores come from a closed form over the whole history",
}
"""Why models of RecBole's have no site."""


class DefaultSite(NamedTuple):
    """A default site that was found in a model."""

    tap: Tap
    meaning: str
    share: float
    """Share of the scores' variance that follows a state moved to another sequence."""


class ProbedModel(NamedTuple):
    """A model, how it is scored, and sequences to probe it with."""

    model: Any
    scorer: ModelCaller
    interaction: Any
    even: Any
    """The same sequences, all cut to one length."""
    real: torch.Tensor
    """``(n_items,)`` which rows of the item table are items."""

    def states(self, tap: Tap) -> torch.Tensor:
        """States ``(n, d)`` at a tap; CannotOpenModel if there are none."""
        outputs = read([tap], lambda: self.scorer.until(self.interaction))[0]
        if not outputs:
            raise CannotOpenModel(f"{tap.call} takes no part in the model's scoring.")
        return at_last_item(self.model, tap, outputs[-1], self.interaction)

    def share(self, tap: Tap) -> float:
        """How far scores follow the states when these are moved to another sequence."""
        before = self.scorer.scores_of_real_items(self.even, self.real)
        with tap.swapped():
            after = self.scorer.scores_of_real_items(self.even, self.real)
        return share_that_follows(before, after)


def find_default(probed: ProbedModel, *, general: bool) -> DefaultSite:
    """The place from which the model's scores are made.

    Raises
    ------
    CannotOpenModel
        No place was found; the message says what was tried.
    """
    model = probed.model
    seen: list[str] = []
    for name in _names(model):
        if name in KNOWN:
            try:
                return _known(probed, KNOWN[name])
            except CannotOpenModel as error:  # another model of that name
                seen.append(str(error).rstrip("."))
    whole = WHOLE_OF_USER if general else WHOLE
    partly = []
    for tap in _tries(probed, general=general):
        try:
            states = probed.states(tap)
        except CannotOpenModel as error:
            seen.append(str(error).rstrip("."))
            continue
        except Exception as error:  # the model's own code, used in a way that it may not stand
            seen.append(f"{tap.call} cannot be read: {summary_of(error)}")
            continue
        _check_finite(probed, states)
        share = 0.0 if _are_the_scores(probed, states) else probed.share(tap)
        if share >= ALL_OF_IT:
            return DefaultSite(tap, whole + (UNIT if _is_unit(states) else ""), share)
        seen.append(f"{share:.0%} of its scores' variance follows {tap.call}")
        partly.append(DefaultSite(tap, f"part of what scores are made from: {seen[-1]}", share))
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


def _check_finite(probed: ProbedModel, states: torch.Tensor) -> None:
    if not bool(states.isfinite().all()):
        raise CannotOpenModel(
            f"{type(probed.model).__name__} gives NaN or infinite states on its own data: the "
            "model is broken, nothing can be learned from it."
        )


def _known(probed: ProbedModel, known: KnownSite) -> DefaultSite:
    modules = dict(probed.model.named_modules())
    for call in known.calls:
        if call not in modules and not hasattr(probed.model, call):
            raise CannotOpenModel(f"{type(probed.model).__name__} has no {call}.")
    tap: Tap = (
        OutputTap(probed.model, known.calls[0], known.layout)
        if len(known.calls) == 1
        else JointTap(probed.model, known.calls)
    )
    _check_finite(probed, probed.states(tap))
    return DefaultSite(tap, known.meaning, probed.share(tap))


def _tries(probed: ProbedModel, *, general: bool) -> Iterable[Tap]:
    model = probed.model
    if not general:
        yield OutputTap(model, "forward")
        yield OutputTap(model, "gather_indexes")
        return
    if _keeps_tables(model):
        yield UserTableTap(model)
        return
    n, n_items = len(probed.interaction), len(probed.real)
    if not probed.scorer.by_pairs:
        vectors = [
            (shape[1], call)
            for call, shape in outputs(probed)
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


def _are_the_scores(probed: ProbedModel, states: torch.Tensor) -> bool:
    """Whether they rank items as the scores do, like what goes into a last softmax."""
    if states.shape[1] != len(probed.real):
        return False
    states, scores = states[:, probed.real], probed.scorer(probed.interaction)[:, probed.real]
    ranked = scores.gather(1, states.argsort(1))
    return bool((ranked.diff(dim=1) >= -1e-4 * scores.abs().max()).all())


def outputs(probed: ProbedModel) -> list[tuple[str, tuple[int, ...]]]:
    """Path and shape of what each submodule gives, of those called once, in order of calls."""
    calls: list[tuple[str, tuple[int, ...]]] = []

    def noting(call: str) -> Callable[[torch.Tensor], None]:
        return lambda output: calls.append((call, tuple(getattr(output, "shape", ()))))

    from contextlib import ExitStack

    with ExitStack() as stack:
        for call, _ in probed.model.named_modules():
            if call:
                stack.enter_context(OutputTap(probed.model, call).watch(noting(call)))
        probed.scorer.until(probed.interaction)
    names = [call for call, _ in calls]
    return [(call, shape) for call, shape in calls if names.count(call) == 1]
