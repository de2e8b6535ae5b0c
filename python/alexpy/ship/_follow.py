"""Following: a mirror is brought up to the newest shipment, by what it lacks.

What was shipped is put beside what the mirror shows, piece by piece, each checked by its size and its hash
first, and is listed as one step when all of it is on the device. So readers see one shipment or the next,
and a call that was cut off is made up by the next one, which finds by their hashes the pieces that are there.
Knows places and mirrors; must not know the files' format.
"""

from __future__ import annotations

import errno
import hashlib
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Protocol

from alexpy.errors import CorruptionError, FencedError, FormatError

from ._mirror import Mirror
from ._objects import check_outside, connect
from ._pins import DAY, Pin
from ._push import THREADS, each
from ._restore import read_piece, reporting
from ._shipment import newest, nothing_at, read

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from ._mirror import Shown
    from ._objects import Objects, Place
    from ._shipment import File, Piece, Shipment

_LOOKS = 10
_MANIFEST = "MANIFEST-A"


class Held(Protocol):
    """A mirror, which nobody else writes to."""

    @property
    def path(self) -> object:
        """Its directory, for messages."""

    @property
    def shown(self) -> Shown | None:
        """Which shipment it shows; None for none yet."""

    @property
    def ends(self) -> Mapping[str, int]:
        """Its files that count, each with the bytes that do: they may not be written to."""

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return some bytes of a file: fewer where it ends, none where it is not there."""

    def mark(self, name: str) -> str:
        """Return what tells a file from every other one."""

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write bytes of a file that do not count yet."""

    def finish(self, shipment: Shipment, manifest: bytes) -> None:
        """Show a shipment, all of whose files are there, and remove all others."""

    def settle(self) -> None:
        """Remove all files that do not count."""


class Following:
    """A place and the mirror that follows it, which is locked until this is closed."""

    def __init__(self, url: Place, dest: str | os.PathLike[str]) -> None:
        """Take both; nothing is asked of the place yet."""
        self._objects = connect(url, make=False)
        check_outside(self._objects, dest)
        self._mirror = Mirror(dest, self._objects.place)

    def refresh(self, progress: Callable[[int, int], object] | None = None) -> Shipment:
        """Bring the mirror up to date; see `alexpy.ship.follow`."""
        return bring_up(self._objects, self._mirror, progress)

    def close(self) -> None:
        """Unlock the mirror."""
        self._mirror.close()


def follow_to(
    url: Place, dest: str | os.PathLike[str], progress: Callable[[int, int], object] | None
) -> Shipment:
    """Bring a mirror up to date once; see `alexpy.ship.follow`."""
    with closing(Following(url, dest)) as following:
        return following.refresh(progress)


def bring_up(
    objects: Objects,
    held: Held,
    progress: Callable[[int, int], object] | None = None,
    threads: int = THREADS,
) -> Shipment:
    """Bring a mirror up to the newest shipment, and return that.

    Raises:
        As `alexpy.ship.follow`.

    """
    for _ in range(_LOOKS):
        shown = held.shown
        _, found = newest(objects, 0 if shown is None else shown.generation)
        if isinstance(found, CorruptionError):
            raise found
        if found is None:
            raise nothing_at(objects)
        if shown is not None:
            _check_leads_on(objects, held, shown, found)
            if found.generation == shown.generation:
                held.settle()
                return found
        pin = Pin(objects, found.generation, DAY)
        try:
            # Whoever expires it at the same moment gives it up, or this does.
            if read(objects, found.generation) is not None:
                _take(objects, held, found, reporting(found, pin, progress), threads)
                return found
        except CorruptionError:
            # A pin ends, if this process was stopped for long.
            if not _has_expired(objects, found):
                raise
        finally:
            with suppress(OSError):
                pin.release()
    raise FileNotFoundError(errno.ENOENT, "shipments expire faster than they can be read", objects.place)


