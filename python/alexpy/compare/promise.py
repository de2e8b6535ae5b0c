"""What a returned commit survives: the only ground on which two stores may be compared."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """A promise about commits that returned. Figures are compared only within one mode."""

    MEMORY = "memory"
    """Nothing: there is no disk. Shown beside the stores for what Python costs, never ranked with them."""
    KILL = "kill"
    """Survives a kill of the process; a power cut only once a flush returned."""
    POWER = "power"
    """Survives a power cut, provided that the drive honours flush commands."""

    @property
    def text(self) -> str:
        """The promise as a caption says it."""
        return _TEXTS[self]


_TEXTS = {
    Mode.MEMORY: "in memory, survives nothing",
    Mode.KILL: "a returned commit survives a kill, and a power cut once flushed",
    Mode.POWER: "a returned commit survives a power cut",
}
