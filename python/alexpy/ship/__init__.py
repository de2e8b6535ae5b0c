"""Stores shipped to object storage or another directory, and brought back: `pip install 'alexpy[ship]'`.

    >>> import alexpy.ship
    >>> s[1] = b"one"
    >>> shipment = alexpy.ship.push(s, folder)
    >>> alexpy.ship.restore(folder, dest).seq == shipment.seq
    True

`push` ships what a store holds now, `Shipper` does so again and again, `shipments` lists what is there,
`restore` makes a store of one, `follow` keeps a directory for readers up to date with the newest, `Follower`
does so again and again, `expire` removes old ones, but for what is pinned (`pin`). A place is a local
directory, a URL that obstore knows (`s3://bucket/folder`, `gs://`, `az://`), or a store object of
obstore. docs/shipping.md says what holds.

In the examples `s` is an open store, `folder` an empty directory, `dest` a path at which there is nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _expire, _restore
from ._expire import ExpireReport
from ._follow import follow_to
from ._follower import Follower
from ._objects import connect
from ._pins import Pin
from ._push import push_to
from ._shipment import Shipment, nothing_at, survey
from ._shipper import Shipper
from ._source import folder_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from alexpy._store import Store

    from ._objects import Place

__all__ = [
    "ExpireReport",
    "Follower",
    "Pin",
    "Shipment",
    "Shipper",
    "expire",
    "follow",
    "pin",
    "push",
    "restore",
    "shipments",
]


def push(
    store: Store[Any, Any] | str | os.PathLike[str],
    url: Place,
    *,
    fork: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Shipment:
    """Ship what a store holds now, and return the shipment; only what is not there yet is sent.

    `store` is an open store, or the path of one, which may be in use; reads and writes go on meanwhile.
    Everything in the shipment is safe on this machine's device, too. Where nothing was committed since the
    last shipment, that is returned. A push that failed or was killed has published nothing, or all of it,
    and the next one goes on from there.

    One store ships to a place. Of copies that would go on from the same shipment, the first to push wins
    and the others are fenced, for good. `fork=True` begins a new epoch in that case: the place then follows
    this copy, and what was shipped before stays there to be restored. `progress(done, total)` is called
    with bytes. O(bytes that changed), and some 200 MB of memory where much is new.

    Raises:
        FencedError: another copy of the store has shipped to the place.
        FormatError: the place holds something else, or shipments of another store; or there is no store.
        CorruptionError: the newest manifest there is damaged, or the place does not return what was put
            there.
        FileNotFoundError: there is no such store, or no directory to ship to.
        LockedError: another push of this store is under way.
        PermissionError, OSError: the place refuses or fails; or this disk does.
        TypeError, ValueError: the place is none.
        ImportError: obstore is not installed.

    Example:
        >>> s[1] = b"one"
        >>> shipment = push(s, folder)
        >>> s[2] = b"two"
        >>> push(s, folder).seq > shipment.seq
        True

    """
    return push_to(connect(url, make=True, outside=folder_of(store)), store, fork=fork, progress=progress)


def restore(
    url: Place,
    dest: str | os.PathLike[str],
    *,
    at: int | None = None,
    epoch: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Shipment:
    """Make a store in the new directory `dest` of the newest shipment, or of that of the sequence `at`.

    With `epoch`, those are of the history of that epoch. Every piece is checked by its hash and every
    record by the engine, and everything is on the device, before `dest` gets its name. Restored from the
    newest shipment, the store may be pushed there and goes on from it. `progress(done, total)` is called
    with bytes. O(bytes).

    Raises:
        FileNotFoundError: no store was shipped there; or the directory in which `dest` would lie is not
            there.
        ValueError: no shipment has that sequence or epoch, and the message names the nearest; or `dest` is
            not empty, or lies in the place.
        NotADirectoryError: `dest` is a file.
        CorruptionError: a piece or a manifest there is damaged, or missing.
        FormatError: the place holds something else, or was written by a newer version.
        PermissionError, OSError: the place refuses or fails; or this disk does, or is full.
        TypeError, ImportError: as `push`.

    Example:
        >>> s[1] = b"one"
        >>> first = push(s, folder)
        >>> s[1] = b"uno"
        >>> newest = push(s, folder)
        >>> restore(folder, dest, at=first.seq) == first
        True
        >>> with alexpy.open(dest) as restored:
        ...     restored[1]
        b'one'

    """
    return _restore.restore_to(connect(url, make=False), dest, at, epoch, progress)


def follow(
    url: Place,
    dest: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], object] | None = None,
) -> Shipment:
    """Bring the directory `dest`, a mirror for readers, up to the newest shipment, and return that.

    The first call makes `dest`, all others get what is new. Each piece is checked by its size and its hash
    before it is written, and what it makes is shown as one step when all of it is on the device. So handles
    that are open there with `read_only=True` go on reading, and their `refresh` takes them to the newest
    shipment, never back. A call that failed or was killed leaves `dest` as it was; the next one goes on with
    the pieces that it has got. `dest` cannot be opened for writing. `progress(done, total)` is called with
    bytes, and is at the total once all pieces are there. O(bytes that are new), and O(segments).

    Raises:
        FileNotFoundError: no store was shipped there; or the directory in which `dest` would lie is not
            there.
        FencedError: an epoch has begun without what `dest` shows; the message names both.
        LockedError: another call, or a `Follower`, brings `dest` up to date.
        ValueError: `dest` is not empty and was not made by `follow`; or it lies in the place.
        CorruptionError: a piece or a manifest there is damaged, or a file in `dest` is another one.
        FormatError: the place holds another history than `dest` follows, or something else.
        NotADirectoryError, PermissionError, OSError, TypeError, ImportError: as `restore`.

    Example:
        >>> s[1] = b"one"
        >>> shipment = push(s, folder)
        >>> follow(folder, dest) == shipment
        True
        >>> with alexpy.open(dest, read_only=True) as reader:
        ...     s[2] = b"two"
        ...     shipment = push(s, folder)
        ...     follow(folder, dest).seq == reader.refresh()
        ...     reader[2]
        True
        b'two'

    """
    return follow_to(url, dest, progress)


def shipments(url: Place) -> list[Shipment]:
    """Return all shipments that can be restored, oldest first; those of a damaged manifest are left out.

    O(shipments) requests. Raises FileNotFoundError if no store was shipped there, and otherwise as `restore`.

    Example:
        >>> shipment = push(s, folder)
        >>> shipments(folder) == [shipment]
        True

    """
    objects = connect(url, make=False)
    found = survey(objects)
    if not (found.whole or found.damaged):
        raise nothing_at(objects)
    return found.whole


def expire(url: Place, *, keep: int = 10, days: float = 0.0) -> ExpireReport:
    """Remove all shipments but the newest `keep`, those of the last `days` days, and those that are pinned.

    Pieces that only removed shipments name are removed, and what pushes left that were cut off, after a
    week. May run beside pushes, restores and itself. O(objects).

    Raises:
        ValueError: `keep` is less than 1: the newest shipment stays.
        CorruptionError: the newest manifest is damaged; nothing was removed.
        Otherwise as `restore`.

    Example:
        >>> for key in range(3):
        ...     s[key] = b"value"
        ...     shipment = push(s, folder)
        >>> expire(folder, keep=2).shipments
        1

    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; it must be 1 or more: the newest shipment is always kept")
    if not days >= 0:
        raise ValueError(f"days is {days}; it must be 0 or more")
    objects = connect(url, make=False)
    return _expire.expire_from(objects, keep, days)


def pin(url: Place, *, at: int | None = None, epoch: int | None = None, seconds: float = 24 * 3600.0) -> Pin:
    """Keep a shipment from being expired for so many seconds, or until it is released.

    `at` and `epoch` are as in `restore`, which pins what it reads by itself.

    Raises:
        As `restore`.

    Example:
        >>> shipment = push(s, folder)
        >>> with pin(folder, at=shipment.seq) as pinned:
        ...     pinned.generation
        1

    """
    if not seconds > 0:
        raise ValueError(f"seconds is {seconds}; it must be more than 0")
    return _restore.pin_found(connect(url, make=False), at, epoch, seconds)[1]
