"""The operations of the writers of test_kill: the same seed and number give the same operation everywhere."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

KEYS = 1500
Style = Literal["single", "batch"]
Change = tuple[int, bytes | None]
"""A put, or with None a delete."""


@dataclass(frozen=True, slots=True)
class Job:
    """The work of one writer: where it writes, its first operation, and how it writes."""

    path: str
    seed: int
    first: int
    style: Style
    options: dict[str, object]
    beside: bool = False
    """Compact and write images all the time, and report each time that something came of it."""


def changes(seed: int, number: int, style: Style) -> list[Change]:
    """The changes of one operation: a single one, or a batch that may change a key twice."""
    chance = random.Random(seed * 1_000_003 + number)
    count = 1 if style == "single" else chance.randint(2, 120)
    return [_change(chance, number) for _ in range(count)]


def _change(chance: random.Random, number: int) -> Change:
    # Spread over int64, negative keys included.
    key = (chance.randrange(KEYS) - KEYS // 2) * 12_345_678_901_234
    if chance.random() < 0.1:
        return key, None
    # Each value names its operation, so that old, torn and misplaced bytes are told apart.
    word = f"{number}:{key};".encode()
    return key, word * chance.choice((0, 1, 1, 2, 5, 40))