def _check_leads_on(objects: Objects, held: Held, shown: Shown, found: Shipment) -> None:
    """Refuse a shipment that does not go on from the one that is shown.

    Raises:
        FormatError: the place holds another history by now.
        FencedError: an epoch has begun without what is shown.

    """
    elsewhere = "follow the place into a new directory (nothing was changed)"
    if (shown.lineage, shown.store_id) != (found.lineage, found.store_id):
        raise FormatError(
            f"{objects.place} holds another history (store {found.store_id}, lineage {found.lineage}) than "
            f"{held.path} follows (store {shown.store_id}, lineage {shown.lineage}); {elsewhere}"
        )
    at, there = shown.generation, found.generation
    if there < at or (there == at and found.nonce != shown.nonce):
        raise FormatError(
            f"{objects.place} holds generation {there} as its newest, and {held.path} shows another "
            f"generation {at} of it: what was there was removed or replaced; {elsewhere}"
        )
    if not found.has_in_its_past(shown.epoch, shown.generation) or found.seq < shown.seq:
        raise FencedError(
            f"{objects.place} goes on in epoch {found.epoch} (generation {there}, sequence {found.seq}), "
            f"which has begun without what {held.path} shows: sequence {shown.seq} of epoch {shown.epoch} "
            f"(generation {at}). What follows never goes back: {elsewhere}",
            objects.place,
            found.epoch,
            found.seq,
        )


def _has_expired(objects: Objects, shipment: Shipment) -> bool:
    with suppress(CorruptionError):
        return read(objects, shipment.generation) is None
    return False


def _take(
    objects: Objects, held: Held, shipment: Shipment, done: Callable[[int], None], threads: int
) -> None:
    """Get what is missing, and show the shipment."""
    manifest = b""
    jobs: list[tuple[str, int, Piece]] = []
    for file in shipment.files:
        if file.name.startswith("seg-"):
            missing = _missing(held, file)
            jobs += [(file.name, offset, piece) for offset, piece in missing]
            done(file.size - sum(piece.size for _, piece in missing))
        elif file.name == _MANIFEST:
            manifest = b"".join(read_piece(objects, piece) for piece in file.pieces)
            done(file.size)
        else:
            # The other copy says the same.
            done(file.size)

    def carry(job: tuple[str, int, Piece]) -> int:
        name, offset, piece = job
        data = read_piece(objects, piece)
        # Pieces of a file that grows are put together: what is listed is not written again.
        counted = max(held.ends.get(name, 0) - offset, 0)
        if counted and held.read(name, offset, counted) != data[:counted]:
            raise _other_than(
                held, name, f"differs from what was shipped in bytes {offset} to {offset + counted}"
            )
        held.write(name, offset + counted, data[counted:])
        return piece.size

    with closing(each(carry, jobs, threads)) as carried:
        for size in carried:
            done(size)
    held.finish(shipment, manifest)


def _missing(held: Held, file: File) -> list[tuple[int, Piece]]:
    """Return the pieces of a file that are not there, each with its offset.

    Raises:
        CorruptionError: a file that counts is another one than was shipped.

    """
    counted = held.ends.get(file.name, 0)
    if counted and file.mark and held.mark(file.name) != file.mark:
        raise _other_than(
            held, file.name, f"has salt {held.mark(file.name)}, and was shipped with {file.mark}"
        )
    missing, end = [], 0
    for piece in file.pieces:
        offset, end = end, end + piece.size
        if end <= counted:
            continue
        # A call that was cut off may have got it.
        there = held.read(file.name, offset, piece.size)
        if hashlib.sha256(there).hexdigest() != piece.sha256:
            missing.append((offset, piece))
    return missing


def _other_than(held: Held, name: str, how: str) -> CorruptionError:
    path = f"{held.path}/{name}"
    text = f"{path} {how}: follow the place into a new directory (nothing was changed)"
    return CorruptionError(text, path, 0, "what was shipped", "something else")
