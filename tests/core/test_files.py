"""Files are written whole or not at all, and damage is noticed on reading."""

import contextlib
import errno
import json
import math
import os
import re
import signal
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsae.core import files
from recsae.core.errors import ArtifactMismatch, InvalidInput, RecSAEError
from recsae.core.files import (
    digest_of,
    digest_of_file,
    digest_of_module,
    let_go,
    map_arrays,
    read_json,
    read_parquet,
    read_toml,
    remove,
    tensor_shapes,
    unpacks_to,
    write_arrays,
    write_atomically,
    write_json,
    write_parquet,
)

ARRAYS = {
    "states": np.arange(6, dtype=np.float32).reshape(2, 3),
    "ids": np.array([7, 8], dtype=np.int32),
    "wide": np.array([2**40], dtype=np.int64),
    "exact": np.array([0.1]),
    "none": np.zeros((0, 4), dtype=np.float32),
}


def left_behind(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_json_round_trip(tmp_path):
    value = {"b": [1, 2.5, None], "a": "Amélie"}
    write_json(tmp_path / "deep" / "x.json", value)
    assert read_json(tmp_path / "deep" / "x.json") == value
    assert left_behind(tmp_path / "deep") == ["x.json"]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_json_refuses_nan_and_keeps_the_old_file(tmp_path, bad):
    path = tmp_path / "x.json"
    write_json(path, [1])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"deep": [bad]})
    assert read_json(path) == [1]
    assert left_behind(tmp_path) == ["x.json"]


@pytest.mark.parametrize("content", [None, b"", b'{"a": ', b"\xff\xfe"])
def test_damaged_json(tmp_path, content):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactMismatch, match=r"x\.json is missing or damaged"):
        read_json(path)


def test_parquet_round_trip_keeps_lists(tmp_path):
    table = pd.DataFrame({"n": [1, 2], "items": [[3, 4], [5]], "text": ["a", "ä"]})
    write_parquet(tmp_path / "x.parquet", table)
    found = read_parquet(tmp_path / "x.parquet")
    assert found["text"].tolist() == ["a", "ä"]
    assert [list(x) for x in found["items"]] == [[3, 4], [5]]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EISDIR])
@pytest.mark.parametrize("read", [read_json, read_parquet, map_arrays])
def test_what_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch, number, read):
    """The system's own words, and no advice to make anew what may be whole."""
    write_json(tmp_path / "x.json", [1])

    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(RecSAEError) as told:
        read(tmp_path / "x.json")
    assert not isinstance(told.value, ArtifactMismatch)
    assert str(told.value) == f"{tmp_path / 'x.json'} cannot be read: {os.strerror(number)}."


