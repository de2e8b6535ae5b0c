"""A real file system that is full, and a real one that cannot be written."""

from __future__ import annotations

import contextlib
import errno
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import alexpy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 4 MiB."""
    at = tmp_path / "small"
    at.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(at)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except OSError as error:
        pytest.skip(f"cannot mount a tmpfs: {error}")
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    yield at
    subprocess.run(["umount", str(at)], check=True, timeout=30)


# In a process of its own: what must not happen is a SIGBUS.
_FILL = """
import errno, os, sys, alexpy
path, mode = sys.argv[1:]
store = alexpy.open(path + "/store", write_mode=mode, segment_bytes=1 << 18)
filler = path + "/filler"
with open(filler, "wb") as file:
    file.write(bytes(1 << 20))
    os.fsync(file.fileno())
written = {}
refused = 0
for key in range(100_000):
    batch = {key * 2: b"%06d" % key * 100, key * 2 + 1: b"%06d" % key * 30}
    try:
        store.update(batch)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        refused += 1
        assert dict(store) == written, "the refused batch is absent"
        if refused == 3:
            break
    else:
        assert refused == 0, "a full disk stays full"
        written.update(batch)
assert refused == 3 and len(written) > 1000, (refused, len(written))
os.unlink(filler)
store[-1] = b"usable again once space is there"
written[-1] = store[-1]
store.flush()
assert dict(store) == written
print(len(written), flush=True)
os._exit(7)
"""


@pytest.mark.parametrize("mode", ["mmap", "pwrite"])
def test_a_full_disk_is_an_error_and_the_store_goes_on_once_there_is_space(
    small_disk: Path, mode: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FILL, small_disk, mode],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 7, (done.returncode, done.stderr)
    # After a kill, what was not proven durable is written again, which takes space.
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True, timeout=30)
    with alexpy.open(small_disk / "store", create=False, segment_bytes=1 << 18) as store:
        assert len(store) == int(done.stdout)
        assert store[0] == b"000000" * 100
        assert store.verify().ok


# As above. What is deleted comes free although nothing else gave any space back.
_EMPTY = """
import errno, os, sys, alexpy
store = alexpy.open(sys.argv[1] + "/store", write_mode=sys.argv[2], segment_bytes=1 << 18)
key = 0
while True:
    try:
        store[key] = b"%06d" % key * 100
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        break
    key += 1
assert key > 1000, key
for gone in range(100):
    del store[gone]
assert store.delete_many(list(range(100, 200))) == 100
assert store.delete_range(200, key - 10) == key - 210
store.compact()
store[-1] = b"usable again"
assert len(store) == 11
store.close()
os._exit(7)
"""


@pytest.mark.parametrize("mode", ["mmap", "pwrite"])
def test_a_full_disk_still_takes_deletes_and_is_emptied_by_them(small_disk: Path, mode: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _EMPTY, small_disk, mode],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 7, (done.returncode, done.stderr)
    with alexpy.open(small_disk / "store", create=False, segment_bytes=1 << 18) as store:
        assert len(store) == 11
        assert store.verify().ok


def test_a_store_is_not_made_on_a_full_disk(small_disk: Path) -> None:
    with (small_disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
    with pytest.raises(OSError, match="No space") as raised:
        _put_one(small_disk / "store")
    assert raised.value.errno == errno.ENOSPC
    (small_disk / "filler").unlink()
    _put_one(small_disk / "store")
    with alexpy.open(small_disk / "store", read_only=True) as store:
        assert dict(store) == {1: b"one"}


def _put_one(path: Path) -> None:
    with alexpy.open(path, segment_bytes=1 << 16) as store:
        store[1] = b"one"


def test_a_file_system_that_cannot_be_written_opens_read_only(small_disk: Path) -> None:
    path = small_disk / "store"
    _put_one(path)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, timeout=30)
    with alexpy.open(path, read_only=True) as store:
        assert dict(store) == {1: b"one"}
        assert store.verify().ok
        with pytest.raises(alexpy.ReadOnlyError):
            store[2] = b"two"
    with pytest.raises(OSError, match=r"[Rr]ead-only") as raised:
        alexpy.open(path)
    assert raised.value.errno == errno.EROFS
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
