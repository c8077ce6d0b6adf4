"""Gradients of an SAE's loss; for TopK and Matryoshka written out, as few latents are active.

Autograd would multiply whole matrices of zeros. These equal autograd's (tested in double
precision) whether the compiled loops run or torch. The other variants have autograd's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.topk import kernels
from recsae.sae.codes import Code

if TYPE_CHECKING:
    from types import ModuleType

    from recsae.sae.model import SAE

CHUNK_BYTES = 1 << 21
"""Bytes of activations in one go: few enough to stay in the cache until they are ranked."""
MIN_CHUNK = 256
"""States in one go at least: with fewer rows a product of a large encoder is slow."""


class Gradients:
    """Sets the gradients of an SAE's parameters, batch after batch, in buffers that stay.

    Where processes share a training, each is given its part of a batch, and :meth:`merge` adds
    the parts of the gradient up.
    """

    def __init__(self, sae: SAE, ranks: Ranks = SINGLE_PROCESS) -> None:
        self.sae = sae
        self._ranks = ranks
        weight = sae.W_dec
        sizes = [p.numel() for p in sae.parameters()]
        self._flat = weight.new_zeros(sum(sizes))
        self._grads = {}
        for (name, p), part in zip(sae.named_parameters(), self._flat.split(sizes), strict=True):
            p.grad = self._grads[name] = part.view_as(p)
        self.fired = torch.zeros(sae.n_details, dtype=torch.bool, device=weight.device)
        """Which latents were active on the last batch."""
        self._alone = torch.zeros(sae.n_details, dtype=torch.int64, device=weight.device)
        nested = not sae.variant.by_autograd
        self._prefix = sae.variant.smallest_prefix(sae).to(weight.device) if nested else self._alone
        known = weight.dtype in (torch.float32, torch.float64) and weight.device.type == "cpu"
        self._kernels = kernels() if known else None
        self._chunk = max(MIN_CHUNK, CHUNK_BYTES // (weight.element_size() * sae.n_details))
        self._pre = weight.new_empty(self._chunk, sae.n_details)
        self._sized_for(0)
        self._z = weight.new_empty(0)

    def _sized_for(self, n: int) -> None:
        """Buffers for n states: fresh ones for every batch would cost their page faults."""
        k, weight = self.sae.config.k, self.sae.W_dec
        self._code = Code(weight.new_empty(n, k), torch.empty(n, k, dtype=torch.int64))
        self._centred = weight.new_empty(n, self.sae.width)
        self._left = weight.new_empty(n, self.sae.width)

    def reconstruct(self, x: torch.Tensor, n: int) -> float:
        """Set the gradients of fit and penalty at normalised states; returns the batch's FVU.

        ``x (m, d)`` are this process's states of a batch of n. x is normalised, so the variance is
        1 per dimension over the whole store and the FVU's denominator does not depend on the batch.
        """
        self._flat.zero_()
        self.fired.zero_()
        if self.sae.variant.by_autograd:
            return self._by_autograd(x)
        if len(self._centred) != len(x):
            self._sized_for(len(x))
        if self._kernels is None:
            squared = self._by_torch(x, n)
        else:
            squared = self._by_loops(x, n, self._kernels)
        return self._whole(squared) / (n * self.sae.width)

    def merge(self) -> None:
        """Make the gradients those of the whole batch."""
        self._ranks.sum(self._flat)

    def _whole(self, squared: float) -> float:
        """The squared error of the whole batch; afterwards what fired in it is known too."""
        if self._ranks.size == 1:
            return squared
        seen = torch.cat(
            [self.fired.double(), self.fired.new_tensor([squared], dtype=torch.double)]
        )
        self._ranks.sum(seen)
        self.fired.copy_(seen[:-1] > 0)
        return float(seen[-1])

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        """``x - x_hat`` of the states last reconstructed."""
        if self.sae.variant.by_autograd:
            return x - self.sae.mix(self._z)
        return self._left

    def _by_autograd(self, x: torch.Tensor) -> float:
        sae, variant = self.sae, self.sae.variant
        with torch.enable_grad():
            pre = sae.detail_preactivations(x)
            z = variant.activate(sae, pre)
            (variant.fit(sae, z, x) + variant.penalty(sae, pre, z)).backward()
        self._z = z.detach()
        self.fired = (self._z > 0).any(0)
        variant.follow(sae, self._z)
        return float(self.residual(x).square().mean())

    def _by_torch(self, x: torch.Tensor, n: int) -> float:
        self._code = self.sae.variant.select(self.sae, self.sae.detail_preactivations(x))
        self.fired[self._code.indices[self._code.values > 0]] = True
        return self._main(self._code, x - self.sae.b_dec, n)

    def _by_loops(self, x: torch.Tensor, n: int, compiled: ModuleType) -> float:
        """Activations and the best of them chunk by chunk, then what these give."""
        sae, m = self.sae, len(x)
        bias = torch.addmv(sae.b_enc, sae.W_enc, sae.b_dec, alpha=-1)
        for first in range(0, m, self._chunk):
            part = slice(first, min(first + self._chunk, m))
            out = self._pre[: part.stop - first]
            pre = torch.addmm(bias, x[part], sae.W_enc.T, out=out)
            compiled.row_top_k(pre.numpy(), *(c[part].numpy() for c in self._code), False)
        centred = torch.sub(x, sae.b_dec, out=self._centred)
        return self._main(self._code, centred, n)

    def _main(self, code: Code, centred: torch.Tensor, n: int) -> float:
        scale = 2 / (n * self.sae.width)
        slope_sum, squared = self._add(code, self._prefix, centred, centred, self._left, scale)
        self._grads["b_dec"] += slope_sum
        return squared

    def add_auxiliary(self, code: Code, residual: torch.Tensor, x: torch.Tensor) -> None:
        """Add the gradients of the share of a residual ``(n, d)`` that other latents leave."""
        size = self._ranks.sum(residual.square().sum())
        scale = 2 * self.sae.config.aux_weight / float(size.clamp_min(1e-12))
        spare = torch.empty_like(residual)
        self._add(code, self._alone, residual, x - self.sae.b_dec, spare, scale)

    def _add(
        self,
        code: Code,
        prefix: torch.Tensor,
        target: torch.Tensor,
        centred: torch.Tensor,
        left: torch.Tensor,
        scale: float,
    ) -> tuple[torch.Tensor, float]:
        """Add the gradients of ``scale / 2 * sum over p of ||z_p W_dec - target||^2``.

        ``z_p`` are the latents of prefixes 0 to p. Returns the sum over states and p of the slope
        at z_p W_dec ``(d,)``, and ``||z W_dec - target||^2``; ``left`` is set to
        ``target - z W_dec``.
        """
        add = self._add_by_torch if self._kernels is None else self._add_by_loops
        bias, slope_sum, squared = add(code, prefix, target, centred, left, scale)
        self._grads["b_enc"] += bias
        self._grads["b_dec"] -= bias @ self.sae.W_enc
        return slope_sum, squared

    def _add_by_loops(
        self,
        code: Code,
        prefix: torch.Tensor,
        target: torch.Tensor,
        centred: torch.Tensor,
        left: torch.Tensor,
        scale: float,
    ) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Add to the gradients of weights; the bias's, and what :meth:`_add` returns."""
        slope_sum = target.new_zeros(target.shape[1])
        bias = torch.zeros_like(self._grads["b_enc"])
        into = left, self._grads["W_dec"], self._grads["W_enc"], bias, slope_sum, self.fired
        squared = self._kernels.backward(  # type: ignore[union-attr]
            *(t.numpy() for t in (centred, target, self.sae.W_dec.detach(), *code, prefix)),
            target.numpy().dtype.type(scale),
            *(t.numpy() for t in into),
        )
        return bias, slope_sum, squared

    def _add_by_torch(
        self,
        code: Code,
        prefix: torch.Tensor,
        target: torch.Tensor,
        centred: torch.Tensor,
        left: torch.Tensor,
        scale: float,
    ) -> tuple[torch.Tensor, torch.Tensor, float]:
        """The same in torch."""
        sae, (values, indices) = self.sae, code
        n, k = indices.shape
        prefix_of = prefix[indices]
        parts = [
            sae.mix_sparse(Code(values * (prefix_of == p), indices)) - sae.b_dec
            for p in range(int(prefix[-1]) + 1)
        ]
        errors = torch.stack(parts).cumsum(0) - target
        torch.neg(errors[-1], out=left)
        slopes = (errors * scale).flip(0).cumsum(0).flip(0)  # a latent is in all larger prefixes
        inner = torch.empty_like(values)
        for rows in torch.arange(n, device=target.device).split(1024):
            theirs = slopes[prefix_of[rows], rows[:, None]]
            inner[rows] = (sae.W_dec[indices[rows]] * theirs).sum(2)
        inner = inner * (values > 0)
        flat = indices.flatten()
        order = torch.argsort(flat, stable=True)
        starts = torch.bincount(flat, minlength=sae.n_details).cumsum(0)
        starts = torch.cat([starts.new_zeros(1), starts[:-1]])
        states = torch.div(order, k, rounding_mode="floor")
        tables = slopes.flatten(0, 1), centred
        rows_of = prefix_of.flatten()[order] * n + states, states
        weights = values.flatten()[order], inner.flatten()[order]
        decoder, encoder = (
            F.embedding_bag(rows, table, offsets=starts, mode="sum", per_sample_weights=weight)
            for rows, table, weight in zip(rows_of, tables, weights, strict=True)
        )
        bias = torch.bincount(flat, inner.flatten(), minlength=sae.n_details).to(target.dtype)
        self._grads["W_dec"] += decoder
        self._grads["W_enc"] += encoder
        return bias, slopes[0].sum(0), float(errors[-1].square().sum())
