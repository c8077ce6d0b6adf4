"""What people say of the concepts: names of their own, latents that are one, and no concept.

They write it into a file of the run, ``corrections.toml``. Beside it the decoder directions of the
latents that it speaks of are kept, so that an SAE trained anew, whose latents have other numbers,
is still understood. Nothing that was measured changes, and no stage of a run depends on it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsae.core import columns as C
from recsae.core import layout
from recsae.core.errors import InvalidInput, RecSAEError, nearest
from recsae.core.files import map_arrays, read_toml, write_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.concepts.dictionary import ConceptDictionary

FILE = layout.CORRECTIONS
DIRECTIONS = layout.CORRECTED_DIRECTIONS
WEIGHTS = layout.SAE_WEIGHTS
RENAMED = "renamed"
MERGED = "merged"
REJECTED = "rejected"
SAME = 0.9
"""Decoder cosine above which a latent of another SAE is the same one."""


class _File(BaseModel):
    """The content of ``corrections.toml``."""

    model_config = ConfigDict(extra="forbid")

    rename: dict[str, str] = Field(default_factory=dict)
    merge: dict[str, list[int]] = Field(default_factory=dict)
    reject: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """What the file says of one latent, by its number there: a correction and a name or reason."""

    latent: int
    correction: str
    text: str


@dataclass(frozen=True)
class Placed:
    """An entry and the latent of the present SAE that it is about; None if it is lost."""

    entry: Entry
    latent: int | None
    cosine: float


def read_entries(folder: Path) -> list[Entry]:
    """The entries of a run's file; none if there is no file.

    Raises
    ------
    InvalidInput
        The file cannot be read or says something impossible; the message names the entry.
    """
    path = folder / FILE
    if not path.exists():
        return []
    try:
        content = _File(**read_toml(path))
    except ValidationError as error:
        raise InvalidInput(f"{path}, {_explained(error)}") from error
    entries = [
        *(Entry(_number(path, k, "rename"), RENAMED, v) for k, v in content.rename.items()),
        *(Entry(j, MERGED, name) for name, latents in content.merge.items() for j in latents),
        *(Entry(_number(path, k, "reject"), REJECTED, v) for k, v in content.reject.items()),
    ]
    for name, latents in content.merge.items():
        if len(set(latents)) < 2:
            raise InvalidInput(
                f"{path}, [merge] {name!r}: a merged concept needs two latents at least; one alone "
                "goes under [rename]."
            )
    _check(path, entries)
    return entries


def _explained(error: ValidationError) -> str:
    first = error.errors()[0]
    table, *rest = map(str, first["loc"])
    where = f"[{table}]" + (f" {rest[0]}" if rest else "")
    if first["type"] == "extra_forbidden":
        known = nearest(table, _File.model_fields)
        return f"{table!r}: the tables are [rename], [merge] and [reject].{known}"
    return f"{where}: {first['msg']} (seen: {first['input']!r})."


def _number(path: Path, key: str, table: str) -> int:
    if not key.isdecimal():
        raise InvalidInput(
            f"{path}, [{table}] {key!r}: this must be the number of a latent, e.g. 203; "
            f"`recsae concepts {path.parent} --search {key!r}` shows those of a name."
        )
    return int(key)


def _check(path: Path, entries: list[Entry]) -> None:
    seen: dict[int, Entry] = {}
    for entry in entries:
        where = f"{path}, latent {entry.latent}"
        if entry.latent in seen:
            first, second = seen[entry.latent].correction, entry.correction
            both = f"{first} twice" if first == second else f"{first} and {second}"
            raise InvalidInput(f"{where} is {both}: keep one entry.")
        seen[entry.latent] = entry
        name = entry.text.strip()
        if entry.correction != REJECTED and (not name or name.isdecimal()):
            raise InvalidInput(
                f"{where}: {entry.text!r} cannot be a name; a name has letters, since numbers "
                "stand for latents."
            )
        if not entry.text.isprintable():
            raise InvalidInput(f"{where}: {entry.text!r} is not one line of text.")


def place(folder: Path) -> list[Placed]:
    """Find the latents that the file speaks of in the present SAE.

    A latent is where its direction is: the cosine must exceed 0.9, and no latent is taken twice,
    the nearest first. An entry whose direction was not kept yet is taken by its number.

    Raises
    ------
    InvalidInput
        The file is wrong, or names a latent that never was.
    """
    entries = read_entries(folder)
    if not entries:
        return []
    decoder, kept = _decoder(folder), _kept(folder)
    own = []
    for entry in entries:
        if entry.latent not in kept and not 0 <= entry.latent < len(decoder):
            raise InvalidInput(
                f"{folder / FILE}: there is no latent {entry.latent}: latents are numbered 0 to "
                f"{len(decoder) - 1}."
            )
        own.append(kept[entry.latent] if entry.latent in kept else decoder[entry.latent])
    if any(len(direction) != decoder.shape[1] for direction in own):
        return [Placed(e, None, 0.0) for e in entries]  # of a model with another hidden size
    cosine = _unit(np.stack(own)) @ _unit(decoder).T
    best = cosine.max(1)
    taken: dict[int, int] = {}
    for row in np.argsort(-best, kind="stable").tolist():
        number, latent = entries[row].latent, int(cosine[row].argmax())
        if number < len(decoder) and cosine[row, number] >= best[row] - 1e-6:
            latent = number  # of latents with one direction, the one that was meant
        if best[row] > SAME and latent not in taken.values():
            taken[row] = latent
    return [Placed(e, taken.get(row), float(best[row])) for row, e in enumerate(entries)]


def _unit(directions: NDArray[np.float32]) -> NDArray[np.float32]:
    norm = np.linalg.norm(directions, axis=1, keepdims=True)
    return directions / np.maximum(norm, 1e-12)  # type: ignore[no-any-return]


def _decoder(folder: Path) -> NDArray[np.float32]:
    weights = map_arrays(folder / WEIGHTS)
    parts = [weights[name] for name in ("gate_decoder", "W_dec") if name in weights]
    return np.asarray(np.concatenate(parts), dtype=np.float32)


def _kept(folder: Path) -> dict[int, NDArray[np.float32]]:
    """The directions kept so far, by the latents' numbers in the file."""
    if not (folder / DIRECTIONS).exists():
        return {}
    arrays = map_arrays(folder / DIRECTIONS)
    return dict(zip(arrays["latents"].tolist(), np.array(arrays["directions"]), strict=True))


