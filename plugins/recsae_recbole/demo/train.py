"""Train RecBole's own SASRec quickly: every position of a window is a prediction.

RecBole's trainer makes every prefix of every history a padded sample of its own, so each
interaction is read once per later position. SASRec is causal: one forward over a window gives the
state of every position in it, and here each of them predicts its next item (as in Kang & McAuley,
"Self-Attentive Sequential Recommendation", ICDM 2018, section III.E, with cross-entropy over all
items). Model class, data set, split and checkpoint format are RecBole's.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from recsae.core.errors import InvalidInput, NotEnoughData, RecSAEError
from recsae.core.files import write_atomically
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.dataset import Data, find_data, open_data
from recsae_recbole.demo.all_positions import (
    CUTOFF,
    all_position_loss,
    batches,
    draw_windows,
    ndcg,
    training_part,
)
from recsae_recbole.demo.dropout import dropout_by_bytes
from recsae_recbole.evaluation import evaluation_cases

if TYPE_CHECKING:
    from recsae.core.progress import Progress

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises from 0."""


class EpochRecord(NamedTuple):
    """The result of one epoch."""

    epoch: int  # from 0, as RecBole counts
    loss: float  # nats per prediction
    valid_ndcg: float  # NDCG@10, full ranking


@dataclass(frozen=True)
class PretrainResult:
    """A trained SASRec on disk, and the record of its training."""

    path: Path
    best_epoch: int
    valid_ndcg: float
    """Unrounded NDCG@10 of the saved weights on each user's last item but one."""
    history: tuple[EpochRecord, ...]
    stopped_by: str
    """``"schedule"`` (all epochs run) or ``"patience"``; ``"time limit"`` is not repeatable."""
    n_users: int
    n_items: int
    n_targets: int
    """Different positions that are predicted in training."""
    n_threads: int
    seconds: float


