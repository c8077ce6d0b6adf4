"""SAEs in the format of SAELens 6: ``cfg.json`` and ``sae_weights.safetensors`` in a folder.

SAELens encodes as ``z = act((h - b_dec) W_enc + b_enc)`` and decodes as ``z W_dec + b_dec``; its
``W_enc`` is ``(d_in, d_sae)``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import read_json, write_atomically, write_json
from recsae.core.text import one_line
from recsae.sae.config import make_config
from recsae.sae.model import SAE

CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"
ACTIVATIONS = {"standard": "relu", "topk": "topk", "jumprelu": "jumprelu"}
"""Architectures of SAELens, and what recsae calls them."""
SMALLEST = 1e-30
"""A threshold of 0, of which there is no logarithm."""


def read_saelens(folder: str | Path) -> SAE:
    """An SAE that SAELens saved; only "standard", "topk" and "jumprelu" are known here.

    Its ``k`` is the number of active latents of "topk"; of the others it is counted when a run is
    given the SAE.

    Raises
    ------
    ArtifactMismatch
        A file is missing or damaged.
    InvalidInput
        It is of another architecture, or normalises states by what is not in its files.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    config = read_json(folder / CONFIG)
    kind = config.get("architecture", "standard")
    if kind not in ACTIVATIONS:
        raise InvalidInput(
            f"{folder} holds an SAE of SAELens of the architecture {kind!r}: "
            f"{', '.join(ACTIVATIONS)} can be read. Any other is given to a run as it is, as an "
            "object with encode and decode."
        )
    for key in ("normalize_activations", "reshape_activations"):
        if config.get(key, "none") not in (None, "none"):
            raise InvalidInput(
                f"{folder} has {key}={config[key]!r}: fold it into the weights in SAELens "
                "(fold_activation_norm_scaling_factor) before it is saved."
            )
    try:
        weights = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
        return _from_weights(config, weights)
    except (OSError, SafetensorError, KeyError, RuntimeError, ValueError, InvalidInput) as error:
        raise ArtifactMismatch(
            f"The SAE of SAELens in {folder} is damaged or incomplete ({one_line(str(error))})."
        ) from error


def _from_weights(config: dict[str, Any], weights: dict[str, torch.Tensor]) -> SAE:
    kind = config.get("architecture", "standard")
    n_latents, width = weights["W_dec"].shape
    k = int(config["k"]) if kind == "topk" else 1
    sae = SAE(make_config(n_latents=n_latents, k=k, activation=ACTIVATIONS[kind]), width)
    encoder, b_enc, b_dec = weights["W_enc"].T, weights["b_enc"], weights["b_dec"]
    if not config.get("apply_b_dec_to_input", True):  # here it is always taken off
        b_enc = b_enc + encoder @ b_dec
    decoder = weights["W_dec"]
    if config.get("rescale_acts_by_decoder_norm", False):  # before the largest are chosen
        norm = decoder.norm(dim=1)
        encoder, b_enc, decoder = encoder * norm[:, None], b_enc * norm, decoder / norm[:, None]
    own = {"W_enc": encoder, "b_enc": b_enc, "W_dec": decoder, "b_dec": b_dec}
    if kind == "jumprelu":
        own["log_threshold"] = weights["threshold"].clamp_min(SMALLEST).log()
    with torch.no_grad():
        for name, value in own.items():
            if not bool(torch.isfinite(value).all()) or value.shape != getattr(sae, name).shape:
                raise ValueError(f"{name} is {tuple(value.shape)}, or not finite everywhere")
            getattr(sae, name).copy_(value)
    return sae.eval()


def write_saelens(sae: SAE, folder: str | Path) -> None:
    """Write an SAE as SAELens saves its own: the same activations and reconstructions.

    Raises
    ------
    InvalidInput
        It has gates, of which SAELens knows nothing; or it is one of somebody else's.
    """
    from safetensors.torch import save_file

    if sae.n_gates or sae.kind != sae.config.activation:
        what = "has gates" if sae.n_gates else f"is {sae.kind}"
        raise InvalidInput(
            f"The SAE {what}, which SAELens cannot hold: make the run with core none (--core none)."
        )
    scale, activation = sae.scale, sae.config.activation
    own = {
        "W_enc": sae.W_enc.T / scale,
        "b_enc": sae.b_enc,
        "W_dec": sae.W_dec * scale,
        "b_dec": sae.b_dec * scale + sae.mean,
    }
    settings: dict[str, Any] = {"architecture": "standard"}
    if activation in ("topk", "matryoshka"):
        settings = {"architecture": "topk", "k": sae.config.k}
    elif activation != "relu":
        threshold = sae.log_threshold.exp() if activation == "jumprelu" else sae.threshold
        own["threshold"] = threshold.expand(sae.n_latents)
        settings = {"architecture": "jumprelu"}
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in own.items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / WEIGHTS, lambda path: save_file(weights, path))
    write_json(
        folder / CONFIG,
        {
            **settings,
            "d_in": sae.width,
            "d_sae": sae.n_latents,
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": True,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "metadata": {},
        },
    )
