"""What a store remembers of where it was shipped: the file `SHIP` in its directory.

The engine leaves the file alone, and a backup does not copy it: that is another store, which was never
shipped. Knows shipments; must not know stores.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, Self

from alexpy._path import flush, read_whole
from alexpy.errors import CorruptionError

if TYPE_CHECKING:
    from pathlib import Path

    from ._shipment import Shipment

NAME: Final = "SHIP"
# A push that was cut off goes on in the same area for so long. What was not shipped is removed from areas
# after days (`_expire.ORPHANED_AFTER`), so never under a push.
_AREA_SECONDS = 24 * 3600.0
# One that is older, and lands after all, only makes this store take its own shipment for somebody else's.
_MOST_TRIED = 64


@dataclass
class Line:
    """What a store knows of one lineage."""

    generation: int = 0
    """The shipment that the store goes on from; 0 for none."""
    epoch: int = 0
    history: list[list[int]] = field(default_factory=list)
    seq: int = 0
    nonce: str = ""
    tried: list[list[Any]] = field(default_factory=list)
    """Generation and nonce of manifests that were sent and never confirmed: they may be there, or come."""
    area: str = ""
    """Where the pieces of the next shipment go."""
    area_begun: float = 0.0

    @property
    def past(self) -> tuple[tuple[int, int], ...]:
        """The history of an epoch that begins here."""
        here = [(self.epoch, self.generation)] if self.generation else []
        return (*((epoch, last) for epoch, last in self.history), *here)

    def begin_area(self, now: float) -> None:
        """Begin an area for the next shipment, unless a push that was cut off has left one."""
        if not self.area or not 0 <= now - self.area_begun < _AREA_SECONDS:
            self.area, self.area_begun = token_hex(16), now

    def has_tried(self, generation: int) -> bool:
        """Say whether a manifest of that number was sent, and nobody knows what came of it."""
        return any(generation == tried for tried, _ in self.tried)

    def is_own(self, shipment: Shipment) -> bool:
        """Say whether this store made the shipment, or comes from it."""
        return shipment.nonce == self.nonce or shipment.nonce in {nonce for _, nonce in self.tried}

    def is_at(self, shipment: Shipment) -> bool:
        """Say whether this store goes on from the shipment."""
        return shipment.nonce == self.nonce

    def tries(self, generation: int, nonce: str) -> None:
        """Note a manifest before it is sent."""
        self.tried = [*self.tried[1 - _MOST_TRIED :], [generation, nonce]]

    def gives_up(self, nonce: str) -> None:
        """Forget a manifest that will never be there."""
        self.tried = [one for one in self.tried if one[1] != nonce]

    def reaches(self, shipment: Shipment) -> None:
        """Go on from a shipment."""
        self.generation, self.epoch, self.seq = shipment.generation, shipment.epoch, shipment.seq
        self.history = [list(part) for part in shipment.history]
        self.nonce = shipment.nonce
        self.tried, self.area = [], ""


@dataclass
class Memory:
    """What a store knows of all lineages; `save` writes it durably."""

    path: Path | None
    lines: dict[str, Line] = field(default_factory=dict)
    begun: dict[str, str] = field(default_factory=dict)
    """Places of which the first shipment is under way, each with its lineage."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what the store in `folder` remembers.

        Raises:
            CorruptionError: it cannot be read.
            FormatError: it is no file.

        """
        path = folder / NAME
        try:
            text = read_whole(path)
        except FileNotFoundError:
            return cls(path)
        try:
            table = json.loads(text)
            lines = {name: Line(**line) for name, line in table["lines"].items()}
            return cls(path, lines, dict(table["begun"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptionError(
                f"{path} is damaged, which remembers where this store was shipped; the store itself does not "
                "need it: remove the file, and push with fork=True",
                str(path),
                0,
                "what alexpy.ship wrote",
                repr(error),
            ) from error

    def line(self, lineage: str) -> Line:
        """Return what is known of a lineage."""
        return self.lines.setdefault(lineage, Line())

    def save(self) -> None:
        """Write everything, and flush it to the device."""
        if self.path is None:
            return
        table = {
            "lines": {name: asdict(line) for name, line in self.lines.items()},
            "begun": self.begun,
        }
        new = self.path.with_name(f"{NAME}.new")
        new.unlink(missing_ok=True)
        with new.open("x") as file:
            json.dump(table, file)
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.path)
        flush(self.path.parent)


def now() -> float:
    """Return the seconds since 1970, by this machine's clock."""
    return time.time()
