"""A store is identified by its directory, not by its path: from Python."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import alexpy

if TYPE_CHECKING:
    from pathlib import Path


def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_lock_that_is_a_symlink_is_refused_and_its_target_left_alone(tmp_path: Path) -> None:
    victim = tmp_path / "authorized_keys"
    victim.write_text("ssh-ed25519 AAAA... precious\n" * 10)
    for path in (tmp_path / "empty", tmp_path / "store"):
        path.mkdir()
        if path.name == "store":
            with alexpy.open(path) as store:
                store[1] = b"one"
            (path / "LOCK").unlink()
        (path / "LOCK").symlink_to(victim)
        with pytest.raises(alexpy.FormatError, match="LOCK is a symbolic link"):
            alexpy.open(path)
    assert victim.read_text() == "ssh-ed25519 AAAA... precious\n" * 10
    (tmp_path / "empty" / "LOCK").unlink()
    (tmp_path / "empty" / "LOCK").symlink_to(tmp_path / "created_elsewhere")
    with pytest.raises(alexpy.FormatError):
        alexpy.open(tmp_path / "empty")
    assert not (tmp_path / "created_elsewhere").exists()


def test_a_lock_that_was_removed_lets_no_second_writer_in(store_path: Path) -> None:
    first = alexpy.open(store_path)
    first[1] = b"one"
    (store_path / "LOCK").unlink()
    with pytest.raises(alexpy.LockedError, match="this very process") as raised:
        alexpy.open(store_path)
    assert raised.value.pid == os.getpid()
    with pytest.raises(alexpy.LockedError):
        alexpy.repair(store_path, store_path.with_suffix(".new"))
    second = [sys.executable, "-c", f"import alexpy; alexpy.open({os.fspath(store_path)!r})"]
    refused = subprocess.run(second, capture_output=True, text=True, check=False, timeout=60)
    assert "LockedError" in refused.stderr
    first[2] = b"two"
    with pytest.raises(OSError, match="removed, renamed or replaced"):
        first.flush()
    with pytest.raises(OSError, match="removed, renamed or replaced") as moved:
        first.close()
    assert moved.value.errno == errno.ESTALE
    assert moved.value.filename == os.fspath(store_path / "LOCK")
    with alexpy.open(store_path) as again:
        assert dict(again) == {1: b"one", 2: b"two"}


def test_the_handle_of_a_store_that_was_renamed_raises_and_the_new_store_stays_whole(tmp_path: Path) -> None:
    path, moved = tmp_path / "store", tmp_path / "store.old"
    first = alexpy.open(path)
    first[1] = b"first store"
    path.rename(moved)
    with alexpy.open(path) as second:
        second.put_many(range(1000), [b"second"] * 1000)
    first[2] = b"more"
    with pytest.raises(OSError, match="removed, renamed or replaced"):
        first.flush()
    with pytest.raises(OSError, match="removed, renamed or replaced") as raised:
        first.close()
    assert raised.value.errno == errno.ESTALE
    with alexpy.open(path) as second:
        assert second.verify().ok
        assert len(second) == 1000
    with alexpy.open(moved) as first:
        assert dict(first) == {1: b"first store", 2: b"more"}


@pytest.mark.parametrize("call", ["open", "read_only", "repair", "backup", "dest"])
@pytest.mark.parametrize("path", ["", "a\0b"])
def test_an_impossible_path_is_a_value_error(store: alexpy.Store, path: str, call: str) -> None:
    calls = {
        "open": lambda: alexpy.open(path),
        "read_only": lambda: alexpy.open(path, read_only=True),
        "repair": lambda: alexpy.repair(path, store.path.with_suffix(".new")),
        "backup": lambda: store.backup(path),
        "dest": lambda: alexpy.repair(store.path, path),
    }
    if call == "dest":
        store.close()
    with pytest.raises(ValueError, match=r"empty|NUL"):
        calls[call]()


def test_missing_parents_are_made_only_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "store"
    with pytest.raises(FileNotFoundError, match="parents=True"):
        alexpy.open(path)
    assert not (tmp_path / "a").exists()
    with alexpy.open(path, parents=True) as store:
        store[1] = b"one"
        with pytest.raises(FileNotFoundError):
            store.backup(tmp_path / "c" / "copy")
    assert not (tmp_path / "c").exists()


def test_dots_behind_a_link_mean_what_the_system_means_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "link/../one", "link/../two"):
        with alexpy.open(path) as store:
            store[1] = b"one"
    assert _names(tmp_path / "far") == ["away", "one", "two"]
    monkeypatch.chdir("link")
    # The current directory has no name of its own: `..` is where it really is.
    with alexpy.open("../one", read_only=True) as store:
        assert dict(store) == {1: b"one"}
        store.backup("../copy")
    assert _names(tmp_path / "far") == ["away", "copy", "one", "two"]
    assert _names(tmp_path) == ["far", "link"]


_WITHOUT_STANDARD_FILES = """
import os, sys, alexpy
for descriptor in range(int(sys.argv[2]), 3):
    os.close(descriptor)
