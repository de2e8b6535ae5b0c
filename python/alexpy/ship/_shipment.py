"""What is shipped, as objects: numbered manifests, one for each shipment, and the pieces of their files.

    manifests/000000000007.json   the seventh shipment: its files, each a list of pieces
    pieces/AREA/SHA256            some bytes of a file, by their hash, in the area of the push that made them
    pins/ID.json                  who still reads which shipment, and until when

A manifest is made by one call that fails if its number is taken, so of two writers one loses. No number is
ever free again: an expired shipment leaves a stub, which begins with `expired`; behind that line the manifest
stays for as long as its pieces are there. Knows objects; must not know stores or directories.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

from alexpy.errors import CorruptionError, FormatError

if TYPE_CHECKING:
    from ._objects import Objects

FOLDERS: Final = frozenset({"manifests", "pieces", "pins"})
STUB: Final = b"expired\n"
_FORMAT = 1
_LOOKS = 10
_FILE_NAME = re.compile(r"MANIFEST-[AB]|seg-[0-9a-f]{8}\.log")
_PIECE_KEY = re.compile(r"[0-9a-f]{32}/[0-9a-f]{64}")
_NEWER = "was shipped by a newer version of alexpy"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a file: the area and the hash that name the object, and its size."""

    name: str
    size: int

    @property
    def key(self) -> str:
        """The key of the object."""
        return f"pieces/{self.name}"

    @property
    def sha256(self) -> str:
        """The hash of the bytes."""
        return self.name[-64:]


@dataclass(frozen=True, slots=True)
class File:
    """A file of a store, from its first piece to its last."""

    name: str
    mark: str
    """What tells it from every other file, if nothing will ever be written to it; else empty."""
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(piece.size for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Shipment:
    """A store as it was shipped at one moment; what `push`, `restore` and `shipments` return.

    Example:
        >>> import alexpy.ship
        >>> s[1] = b"one"
        >>> shipment = alexpy.ship.push(s, folder)
        >>> shipment.generation, shipment.epoch, shipment.seq == s.stats().last_seq
        (1, 1, True)

    """

    lineage: str
    """Names the place's history, from its first shipment on."""
    store_id: str
    """The store's own id, in hexadecimal."""
    generation: int
    """Counts the shipments to this place, from 1."""
    epoch: int
    """The generation with which a copy of the store has begun this history of its own; the first one is 1."""
    history: tuple[tuple[int, int], ...]
    """Where this epoch comes from: earlier epochs, each with the last generation of it that belongs here."""
    seq: int
    """The sequence number of the store's last commit in it."""
    made_at: str
    """When it was shipped, in UTC, by the clock of the machine that shipped it."""
    nonce: str
    """Names this shipment and no other."""
    files: tuple[File, ...] = field(repr=False)
    """The store's files."""

    @property
    def bytes(self) -> int:
        """Bytes of the files."""
        return sum(file.size for file in self.files)

    def pieces(self) -> dict[str, Piece]:
        """Return the pieces of all files by their keys."""
        return {piece.key: piece for file in self.files for piece in file.pieces}

    def has_in_its_past(self, epoch: int, generation: int) -> bool:
        """Say whether this shipment's store once was as the shipment with these numbers shows it."""
        if epoch == self.epoch:
            return generation <= self.generation
        return any(epoch == earlier and generation <= last for earlier, last in self.history)


def manifest_key(generation: int) -> str:
    """Return the key of a manifest."""
    return f"manifests/{generation:012}.json"


def encode(shipment: Shipment) -> bytes:
    """Return a manifest: the hash of its second line, and everything as JSON in that line."""
    table = {
        "alexpy_ship": _FORMAT,
        **{name: getattr(shipment, name) for name in Shipment.__dataclass_fields__ if name != "files"},
        "files": {
            file.name: [file.mark, [[piece.name, piece.size] for piece in file.pieces]]
            for file in shipment.files
        },
    }
    text = json.dumps(table, separators=(",", ":")).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text + b"\n"


def decode(data: bytes, at: str) -> Shipment:
    """Return what a manifest says.

    Raises:
        CorruptionError: it is damaged.
        FormatError: it is whole, and no manifest of this format.

    """
    first, _, text = data.partition(b"\n")
    found = hashlib.sha256(text[:-1]).hexdigest()
    told = first[:64].decode(errors="replace")
    if first != found.encode() or not text.endswith(b"\n"):
        raise CorruptionError(
            f"{at} is damaged: its checksum is {told}, and its bytes give {found}", at, 0, told, found
        )
    try:
        return _from_table(json.loads(text), at)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{at} is no manifest of a shipped store ({error!r}); nothing was touched"
        ) from error


