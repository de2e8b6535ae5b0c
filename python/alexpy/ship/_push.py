"""A push: the pieces that are missing, then a manifest under the next number, which only one writer can make.

Four rules keep every shipment whole, whatever is delayed, repeated or cut off, and without a lock:

- A store goes on from the shipment that it made or was restored from, and remembers which (`_memory`). If the
  newest shipment is another one, somebody else has shipped: `FencedError`, and that stays so.
- What is there is only trusted where the newest manifest names it, or this push put it into its own area. All
  else is put under a name that never was. So whoever removes what no kept manifest names removes nothing that
  a push relies on, since the newest manifest is always kept.
- A store goes on from a shipment only while it holds all of it. Recovery may have cut it back, and it may
  have gone on since, to a higher sequence: its manifest says which sequences were given and are gone.
- Pieces are read back before a manifest names them, and the manifest before the push counts as done. What is
  there already may be of a push that was killed: it is made safe from a power cut first (`Objects.settle`).
"""

from __future__ import annotations

import errno
import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from alexpy.errors import CorruptionError, FencedError, FormatError

from ._memory import now
from ._shipment import (
    File,
    Piece,
    Shipment,
    check_ours,
    encode,
    manifest_key,
    newest,
    read,
)
from ._source import source

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from alexpy._store import Store

    from ._memory import Line, Memory
    from ._objects import Objects

_A = TypeVar("_A")
_B = TypeVar("_B")

PIECE_BYTES = 8 << 20
# A file that grows is shipped in small pieces; so many of them are shipped again as one.
_MOST_SMALL = 16
# Pieces on their way at a time: so many times PIECE_BYTES are the memory that a push takes.
THREADS = 8
_TRIES = 3
_ROUNDS = 100
_MD5_DIGITS = 32


