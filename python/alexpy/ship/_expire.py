"""Old shipments expire: their manifests become stubs, and pieces that nothing names any more are removed.

Safe beside pushes, restores and other calls of itself, by the rules of `_push`: the newest shipment is kept,
and pushes rely on nothing else, so nobody is going to name what is removed here.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from ._memory import now
from ._pins import DAY, pinned
from ._shipment import FOLDERS, STUB, encode, manifest_key, nothing_at, survey

if TYPE_CHECKING:
    from ._objects import Meta, Objects
    from ._shipment import Shipment, Survey

# Pieces that no manifest names belong to a push under way, or to one that was cut off, which goes on with
# them for a day: they are removed once nothing was added beside them for so long. So are half-written files.
ORPHANED_AFTER: Final = 7 * DAY
_LOOKS = 10


@dataclass(frozen=True, slots=True)
class ExpireReport:
    """What `expire` has removed.

    Example:
        >>> import alexpy.ship
        >>> shipment = alexpy.ship.push(s, folder)
        >>> alexpy.ship.expire(folder, keep=1).shipments
        0

    """

    shipments: int
    """Shipments that cannot be restored any more."""
    objects: int
    """Objects that were removed."""
    bytes: int
    """Bytes in them."""


def expire_from(objects: Objects, keep: int, days: float) -> ExpireReport:
    """Remove what is old; see `alexpy.ship.expire`."""
    found = _surveyed(objects)
    there = found.whole
    pins, _ = pinned(objects)
    since = now() - days * DAY
    kept = [one for one in there if one.generation in pins or _moment(one) > since]
    kept += [one for one in there[-keep:] if one not in kept]
    doomed = [one for one in there if one not in kept]
    for shipment in doomed:
        objects.put(manifest_key(shipment.generation), STUB + encode(shipment))
    # Whoever pinned one before that, and then found it whole, reads it: a later call removes it.
    pins, ended = pinned(objects)
    going = [*found.going, *doomed]
    kept += [one for one in going if one.generation in pins]
    gone = [one for one in going if one.generation not in pins]
    named = {key for shipment in kept for key in shipment.pieces()}
    dead = {key: piece.size for one in gone for key, piece in one.pieces().items() if key not in named}
    dead |= _orphans(list(objects.list("pieces")), named)
    objects.delete(dead)
    for shipment in gone:
        objects.put(manifest_key(shipment.generation), STUB)
    objects.delete(ended)
    swept = [size for folder in FOLDERS for size in objects.sweep(folder, now() - ORPHANED_AFTER)]
    return ExpireReport(len(gone), len(dead) + len(swept), sum(dead.values()) + sum(swept))


def _surveyed(objects: Objects) -> Survey:
    """Read all manifests; the newest one is among them, and whole.

    What later pushes name is in it, or new. Without it, what is needed might be removed.
    """
    for _ in range(_LOOKS):
        found = survey(objects)
        if found.newest == 0:
            raise nothing_at(objects)
        if found.newest in found.damaged:
            raise found.damaged[found.newest]
        if found.whole and found.whole[-1].generation == found.newest:
            return found
        # It has expired since, so there is a newer one.
    raise OSError(errno.EAGAIN, f"expired under the eyes {_LOOKS} times in a row", objects.place)


def _moment(shipment: Shipment) -> float:
    return datetime.fromisoformat(shipment.made_at).timestamp()


def _orphans(there: list[Meta], named: set[str]) -> dict[str, int]:
    newest: dict[str, float] = {}
    for meta in there:
        area = meta.key.rsplit("/", 1)[0]
        newest[area] = max(newest.get(area, 0.0), meta.modified)
    before = now() - ORPHANED_AFTER
    return {
        meta.key: meta.size
        for meta in there
        if meta.key not in named and newest[meta.key.rsplit("/", 1)[0]] < before
    }
