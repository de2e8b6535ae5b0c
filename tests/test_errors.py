"""Which exception each failure raises, with which message; a refused call changes nothing."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (alexpy.AlexError, (Exception,)),
        (alexpy.CorruptionError, (alexpy.AlexError,)),
        (alexpy.LockedError, (alexpy.AlexError, BlockingIOError)),
        (alexpy.ReadOnlyError, (alexpy.AlexError,)),
        (alexpy.ClosedError, (alexpy.AlexError, ValueError)),
        (alexpy.PoisonedError, (alexpy.AlexError,)),
        (alexpy.ForkedError, (alexpy.AlexError,)),
        (alexpy.FormatError, (alexpy.AlexError,)),
    ],
)
def test_the_exceptions_have_the_bases_that_callers_catch(error: type, bases: tuple[type, ...]) -> None:
    assert error.__bases__ == bases
    assert error.__module__ == "alexpy.errors"


@pytest.mark.parametrize(
    ("error", "attributes"),
    [
        (alexpy.AlexError("what"), {}),
        (
            alexpy.CorruptionError("what", "file", 64, "a", "b"),
            {"path": "file", "offset": 64, "expected": "a", "found": "b"},
        ),
        (alexpy.LockedError("what", "dir", 4711), {"path": "dir", "pid": 4711, "errno": errno.EAGAIN}),
        (alexpy.ClosedError("what"), {}),
    ],
)
def test_exceptions_pickle_with_their_attributes(error: Exception, attributes: dict[str, Any]) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    for exception in (error, copy):
        assert str(exception) == "what"
        assert {name: getattr(exception, name) for name in attributes} == attributes


@pytest.mark.parametrize("options", [{"read_only": True}, {"create": False}], ids=["read_only", "create"])
@pytest.mark.parametrize("there", [False, True], ids=["missing", "empty directory"])
def test_a_missing_store_is_file_not_found_if_none_may_be_made(
    store_path: Path, options: dict[str, bool], there: bool
) -> None:  # fmt: skip
    if there:
        store_path.mkdir()
    with pytest.raises(FileNotFoundError, match="create=True") as raised:
        alexpy.open(store_path, **options)
    assert raised.value.errno == errno.ENOENT
    assert raised.value.filename == str(store_path)
    assert not there or list(store_path.iterdir()) == []


def test_a_file_is_not_a_store_directory(store_path: Path) -> None:
    store_path.write_bytes(b"content")
    for read_only in (False, True):
        with pytest.raises(NotADirectoryError) as raised:
            alexpy.open(store_path, read_only=read_only)
        assert raised.value.errno == errno.ENOTDIR
    with pytest.raises(NotADirectoryError):
        alexpy.open(store_path / "below")
    assert store_path.read_bytes() == b"content"


def test_a_directory_with_other_files_is_a_format_error_and_stays_untouched(store_path: Path) -> None:
    store_path.mkdir()
    (store_path / "notes.txt").write_text("mine")
    for read_only in (False, True):
        with pytest.raises(alexpy.FormatError):
            alexpy.open(store_path, read_only=read_only)
    assert [path.name for path in store_path.iterdir()] == ["notes.txt"]
    assert (store_path / "notes.txt").read_text() == "mine"


def test_a_second_writer_is_locked_out_and_told_by_whom(store: alexpy.Store) -> None:
    store[1] = b"one"
    with pytest.raises(alexpy.LockedError) as raised:
        alexpy.open(store.path)
    assert str(store.path) in str(raised.value)
    assert "read_only=True" in str(raised.value)
    assert isinstance(raised.value, BlockingIOError)
    program = (
        "import alexpy, sys\n"
        "try: alexpy.open(sys.argv[1])\n"
        "except alexpy.LockedError as error: print(error.pid)\n"
    )
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(store.path)],
        capture_output=True,
        text=True,
        check=True,
    )
    import os  # noqa: PLC0415

    assert output.stdout.strip() == str(os.getpid())
    assert store[1] == b"one"


WRITES: dict[str, Callable[[alexpy.Store], object]] = {
    "setitem": lambda s: s.__setitem__(1, b"new"),
    "put": lambda s: s.put(1, b"new"),
    "delitem": lambda s: s.__delitem__(1),
    "delete": lambda s: s.delete(1),
    "delete of a missing key": lambda s: s.delete(99),
    "pop": lambda s: s.pop(1),
    "pop of a missing key": lambda s: s.pop(99, None),
    "popitem": lambda s: s.popitem(),
    "setdefault": lambda s: s.setdefault(2, b"new"),
    "put_if_absent": lambda s: s.put_if_absent(2, b"new"),
    "compare_and_set": lambda s: s.compare_and_set(1, b"one", b"new"),
    "update": lambda s: s.update({2: b"new"}),
    "put_many": lambda s: s.put_many([1, 2], [b"new", b"new"]),
    "put_many of nothing": lambda s: s.put_many([], []),
    "delete_many": lambda s: s.delete_many([1]),
    "delete_range": lambda s: s.delete_range(0, 5),
    "delete_range of nothing": lambda s: s.delete_range(5, 0),
    "clear": lambda s: s.clear(),
    "batch": lambda s: s.batch(),
}

READS: dict[str, Callable[[alexpy.Store], object]] = {
    "getitem": lambda s: s[1],
    "contains": lambda s: 1 in s,
    "get": lambda s: s.get(1),
    "get_view": lambda s: s.get_view(1),
    "len": len,
    "iter": list,
    "reversed": lambda s: list(reversed(s)),
    "keys": lambda s: list(s.keys()),
    "values": lambda s: list(s.values()),
    "items": lambda s: list(s.items()),
    "first": lambda s: s.first(),
    "last": lambda s: s.last(),
    "floor": lambda s: s.floor(1),
    "ceiling": lambda s: s.ceiling(1),
    "lower": lambda s: s.lower(2),
    "higher": lambda s: s.higher(0),
    "get_many": lambda s: s.get_many([1]),
    "get_many of nothing": lambda s: s.get_many([]),
    "contains_many": lambda s: s.contains_many([1]),
    "contains_many of nothing": lambda s: s.contains_many([]),
    "scan": lambda s: list(s.scan()),
    "scan of nothing": lambda s: s.scan(5, 1),
    "scan_keys": lambda s: s.scan_keys(),
    "scan_values": lambda s: s.scan_values(),
    "count": lambda s: s.count(),
    "count of nothing": lambda s: s.count(5, 1),
    "stats": lambda s: s.stats(),
    "equality": lambda s: s == {1: b"one"},
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_every_write_on_a_read_only_handle_is_refused(
    store_path: Path, write: Callable[[alexpy.Store], object]
) -> None:
    with alexpy.open(store_path) as store:
        store[1] = b"one"
    with alexpy.open(store_path, read_only=True) as reader:
        with pytest.raises(alexpy.ReadOnlyError, match="opened read-only"):
            write(reader)
        for read in READS.values():
            read(reader)
        reader.flush()
    with alexpy.open(store_path) as store:
        assert dict(store) == {1: b"one"}


@pytest.mark.parametrize(
    "call", [*WRITES.values(), *READS.values(), alexpy.Store.flush], ids=[*WRITES, *READS, "flush"]
)
@pytest.mark.parametrize("read_only", [False, True], ids=["writer", "reader"])
def test_every_call_on_a_closed_store_is_refused(
    store_path: Path, call: Callable[[alexpy.Store], object], read_only: bool
) -> None:  # fmt: skip
    with alexpy.open(store_path) as store:
        store[1] = b"one"
    store = alexpy.open(store_path, read_only=read_only)
    store.close()
    with pytest.raises(alexpy.ClosedError, match="is closed"):
        call(store)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"durability": "none"}, 'durability must be "sync" or "interval" or "os"'),
        ({"sync_interval_ms": 0}, "sync_interval_ms must be"),
        ({"segment_bytes": 10}, "segment_bytes must be"),
        ({"read_mode": "magic"}, "read_mode must be"),
    ],
    ids=lambda option: next(iter(option)) if isinstance(option, dict) else "",
)
def test_an_impossible_option_is_a_value_error_and_makes_no_store(
    store_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        alexpy.open(store_path, **options)
    assert not store_path.exists()


@pytest.mark.parametrize(
    "arguments",
    [(), ("path",), ("path", alexpy.Config())],
    ids=["nothing", "a path", "a path and a config"],
)
def test_the_class_of_a_store_says_what_opens_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[Any, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match=r"^alexpy.open\(path\) opens a store"):
        alexpy.Store(*arguments)
    with pytest.raises(TypeError, match=r"^alexpy.open\(path\) opens a store"):
        alexpy.Store(*arguments, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_the_native_class_checks_its_options_too(store_path: Path) -> None:
    from alexpy import _alexpy  # noqa: PLC0415

    config = alexpy.Config()
    object.__setattr__(config, "durability", "sometimes")
    with pytest.raises(
        ValueError, match=r'durability must be one of "sync", "interval", "os", not "sometimes"'
    ):
        _alexpy.Store(store_path, config, read_only=False, create=True, parents=False)
    assert not store_path.exists()


def test_damage_is_a_corruption_error_that_names_the_place(store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store.put_many(range(100), [b"payload" * 20] * 100)
    segment = max(store_path.iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(segment.read_bytes())
    at = content.rindex(b"payload")
    content[at] ^= 1
    segment.write_bytes(content)
    with pytest.raises(alexpy.CorruptionError) as raised, alexpy.open(store_path) as store:
        dict(store)
    error = raised.value
    assert error.path == str(segment)
    assert isinstance(error.offset, int)
    assert 0 < error.offset <= at
    assert error.expected
    assert error.found
    assert str(segment) in str(error)


RECORD_HEADER = 24
DAMAGED = 6000  # Beyond the first piece of a read of many keys.


def _reads() -> dict[str, Callable[[alexpy.Store], object]]:
    keys = range(10_000)
    return {
        "get": lambda s: s.get(DAMAGED),
        "get_view": lambda s: s.get_view(DAMAGED),
        "get_many": lambda s: s.get_many(keys),
        "get_many of few": lambda s: s.get_many([1, DAMAGED, 2]),
        "get_array": lambda s: s.get_array(keys, "V11"),
        "get_array into out": lambda s: s.get_array(keys, "u1", 11, out=np.empty((len(keys), 11), np.uint8)),
        "get_buffers": lambda s: s.get_buffers(keys),
        "scan": lambda s: list(s.scan()),
        "scan downwards": lambda s: list(s.scan(reverse=True)),
        "values": lambda s: list(s.values()),
        "scan_batches": lambda s: list(s.scan_batches()),
        "scan_batches of few rows": lambda s: list(s.scan_batches(rows=70)),
        "pop": lambda s: s.pop(DAMAGED),
        "floor_item": lambda s: s.floor(DAMAGED),
    }


@pytest.mark.parametrize("batch", [False, True], ids=["put alone", "put in a batch"])
@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
def test_a_damaged_value_is_named_by_its_own_record_and_key_however_it_is_read(
    store_path: Path, read_mode: Literal["mmap", "pread"], batch: bool
) -> None:
    def value(key: int) -> bytes:
        return b"value %05d" % key

    with alexpy.open(store_path, background=False) as store:
        if batch:
            store.put_many(range(10_000), [value(key) for key in range(10_000)])
        else:
            for key in range(10_000):
                store.put(key, value(key))
    segment = store_path / "seg-00000001.log"
    with alexpy.open(store_path, read_mode=read_mode, background=False) as store:
        at = segment.read_bytes().index(value(DAMAGED))
        with segment.open("r+b") as file:
            file.seek(at)
            file.write(b"V")
        for name, read in _reads().items():
            with pytest.raises(alexpy.CorruptionError) as raised:
                read(store)
            error = raised.value
            assert (error.path, error.offset) == (str(segment), at - RECORD_HEADER), name
            assert f"key {DAMAGED}" in str(error), name
            assert 'mode="salvage"' in str(error), name
            assert "point_in_time" not in str(error), name
        errors = store.verify().errors
    assert [error.offset for error in errors if isinstance(error, alexpy.CorruptionError)] == [
        at - RECORD_HEADER
    ]
    with pytest.raises(alexpy.CorruptionError) as raised:
        alexpy.open(store_path, read_mode=read_mode, background=False).close()
    assert raised.value.offset == at - RECORD_HEADER


def test_an_unwritable_place_is_an_os_error_with_errno_and_name(tmp_path: Path) -> None:
    blocked = tmp_path / ("long" * 100)
    with pytest.raises(OSError, match=r"cannot (open|create)") as raised:
        alexpy.open(blocked)
    assert raised.value.errno == errno.ENAMETOOLONG
    assert raised.value.filename == str(blocked)


def test_a_full_disk_is_an_os_error_and_the_store_lives_on(store_path: Path) -> None:
    program = """
import errno, resource, signal, sys
import alexpy
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with alexpy.open(sys.argv[1], segment_bytes=1 << 20, background=False) as store:
    store[1] = b"kept"
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    try:
        store[2] = bytes(8 << 20)
    except OSError as error:
        assert error.errno in (errno.EFBIG, errno.ENOSPC), error
        assert not isinstance(error, alexpy.AlexError)
    else:
        sys.exit("no error")
    assert dict(store) == {1: b"kept"}
    store[3] = b"more"
with alexpy.open(sys.argv[1]) as store:
    assert dict(store) == {1: b"kept", 3: b"more"}
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(store_path)], check=True)


def test_a_recovery_can_be_interrupted(store_path: Path) -> None:
    with alexpy.open(store_path, durability="os") as store:
        for _ in range(4):
            store.put_many(range(100_000), [b"x" * 300] * 100_000)
    # Without an image the whole log is read.
    for image in store_path.glob("img-*.idx"):
        image.unlink()
    program = """
import signal, sys
import alexpy
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.001)
try:
    alexpy.open(sys.argv[1])
except KeyboardInterrupt:
    with alexpy.open(sys.argv[1]) as store:
        print(len(store))
"""
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(store_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stdout == "100000\n"
