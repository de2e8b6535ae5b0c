"""Pins: who still reads a shipment, and until when, so that `expire` keeps it.

A pin is an object with an end, renewed while it is needed; one whose reader died keeps nothing for long.
Knows shipments by their number.
"""

from __future__ import annotations

import errno
import json
import time
from secrets import token_hex
from typing import TYPE_CHECKING, Final, Self

from ._memory import now

if TYPE_CHECKING:
    from ._objects import Objects

DAY: Final = 24 * 3600.0
# Clocks of two machines may differ by so much.
_GRACE_SECONDS = 3600.0


class Pin:
    """Keeps a shipment from being expired, for a while; what `pin` returns. A context manager.

    Example:
        >>> import alexpy.ship
        >>> shipment = alexpy.ship.push(s, folder)
        >>> with alexpy.ship.pin(folder) as pin:
        ...     pin.generation == shipment.generation
        True

    """

    def __init__(self, objects: Objects, generation: int, seconds: float) -> None:
        """Pin a shipment by its number."""
        self.generation = generation
        """The shipment's number."""
        self._objects = objects
        self._seconds = seconds
        self._key = f"pins/{token_hex(16)}.json"
        self.renew()

    def renew(self) -> None:
        """Keep the shipment for as long again, from now on."""
        until = now() + self._seconds
        text = json.dumps({"generation": self.generation, "until": until}).encode()
        self._objects.put(self._key, text)
        if self._objects.get(self._key) != text:
            # Cut short it would keep nothing.
            raise OSError(errno.EIO, "does not return the pin that was put there", self._objects.place)
        self._renewed = time.monotonic()

    def hold(self) -> None:
        """Renew the pin if half of its time is over; cheap, to be called now and then."""
        if time.monotonic() - self._renewed > self._seconds / 2:
            self.renew()

    def release(self) -> None:
        """Keep the shipment no longer."""
        self._objects.delete([self._key])

    def __enter__(self) -> Self:
        """Return the pin."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Release it."""
        self.release()


def pinned(objects: Objects) -> tuple[set[int], list[str]]:
    """Return the numbers of all shipments that are pinned, and the keys of pins that have ended."""
    numbers, ended = set(), []
    for meta in list(objects.list("pins")):
        try:
            table = json.loads(objects.get(meta.key))
            generation, until = int(table["generation"]), float(table["until"])
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            # Cut short, or not ours: it counts from when it was put there, for a day.
            generation, until = 0, meta.modified + DAY
        if until + _GRACE_SECONDS < now():
            ended.append(meta.key)
        else:
            numbers.add(generation)
    return numbers, ended
