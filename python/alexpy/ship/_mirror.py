"""A mirror: a directory that follows a shipped store, for readers. One process at a time writes to it.

    FOLLOW          what it follows, and which shipment it shows, by the generation of its manifest
    MANIFEST-A, -B  those of the shipment, whose generation they have; they come last, as one step
    seg-*.log       what they list, and what they will list next

The engine takes a directory with a file FOLLOW for a mirror: it opens it for reading only, and leaves alone
what the manifests do not list yet. Knows files; must not know where they come from.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alexpy._alexpy import _list_mirror, _settle_mirror
from alexpy._path import absolute, flush, is_still, open_file, read_whole
from alexpy.errors import CorruptionError, FormatError, LockedError

from ._listing import CAPACITY, MANIFESTS, SALT, Listing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._shipment import Shipment

MARK: Final = "FOLLOW"
_NEW = f"{MARK}.new"
_LOCK = "LOCK"
_FORMAT = 1
# The engine takes no segment to be longer.
_MOST_BYTES = 32 << 30


@dataclass(frozen=True, slots=True)
class Shown:
    """Which shipment a mirror shows."""

    generation: int
    epoch: int
    seq: int
    nonce: str
    lineage: str
    store_id: str


def shown_by(shipment: Shipment) -> Shown:
    """Return what a mirror notes of the shipment that it shows."""
    return Shown(**{name: getattr(shipment, name) for name in Shown.__dataclass_fields__})


class Mirror:
    """The directory of a mirror, which is made if it is not there, and locked until it is closed.

    Raises:
        LockedError: another process, or another object of this one, brings it up to date.
        FileNotFoundError, NotADirectoryError: it cannot be made, or is a file.
        ValueError: something else is there.
        CorruptionError: what it notes of itself cannot be read.

    """

    def __init__(self, dest: str | os.PathLike[str], follows: str) -> None:
        """Take the directory; `follows` is the place, for people who look into it."""
        self.path = Path(absolute(dest))
        self._follows = follows
        # Whether there is nothing that is not listed.
        self._is_settled = False
        self.shown: Shown | None = None
        self.ends: Mapping[str, int] = {}
        """The files that are listed, each with the bytes that count: nobody may write to them."""
        is_new = not self.path.exists()
        self._descriptor = _locked(self.path)
        self._is_new = is_new
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        names = {path.name for path in self.path.iterdir()}
        if MARK not in names:
            if names - {_NEW, _LOCK}:
                raise ValueError(
                    f"{self.path} is not empty, and follows nothing; give a directory that does not exist, "
                    "or one that alexpy.ship.follow has made (nothing was changed)"
                )
            self._note([])
        lock = open_file(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        with os.fdopen(lock, "w") as file:
            file.truncate()
            file.write(str(os.getpid()))
        self._noted = self._read_notes()
        if not self._is_listed():
            # A call that was cut off has written one of the two. What it only fetched is left for this one.
            self._ask(_settle_mirror)
        self._look()

    def _look(self) -> None:
        """Read which shipment the manifests show."""
        manifest = self._manifest(MANIFESTS[0])
        if manifest is None:
            return
        listing = Listing.of(manifest)
        generation = None if listing is None else listing.generation
        found = [one for one in self._noted if one.generation == generation]
        if listing is None or not found:
            raise self._damaged(
                f"shipment {generation}", f"notes of {[one.generation for one in self._noted]}"
            )
        self.shown, self.ends = found[0], listing.ends

    def _is_listed(self) -> bool:
        """Say whether both manifests can be read, and are the same; or neither is there."""
        with suppress(OSError, FormatError):
            first, second = (self._manifest(name) for name in MANIFESTS)
            return first == second
        return False

    def _manifest(self, name: str) -> bytes | None:
        """Return one of the two manifests; None if it is not there."""
        with suppress(FileNotFoundError):
            return read_whole(self.path / name)
        return None

    # --- what it notes of itself ------------------------------------------------------------------------

    def _read_notes(self) -> list[Shown]:
        try:
            table = json.loads(read_whole(self.path / MARK))
            if table["alexpy_follow"] != _FORMAT:
                raise self._damaged(f"format {_FORMAT}", f"format {table['alexpy_follow']}")
            return [Shown(**one) for one in table["shows"]]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged("what alexpy.ship.follow wrote", repr(error)) from error

    def _damaged(self, expected: str, found: str) -> CorruptionError:
        path = str(self.path / MARK)
        text = (
            f"{path} is damaged, which says what {self.path} follows; follow the place into a new directory"
        )
        return CorruptionError(f"{text} (expected {expected}, found {found})", path, 0, expected, found)

    def _note(self, shows: list[Shown]) -> None:
        table: dict[str, Any] = {"alexpy_follow": _FORMAT, "follows": self._follows}
        table["shows"] = [{name: getattr(one, name) for name in Shown.__dataclass_fields__} for one in shows]
        (self.path / _NEW).unlink(missing_ok=True)
        with (self.path / _NEW).open("x") as file:
            json.dump(table, file)
            file.flush()
            os.fsync(file.fileno())
        (self.path / _NEW).rename(self.path / MARK)
        flush(self.path)
        self._noted = shows

    # --- its files --------------------------------------------------------------------------------------

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return some bytes of a file: fewer where it ends, none where it is not there."""
        try:
            with os.fdopen(open_file(self.path / name), "rb", buffering=0) as file:
                return os.pread(file.fileno(), size, offset)
        except FileNotFoundError:
            return b""

    def mark(self, name: str) -> str:
        """Return the salt of a segment."""
        return self.read(name, SALT.start, SALT.stop - SALT.start).hex()

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write bytes where none are listed."""
        path = self.path / name
        self._is_settled = False
        try:
            descriptor = open_file(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
            try:
                left = memoryview(data)
                while left:
                    written = os.pwrite(descriptor, left, offset)
                    left, offset = left[written:], offset + written
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error

    def finish(self, shipment: Shipment, manifest: bytes) -> None:
        """Show the shipment: all of it is there. Whatever it does not list is removed.

        Raises:
            CorruptionError, FormatError: it is not there, or does not fit; nothing has changed.

        """
        listing = Listing.of(manifest)
        if listing is None or (listing.store_id, listing.seq) != (shipment.store_id, shipment.seq):
            expected, found = f"store {shipment.store_id} at sequence {shipment.seq}", str(listing)
            raise CorruptionError(
                f"shipment {shipment.generation} has the manifest of another one (expected {expected}, found "
                f"{found}; nothing was changed)",
                str(self.path),
                0,
                expected,
                found,
            )
        if listing.grows:
            self._make_room(listing.grows)
        for name, end in sorted(listing.ends.items()):
            # Bytes that are not listed yet may be of a call that was killed before it flushed them.
            if self.ends.get(name, 0) < end or name == listing.grows:
                flush(self.path / name)
        flush(self.path)
        # Whichever of the two is shown after a kill, it is noted.
        self._note([*([self.shown] if self.shown else []), shown_by(shipment)])
        self._ask(_list_mirror, manifest, shipment.generation)
        self._is_settled = True
        self._look()

    def settle(self) -> None:
        """Remove what is not listed."""
        if not self._is_settled:
            self._ask(_settle_mirror)
        self._is_settled = True

    def _ask(self, call: Callable[..., None], *args: object) -> None:
        """Call the engine, which would have the mirror repaired as a store."""
        try:
            call(str(self.path), *args)
        except CorruptionError as error:
            raise CorruptionError(
                f"{error.path} is damaged at offset {error.offset}: expected {error.expected}, found "
                f"{error.found}; follow the place into a new directory",
                error.path,
                error.offset,
                error.expected,
                error.found,
            ) from error

    def _make_room(self, name: str) -> None:
        """Make a file that grows as long as it may become: readers map it once."""
        capacity = int.from_bytes(self.read(name, CAPACITY.start, 8), "little")
        path = self.path / name
        if path.stat().st_size < min(capacity, _MOST_BYTES):
            os.truncate(path, min(capacity, _MOST_BYTES))

    def close(self) -> None:
        """Unlock it; one in which there is nothing yet is removed. Once closed, it does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            if self.shown is None and {path.name for path in self.path.iterdir()} <= {MARK, _NEW, _LOCK}:
                for name in (_NEW, _LOCK, MARK):
                    (self.path / name).unlink(missing_ok=True)
                if self._is_new:
                    self.path.rmdir()
        finally:
            os.close(descriptor)


def _locked(path: Path) -> int:
    """Make a directory if there is none, and lock it."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such directory to follow in", str(path.parent))
    while True:
        with suppress(FileExistsError):
            path.mkdir()
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is there already, and is no directory", str(path))
        with ExitStack() as undo:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            undo.callback(os.close, descriptor)
            try:
                # What writers of a store lock, too.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(path)
                by = "another process" if holder is None else f"process {holder}"
                text = f"{path} is brought up to date, or written to, by {by}; one at a time may"
                raise LockedError(text, str(path), holder) from None
            # One in which there was nothing may have been removed meanwhile.
            if is_still(path, descriptor):
                undo.pop_all()
                return descriptor


def _holder(path: Path) -> int | None:
    with suppress(OSError, ValueError, FormatError):
        return int(read_whole(path / _LOCK).decode().strip("\0 \n"))
    return None
