"""A store on its way out: one push at a time, a copy of one moment beside it, and what it remembers.

Knows stores and their directories; must not know where they are shipped. The copy is a backup: finished files
are hard links, so it takes O(segments) and the bytes of the file that is being written.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexpy._path import absolute, flush, is_still, read_whole
from alexpy._store import Store, open_raw
from alexpy.config import Config
from alexpy.errors import LockedError

from ._listing import MANIFESTS, SALT, Listing
from ._memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Copy:
    """A store as it was at one moment, in the files of a backup."""

    def __init__(self, folder: Path) -> None:
        """Take the directory that the backup made."""
        self._folder = folder
        self.sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        listing = Listing.of(read_whole(folder / MANIFESTS[0]))
        if listing is None:
            raise FileNotFoundError(errno.ENOENT, "the copy of the store lost its manifest", str(folder))
        self.store_id, self.seq, self.cuts = listing.store_id, listing.seq, listing.cuts
        # The log goes on in the last segment only.
        self._grows = listing.grows

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return some bytes of a file."""
        with (self._folder / name).open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise OSError(errno.EIO, "became shorter while it was shipped", str(self._folder / name))
        return data

    def mark(self, name: str) -> str:
        """Return the salt of a segment that has ended: it is random, and tells the segment from any other."""
        if not name.startswith("seg-") or name == self._grows:
            return ""
        return self.read(name, SALT.start, SALT.stop - SALT.start).hex()

    def copied(self) -> Iterator[str]:
        """Return the names of the segments that are no links to the store's own."""
        return (
            name
            for name in self.sizes
            if name.startswith("seg-") and (self._folder / name).stat().st_nlink == 1
        )


class Source:
    """A store that is being pushed; nobody else pushes it meanwhile."""

    def __init__(self, folder: Path, staging: Path, store: Store[Any, Any] | None) -> None:
        """Take the real directory of a store, one beside it that is locked, and the open handle, if any."""
        self.folder = folder
        self.memory = Memory.load(folder)
        self._staging = staging
        self._store = store

    @property
    def store_id(self) -> str:
        """The id of the store."""
        for name in MANIFESTS:
            with suppress(FileNotFoundError):
                listing = Listing.of(read_whole(self.folder / name))
                if listing is not None:
                    return listing.store_id
        raise FileNotFoundError(errno.ENOENT, "the store lost its manifests meanwhile", str(self.folder))

    def copy(self, progress: Callable[[int, int], object] | None = None) -> Copy:
        """Copy the store as it is now; everything in the copy is on the device, here too."""
        _clear(self._staging)
        to = self._staging / "copy"
        if self._store is None:
            with open_raw(str(self.folder), read_only=True, config=Config()) as store:
                store.backup(to, progress)
        else:
            if self._store.read_only:
                self._store.refresh()
            self._store.backup(to, progress)
            if not self._store.read_only:
                # A poisoned store may not find again, once it is reopened, what it shows now.
                self._store.flush()
        copy = Copy(to)
        # What is shipped must not be lost here by a power cut: this store would then go on without it.
        for name in copy.copied():
            # Where compaction has freed it, all that it copied was flushed.
            with suppress(FileNotFoundError):
                flush(self.folder / name)
        return copy


def folder_of(store: Store[Any, Any] | str | os.PathLike[str]) -> str:
    """Return the real directory of a store, or of what would be one."""
    return os.path.realpath(absolute(store.path if isinstance(store, Store) else store))


@contextmanager
def source(store: Store[Any, Any] | str | os.PathLike[str]) -> Iterator[Source]:
    """Take a store, or the path of one, to push it.

    Raises:
        FileNotFoundError, FormatError: there is no store.
        LockedError: another push of it is under way.
        OSError: nothing can be written in or beside its directory.

    """
    handle = store if isinstance(store, Store) else None
    path = absolute(store if handle is None else handle.path)  # type: ignore[arg-type]
    if handle is None:
        # Says what is wrong, where there is no store.
        open_raw(path, read_only=True, config=Config()).close()
    folder = Path(os.path.realpath(path))
    staging = folder.parent / f".{folder.name}.shipping"
    with _locked(staging, path):
        try:
            yield Source(folder, staging, handle)
        finally:
            _clear(staging)
            # Whoever comes next makes it again.
            staging.rmdir()


@contextmanager
def _locked(staging: Path, path: str) -> Iterator[None]:
    """Make a directory and lock it; what a push that was killed left in it is of no use."""
    while True:
        staging.mkdir(exist_ok=True)
        descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(f"another push of {path} is under way", path) from None
            if not is_still(staging, descriptor):
                continue
            yield
            return
        finally:
            os.close(descriptor)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path)
