"""Settings and weights as earlier versions of RecBole, several processes or wrappers saved them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recsae.core.errors import CannotOpenModel

WRAPPERS = ("module.", "_orig_mod.")
"""Before every name of the weights of a model in DistributedDataParallel, and of a compiled one."""


def bring_up_to_date(config: Any, path: Path | None) -> str | None:
    """Complete the settings to what RecBole 1.2.1 reads; the version that wrote them, if another.

    One process evaluates, whatever number trained.

    Raises
    ------
    CannotOpenModel
        They are of a version whose settings have another meaning.
    """
    settings = config.final_config_dict
    written = _version_of(settings)
    settings["single_spec"] = True
    if not isinstance(settings.get("eval_args"), Mapping):
        where = f"The settings in {path}" if path else "The settings"
        seen = f"eval_setting={settings.get('eval_setting')!r} and no eval_args"
        raise CannotOpenModel(
            f"{where} were written by a RecBole before 1.0 ({seen}), whose evaluation 1.2.1 "
            "does not have: train the model with RecBole 1.0 or later."
        )
    given = dict(settings["eval_args"])
    mode = given.get("mode", "full")
    by_part = mode if isinstance(mode, Mapping) else {"valid": mode, "test": mode}
    fallback = by_part.get("valid", by_part.get("test", "full"))
    modes = {part: by_part.get(part, fallback) for part in ("valid", "test")}
    default = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user"}
    settings["eval_args"] = {**default, **given, "mode": modes}
    settings.setdefault("numerical_features", [])
    if "train_neg_sample_args" not in settings:
        settings["train_neg_sample_args"] = _negatives(settings.get("neg_sampling"))
    for part, how in modes.items():
        settings.setdefault(f"{part}_neg_sample_args", _candidates(str(how)))
    return written


def without_wrappers(weights: Mapping[str, Any], own: Iterable[str] = ()) -> dict[str, Any]:
    """The weights under their names in the model itself, ``own``; a wrapper of any name put one
    beginning before all of them, as Lightning's modules do (``model.``)."""
    found = dict(weights)
    for _ in WRAPPERS:
        for prefix in WRAPPERS:
            if found and all(name.startswith(prefix) for name in found):
                found = {name.removeprefix(prefix): value for name, value in found.items()}
    first = next(iter(own), "")
    for prefix in {name.removesuffix(first) for name in found if name.endswith(f".{first}")}:
        if first not in found and all(name.startswith(prefix) for name in found):
            return {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def _version_of(settings: Mapping[str, Any]) -> str | None:
    """What the names of the settings say; the checkpoint does not hold the version."""
    if "neg_sampling" in settings or "training_neg_sample_num" in settings:
        return "1.0"
    mode = (settings.get("eval_args") or {}).get("mode")
    return "1.1" if "eval_neg_sample_args" in settings or isinstance(mode, str) else None


def _negatives(sampling: Any) -> dict[str, Any]:
    """``{"uniform": 1}``, as RecBole 1.0 has it, in the words of 1.2.1."""
    distribution, number = next(iter((sampling or {}).items()), ("none", "none"))
    alpha = 1.0 if sampling else "none"
    return {
        "distribution": distribution,
        "sample_num": number,
        "alpha": alpha,
        "dynamic": False,
        "candidate_num": 0,
    }


def _candidates(mode: str) -> dict[str, Any]:
    sampled = {"uni": "uniform", "pop": "popularity"}.get(mode[:3])
    if sampled and mode[3:].isdigit():
        return {"distribution": sampled, "sample_num": int(mode[3:])}
    return {"distribution": "none" if mode == "labeled" else "uniform", "sample_num": "none"}
