"""Sites inside a model: blocks of transformers, what attention and feed-forward add, GRUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from recsae_recbole.sites.default import ProbedModel, outputs
from recsae_recbole.sites.taps import OutputTap

if TYPE_CHECKING:
    import torch


class InnerSite(NamedTuple):
    """A place inside a model where each item has a state."""

    tap: OutputTap
    meaning: str


def inner_sites(probed: ProbedModel) -> list[InnerSite]:
    """Every block, attention, feed-forward and recurrent layer with one state per item.

    Of attention and feed-forward it is what they add to the residual stream: the output of their
    last linear layer. Layers that are called more than once in a scoring are left out.
    """
    from torch import nn

    model = probed.model
    n = len(probed.interaction)
    if not hasattr(model, "ITEM_SEQ"):
        return []
    length = probed.interaction[model.ITEM_SEQ].shape[1]
    modules = dict(model.named_modules())
    seen = [call for call, shape in outputs(probed) if len(shape) == 3 and shape[:2] == (n, length)]
    blocks = [call for call in seen if _is_block(call, modules)]
    calls = []
    order = {block: number for number, block in enumerate(blocks)}
    for call in sorted(
        seen, key=lambda c: (order.get(_block_of(c, blocks), -1), c not in blocks, seen.index(c))
    ):
        module = modules[call]
        if call in blocks:
            calls.append((call, f"output of {_title(call)}"))
        elif isinstance(module, nn.RNNBase):
            calls.append((call, f"output of the {type(module).__name__} {call}"))
        for kind, what in (("Attention", "attention"), ("FeedForward", "the feed-forward layer")):
            if kind in type(module).__name__ and _block_of(call, blocks):
                last = [c for c in seen if c.startswith(call + ".") and _is_linear(modules[c])]
                if last:
                    where = _title(_block_of(call, blocks))
                    calls.append((last[-1], f"what {what} of {where} adds"))
    return [InnerSite(OutputTap(model, call, "positions"), meaning) for call, meaning in calls]


def _is_block(call: str, modules: dict[str, torch.nn.Module]) -> bool:
    """Whether it is an entry of a list of layers that has attention in it."""
    from torch import nn

    parent, _, _ = call.rpartition(".")
    has_attention = any("Attention" in type(m).__name__ for m in modules[call].children())
    return isinstance(modules.get(parent), nn.ModuleList) and has_attention


def _is_linear(module: torch.nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Linear)


def _block_of(call: str, blocks: list[str]) -> str:
    return next((b for b in blocks if call == b or call.startswith(b + ".")), "")


def _title(block: str) -> str:
    path, _, number = block.rpartition(".")
    return f"block {number} of {path.rpartition('.')[0] or path}"
