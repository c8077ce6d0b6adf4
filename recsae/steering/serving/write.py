"""Export of a steered model: weights, a loader without recsae, and arrays for a serving stack."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.core.errors import InvalidInput, RecSAEError
from recsae.core.files import whole_or_absent, write_atomically, write_json
from recsae.run.open import READ
from recsae.sae.editing import turning
from recsae.sae.model import GATES
from recsae.steering.frontier import LIST_LENGTH
from recsae.steering.serving import loader as exported
from recsae.steering.serving.formats import FORMATS, failing_as, formats_of
from recsae.steering.serving.served import (
    ENCODER,
    ENCODER_OF_STATES,
    EVERYBODY,
    LOADER,
    README,
    SHIFT,
    SHIFT_OF_STATES,
    SOME,
    STATES,
    UNEDITED,
    lists_recipe,
    served_by,
)
from recsae.steering.steps.applied import applied_in, shift_of, state_edit
from recsae.steering.steps.kinds import Calibration, edits_states, found_turned
from recsae.steering.steps.ranking import N_FIRST, Beside

if TYPE_CHECKING:
    import torch

    from recsae.recommender.catalog import ItemCatalog
    from recsae.recommender.protocol import LinearHead, Recommender
    from recsae.recommender.sequences import Batch
    from recsae.run.workspace import Workspace
    from recsae.sae.model import SAE
    from recsae.steering.files import Steering
    from recsae.steering.serving.formats import Score
    from recsae.steering.serving.loader import SteeredStates
    from recsae.steering.serving.served import Served
    from recsae.steering.steps.ranking import Ranking

OF_DETAILS = ("mean", "scale", "W_enc", "b_enc", "b_dec")
SELECTED = ("topk", "matryoshka")
"""Activations that choose the k largest, which is what the loader does."""
N_CHECKED = 256
"""On so many sequences an export must give the steered scores before it is written."""
N_FEW = 7
"""An export is checked on a batch of this size as well: its batch must be of any size."""
SAME_PLACES = 0.999
"""This part of the places of lists must be the same: room for items that are equal but for
rounding."""
TOLERANCE = 1e-4
"""How far scores may differ, as a part of one plus the largest: room for rounding in float32."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    n_latents: int
    """How many latents are turned."""
    needs_encoder: bool
    """Whether the steering depends on the state; otherwise one vector is added to all."""
    n_users: int | None
    """How many users it is for; None: everybody."""
    formats: tuple[str, ...]
    """Files for other runtimes."""

    def to_dict(self) -> dict[str, Any]:
        """As ``recsae export --json`` has it."""
        n = self.n_users
        return {
            "out": str(self.folder),
            "latents": self.n_latents,
            "needs the encoder": self.needs_encoder,
            "for": "everybody" if n is None else f"{n:,} users",
            "more files": list(self.formats),
        }


