"""Training an SAE on a store: seeded, resumable after every epoch, the same bits either way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.errors import NotEnoughData
from recsae.core.files import digest_of, read_json
from recsae.sae.checkpoint import STATE, STATE_META, TrainingState
from recsae.sae.config import SAEConfig
from recsae.sae.model import CONFIG, SAE, WEIGHTS
from recsae.sae.quality import fvu_beside_training
from recsae.sae.start import starting_directions
from recsae.sae.trainer import Trainer, worth_sharing
from recsae.sae.variants import VARIANTS

if TYPE_CHECKING:
    from recsae.capture.store import ActivationStore
    from recsae.core.progress import Progress
    from recsae.sae.model import Gates

SMALL_PRODUCT = 1 << 18
"""Weights of an SAE up to which one thread is as fast: two would wait for each other more than they
gain."""
MAX_VALIDATION_STATES = 20_000
"""States at most on which an epoch is validated: bounds the time."""


def train_sae(
    store: ActivationStore,
    config: SAEConfig | None = None,
    folder: str | Path | None = None,
    *,
    gates: Gates | None = None,
    items: torch.Tensor | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    ranks: Ranks = SINGLE_PROCESS,
) -> SAE:
    """Train an SAE on the states of a store.

    Parameters
    ----------
    store
        States of construction users; one user in twenty is kept for validation.
    config
        What to train; defaults as in RecSAE.
    folder
        Where to save the SAE, and its training state after every epoch: called again after having
        been killed, training goes on from there and ends in the same bits.
    gates
        Latents that are given; the SAE is trained on what they leave of the states. It then starts
        from the data, see :mod:`recsae.sae.start`, and else from random directions.
    items
        ``(n_items, d)`` rows of the table whose products with states are the scores, where there is
        one; only details beside gates start from it.
    ranks
        The processes that wait for the SAE, each of which calls this. The first one trains and
        saves, with the threads of all on its machine, unless the batches are so large that sharing
        them pays, see :func:`recsae.sae.trainer.worth_sharing`; then the parameters are those of
        one process but for rounding, as sums have another order.

    Returns
    -------
    SAE
        In evaluation mode, on the CPU: the weights after the epoch with the lowest FVU on the
        validation users.

    Raises
    ------
    NotEnoughData
        The store has fewer states than a latent needs to be learned from.
    """
    place = None if folder is None else Path(folder)
    beside_gates = gates is not None and len(gates.bound) > 0
    config = (config or SAEConfig()).resolved(store.width, beside_gates=beside_gates)
    if ranks.size > 1 and not _is_shared(config, store.width, ranks):
        alone = partial(train_sae, store, config, place, gates=gates, items=items, device=device)
        return ranks.broadcast_from_main(partial(alone, progress=progress))
    if len(store) < 2 * config.k:
        raise NotEnoughData(f"{len(store)} hidden states are too few to train an SAE on.")
    made_from = digest_of(
        {
            "store": store.fingerprint,
            "config": config.model_dump(),
            "gates": None if gates is None else [part.tolist() for part in gates],
            "items": beside_gates and items is not None,  # the store says of which model
        }
    )
    if place is not None and ranks.broadcast_from_main(lambda: _is_trained(place, made_from)):
        return SAE.load(place)
    sae = SAE(config, store.width, gates)
    sae.fit_input(store)
    if beside_gates:
        sae.start_from(ranks.broadcast_from_main(lambda: starting_directions(sae, store, items)))
    validation_users = (
        store.validation_users() if config.patience and not sae.variant.approaches_k else None
    )
    n_states = len(store) - (0 if validation_users is None else store.count_of(validation_users))
    state = TrainingState(Trainer(sae.to(device), n_states, ranks), made_from)
    if place is not None:
        state.resume(place, ranks)
    validation = None
    if validation_users is not None and validation_users.any():
        validation = torch.from_numpy(store.states_of(validation_users, MAX_VALIDATION_STATES)).to(
            device
        )
    batches = partial(store.blocks, without=validation_users, size=state.trainer.batch_size)
    _train(state, batches, validation, place, progress, ranks)
    best = state.best
    if best.weights:
        sae.load_state_dict(best.weights)
    sae = sae.cpu().eval()
    if ranks.size > 1:  # processors of different makes round differently
        sae.load_state_dict(ranks.broadcast_from_main(sae.state_dict))
    if place is not None:
        ranks.broadcast_from_main(lambda: _save(sae, state, store, place))
    return sae


def _is_shared(config: SAEConfig, width: int, ranks: Ranks) -> bool:
    """Whether processes share each step; variants that autograd trains look at whole batches."""
    n_weights = (config.n_latents or 0) * width
    by_autograd = VARIANTS[config.activation].by_autograd
    return not by_autograd and worth_sharing(config.batch_size, n_weights, ranks.size)


def _is_trained(folder: Path, made_from: str) -> bool:
    """Whether the folder holds this very SAE; another one's configuration is taken away."""
    if not (folder / CONFIG).exists():
        return False
    if read_json(folder / CONFIG).get("made_from") == made_from and (folder / WEIGHTS).exists():
        return True
    (folder / CONFIG).unlink()
    return False


def _save(sae: SAE, state: TrainingState, store: ActivationStore, folder: Path) -> None:
    trainer, best = state.trainer, state.best
    sae.save(
        folder,
        {
            "made_from": state.made_from,
            "model": store.manifest["model"],
            "site": store.manifest["site"],
            "epochs": best.epoch or trainer.epoch,
            "validation_fvu": best.fvu if best.weights else None,
            "n_activations_seen": trainer.epoch * trainer.n_states,
            "seconds": round(state.seconds, 2),
        },
    )
    for name in (STATE, STATE_META):
        (folder / name).unlink(missing_ok=True)


def _train(
    state: TrainingState,
    batches: Callable[[int], Iterator[torch.Tensor]],
    validation: torch.Tensor | None,
    folder: Path | None,
    progress: Progress | None,
    ranks: Ranks,
) -> None:
    """Train all epochs that are left, or fewer where validation no longer improves."""
    trainer, sae = state.trainer, state.trainer.sae
    device = sae.W_dec.device
    started = time.perf_counter() - state.seconds
    while trainer.epoch < trainer.n_epochs and not _is_stale(state):
        with _threads_for(sae):
            for batch in batches(_mix(sae.config.seed, trainer.epoch)):
                trainer.train_block(batch.to(device))
            trainer.epoch += 1
            if validation is not None:
                fvu = ranks.broadcast_from_main(lambda: fvu_beside_training(sae, validation))
                state.best.follow(sae, fvu, trainer.epoch)
        state.seconds = time.perf_counter() - started
        if folder is not None and trainer.epoch < trainer.n_epochs:
            ranks.broadcast_from_main(lambda: state.save(folder))
        if progress:
            progress(trainer.step, trainer.n_steps, f"SAE steps, FVU {trainer.fvu:.3f}")


@contextmanager
def _threads_for(sae: SAE) -> Iterator[None]:
    """One thread where products are small: more would gain little and wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if sae.n_details * sae.width <= SMALL_PRODUCT else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_stale(state: TrainingState) -> bool:
    """Whether so many epochs in a row were no better."""
    patience = state.trainer.sae.config.patience
    waited = state.trainer.epoch - state.best.epoch
    return bool(patience and state.best.weights and waited >= patience)


def _mix(seed: int, epoch: int) -> int:
    return seed * 1_000_003 + epoch
