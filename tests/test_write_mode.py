"""`write_mode` on real file systems: what "auto" chooses, and that every mode keeps what it wrote.

Each file system is made in a file and mounted through a loop device, which needs root, its mkfs and its
driver. If one of these is missing, its tests are skipped and say which.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import alexpy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

# What makes each, and the smallest size it can be made in.
FILE_SYSTEMS: dict[str, tuple[list[str], int]] = {
    "ext4": (["mkfs.ext4", "-q"], 64 << 20),
    "xfs": (["mkfs.xfs", "-q"], 320 << 20),
    "btrfs": (["mkfs.btrfs", "-q"], 128 << 20),
    "tmpfs": ([], 0),
}
CHOSEN = {"ext4": "mmap", "tmpfs": "mmap", "xfs": "pwrite", "btrfs": "pwrite"}


def _run(*command: str) -> None:
    """Run a command that needs the machine's help, or skip the test and say what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        pytest.skip(f"{command[0]}: {error}")
    if done.returncode != 0:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")


@pytest.fixture(scope="module", params=FILE_SYSTEMS)
def file_system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on a file system, named after it."""
    name = str(request.param)
    make, size = FILE_SYSTEMS[name]
    folder = tmp_path_factory.mktemp("mounts")
    at = folder / name
    at.mkdir()
    if make:
        if shutil.which(make[0]) is None:
            pytest.skip(f"{make[0]} is not installed: write_mode on {name} is not tested")
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(size)
        _run(*make, str(image))
        _run("mount", "-o", "loop", str(image), str(at))
    else:
        _run("mount", "-t", name, "-o", "size=64m", name, str(at))
    yield at
    subprocess.run(["umount", str(at)], check=True, timeout=60)


# In a process of its own, which dies with its store open.
_WRITE = """
import os, sys
import alexpy
path, mode, durability = sys.argv[1:]
store = alexpy.open(path, write_mode=mode, durability=durability, segment_bytes=1 << 18)
for key in range(500):
    store[key] = b"%d" % key * 30
for first in range(500, 4000, 500):
    store.put_many(range(first, first + 500), [b"%d" % key * 30 for key in range(first, first + 500)])
store.delete_range(100, 200)
print(store.stats().write_mode, flush=True)
os._exit(7)
"""


@pytest.mark.parametrize("durability", ["sync", "interval"])
@pytest.mark.parametrize("mode", ["auto", "mmap", "pwrite"])
def test_each_mode_keeps_what_it_wrote_when_its_process_dies(
    file_system: Path, mode: str, durability: str
) -> None:
    path = file_system / f"{mode}-{durability}"
    done = subprocess.run(
        [sys.executable, "-c", _WRITE, path, mode, durability],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 7, done.stderr
    # A single commit that waits for its flush anyway goes by a system call.
    chosen = CHOSEN[file_system.name] if durability == "interval" else "pwrite"
    assert done.stdout.strip() == (chosen if mode == "auto" else mode)
    expected = {key: b"%d" % key * 30 for key in range(4000) if not 100 <= key < 200}
    with alexpy.open(path, read_only=True) as store:
        assert dict(store) == expected
    with alexpy.open(path, write_mode=mode, segment_bytes=1 << 18) as store:
        assert dict(store) == expected
        store[-1] = b"goes on"
        store.compact()
        store.checkpoint()
        assert store.verify().ok
        store.backup(file_system / f"copy-{mode}-{durability}")
    with alexpy.open(file_system / f"copy-{mode}-{durability}", read_only=True) as store:
        assert dict(store) == expected | {-1: b"goes on"}
    shutil.rmtree(path)
    shutil.rmtree(file_system / f"copy-{mode}-{durability}")


def test_auto_raises_an_error_on_a_full_disk(file_system: Path) -> None:
    path = file_system / "full"
    filler = file_system / "filler"
    filler.write_bytes(bytes(8 << 20))
    with alexpy.open(path, segment_bytes=1 << 20) as store:
        written, refused = 0, None
        while refused is None and written < 10_000:
            try:
                store[written] = bytes(1 << 16)
                written += 1
            except OSError as error:
                refused = error
        assert refused is not None
        assert refused.errno == errno.ENOSPC
        filler.unlink()
        assert len(store) == written
        assert all(store[key] == bytes(1 << 16) for key in range(written))
        store[written] = b"usable again"
    shutil.rmtree(path)
