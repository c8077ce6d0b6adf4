"""The form of a run's record, checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, FiniteFloat, ValidationError

from recsae.core.errors import ArtifactMismatch
from recsae.run.config import RunConfig


class KnownStage(BaseModel):
    """What the record holds of a stage that is done."""

    made_from: str
    outputs: dict[str, str]
    seconds: FiniteFloat
    peak_mb: FiniteFloat


class KnownRecord(BaseModel):
    """The record of a run."""

    config: RunConfig
    model: str
    sources: dict[str, str]
    versions: dict[str, str]
    stages: dict[str, KnownStage]


def checked_record(record: dict[str, Any], path: Path) -> KnownRecord:
    """The parts of a record that others rely on.

    Raises
    ------
    ArtifactMismatch
        It has another form; the message says where.
    """
    try:
        return KnownRecord.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactMismatch(
            f"{path} was not written by this version of recsae: at {where}, {first['msg']}. "
            "Run again, in another folder."
        ) from None  # what was seen there can be a password