def test_a_folder_is_whole_or_absent(tmp_path):
    """So that what was stopped halfway can be done again."""
    out = tmp_path / "out"

    def stopped() -> None:
        with files.whole_or_absent(out) as aside:
            write_json(aside / "x.json", [1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert left_behind(tmp_path) == []
    out.mkdir()
    with files.whole_or_absent(out) as aside:
        write_json(aside / "x.json", [1])
        assert left_behind(out) == []
    assert left_behind(tmp_path) == ["out"]
    assert left_behind(out) == ["x.json"]


def killed(work) -> None:
    """Do the work, which ends in a kill, in a process of its own."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_what_a_killed_process_left_of_a_folder_is_taken_away_by_the_next(tmp_path):
    out, other = tmp_path / "out", tmp_path / ".other.recsae.part"

    def half_done() -> None:
        with files.whole_or_absent(out) as aside:
            (aside / "half").mkdir()
            write_json(aside / "half/old.json", [1])
            os.kill(os.getpid(), signal.SIGKILL)

    other.mkdir()
    killed(half_done)
    assert left_behind(tmp_path) == [".other.recsae.part", ".out.recsae.part"]
    with files.whole_or_absent(out) as aside:
        write_json(aside / "new.json", [1])
    assert left_behind(tmp_path) == [".other.recsae.part", "out"]
    assert left_behind(out) == ["new.json"]


def test_a_folder_that_another_process_fills_is_left_to_it(tmp_path):
    out = tmp_path / "out"
    with files.whole_or_absent(out) as aside:
        write_json(aside / "x.json", [1])
        with pytest.raises(RecSAEError, match="Another recsae works"), files.whole_or_absent(out):
            raise AssertionError("two at once")
        assert left_behind(aside) == ["x.json"]
    assert left_behind(tmp_path) == ["out"]


def test_a_link_beside_a_folder_is_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("mine")
    (tmp_path / ".out.recsae.part").symlink_to(tmp_path / "mine")
    with pytest.raises(RecSAEError, match="is a link"), files.whole_or_absent(tmp_path / "out"):
        raise AssertionError("followed")
    assert (tmp_path / "mine/thesis.txt").read_text() == "mine"


def test_what_is_left_over_beside_one_file_is_that_files_own(tmp_path):
    names = [
        ".a.json.7.part",
        ".a.json.part",
        ".b.json.7.part",
        "a.json",
        ".tmpA1b2C3",
        ".[a].7.part",
    ]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".a.json.8.part").mkdir()
    files.remove_left_over(tmp_path, "a.json")
    assert left_behind(tmp_path) == sorted({*names, ".a.json.8.part"} - {".a.json.7.part"})
    files.remove_left_over(tmp_path, "[a]")
    files.remove_left_over(tmp_path)
    assert left_behind(tmp_path) == [".a.json.8.part", ".a.json.part", "a.json"]


def test_no_message_advises_to_delete():
    """A file that cannot be read today may be somebody's only copy."""
    folder = Path(files.__file__).parents[1]
    texts = [path.read_text() for path in folder.rglob("*.py")]
    assert len(texts) > 200
    assert not [t for t in texts if re.search(r"delete (it|\{|the (run|folder))|[;:] delete", t)]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_files_can_be_read_by_whom_the_umask_allows(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_json(tmp_path / "x.json", [1])
        write_parquet(tmp_path / "x.parquet", pd.DataFrame({"n": [1]}))
        write_arrays(tmp_path / "x.safetensors", ARRAYS)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}


@pytest.mark.parametrize("cut", [0, 4, 100])
def test_damaged_parquet(tmp_path, cut):
    path = tmp_path / "x.parquet"
    write_parquet(path, pd.DataFrame({"n": range(100)}))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ArtifactMismatch, match=r"x\.parquet is missing or damaged"):
        read_parquet(path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_leaves_nothing_and_says_so(tmp_path, number):
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(RecSAEError, match=r"The disk is full: .*x\.bin"):
        write_atomically(tmp_path / "x.bin", write)
    assert left_behind(tmp_path) == []


def test_full_disk_inside_each_writer(tmp_path, monkeypatch):
    """The same for text, tables and arrays, whose libraries raise errors of their own."""
    monkeypatch.setattr(Path, "write_text", full_disk)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", full_disk)
    monkeypatch.setattr("safetensors.numpy.save_file", full_disk_as_safetensors_says_it)
    for write in (
        lambda: write_json(tmp_path / "x", [1]),
        lambda: write_parquet(tmp_path / "x", pd.DataFrame({"n": [1]})),
        lambda: write_arrays(tmp_path / "x", ARRAYS),
    ):
        with pytest.raises(RecSAEError, match="The disk is full"):
            write()
    assert left_behind(tmp_path) == []


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_disk_as_safetensors_says_it(*_: object) -> None:
    from safetensors import SafetensorError

    raise SafetensorError(
        "Error while serializing: I/O error: No space left on device (os error 28)"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_full_device(tmp_path):
    with pytest.raises(RecSAEError, match="The disk is full"):
        write_atomically(tmp_path / "x", lambda _: Path("/dev/full").write_text("x" * 9999))
    assert left_behind(tmp_path) == []


def test_disk_full_at_fsync_keeps_the_old_file(tmp_path, monkeypatch):
    write_json(tmp_path / "x.json", [1])
    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(RecSAEError, match="The disk is full"):
        write_json(tmp_path / "x.json", [2])
    assert read_json(tmp_path / "x.json") == [1]
    assert left_behind(tmp_path) == ["x.json"]


def test_stopped_by_hand_leaves_nothing(tmp_path):
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x.bin", write)
    assert left_behind(tmp_path) == []


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_atomically(tmp_path / "x", lambda _: 1 // 0)
    assert left_behind(tmp_path) == []


def test_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refused(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(RecSAEError, match=r"x\.json cannot be written: Permission denied"):
        write_atomically(tmp_path / "x.json", refused)


@pytest.mark.parametrize("name", ["file/x.json", "file/deeper/x.json"])
def test_folder_that_is_a_file(tmp_path, name):
    (tmp_path / "file").write_text("I am no folder")
    with pytest.raises(RecSAEError, match="cannot be written"):
        write_json(tmp_path / name, [1])
    assert left_behind(tmp_path) == ["file"]


def test_arrays_round_trip_memory_mapped(tmp_path):
    write_arrays(tmp_path / "x.safetensors", ARRAYS, {"made": "here"})
    found = map_arrays(tmp_path / "x.safetensors")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
        assert array.size == 0 or isinstance(found[name], np.memmap)
        assert not array.size or not found[name].flags.writeable


@pytest.mark.parametrize(
    ("shape", "offsets"),
    [
        ([10**12], [0, 24]),
        ([2, 4], [0, 24]),
        ([-2, -3], [0, 24]),
        ([2, 3], [-8, 16]),
        ([0, 3], [0, 24]),
        ([1e999], [0, 24]),
        ([], [0, 24]),
    ],
)
def test_arrays_are_as_large_as_they_say(tmp_path, shape, offsets):
    header = json.dumps({"x": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(24))
    with pytest.raises(ArtifactMismatch, match=r"x\.safetensors is missing or damaged"):
        map_arrays(path)


def test_a_header_that_nests_without_end_is_damaged(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes((100_000).to_bytes(8, "little") + b"[" * 100_000)
    with pytest.raises(ArtifactMismatch, match="missing or damaged"):
        map_arrays(path)


def test_shapes_are_read_by_the_header_alone(tmp_path):
    write_arrays(tmp_path / "x.safetensors", ARRAYS)
    shapes = {"states": (2, 3), "ids": (2,), "wide": (1,), "exact": (1,), "none": (0, 4)}
    assert tensor_shapes(tmp_path / "x.safetensors") == shapes


def archive(path, content, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        file.writestr("x/data.pkl", content)
    return path


def test_what_an_archive_unpacks_to_is_known_by_its_directory(tmp_path):
    small = archive(tmp_path / "a", bytes(10**7), compression=zipfile.ZIP_DEFLATED)
    assert small.stat().st_size < 10**5
    assert unpacks_to(small) == 10**7
    assert unpacks_to(archive(tmp_path / "b", b"123")) == 3
    (tmp_path / "c").write_bytes(b"PK\3\4...")
    assert unpacks_to(tmp_path / "c") is None


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "\udcff", ""])
def test_json_of_any_kind_is_damaged_or_read(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ArtifactMismatch, match=r"x\.json is missing or damaged"):
        read_json(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = ", "Invalid value"),
        ("a = " + "[" * 100_000, "recursion"),
        ("a = " + "1" * 5000, "Exceeds the limit"),
        ("\udcff", "utf-8"),
    ],
)
def test_toml_that_cannot_be_read_is_one_sentence(tmp_path, text, why):
    path = tmp_path / "x.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidInput, match=rf"x\.toml cannot be read: .*{why}") as error:
        read_toml(path)
    assert "\n" not in str(error.value)


def test_what_never_ends_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(InvalidInput, match="it is no file"):
            read_toml(path)
        with pytest.raises(ArtifactMismatch, match="it is no file"):
            read_json(path)
    with pytest.raises(InvalidInput, match="Is a directory"):
        read_toml(tmp_path)
    with pytest.raises(InvalidInput, match="No such file"):
        read_toml(tmp_path / "none")


def test_a_table_that_unpacks_to_gigabytes_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    part = pa.table({"x": pa.array(np.zeros(100_000)), "y": pa.array(np.zeros(100_000))})
    with pq.ParquetWriter(tmp_path / "x.parquet", part.schema, compression="zstd") as writer:
        for _ in range(10):
            writer.write_table(part)
    assert len(read_parquet(tmp_path / "x.parquet")) == 10**6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "MAX_CELLS", 2 * 10**6 - 1)
        with pytest.raises(ArtifactMismatch, match=r"x\.parquet is missing or damaged"):
            read_parquet(tmp_path / "x.parquet")


def test_arrays_of_any_memory_order(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_arrays(tmp_path / "x", {"turned": array.T, "strided": array[:, ::2]})
    found = map_arrays(tmp_path / "x")
    np.testing.assert_array_equal(found["turned"], array.T)
    np.testing.assert_array_equal(found["strided"], array[:, ::2])


@given(cut=st.integers(0, 10_000), longer=st.booleans())
def test_file_of_another_length_is_noticed(tmp_path_factory, cut, longer):
    path = tmp_path_factory.mktemp("arrays") / "x.safetensors"
    write_arrays(path, ARRAYS)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" if longer else whole[: cut % len(whole)])
    with pytest.raises(ArtifactMismatch, match=r"x\.safetensors is missing or damaged"):
        map_arrays(path)


@given(where=st.integers(0, 10_000), value=st.integers(0, 255))
def test_damaged_header_is_noticed_or_harmless(tmp_path_factory, where, value):
    """Whatever byte of the header is changed, there is one kind of error and no other."""
    path = tmp_path_factory.mktemp("arrays") / "x.safetensors"
    write_arrays(path, ARRAYS)
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[:8], "little")
    content[where % (8 + size)] = value
    path.write_bytes(content)
    with contextlib.suppress(ArtifactMismatch):
        map_arrays(path)


@pytest.mark.parametrize("header", [b"[]", b'{"a": 1}', b'{"a": {"dtype": "F8"}}', b"\xff" * 8])
def test_header_of_another_shape(tmp_path, header):
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ArtifactMismatch):
        map_arrays(path)


def test_digests(tmp_path):
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 1.5})
    assert digest_of(Path("x")) == digest_of("x")
    (tmp_path / "abc").write_bytes(b"abc")  # the first vector of FIPS 180
    assert digest_of_file(tmp_path / "abc").startswith("ba7816bf8f01cfea")
    assert json.loads(json.dumps(digest_of([]))) == digest_of([])


# -- digests of modules ---------------------------------------------------------------------------
def module(**tensors):
    made = torch.nn.Module()
    for name, value in tensors.items():
        made.register_buffer(name, value)
    return made


def test_module_digest_is_of_names_types_shapes_and_values():
    zeros = torch.zeros(2, 3)
    digests = [
        digest_of_module(module(**tensors))
        for tensors in (
            {"a": zeros},
            {"b": zeros},
            {"a": zeros.T},
            {"a": zeros.int()},
            {"a": zeros.bfloat16()},
            {"a": zeros + 1},
            {"a": zeros, "b": torch.tensor(True)},
            {"a": zeros, "b": torch.zeros(0)},
            {},
        )
    ]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 for digest in digests)


def test_module_digest_is_not_of_memory_layout_or_order():
    a = torch.arange(6.0).reshape(2, 3)
    first = module(a=a, b=torch.ones(1))
    second = module(b=torch.ones(1, requires_grad=True), a=a.T.contiguous().T)
    assert digest_of_module(first) == digest_of_module(second)


def test_a_file_is_removed_or_the_reason_is_said(tmp_path, monkeypatch):
    remove(tmp_path / "none")
    path = tmp_path / "one"
    path.write_text("1")

    def forbidden(self):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "unlink", forbidden)
        with pytest.raises(RecSAEError, match="one cannot be removed: Permission denied"):
            remove(path)
    remove(path)
    assert not path.exists()


def test_what_was_let_go_is_read_again(tmp_path):
    write_arrays(tmp_path / "a.safetensors", {"x": np.arange(20_000.0)})
    mapped = map_arrays(tmp_path / "a.safetensors")["x"]
    before, in_memory = mapped.sum(), np.ones(3)
    let_go([mapped, in_memory])
    assert mapped.sum() == before == 199_990_000
    assert in_memory.tolist() == [1, 1, 1]
