"""The settings of a run: from a TOML file and from options, which win."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from recsae.core.errors import InvalidInput, nearest
from recsae.core.files import absolute, read_toml
from recsae.core.llm.text import clean
from recsae.run.config import RunConfig
from recsae.run.trust import remember_trust

if TYPE_CHECKING:
    from recsae.recommender.protocol import Recommender

LANGUAGE = {"llm_base_url": "base_url", "llm_model": "model"}
"""Options of the command line and the settings in ``[language]`` that they are."""


def read_settings(checkpoint: Path, options: dict[str, Any], config_file: Path | None) -> RunConfig:
    """Settings of a run; InvalidInput names the setting, what was seen and the nearest one."""
    given = read_toml(config_file) if config_file else {}
    typed = {key: value for key, value in options.items() if value is not None}
    for key in ("attribute_columns", "attributes_first"):
        if key in typed:
            typed[key] = [name.strip() for name in typed[key].split(",")]
    asked = {field: typed.pop(key) for key, field in LANGUAGE.items() if key in typed}
    values = {**given, **typed, "checkpoint": str(absolute(checkpoint))}
    known = given.get("language", {})
    if asked and isinstance(known, dict):
        values["language"] = {**known, **asked}
    for key in ("data_path", "items"):
        if isinstance(values.get(key), str | Path):
            values[key] = str(absolute(values[key]))
    try:
        return RunConfig(**values)
    except ValidationError as error:
        raise InvalidInput(_sentence(error)) from None  # a traceback would show what is secret


def _sentence(error: ValidationError) -> str:
    """The first fault of the settings, without values that can hold a key or a password."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    why = first["msg"].removeprefix("Value error, ")
    hint = nearest(key, RunConfig.model_fields) if first["type"] == "extra_forbidden" else ""
    secret = first["loc"][0] == "language" and not isinstance(first["input"], int | float)
    seen = "" if secret else f" (seen: {clean(repr(first['input']))})"
    return f"Setting {key!r}: {why}{seen}.{hint}"


def open_recommender(
    config: RunConfig, *, trust: bool, device: str, memory: int | None = None
) -> Recommender:
    """Attach to the recommender that a run's settings name.

    ``memory`` is what the process may take in bytes; None: what is free.
    """
    from recsae.recommender.plugins import load_recommender
    from recsae.run.memory import refuse_what_cannot_open

    if config.checkpoint is not None:
        refuse_what_cannot_open(Path(config.checkpoint), memory)
    opened = load_recommender(
        config.checkpoint,
        trust=trust,
        data_path=config.data_path,
        items=config.items,
        title_column=config.title_column,
        attribute_columns=config.attribute_columns,
        separator=config.separator,
        device=device,
    )
    if trust and config.checkpoint is not None:
        remember_trust(Path(config.checkpoint))
    return opened
