"""What the calls that look after a store report: `VerifyReport`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import AlexError

__all__ = ["VerifyReport"]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `Store.verify` found: `ok`, and how much it read.

    Example:
        >>> s[1] = b"one"
        >>> report = s.verify()
        >>> report.ok, report.records, report.errors
        (True, 1, ())

    """

    records: int
    """Valid records read, overwritten and deleted ones included."""
    bytes: int
    """Bytes read."""
    errors: tuple[AlexError, ...]
    """What is wrong, at most 1,000 entries: `CorruptionError`s with path, offset, expected and found."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.errors