def train_sasrec(
    out: str | Path,
    *,
    dataset: str = "ml-100k",
    data_path: str | Path | None = None,
    max_length: int = 20,
    hidden_size: int = 64,
    n_layers: int = 2,
    n_heads: int = 2,
    inner_size: int = 256,
    dropout: float = 0.3,
    learning_rate: float = 3e-3,
    batch_size: int = 64,
    max_epochs: int = 10,
    patience: int = 10,
    time_limit_s: float | None = None,
    seed: int = 2020,
    config_overrides: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> PretrainResult:
    """Train SASRec on all positions at once and save an ordinary RecBole checkpoint at ``out``.

    The learning rate rises over the first 10 % of the training and then falls to zero as a half
    cosine: over ``max_epochs`` or the time limit, whichever ends first. The epoch with the best
    validation NDCG@10 is kept. The same seed, settings and number of threads give the same bits,
    unless there is a time limit. Windows of a batch are of like length; large catalogues are
    sampled, see :func:`recsae_recbole.demo.softmax.catalogue_loss`.

    Parameters
    ----------
    out
        File to write, in one step at the end.
    dataset, data_path
        Name of a RecBole data set and the folder that holds ``name.inter`` or ``name/name.inter``;
        ml-100k comes with RecBole.
    max_length
        Number of most recent items that the model reads.
    hidden_size, n_layers, n_heads, inner_size, dropout
        SASRec's settings; ``dropout`` is for hidden states and attention alike.
    learning_rate, batch_size
        Peak rate of Adam; windows (of at most ``max_length`` predictions) per step, on average.
    max_epochs, patience
        Length of the schedule; epochs without a better validation score before stopping.
    time_limit_s
        Seconds in which the schedule comes to its end if the epochs take longer. The epoch under
        way ends early then, and is validated.
    seed
        Of weights, dropout, windows and their order; also in the saved config.
    config_overrides
        RecBole settings laid over these, for instance ``user_inter_num_interval``.
    progress
        Called as ``progress(done, total, text)`` after each epoch.

    Raises
    ------
    CannotOpenModel
        RecBole or the data set cannot be opened.
    InvalidInput
        Settings that this way of training cannot honour.
    NotEnoughData
        Nothing to train or to validate on.

    Examples
    --------
    >>> result = train_sasrec("sasrec.pth")  # doctest: +SKIP
    >>> round(result.valid_ndcg, 3)  # doctest: +SKIP
    0.073
    """
    settings = {
        "MAX_ITEM_LIST_LENGTH": max_length,
        "hidden_size": hidden_size,
        "n_layers": n_layers,
        "n_heads": n_heads,
        "inner_size": inner_size,
        "hidden_dropout_prob": dropout,
        "attn_dropout_prob": dropout,
        "learning_rate": learning_rate,
        "train_batch_size": batch_size * max_length,  # RecBole counts predictions
        "epochs": max_epochs,
        "stopping_step": patience,
        "seed": seed,
        **(config_overrides or {}),
    }
    if time_limit_s is not None and not time_limit_s > 0:
        raise InvalidInput(f"The time limit must be more than 0 seconds, not {time_limit_s}.")
    started = time.perf_counter()
    path = Path(out)
    with recbole_boundary():
        config = _configure(dataset, data_path, settings)
        folder = find_data(dataset, str(config["data_path"]), path, data_path)
        data = open_data(config, folder)
        trainer = _Trainer(config, data, batch_size)
        stopped_by = trainer.fit(started, time_limit_s, progress)
        write_atomically(path, trainer.save)
        return trainer.result(path, stopped_by, time.perf_counter() - started)


def _configure(dataset: str, data_path: str | Path | None, settings: dict[str, Any]) -> Any:
    """RecBole's Config: leave-one-out, full ranking, cross-entropy, interactions only, CPU."""
    from recbole.config import Config

    columns = {"USER_ID": "user_id", "ITEM_ID": "item_id", "TIME": "timestamp"}
    fixed = {
        "load_col": {"inter": [settings.get(f"{k}_FIELD", v) for k, v in columns.items()]},
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
        "metrics": ["Recall", "MRR", "NDCG", "Hit"],
        "topk": [CUTOFF],
        "valid_metric": f"NDCG@{CUTOFF}",
        "use_gpu": False,
    }
    if data_path is not None:
        fixed["data_path"] = str(data_path)
    config = Config(model="SASRec", dataset=dataset, config_dict={**fixed, **settings})
    if config["loss_type"] != "CE":
        raise InvalidInput(f"train_sasrec knows loss_type CE, not {config['loss_type']!r}.")
    if config["eval_args"]["mode"]["valid"] != "full":
        raise InvalidInput("train_sasrec validates by full ranking; leave eval_args' mode at full.")
    if config["hidden_size"] % config["n_heads"]:
        raise InvalidInput(
            f"hidden_size {config['hidden_size']} is no multiple of n_heads {config['n_heads']}."
        )
    for key in ("epochs", "train_batch_size", "MAX_ITEM_LIST_LENGTH"):
        if config[key] < 1:
            raise InvalidInput(f"{key} must be at least 1, not {config[key]}.")
    return config


class _Clock:
    """Which share of a training is done: of its steps, or of its time where that ends first."""

    def __init__(self, started: float, limit_s: float | None) -> None:
        self._started, self._limit_s = started, limit_s
        self._kept = 0.0

    @contextmanager
    def kept_for_later(self) -> Iterator[None]:
        """Keep as much time as this takes for doing it once more at the end."""
        before = time.perf_counter()
        yield
        self._kept = time.perf_counter() - before

    def share(self, of_steps: float) -> float:
        """The share done, at most 1."""
        if self._limit_s is None:
            return of_steps
        spent = time.perf_counter() - self._started
        return min(1.0, max(of_steps, (spent + self._kept) / self._limit_s))


class _Trainer:
    """One training run, inside the boundary."""

    def __init__(self, config: Any, data: Data, batch_size: int) -> None:
        from recbole.utils import get_model

        self.config = config
        self.length = int(config["MAX_ITEM_LIST_LENGTH"])
        self.batch_size = batch_size
        self.sequences = data.sequences
        self.rows, self.sizes = training_part(data)
        self.valid = evaluation_cases(config, data, "valid")
        if not len(self.valid.rows):
            raise NotEnoughData("No user has enough interactions to keep one for validation.")
        self.rng = np.random.default_rng(config["seed"])
        torch.manual_seed(config["seed"])
        self.model = get_model("SASRec")(config, data.dataset).to(config["device"])
        torch.autograd.set_detect_anomaly(False)  # RecBole's import has switched it on
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=config["learning_rate"], fused=True
        )
        self.history: list[EpochRecord] = []
        self.best: dict[str, Any] = {}

    def fit(self, started: float, limit_s: float | None, progress: Progress | None) -> str:
        """Run the epochs; returns what ended them."""
        total, stale = int(self.config["epochs"]), 0
        clock = _Clock(started, limit_s)
        for epoch in range(total):
            with dropout_by_bytes(self.model, self.rng):
                loss = self._epoch(epoch, total, clock)
            with clock.kept_for_later():
                score = ndcg(self.model, self.sequences, self.valid)
            record = EpochRecord(epoch, loss, score)
            self.history.append(record)
            stale += 1
            if not self.best or record.valid_ndcg > self.best["best_valid_score"]:
                stale = 0
                self.best = self._state(record)
            if progress:
                text = f"epochs, loss {record.loss:.3f}, valid NDCG@10 {record.valid_ndcg:.4f}"
                progress(epoch + 1, total, text)
            if stale > int(self.config["stopping_step"]):
                return "patience"
            if epoch + 1 < total and clock.share(0) >= 1:
                return "time limit"
        return "schedule"

    def save(self, path: Path) -> None:
        """Write what RecBole's ``Trainer._save_checkpoint`` writes, of the best epoch."""
        torch.save(self.best, path, pickle_protocol=4)

    def _epoch(self, epoch: int, total: int, clock: _Clock) -> float:
        self.model.train()
        windows = draw_windows(self.sizes, self.length, self.rng)
        steps = batches(windows[2] - windows[1] - 1, self.batch_size, self.rng)
        loss_sum, n_targets = 0.0, 0
        for step, chosen in enumerate(steps):
            done = clock.share((epoch + (step + 0.5) / len(steps)) / total)
            if step and done >= 1:
                break
            for group in self.optimizer.param_groups:
                group["lr"] = self.config["learning_rate"] * _schedule(done)
            which, starts, ends = (w[chosen] for w in windows)
            # one item more than the model reads: the target of its last position
            read = self.sequences.batch(self.rows[which], starts, ends, int((ends - starts).max()))
            loss, n = all_position_loss(self.model, read, self.rng)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss_sum, n_targets = loss_sum + loss.item() * n, n_targets + n
        if not math.isfinite(loss_sum):
            rate = self.config["learning_rate"]
            raise RecSAEError(
                f"Training diverged in epoch {epoch + 1}: the loss is {loss_sum}. Try a learning "
                f"rate below {rate}."
            )
        return loss_sum / n_targets

    def _state(self, record: EpochRecord) -> dict[str, Any]:
        return {
            "config": self.config,
            "epoch": record.epoch,
            "cur_step": 0,
            "best_valid_score": record.valid_ndcg,
            "state_dict": copy.deepcopy(self.model.state_dict()),
            "other_parameter": self.model.other_parameter(),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
        }

    def result(self, path: Path, stopped_by: str, seconds: float) -> PretrainResult:
        """The result of the training."""
        return PretrainResult(
            path=path,
            best_epoch=self.best["epoch"],
            valid_ndcg=self.best["best_valid_score"],
            history=tuple(self.history),
            stopped_by=stopped_by,
            n_users=len(self.rows),
            n_items=int(self.model.n_items) - 1,
            n_targets=int((self.sizes - 1).sum()),
            n_threads=torch.get_num_threads(),
            seconds=seconds,
        )


def _schedule(done: float) -> float:
    """Share of the peak learning rate after a share ``done`` of the run: linear, then cosine."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))