def _from_table(table: dict[str, Any], at: str) -> Shipment:
    if table["alexpy_ship"] != _FORMAT:
        raise FormatError(f"{at} {_NEWER} (format {table['alexpy_ship']!r}); nothing was touched")
    files = []
    for name, (mark, pieces) in table["files"].items():
        # What becomes a path must be one of a store.
        if not _FILE_NAME.fullmatch(name) or not all(_PIECE_KEY.fullmatch(piece) for piece, _ in pieces):
            _refuse(name)
        files.append(File(name, _text(mark), tuple(Piece(piece, _count(size)) for piece, size in pieces)))
    return Shipment(
        lineage=_text(table["lineage"]),
        store_id=_text(table["store_id"]),
        generation=_count(table["generation"]),
        epoch=_count(table["epoch"]),
        history=tuple((_count(epoch), _count(last)) for epoch, last in table["history"]),
        seq=_count(table["seq"]),
        made_at=_text(table["made_at"]),
        nonce=_text(table["nonce"]),
        files=tuple(files),
    )


def _count(number: Any) -> int:
    return number if type(number) is int and number >= 0 else _refuse(number)


def _text(text: Any) -> str:
    return text if isinstance(text, str) else _refuse(text)


def _refuse(what: object) -> NoReturn:
    raise ValueError(f"{what!r} is out of place")


def read(objects: Objects, generation: int) -> Shipment | None:
    """Return a shipment; None if it has expired.

    Raises:
        FileNotFoundError: there was none yet.
        CorruptionError, FormatError: as `decode`; or its number is another one.

    """
    shipment, has_expired = _read(objects, generation)
    return None if has_expired else shipment


def _read(objects: Objects, generation: int) -> tuple[Shipment | None, bool]:
    key = manifest_key(generation)
    at = f"{objects.place}/{key}"
    data = objects.get(key)
    has_expired = data.startswith(STUB)
    text = data.removeprefix(STUB)
    if has_expired and not text:
        return None, True
    shipment = decode(text, at)
    if shipment.generation != generation:
        raise FormatError(f"{at} is the manifest of generation {shipment.generation}; nothing was touched")
    return shipment, has_expired


def newest_generation(objects: Objects, known: int = 0) -> int:
    """Return the number of the newest manifest, 0 if there is none; `known` is one that was there.

    O(log n) requests: there are no gaps.
    """
    low, step = 0, 1
    if known and objects.head(manifest_key(known)) is not None:
        low = known
    while objects.head(manifest_key(low + step)) is not None:
        low, step = low + step, 2 * step
    while step > 1:
        step //= 2
        if objects.head(manifest_key(low + step)) is not None:
            low += step
    # Somebody may have removed the first ones by hand.
    return low or max(listed(objects), default=0)


def newest(objects: Objects, known: int = 0) -> tuple[int, Shipment | CorruptionError | None]:
    """Return the number of the newest manifest, and what it says or how it is damaged; 0 and None for none.

    Raises:
        FormatError: as `read`.

    """
    for _ in range(_LOOKS):
        known = newest_generation(objects, known)
        if known == 0:
            return 0, None
        try:
            shipment = read(objects, known)
        except CorruptionError as error:
            return known, error
        if shipment is not None:
            return known, shipment
        # Expired meanwhile, so there is a newer one.
    raise FormatError(
        f"{objects.place}/{manifest_key(known)} has expired, and is the newest: it was tampered with"
    )


def listed(objects: Objects) -> dict[int, int]:
    """Return the numbers of all manifests, each with the bytes of its object."""
    found = {}
    for meta in objects.list("manifests"):
        number = re.fullmatch(r"manifests/(\d{12})\.json", meta.key)
        if number is not None:
            found[int(number[1])] = meta.size
    return found


@dataclass(frozen=True, slots=True)
class Survey:
    """All manifests of a place, in order, but for those of which only a stub is left."""

    whole: list[Shipment]
    going: list[Shipment]
    """Expired, and not all of their pieces removed."""
    damaged: dict[int, CorruptionError]
    """By their numbers."""
    newest: int
    """The highest number that was taken when the reading began."""


def survey(objects: Objects) -> Survey:
    """Read all manifests. O(shipments) requests."""
    numbers = listed(objects)
    found = Survey([], [], {}, max(numbers, default=0))
    for generation, size in sorted(numbers.items()):
        if size == len(STUB):
            continue
        try:
            shipment, has_expired = _read(objects, generation)
        except CorruptionError as error:
            found.damaged[generation] = error
            continue
        if shipment is not None:
            (found.going if has_expired else found.whole).append(shipment)
    return found


def check_ours(objects: Objects) -> None:
    """Refuse a place that holds other objects than ours.

    Raises:
        FormatError: it does.

    """
    others = sorted(name for name in objects.top() if name.strip("/") and name.split("/")[0] not in FOLDERS)
    # One that people see, if there is one: of hidden ones some are of a push that is under way.
    others.sort(key=lambda name: name.startswith("."))
    if others:
        raise FormatError(
            f"{objects.place} holds {others[0]!r}, which is no part of a shipped store; give a place of its "
            "own (nothing was written)"
        )


def nothing_at(objects: Objects) -> Exception:
    """Return what to raise where nothing was shipped; FormatError if something else is there."""
    check_ours(objects)
    return FileNotFoundError(errno.ENOENT, "no store was shipped there", objects.place)
