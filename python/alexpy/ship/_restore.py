"""A shipment back as a store: every piece checked by its hash, in a new directory that gets its name last."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from alexpy._path import absolute, beginning, flush
from alexpy._store import open_raw
from alexpy.config import Config
from alexpy.errors import CorruptionError

from ._memory import Memory
from ._objects import check_outside
from ._pins import DAY, Pin
from ._push import THREADS, each
from ._shipment import newest, nothing_at, read, survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._objects import Objects
    from ._shipment import Piece, Shipment


def find(objects: Objects, at: int | None, epoch: int | None) -> Shipment:
    """Return the newest shipment, or the one of the sequence `at`, in the history of an epoch.

    Raises:
        FileNotFoundError: nothing was shipped there.
        FormatError: it holds something else.
        CorruptionError: the newest manifest is damaged, and was asked for.
        ValueError: no shipment of that sequence or epoch is there.

    """
    if at is None and epoch is None:
        _, found = newest(objects)
        if isinstance(found, CorruptionError):
            raise found
        if found is None:
            raise nothing_at(objects)
        return found
    there = survey(objects).whole
    if not there:
        raise nothing_at(objects)
    last = there[-1].epoch if epoch is None else epoch
    in_epoch = [one for one in there if one.epoch == last]
    if not in_epoch:
        epochs = ", ".join(str(one) for one in sorted({one.epoch for one in there}))
        raise ValueError(f"{objects.place} holds no shipment of epoch {last}; it has: {epochs}")
    past = [one for one in there if in_epoch[-1].has_in_its_past(one.epoch, one.generation)]
    if at is None:
        return past[-1]
    for shipment in reversed(past):
        if shipment.seq == at:
            return shipment
    raise ValueError(_no_such(objects, at, last, past, there))


def _no_such(objects: Objects, at: int, epoch: int, past: list[Shipment], there: list[Shipment]) -> str:
    below = [one.seq for one in past if one.seq < at]
    above = [one.seq for one in past if one.seq > at]
    near = " and ".join(str(seq) for seq in (below[-1:] + above[:1]))
    text = f"{objects.place} holds no shipment of sequence {at} in the history of epoch {epoch}"
    text += f"; the nearest: {near}" if near else ""
    others = sorted({one.epoch for one in there if one.seq == at})
    return f"{text}; epoch {others[0]} has it, which epoch={others[0]} asks for" if others else text


def pin_found(objects: Objects, at: int | None, epoch: int | None, seconds: float) -> tuple[Shipment, Pin]:
    """Find a shipment and pin it; whoever expires it at the same moment gives it up, or this does."""
    for _ in range(100):
        shipment = find(objects, at, epoch)
        pin = Pin(objects, shipment.generation, seconds)
        try:
            if read(objects, shipment.generation) is not None:
                return shipment, pin
        except BaseException:
            _release(pin)
            raise
        _release(pin)
    raise FileNotFoundError(errno.ENOENT, "shipments expire faster than they can be read", objects.place)


def _release(pin: Pin) -> None:
    # What was done is done, or failed, without it; it ends by itself.
    with suppress(OSError):
        pin.release()


def read_piece(objects: Objects, piece: Piece) -> bytes:
    """Return the bytes of a piece.

    Raises:
        CorruptionError: it is damaged, or was removed.

    """
    at = f"{objects.place}/{piece.key}"
    try:
        data = objects.get(piece.key)
    except FileNotFoundError:
        raise CorruptionError(f"{at} is missing", at, 0, f"{piece.size} bytes", "nothing") from None
    found = hashlib.sha256(data).hexdigest()
    if len(data) != piece.size or found != piece.sha256:
        expected, got = f"{piece.size} bytes of hash {piece.sha256}", f"{len(data)} of hash {found}"
        raise CorruptionError(f"{at} is damaged: expected {expected}, found {got}", at, 0, expected, got)
    return data


def fetch(
    objects: Objects,
    shipment: Shipment,
    take: Callable[[str, int, bytes], object],
    done: Callable[[int], object] = lambda size: None,  # noqa: ARG005 - nobody wants to know
    threads: int = THREADS,
) -> None:
    """Read all pieces, in a few threads, and pass on file, offset and bytes of each; `done` gets its size."""
    jobs: list[tuple[str, int, Piece]] = []
    for file in shipment.files:
        offset = 0
        for piece in file.pieces:
            jobs.append((file.name, offset, piece))
            offset += piece.size

    def carry(job: tuple[str, int, Piece]) -> int:
        name, offset, piece = job
        take(name, offset, read_piece(objects, piece))
        return piece.size

    with closing(each(carry, jobs, threads)) as carried:
        for size in carried:
            done(size)


def restore_to(
    objects: Objects,
    dest: str | os.PathLike[str],
    at: int | None,
    epoch: int | None,
    progress: Callable[[int, int], object] | None,
) -> Shipment:
    """Make a store of a shipment; see `alexpy.ship.restore`."""
    path = Path(absolute(dest))
    check_outside(objects, path)
    _check_free(path)
    shipment, pin = pin_found(objects, at, epoch, DAY)
    with ExitStack() as undo:
        undo.callback(_release, pin)
        folder = path.with_name(f".{beginning(path.name)}.{token_hex(4)}.unfinished")
        folder.mkdir()
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        _write(objects, shipment, folder, pin, progress)
        memory = Memory(folder / "SHIP")
        memory.line(shipment.lineage).reaches(shipment)
        memory.save()
        _check(folder, shipment, objects.place)
        flush(folder)
        _check_free(path)
        folder.rename(path)
        flush(path.parent)
    return shipment


def reporting(
    shipment: Shipment, pin: Pin, progress: Callable[[int, int], object] | None
) -> Callable[[int], None]:
    """Return what to call with the size of each piece that arrives: it holds the pin, and reports."""
    total, arrived = shipment.bytes, 0

    def done(size: int) -> None:
        nonlocal arrived
        arrived += size
        pin.hold()
        if progress is not None:
            progress(arrived, total)

    return done


def _write(
    objects: Objects,
    shipment: Shipment,
    folder: Path,
    pin: Pin,
    progress: Callable[[int, int], object] | None,
) -> None:
    with ExitStack() as files:
        opened = {
            file.name: files.enter_context((folder / file.name).open("xb", buffering=0))
            for file in shipment.files
        }

        def take(name: str, offset: int, data: bytes) -> None:
            try:
                _write_all(opened[name].fileno(), offset, data)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(folder / name)) from error

        fetch(objects, shipment, take, reporting(shipment, pin, progress))
        for file in opened.values():
            os.fsync(file.fileno())


def _write_all(descriptor: int, offset: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


def _check(folder: Path, shipment: Shipment, place: str) -> None:
    """Open the store before anybody sees it: the engine checks every record."""
    try:
        with open_raw(str(folder), read_only=True, config=Config()) as store:
            found = store.stats().last_seq
    except CorruptionError as error:
        # The directory that it names will be gone, and what the place holds is what was shipped.
        name = Path(error.path or folder).name
        raise CorruptionError(
            f"{place} holds sequence {shipment.seq} as it was shipped, damaged in {name} at offset "
            f"{error.offset}: expected {error.expected}, found {error.found}; restore an earlier one with "
            "at=SEQ, or repair the store that was shipped (nothing was made)",
            place,
            error.offset,
            error.expected,
            error.found,
        ) from error
    if found != shipment.seq:
        raise CorruptionError(
            f"what {place} holds as sequence {shipment.seq} opens at {found}",
            place,
            0,
            f"sequence {shipment.seq}",
            str(found),
        )


def _check_free(path: Path) -> None:
    """Refuse a place where something is.

    Raises:
        FileNotFoundError, NotADirectoryError, ValueError: nothing can be made there, or something is there.

    """
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such directory to restore to", str(path.parent))
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is there already, and is no empty directory", str(path))
    if any(path.iterdir()):
        raise ValueError(
            f"{path} is not empty; restore to a directory that does not exist (nothing was changed)"
        )
