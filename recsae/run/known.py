"""The form of a run's record, checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, FiniteFloat, ValidationError

from recsae.core import layout
from recsae.core.errors import ArtifactMismatch
from recsae.core.files import lies_within
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


def refuse_other_places(folder: Path, record: KnownRecord) -> None:
    """Refuse a run that has files, or folders to write into, which are not in its own folder.

    Raises
    ------
    ArtifactMismatch
        The record names such a file, or a folder in the run's is a link to another place.
    """
    for stage in record.stages.values():
        for name in stage.outputs:
            if not lies_within(folder, name):
                raise ArtifactMismatch(
                    f"{folder / layout.RUN} names the file {name!r}, which is not in the folder of "
                    "the run: this record was not written by recsae."
                )
    for own in layout.OWN_FOLDERS:
        names = Path(own).parts
        for depth in range(1, len(names) + 1):
            for path in folder.glob("/".join(names[:depth])):
                if not lies_within(folder, str(path.relative_to(folder))):
                    raise ArtifactMismatch(
                        f"{path} is a link to another place: put the folder itself there, or copy "
                        "the run with what its links lead to (cp -rL)."
                    )