class Copied(Protocol):
    """A store as it was at one moment."""

    @property
    def store_id(self) -> str:
        """Its id."""

    @property
    def seq(self) -> int:
        """The sequence of its last commit."""

    @property
    def cuts(self) -> Sequence[tuple[int, int]]:
        """Where it was cut back: a sequence, and the one with which it went on after it."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Its files, each with its bytes."""

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return some bytes of a file."""

    def mark(self, name: str) -> str:
        """Return what tells a file from every other one, if it never changes; else nothing."""


@dataclass(frozen=True)
class _Base:
    """What a push goes on from."""

    lineage: str
    generation: int
    """The newest that is taken, by whatever."""
    shipment: Shipment | None
    """The newest that is whole."""
    is_newest: bool
    """Whether that is the newest one: only then is it sure to be kept, and its pieces may be named again."""
    epoch: int
    history: tuple[tuple[int, int], ...]
    has_begun: bool = False
    """Whether the epoch begins with the next shipment."""


def _left(copy: Copied, shipped: int) -> int | None:
    """Return up to which sequence a store holds what it has shipped up to `shipped`; None for all of it."""
    for kept, went_on in copy.cuts:
        if kept < shipped < went_on:
            return kept
    return copy.seq if copy.seq < shipped else None


def _forked(base: _Base, line: Line) -> _Base:
    """Return the beginning of a new epoch, from where the store was last shipped or restored."""
    # A copy of this directory may have shipped what lies in the old one. It may expire, and go.
    line.area = ""
    # The number of the shipment that begins it, which no epoch had before, also where manifests are damaged.
    return replace(base, epoch=base.generation + 1, history=line.past, has_begun=True)


class Push:
    """One push of a store to a place."""

    def __init__(
        self, objects: Objects, memory: Memory, path: str, *, fork: bool, threads: int = THREADS
    ) -> None:
        """Take what is known; nothing is asked or written yet."""
        self._objects = objects
        self._memory = memory
        self._path = path
        self._fork = fork
        self._threads = threads

    def check(self, store_id: str) -> _Base:
        """Return what the next shipment goes on from.

        Raises:
            FencedError: somebody else has shipped.
            FormatError: the place holds something else, or another store.
            CorruptionError: the newest shipment is damaged.

        """
        objects, memory = self._objects, self._memory
        known = max((line.generation for line in memory.lines.values()), default=0)
        generation, found = newest(objects, known)
        if found is None:
            check_ours(objects)
            return self._first(0)
        damage = found if isinstance(found, CorruptionError) else None
        shipment = self._whole_before(generation) if isinstance(found, CorruptionError) else found
        if shipment is None:
            begun = memory.begun.get(objects.place)
            if self._fork or (begun is not None and memory.line(begun).has_tried(generation)):
                return self._first(generation)
            assert damage is not None  # noqa: S101 - for the type checker
            raise damage
        line = memory.line(shipment.lineage)
        memory.begun.pop(objects.place, None)
        if store_id != shipment.store_id:
            raise FormatError(
                f"{objects.place} holds shipments of the store {shipment.store_id}, and {self._path} is the "
                f"store {store_id}; ship it to a place of its own (nothing was written)"
            )
        on = _Base(shipment.lineage, generation, shipment, damage is None, shipment.epoch, shipment.history)
        if damage is None and line.is_own(shipment):
            if not line.is_at(shipment):
                # An answer was lost, or this was killed, and the manifest had come through.
                objects.settle(manifest_key(generation))
                line.reaches(shipment)
            return on
        # What is damaged may have been somebody else's, unless it was made here.
        if damage is not None and generation == line.generation:
            return replace(on, epoch=line.epoch, history=line.past[:-1])
        if damage is not None and line.has_tried(generation) and line.is_own(shipment):
            return on
        if self._fork:
            return _forked(on, line)
        raise damage or self._fenced(shipment, line)

    def _first(self, generation: int) -> _Base:
        """Begin a lineage."""
        lineage = self._memory.begun.setdefault(self._objects.place, token_hex(16))
        return _Base(lineage, generation, None, is_newest=False, epoch=1, history=())

    def _whole_before(self, generation: int) -> Shipment | None:
        for number in range(generation - 1, 0, -1):
            with suppress(CorruptionError, FileNotFoundError):
                shipment = read(self._objects, number)
                if shipment is not None:
                    return shipment
        return None

    def _fenced(self, shipment: Shipment, line: Line) -> FencedError:
        has = (
            f"goes on from sequence {line.seq} (generation {line.generation}, epoch {line.epoch})"
            if line.generation
            else "was never shipped there, nor restored from there"
        )
        return FencedError(
            f"{self._objects.place} holds sequence {shipment.seq} (generation {shipment.generation}, epoch "
            f"{shipment.epoch}), which another copy of this store has shipped, and {self._path} {has}. "
            "Restore what is there to go on with it; or push with fork=True to begin a new epoch with this "
            "copy (nothing was published)",
            self._objects.place,
            shipment.epoch,
            shipment.seq,
        )

    def run(self, copy: Copied, progress: Callable[[int, int], object] | None = None) -> Shipment:
        """Ship a copy and return the shipment; the newest one if it already holds this sequence.

        Raises:
            As `check`; and OSError: the place fails. What was put there is found again by the next push.

        """
        # Each round settles what an earlier push, or an earlier round, left open.
        for _ in range(_ROUNDS):
            base = self.check(copy.store_id)
            line = self._memory.line(base.lineage)
            last = base.shipment
            is_own = last is not None and line.is_own(last)
            shipped = max(line.seq, last.seq) if last is not None and is_own else line.seq
            left = _left(copy, shipped)
            if left is not None:
                if not self._fork:
                    raise self._fell_back(copy, left, shipped, base.epoch)
                # Nobody knows how many of the earlier shipments are left here.
                base = replace(base if base.has_begun else _forked(base, line), history=())
            elif last is not None and base.is_newest and is_own and copy.seq == last.seq:
                self._memory.save()
                return last
            line.begin_area(now())
            self._memory.save()
            if base.generation == 0:
                _check_conditions(self._objects)
            files = self._upload(copy, last if base.is_newest else None, line, progress)
            shipment = self._publish(base, copy, files, line)
            if shipment is not None:
                line.reaches(shipment)
                self._memory.begun.pop(self._objects.place, None)
                self._memory.save()
                return shipment
        raise OSError(errno.EAGAIN, f"no manifest came through in {_ROUNDS} tries", self._objects.place)

    def _fell_back(self, copy: Copied, left: int, shipped: int, epoch: int) -> FencedError:
        since = (
            f", which now ends at {left}"
            if left == copy.seq
            else f", which was cut back to sequence {left} since then, and has gone on to {copy.seq}"
        )
        return FencedError(
            f"{self._objects.place} holds sequence {shipped}, shipped from {self._path}{since}: "
            "commits were lost here. Restore what is there to go on with it; or push with fork=True to begin "
            "a new epoch without them (nothing was published)",
            self._objects.place,
            epoch,
            shipped,
        )

    def _publish(self, base: _Base, copy: Copied, files: tuple[File, ...], line: Line) -> Shipment | None:
        """Make the next manifest; None if its number is taken, or what came of it is damaged."""
        shipment = Shipment(
            lineage=base.lineage,
            store_id=copy.store_id,
            generation=base.generation + 1,
            epoch=base.epoch,
            history=base.history,
            seq=copy.seq,
            made_at=datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds"),
            nonce=token_hex(16),
            files=files,
        )
        key, body = manifest_key(shipment.generation), encode(shipment)
        line.tries(shipment.generation, shipment.nonce)
        self._memory.save()
        try:
            made = self._objects.put_if_absent(key, body)
        except OSError:
            # The answer may be lost, and not the request.
            if self._holds(key, body):
                return shipment
            raise
        if self._objects.get(key) == body:
            return shipment
        if not made:
            line.gives_up(shipment.nonce)
        return None

    def _holds(self, key: str, body: bytes) -> bool:
        try:
            self._objects.settle(key)
            return self._objects.get(key) == body
        except OSError:
            return False

    def _upload(
        self,
        copy: Copied,
        last: Shipment | None,
        line: Line,
        progress: Callable[[int, int], object] | None,
    ) -> tuple[File, ...]:
        """Put what is missing, and return all files as pieces."""
        shipped = {} if last is None else {file.name: file for file in last.files}
        by_hash = {piece.sha256: piece for file in shipped.values() for piece in file.pieces}
        jobs: list[tuple[str, int, int]] = []
        files: dict[str, list[Piece]] = {}
        for name, size in copy.sizes.items():
            before = shipped.get(name)
            mark = copy.mark(name)
            if before is not None and mark and (mark, size) == (before.mark, before.size):
                files[name] = list(before.pieces)
                continue
            files[name] = []
            jobs += [(name, start, length) for start, length in _cuts(before, size)]

        def carry(job: tuple[str, int, int]) -> tuple[str, Piece]:
            name, start, length = job
            data = copy.read(name, start, length)
            digest = hashlib.sha256(data).hexdigest()
            piece = by_hash.get(digest)
            if piece is None:
                piece = by_hash[digest] = _store(self._objects, line.area, digest, data)
            return name, piece

        done = total = sum(copy.sizes.values())
        done -= sum(length for _, _, length in jobs)
        with closing(each(carry, jobs, self._threads)) as carried:
            for name, piece in carried:
                files[name].append(piece)
                done += piece.size
                if progress is not None:
                    progress(done, total)
        return tuple(File(name, copy.mark(name), tuple(pieces)) for name, pieces in files.items())


def _cuts(before: File | None, size: int) -> Iterator[tuple[int, int]]:
    """Cut a file into pieces: where it was cut before, as far as it goes, and the rest anew."""
    kept: list[int] = []
    for piece in () if before is None else before.pieces:
        if sum(kept) + piece.size > size:
            break
        kept.append(piece.size)
    small = 0
    while small < len(kept) and kept[-1 - small] < PIECE_BYTES:
        small += 1
    if small >= _MOST_SMALL:
        del kept[-small:]
    start = 0
    for length in kept:
        yield start, length
        start += length
    while start < size:
        length = min(PIECE_BYTES, size - start)
        yield start, length
        start += length


def push_to(
    objects: Objects,
    store: Store[Any, Any] | str | os.PathLike[str],
    *,
    fork: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Shipment:
    """Ship a store; see `alexpy.ship.push`."""
    with source(store) as taken:
        push = Push(objects, taken.memory, str(taken.folder), fork=fork)
        # Before anything is copied.
        push.check(taken.store_id)
        return push.run(taken.copy(), progress)


def each(call: Callable[[_A], _B], jobs: list[_A], threads: int) -> Generator[_B, None, None]:
    """Yield what `call` makes of each job, in order, in a few threads; close it to stop."""
    if threads == 1 or len(jobs) == 1:
        yield from map(call, jobs)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="alexpy-ship")
    try:
        yield from pool.map(call, jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _store(objects: Objects, area: str, digest: str, data: bytes) -> Piece:
    """Put a piece, unless it is there, and read it back; if that is damaged, put it under another name."""
    for name in (f"{area}/{digest}", *(f"{token_hex(16)}/{digest}" for _ in range(_TRIES))):
        piece = Piece(name, len(data))
        if _is_whole(objects, piece, data):
            objects.settle(piece.key)
            return piece
        objects.put_if_absent(piece.key, data)
        if _is_whole(objects, piece, data):
            return piece
    raise CorruptionError(
        f"{objects.place}/{piece.key} is not what was put there, nor were others before it (nothing was "
        "published)",
        f"{objects.place}/{piece.key}",
        0,
        f"{piece.size} bytes of hash {piece.sha256}",
        "others",
    )


def _check_conditions(objects: Objects) -> None:
    """Refuse a place that does not tell whether an object was there: two stores could ship to it."""
    key = f"pins/{token_hex(16)}.json"
    objects.put_if_absent(key, b"{}")
    made_again = objects.put_if_absent(key, b"{}")
    objects.delete([key])
    if made_again:
        raise OSError(
            errno.EOPNOTSUPP,
            "makes an object although it is there, so two stores could ship to it (nothing was published)",
            objects.place,
        )


def _is_whole(objects: Objects, piece: Piece, data: bytes) -> bool:
    meta = objects.head(piece.key)
    if meta is None or meta.size != piece.size:
        return False
    # Some places say the checksum of what they hold; of others the bytes are asked for.
    told = (meta.etag or "").strip('"')
    if len(told) == _MD5_DIGITS and told == hashlib.md5(data, usedforsecurity=False).hexdigest():
        return True
    try:
        there = objects.get(piece.key)
    except FileNotFoundError:
        # A copy of this directory has shipped it, and it has expired: this push will be fenced.
        return False
    return hashlib.sha256(there).hexdigest() == piece.sha256
