"""One training step of an SAE after another: optimiser, schedule, dead latents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F
from torch.optim.adam import adam

from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.topk import top_k
from recsae.sae.codes import Code
from recsae.sae.gradients import Gradients

if TYPE_CHECKING:
    from recsae.sae.model import SAE

SMALLEST_BATCH = 32
"""States of a batch at least, however small the store is."""
STEPS_PER_EPOCH = 64
"""Small stores are read in smaller batches, so that there are steps enough to learn from."""
AUXILIARY_ONE_IN = 4
"""One state of a large batch in so many trains dead latents: with all of them, as many are revived
and a training takes a tenth to a third longer."""
AUXILIARY_STATES = 256
"""States that train dead latents at least, if a batch has as many."""
PRODUCT_SECONDS = 36e-12
"""What a step takes of one core for each of its states and each weight of the encoder."""
WAIT_SECONDS = 5e-3
"""What the three sums of a step take where cores are not free, however little is sent."""
SENT_SECONDS = 15e-9
"""What it takes to send the gradients of encoder and decoder, and to receive them, for each weight
of the encoder: 16 bytes through a card of 10 Gbit/s."""
MARGIN = 2
"""How many times what it costs sharing has to save."""


def worth_sharing(batch_size: int, n_weights: int, n_processes: int) -> bool:
    """Whether processes that share each step are done well before one that makes all of it.

    What is saved and what is sent both grow with the weights of the encoder: the batch decides.

    >>> worth_sharing(1024, 64 * 1024, 2), worth_sharing(1024, 512 * 8192, 2)
    (False, False)
    >>> worth_sharing(8192, 64 * 1024, 2), worth_sharing(8192, 64 * 2048, 2)
    (False, True)
    """
    saved = batch_size * n_weights * PRODUCT_SECONDS * (1 - 1 / n_processes)
    return saved > MARGIN * (WAIT_SECONDS + n_weights * SENT_SECONDS)


class Adam:
    """The step of :func:`torch.optim.adam.adam` with its usual settings, and its state by name.

    The class of torch loads its compiler before it is made: a second and 60 MB that stay.
    """

    def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
        self._parameters = parameters
        self.state = {
            "exp_avg": [torch.zeros_like(p, requires_grad=False) for p in parameters],
            "exp_avg_sq": [torch.zeros_like(p, requires_grad=False) for p in parameters],
            "step": [torch.zeros((), device=p.device) for p in parameters],
        }
        """Of each parameter, in their order."""

    def step(self, rate: float) -> None:
        """One step with the gradients that the parameters have."""
        given = [i for i, parameter in enumerate(self._parameters) if parameter.grad is not None]
        means, squares, steps = ([kept[i] for i in given] for kept in self.state.values())
        adam(
            [self._parameters[i] for i in given],
            [self._parameters[i].grad for i in given],  # type: ignore[misc]
            *(means, squares, [], steps),
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=0,
            eps=1e-8,
            maximize=False,
        )


class Trainer:
    """Optimiser, schedule and dead-latent tracking of one SAE, to be shown ``n_states`` states.

    Processes that share a training are shown the same batches. Each takes its share of a batch,
    and all make the step of the whole one. Variants by autograd look at whole batches (the k n
    largest activations, running means), so that nothing is shared.
    """

    def __init__(self, sae: SAE, n_states: int, ranks: Ranks = SINGLE_PROCESS) -> None:
        config = sae.config
        self.sae = sae
        self._ranks = SINGLE_PROCESS if sae.variant.by_autograd else ranks
        self.n_states = n_states
        self.batch_size = min(config.batch_size, max(SMALLEST_BATCH, n_states // STEPS_PER_EPOCH))
        self.n_epochs = min(config.max_epochs, max(1, round(config.n_samples / n_states)))
        self.n_steps = self.n_epochs * math.ceil(n_states / self.batch_size)
        self.peak = config.learning_rate * math.sqrt(self.batch_size / 1024)
        self.optimiser = Adam(list(sae.parameters()))
        self._gradients = Gradients(sae, self._ranks)
        self.idle = torch.zeros(sae.n_details, dtype=torch.int64, device=sae.W_dec.device)
        self.epoch = self.step = 0
        self.fvu = float("nan")

    def train_block(self, block: torch.Tensor) -> None:
        """One pass over states ``(m, d)`` in the order given."""
        for batch in block.split(self.batch_size):
            self.train_step(self.sae.normalised(batch))

    def train_step(self, x: torch.Tensor) -> None:
        """One step on normalised states ``(n, d)``."""
        with torch.no_grad():
            fvu = self.gradients(x)
            self._project_gradient()
            self.optimiser.step(self.peak * self._schedule())
            self.sae.W_dec.copy_(F.normalize(self.sae.W_dec, dim=1))
        self.step += 1
        self.fvu = fvu if math.isnan(self.fvu) else 0.99 * self.fvu + 0.01 * fvu

    def gradients(self, x: torch.Tensor) -> float:
        """Set the gradient of the loss and the weighted auxiliary loss; return the FVU."""
        n, x = len(x), x[self._ranks.share(len(x))]
        fvu = self._gradients.reconstruct(x, n)
        dead = self._track(self._gradients.fired, n)
        neglected = self.sae.variant.neglected(self.sae, dead)
        if self.sae.config.aux_weight and len(neglected):
            self._add_auxiliary(neglected, x, n)
        self._gradients.merge()
        return fvu

    def _track(self, fired: torch.Tensor, n: int) -> torch.Tensor:
        """Indices of the latents that are dead after this batch, in which some have fired."""
        self.idle += n
        self.idle.masked_fill_(fired, 0)
        return torch.nonzero(self.idle > self.sae.config.dead_after).squeeze(1)

    def _add_auxiliary(self, dead: torch.Tensor, x: torch.Tensor, n: int) -> None:
        """Let the best dead latents reconstruct the residual ``x - x_hat`` (Gao et al. 2024).

        ``x`` are this process's states of a batch of n, of which every fourth is looked at: the
        loss is a mean, and their order is random.
        """
        sae, config = self.sae, self.sae.config
        step = max(1, min(AUXILIARY_ONE_IN, n // AUXILIARY_STATES))
        some = slice(-self._ranks.share(n).start % step, None, step)
        residual, x = self._gradients.residual(x)[some].contiguous(), x[some].contiguous()
        pre = F.linear(x - sae.b_dec, sae.W_enc[dead], sae.b_enc[dead])
        values, where = top_k(pre, min(config.aux_k or 1, len(dead)))
        self._gradients.add_auxiliary(Code(values.relu(), dead[where]), residual, x)

    def _schedule(self) -> float:
        """Linear warm-up, then linear decay to zero."""
        done = (self.step + 1) / self.n_steps
        warmup = self.sae.config.warmup
        if done < warmup:
            return done / warmup
        return max(0.0, (1 - done) / (1 - warmup) + 1 / self.n_steps)  # blocks end in short batches

    def _project_gradient(self) -> None:
        """Drop the part of the decoder's gradient along each direction: its length stays 1."""
        gradient, decoder = self.sae.W_dec.grad, self.sae.W_dec.detach()
        if gradient is not None:
            gradient -= (gradient * decoder).sum(1, keepdim=True) * decoder
