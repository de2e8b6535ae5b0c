"""`Store.backup` and `alexpy backup`."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import alexpy

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine


def test_a_backup_holds_the_moment_of_the_call(store: alexpy.Store, tmp_path: Path) -> None:
    store.put_many(range(1000), [b"old"] * 1000)
    seen: list[tuple[int, int]] = []
    store.backup(tmp_path / "copy", lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    store.clear()
    with alexpy.open(tmp_path / "copy", create=False) as copy:
        assert dict(copy) == dict.fromkeys(range(1000), b"old")
        assert copy.verify().ok
        copy[5] = b"new"
    assert len(store) == 0


def test_an_existing_place_is_refused(store: alexpy.Store, store_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not empty"):
        store.backup(tmp_path)
    with pytest.raises(ValueError, match="inside"):
        store.backup(store_path / "copy")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        store.backup(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    store.backup(tmp_path / "empty")
    with alexpy.open(tmp_path / "empty", read_only=True) as copy:
        assert len(copy) == 0


_KILLED = """
import os, sys, alexpy
with alexpy.open(sys.argv[1], segment_bytes=1 << 16) as store:
    for start in range(0, 2000, 100):
        store.put_many(range(start, start + 100), [b"x" * 200] * 100)
    calls = 0
    def die(done, total):
        global calls
        calls += 1
        if calls == int(sys.argv[3]):
            os._exit(9)
    store.backup(sys.argv[2], die)
    print(calls)
"""


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_process_that_dies_in_a_backup_leaves_nothing_that_opens(
    store_path: Path, tmp_path: Path, call: int
) -> None:
    copy = tmp_path / "copy"
    done = subprocess.run([sys.executable, "-c", _KILLED, store_path, copy, str(call)], check=False)
    assert done.returncode == 9
    assert not copy.exists()
    leftover = tmp_path / "copy.unfinished"
    assert list(leftover.iterdir())
    for read_only in (True, False):
        with pytest.raises(alexpy.FormatError):
            alexpy.open(leftover, read_only=read_only)
    with alexpy.open(store_path) as store:
        with pytest.raises(ValueError, match="remove it"):
            store.backup(copy)
        for path in leftover.iterdir():
            path.unlink()
        leftover.rmdir()
        store.backup(copy)
        with alexpy.open(copy) as opened:
            assert len(opened) == len(store) == 2000


def test_the_command_backs_up_a_store_in_use(run: CommandLine, store_path: Path, tmp_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store[1] = b"one"
        run("backup", store_path, tmp_path / "copy").succeeds()
        store[2] = b"two"
    assert run("get", tmp_path / "copy", 1).succeeds().out == b"one"
    run("get", tmp_path / "copy", 2).fails(1)
    run("verify", tmp_path / "copy").succeeds()
    run("backup", store_path, tmp_path / "copy").fails(2, "not empty")
    run("backup", tmp_path / "nothing", tmp_path / "x").fails(3)
    assert os.listdir(tmp_path).count("copy") == 1  # noqa: PTH208


@pytest.mark.parametrize("call", ["backup", "repair"])
def test_a_place_where_nothing_can_be_made_is_named_as_it_was_given(
    store: alexpy.Store, store_path: Path, call: str
) -> None:
    # Nobody can make a directory there, root included.
    dest = "/proc/copy"
    if call == "repair":
        store.close()
    with pytest.raises(OSError, match="cannot create") as raised:
        store.backup(dest) if call == "backup" else alexpy.repair(store_path, dest)
    assert raised.value.filename == "/proc/copy"