def remember(folder: Path) -> list[Placed]:
    """:func:`place`, and keep the directions of the latents that the file speaks of.

    To be called whenever the file may have changed, and before an SAE is trained anew.
    """
    if not (folder / WEIGHTS).exists():
        read_entries(folder)  # what is wrong is told before hours of training
        return []
    placed = place(folder)
    kept, named = _kept(folder), [p.entry.latent for p in placed]
    if set(named) != set(kept):
        decoder = _decoder(folder)
        keep(folder, {j: kept[j] if j in kept else decoder[j] for j in named})
    return placed


def keep(folder: Path, directions: dict[int, NDArray[np.float32]]) -> None:
    """Write directions beside the file; none: take away what is there."""
    with suppress(OSError, RecSAEError):  # a folder that cannot be written can still be read
        if not directions:
            (folder / DIRECTIONS).unlink(missing_ok=True)
            return
        latents = np.array(list(directions), dtype=np.int64)
        kept = np.stack(list(directions.values()))
        write_arrays(folder / DIRECTIONS, {"latents": latents, "directions": kept})


def names(folder: Path) -> dict[int, Entry]:
    """Corrections that hold, by latent of the present SAE, which is the entry's as well."""
    if not (folder / FILE).exists():
        return {}
    return {
        p.latent: Entry(p.latent, p.entry.correction, p.entry.text.strip())
        for p in place(folder)
        if p.latent is not None
    }


def lost(folder: Path) -> list[Placed]:
    """Entries whose latent the present SAE has no more."""
    return [p for p in place(folder) if p.latent is None] if (folder / FILE).exists() else []


def shown_name(entry: Entry) -> str:
    """What stands where the concept's name would."""
    return f"latent {entry.latent} (rejected)" if entry.correction == REJECTED else entry.text


def corrected(dictionary: ConceptDictionary, folder: Path) -> ConceptDictionary:
    """The dictionary with the names that people gave in the file of a run; nothing is written.

    Columns are added to the table: ``correction`` (renamed, merged, rejected, or empty) and
    ``tested_as``, the name under which its label was tested. A rejected concept is called by its
    latent, so that no name leads to it.
    """
    corrections = names(folder)
    table = dictionary.table
    if not corrections:
        return dictionary
    entries = [corrections.get(int(latent)) for latent in table[C.LATENT]]
    old = list(table[C.NAME])
    about = zip(entries, table[C.ABOUT], strict=True)
    return replace(
        dictionary,
        table=table.assign(
            **{
                C.NAME: [shown_name(e) if e else n for e, n in zip(entries, old, strict=True)],
                C.ABOUT: [shown_name(e) if e else n for e, n in about],
                C.CORRECTION: [e.correction if e else "" for e in entries],
                C.TESTED_AS: [n if e else None for e, n in zip(entries, old, strict=True)],
            }
        ),
    )