def export(work: Workspace, steering: Steering, out: Path, formats: Sequence[str] = ()) -> Exported:
    """Write a folder that serves the steered model without recsae.

    Parameters
    ----------
    formats
        Files to write besides: ``"torch"`` (``steered.pt2``), ``"onnx"`` (``steered.onnx``).

    Raises
    ------
    InvalidInput
        The folder is not empty, the SAE does not choose its latents by the k largest, or a format
        needs a package that is missing.
    RecSAEError
        The loader or a format does not give the steered scores; nothing is left behind.

    Notes
    -----
    Where scores are not linear in the states of the run's site there is no head to export: the
    module then gives the steered states, for the rest of the model.
    """
    wanted = formats_of(formats)
    sae, head = work.sae, work.head
    if steering.interventions and sae.config.activation not in SELECTED:
        raise InvalidInput(
            f"An SAE with the activation {sae.config.activation!r} cannot be exported, only "
            f"{' and '.join(SELECTED)}: train one with `recsae run --activation`."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput(f"{out} is not an empty folder: choose another with --out.")
    if any(isinstance(step, Calibration) for step in steering.steps):
        raise InvalidInput(
            "Calibration needs each user's history when lists are made, and an export has states "
            "and scores only: take lists of `run.steer(...)`, or export without it."
        )
    catalog = work.recommender.catalog
    served = served_by(applied_in(work, steering.steps).ranking, head is not None)
    if wanted and served.rest is not None:
        raise InvalidInput(
            f"{' and '.join(one.file for one in wanted.values())} can hold scores and states, and "
            "not re-ranking by probability, within some candidates, or without an item table: "
            "leave --format out."
        )
    config, weights = _module_of(sae, steering, served, head, catalog)
    module, batch = exported.made_of(config, weights), _some_histories(work.recommender)
    expected = _expected(work, steering, served, head, batch)
    if served.rest is not None:
        _check_lists(work, steering, served.rest, module, batch)
    _check(expected, module, "the exported module", "steer the model with `with recsae.steer(...)`")
    if head is None:
        _check_running(work, steering, module, batch)
    files = {}
    for name, one in wanted.items():
        with failing_as(one.file):
            files[one.file] = one.make(module)
            _check(expected, one.read(files[one.file]), one.file, f"leave --format {name} out")
    with whole_or_absent(out) as aside, work.run.reading(*READ):
        _write(aside, config, weights, work, steering, served, files)
    return Exported(
        folder=out,
        n_latents=len(config["latents"]),
        needs_encoder=_shift(steering, sae) is None,
        n_users=None if steering.users is None else len(steering.users),
        formats=tuple(files),
    )


def _module_of(
    sae: SAE, steering: Steering, served: Served, head: LinearHead | None, catalog: ItemCatalog
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The configuration and the weights of the module that is exported."""
    import torch

    interventions = steering.interventions
    latents = turning(sae, interventions).latents
    place = {latent: i for i, latent in enumerate(latents)}
    weights = {name: getattr(sae, name).detach() for name in (*GATES, *OF_DETAILS)}
    weights["directions"] = sae.directions()[latents]
    if head is not None:
        bias = torch.zeros(len(head.items)) if head.bias is None else head.bias
        bias = bias if served.added is None else bias + served.added
        real = _recommended(served, catalog)
        weights |= {"items": head.items.detach(), "bias": bias.detach(), "recommendable": real}
    for number, step in enumerate(interventions):
        value, is_turned = torch.zeros(len(latents)), torch.zeros(len(latents), dtype=torch.bool)
        columns = [place[latent] for latent in step.latents]
        value[columns], is_turned[columns] = torch.tensor(step.values), True
        weights |= {f"value_{number}": value, f"reached_{number}": is_turned}
    direction = shift_of(steering.steps, sae.width)
    if direction is not None:
        weights["direction"] = direction
    steps = [{"op": step.op, "where": step.where, "name": step.name} for step in interventions]
    config = {"k": sae.config.k, "latents": latents, "steps": steps}
    if served.rest is not None:
        config["ranking"] = [
            {
                "gain": one.gain,
                "temperature": one.temperature,
                "candidates": one.candidates,
                "edits": one.edits,
                "turned": None if one.edits == "scores" else found_turned(one.candidates or 0),
                "first": N_FIRST if not one.in_order and one.candidates is None else None,
                "powers": one.calibrated and [one.calibrated.p, one.calibrated.place],
            }
            for one in served.rest.reorders
        ]
        for n, one in enumerate(served.rest.reorders):
            weights[f"weights_{n}"] = one.weights
            if one.calibrated is not None:
                weights[f"prior_{n}"] = one.calibrated.prior
        if served.rest.banned is not None:
            weights["banned"] = served.rest.banned
    return config, {name: value.clone().contiguous().cpu() for name, value in weights.items()}


class Expected(NamedTuple):
    """States of real sequences and the scores of the steered recommender, which every export must
    give too."""

    states: torch.Tensor
    """``(n, d)``, not steered."""
    steered: torch.Tensor
    """``(n, n_items)`` scores, or states ``(n, d)`` where there is no head."""
    real: torch.Tensor
    """Which columns are anything; the others, which are no items, are -inf."""


def _some_histories(recommender: Recommender) -> Batch:
    sequences, length = recommender.sequences(), recommender.max_length
    rows = np.arange(min(N_CHECKED, len(sequences)))
    ends = sequences.lengths[rows]
    return sequences.batch(rows, np.maximum(0, ends - length), ends, length)


def _recommended(served: Served, catalog: ItemCatalog) -> torch.Tensor:
    """Which rows of the item table ``(n_items,)`` are recommended at all."""
    import torch

    real = torch.from_numpy(catalog.recommendable)
    return real if served.banned is None else real & ~served.banned


def _expected(
    work: Workspace, steering: Steering, served: Served, head: LinearHead | None, batch: Batch
) -> Expected:
    import torch

    states = work.recommender.represent(batch, work.site)
    edit = state_edit(work.sae, steering.steps)
    if head is None:
        return Expected(states, edit(states), torch.ones(states.shape[1], dtype=torch.bool))
    with work.recommender.edit(edit, work.site):
        scores = work.recommender.score(batch)
    scores = scores if served.added is None else scores + served.added
    return Expected(states, scores, _recommended(served, work.recommender.catalog))


def _check_lists(
    work: Workspace, steering: Steering, rest: Ranking, module: SteeredStates, batch: Batch
) -> None:
    """Check that the module re-ranks scores as recsae does."""
    recommender, real = work.recommender, work.recommender.catalog.recommendable
    own = recommender.score(batch).clone()
    with recommender.edit(state_edit(work.sae, steering.steps), work.site):
        scores = recommender.score(batch).clone()
    own[:, ~real] = scores[:, ~real] = float("-inf")
    k = min(LIST_LENGTH, int(real.sum()))
    same = float(
        (module.rank(scores, k, own) == rest.lists(scores, k, Beside(own=own))).float().mean()
    )
    if same < SAME_PLACES:
        raise RecSAEError(
            f"Only {100 * same:.1f} % of the places in lists of the exported module are as they "
            "should be, so nothing was written: take lists of `run.steer(...)`."
        )


def _check(expected: Expected, score: Score, what: str, instead: str) -> None:
    """Check that a module gives what is expected, and -inf for what is no item, at any size."""
    states, steered, real = expected
    for n in (1, N_FEW, N_CHECKED):
        exported_scores = score(states[:n])
        whole = bool(exported_scores[:, ~real].isneginf().all())
        _compare(
            exported_scores[:, real],
            steered[:n, real],
            what,
            instead,
            math.inf if not whole else 0.0,
        )


def _check_running(
    work: Workspace, steering: Steering, module: SteeredStates, batch: Batch
) -> None:
    """Check that the model with the module at its site has the steered scores."""
    scores = []
    for edit in (state_edit(work.sae, steering.steps), module.edit):
        with work.recommender.edit(edit, work.site):
            scores.append(work.recommender.score(batch))
    real = np.flatnonzero(work.recommender.catalog.recommendable)
    steered, by_module = (side[:, real] for side in scores)
    _compare(
        by_module, steered, "the model with the exported module", "use `with recsae.steer(...)`"
    )


def _compare(
    scores: torch.Tensor, steered: torch.Tensor, what: str, instead: str, least: float = 0.0
) -> None:
    """Raise where they differ by more than rounding, or by at ``least`` so much anyway."""
    gap = max(least, float((scores - steered).abs().max()))
    if not gap <= TOLERANCE * (1 + float(steered.abs().max())):
        raise RecSAEError(
            f"The scores of {what} differ from the steered ones by up to {gap:.2g}, so nothing "
            f"was written: {instead}."
        )


def _shift(steering: Steering, sae: SAE) -> torch.Tensor | None:
    """The vector ``(d,)`` that is added to every state, if all that is done is adding for all."""
    interventions = steering.interventions
    if any(step.op != "add" or step.where != "everyone" for step in interventions):
        return None
    latents, change, _ = turning(sae, interventions)
    shift = (change(sae.mean[None]) @ sae.directions()[latents])[0]
    direction = shift_of(steering.steps, sae.width)
    return shift if direction is None else shift + direction


def _write(
    out: Path,
    config: dict[str, Any],
    weights: dict[str, torch.Tensor],
    work: Workspace,
    steering: Steering,
    served: Served,
    files: dict[str, bytes],
) -> None:
    from safetensors.torch import save_file

    recommender, has_head = work.recommender, "items" in weights
    arrays = {name: weights[name] for name in ("items", "bias") if has_head}
    shift = _shift(steering, work.sae)
    if not any(map(edits_states, steering.steps)):
        recipe = UNEDITED
    elif shift is not None:
        arrays["shift"], recipe = shift, SHIFT if has_head else SHIFT_OF_STATES
    else:
        recipe = ENCODER if has_head else ENCODER_OF_STATES
    for name, array in arrays.items():
        write_atomically(out / f"{name}.npy", _saving(array))
    if has_head:
        catalog = recommender.catalog
        pairs = zip(catalog.external_ids, catalog.recommendable, strict=True)
        write_json(out / "ids.json", [str(key) if real else None for key, real in pairs])
    if steering.users is not None:
        text = "".join(f"{user}\n" for user in steering.users)
        write_atomically(out / "users.txt", lambda p: p.write_text(text, encoding="utf-8"))
    page = README.format(
        model=recommender.name,
        what="; ".join(map(str, steering.steps)),
        loader=(LOADER if has_head else STATES).format(site=work.site),
        more="".join(f"- `{f.file}`: {f.line}\n" for f in FORMATS.values() if f.file in files),
        recipe=recipe.format(n=work.sae.n_latents, d=work.sae.width),
        lists=lists_recipe(served, has_head=has_head),
        who=EVERYBODY if steering.users is None else SOME,
    )
    write_atomically(out / "README.md", lambda p: p.write_text(page, encoding="utf-8"))
    source = inspect.getsource(exported)
    write_atomically(out / "loader.py", lambda p: p.write_text(source, encoding="utf-8"))
    for name, data in files.items():
        write_atomically(out / name, partial(Path.write_bytes, data=data))
    write_json(out / "config.json", config)
    write_atomically(out / "weights.safetensors", lambda p: save_file(weights, p))


def _saving(array: torch.Tensor) -> Any:
    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, array.numpy())

    return save
