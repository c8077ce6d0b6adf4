"""Files that are written whole or not at all, and whose damage is noticed on reading."""

from __future__ import annotations

import contextlib
import errno
import gc
import glob
import hashlib
import json
import math
import mmap
import os
import shutil
import struct
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from recsae.core.errors import ArtifactMismatch, InvalidInput, RecSAEError
from recsae.core.locks import alone_in

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from numpy.typing import NDArray


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then put it in place in one step.

    Raises
    ------
    RecSAEError
        The disk is full or the folder cannot be written; nothing half-written is left.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.touch()
        mode = aside.stat().st_mode  # what the umask allows: some writers keep files to themselves
        write(aside)
        aside.chmod(mode)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException as error:  # Ctrl-C too leaves nothing
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        if _disk_is_full(error):
            raise RecSAEError(
                f"The disk is full: {path} could not be written. Free some space and run the same "
                "command again; finished stages are kept."
            ) from error
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
            raise RecSAEError(f"{path} cannot be written: {error.strerror}.") from error
        raise


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Let the collector of garbage rest while very many objects are made that all stay.

    It would look through all of them again and again: a third of the time that a large
    ``report.json`` takes to read.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def remove(path: Path) -> None:
    """Remove a file if it is there.

    Raises
    ------
    RecSAEError
        It cannot be removed.
    """
    if path.exists():
        try:
            path.unlink()
        except OSError as error:
            raise RecSAEError(f"{path} cannot be removed: {error.strerror}.") from error


def remove_left_over(folder: Path, name: str | None = None) -> None:
    """Take away what writers that were killed left half-written beside a file of this name.

    Without a name all such files of a folder that is recsae's own, and those of safetensors, whose
    names are random. Nobody else may be writing there, see :func:`recsae.core.locks.alone_in`.
    """
    beside = "*" if name is None else glob.escape(name)
    random = folder.glob(".tmp??????") if name is None else ()
    for left in [*folder.glob(f".{beside}.[0-9]*.part"), *random]:
        if left.is_file():
            with contextlib.suppress(OSError):
                left.unlink()