store = alexpy.open(sys.argv[1], segment_bytes=1 << 16, read_mode=sys.argv[3], background=False)
for key in range(200):
    store[key] = bytes(1000)
store.checkpoint()
store.compact()
mine = [os.readlink(f"/proc/self/fd/{n}") for n in range(3) if os.path.exists(f"/proc/self/fd/{n}")]
index = alexpy.AlexIndex([1, 2], [3, 4])
index.save(sys.argv[1] + ".idx")
assert not [name for name in mine if name.startswith(sys.argv[1])], mine
# What a program prints goes to whatever is there.
for descriptor in range(3):
    try:
        os.write(descriptor, b"text that belongs in no store" * 10)
    except OSError:
        pass
store.close()
with alexpy.open(sys.argv[1]) as store:
    assert len(store) == 200 and store.verify().ok
os._exit(7)
"""


@pytest.mark.parametrize("closed_from", [0, 1, 2])
@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
def test_no_store_file_takes_the_place_of_standard_input_or_output(
    store_path: Path, closed_from: int, read_mode: str
) -> None:
    arguments = [os.fspath(store_path), str(closed_from), read_mode]
    command = [sys.executable, "-c", _WITHOUT_STANDARD_FILES, *arguments]
    assert subprocess.run(command, check=False, timeout=60).returncode == 7


_MAKE_AT_ONCE = """
import sys, alexpy
print("ready", flush=True)
for path in sys.stdin:
    try:
        store = alexpy.open(path.strip(), background=False)
        print("writer", flush=True)
        sys.stdin.readline()
        store.close()
    except alexpy.LockedError:
        print("locked", flush=True)
        sys.stdin.readline()
    print("done", flush=True)
"""


def test_processes_that_make_one_store_at_once_get_one_writer(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _MAKE_AT_ONCE]
    pipe = subprocess.PIPE
    makers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) for _ in range(4)]

    def say(text: str) -> None:
        for maker in makers:
            assert maker.stdin is not None
            maker.stdin.write(text)
            maker.stdin.flush()

    def hear() -> list[str]:
        return [maker.stdout.readline().strip() for maker in makers if maker.stdout is not None]

    assert hear() == ["ready"] * 4
    for number in range(25):
        say(f"{tmp_path / str(number)}\n")
        assert sorted(hear()) == ["locked"] * 3 + ["writer"], number
        say("\n")
        assert hear() == ["done"] * 4
    for maker in makers:
        maker.communicate()
        assert maker.returncode == 0


def test_files_and_copies_are_readable_only_by_those_who_may_enter_the_directory(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.mkdir()
    path.chmod(0o700)
    with alexpy.open(path) as store:
        store[1] = b"one"
        store.checkpoint()
        store.backup(tmp_path / "copy")
    alexpy.repair(path, tmp_path / "new")
    for made in (path, tmp_path / "copy", tmp_path / "new"):
        assert made.stat().st_mode & 0o777 == 0o700, made
        assert {file.stat().st_mode & 0o777 for file in made.iterdir()} == {0o600}, made