@contextlib.contextmanager
def whole_or_absent(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` to fill, which takes its place, or that of an empty one, at the
    end; after an error nothing of it is left.

    What a process that was killed left of it is taken away by the next that fills the same folder.
    """
    aside = folder.with_name(f".{folder.name}.recsae.part")
    if aside.is_symlink():
        raise RecSAEError(f"{aside} is a link, which recsae did not make: {folder} is not written.")
    with alone_in(aside):
        for left in aside.iterdir() if aside.is_dir() else ():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        try:
            yield aside
            aside.replace(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def absolute(path: Path | str) -> Path:
    """The path from the root, links followed as far as they lead; InvalidInput if it is none."""
    try:
        return Path(os.path.realpath(path))  # pathlib's raises at a link to itself
    except ValueError as error:
        raise InvalidInput(f"{str(path)!r} is no path of a file: {error}.") from error


def lies_within(folder: Path, name: str) -> bool:
    """Whether a name is of a file in a folder or deeper, links followed.

    >>> [lies_within(Path("run"), name) for name in ("sae/cfg.json", "../x", "/etc/x", "a/../../x")]
    [True, False, False, False]
    """
    inside = absolute(folder)
    path = absolute(inside / name)
    return path != inside and path.is_relative_to(inside)


def _disk_is_full(error: BaseException | None) -> bool:
    text = str(error)
    number = getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in text


def plain(value: Any) -> Any:
    """The same figures with None where there is none, in lists and dicts of any depth.

    >>> plain({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    """Write JSON; NaN is refused."""
    text = json.dumps(value, indent=1, allow_nan=False, sort_keys=True)
    write_atomically(path, lambda p: p.write_text(text + "\n", encoding="utf-8"))


UNREADABLE = (OSError, ValueError, RecursionError)
"""What reading a file of text raises: it is not there, is something else, or nests too deeply."""


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """The text of a file; ValueError for a pipe, which would wait, or a device, which never ends.

    Raises
    ------
    OSError, ValueError
        It cannot be read, or is no text.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError("it is no file")
    return path.read_text(encoding=encoding)


def cannot_be_read(path: Path, error: Exception) -> RecSAEError:
    """The error to raise where a file cannot be read.

    Only what is missing or has other content is an ArtifactMismatch: a file that this user may not
    read, or a disk that fails, says nothing of the content.
    """
    if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
        return RecSAEError(f"{path} cannot be read: {error.strerror}.")
    what = " ".join(str(error).split()) or type(error).__name__
    return ArtifactMismatch(
        f"{path} is missing or damaged ({what}): run the same `recsae run` again, which makes it "
        "anew."
    )


def read_json(path: Path) -> Any:
    """Read JSON; ArtifactMismatch if it is missing or damaged."""
    try:
        return json.loads(read_text(path))
    except UNREADABLE as error:
        raise cannot_be_read(path, error) from error


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file that people write; InvalidInput if it cannot be read."""
    try:
        return tomllib.loads(read_text(path))
    except UNREADABLE as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"{path} cannot be read: {why or error}.") from error


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table."""
    write_atomically(path, lambda p: table.to_parquet(p, index=False))


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table; ArtifactMismatch if it is missing or damaged."""
    import pandas as pd

    try:
        with path.open("rb") as file:
            _check_table(file)
            return pd.read_parquet(file)
    except Exception as error:  # pyarrow raises its own kinds
        raise cannot_be_read(path, error) from error


MAX_CELLS = 500_000_000
"""Of one table, 4 GB as numbers: the examples of a hundred thousand latents are a tenth."""


def _check_table(file: BinaryIO) -> None:
    """Refuse a table of so many cells, which can be a few bytes as they are packed."""
    from pyarrow.parquet import read_metadata

    known = read_metadata(file)
    if known.num_rows * known.num_columns > MAX_CELLS:
        raise ValueError("too large")


def write_arrays(
    path: Path, arrays: dict[str, NDArray[Any]], metadata: dict[str, str] | None = None
) -> None:
    """Write NumPy arrays as safetensors."""
    import numpy as np
    from safetensors.numpy import save_file

    ready = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    write_atomically(path, lambda p: save_file(ready, p, metadata))


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a safetensors file, memory-mapped: nothing is read before it is used."""
    import numpy as np

    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, path.stat().st_size)))
        end = max(
            (v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"), default=0
        )
        if path.stat().st_size != 8 + size + end:
            raise ValueError("cut short")
        arrays = {}
        for key, spec in header.items():
            if key == "__metadata__":
                continue
            kind, shape = np.dtype(_DTYPES[spec["dtype"]]), tuple(spec["shape"])
            first, last = spec["data_offsets"]
            if min(first, *shape, 0) < 0 or math.prod(shape) * kind.itemsize != last - first:
                raise ValueError(f"{key} is not as large as it says")
            place = 8 + size + first
            arrays[key] = (
                np.zeros(shape, kind)
                if 0 in shape
                else np.memmap(path, kind, mode="r", offset=place, shape=shape)
            )
        return arrays
    except Exception as error:  # a damaged header can be anything
        raise cannot_be_read(path, error) from error


def let_go(arrays: Iterable[NDArray[Any]]) -> None:
    """Drop what was read of memory-mapped arrays; it is read again where it is used again."""
    for array in arrays:
        if isinstance(array.base, mmap.mmap) and hasattr(array.base, "madvise"):
            array.base.madvise(mmap.MADV_DONTNEED)


_DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "|u1"}
"""NumPy's names of the types in a safetensors header."""


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a safetensors file, by its header alone.

    The header is checked against the file: what is loaded afterwards is no larger than it.

    Raises
    ------
    OSError, safetensors.SafetensorError
        There is no such file, or it is another or cut short.
    """
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def unpacks_to(path: Path) -> int | None:
    """Bytes that a zip archive says it unpacks to, by its directory alone; None if it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, struct.error):
        return None


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_digest(path: Path, digest: str) -> bool:
    """Whether a file is there and has this SHA-256; RecSAEError if it may not be read."""
    try:
        return path.is_file() and digest_of_file(path) == digest
    except FileNotFoundError:  # taken away meanwhile
        return False
    except OSError as error:
        raise cannot_be_read(path, error) from error


def digest_of_module(module: torch.nn.Module) -> str:
    """SHA-256 of a module's parameters and buffers: names, types, shapes and bytes."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(raw.numpy().tobytes())
    return digest.hexdigest()
