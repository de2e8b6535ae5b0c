"""The order of a training set: which sample comes when, in O(1) memory however many there are.

Knows no store and no PyTorch.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import _alexpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD = 2**64


class _Step(Protocol):
    """What tells, for places of one order, their places in the one that it was made of."""

    def __len__(self) -> int: ...
    def of(self, places: NDArray[np.int64]) -> NDArray[np.int64]: ...


@dataclass(frozen=True)
class _Slice:
    """Every so many of a stretch."""

    numbers: range

    def __len__(self) -> int:
        return len(self.numbers)

    def of(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.numbers.start + places * self.numbers.step


@dataclass(frozen=True)
class _Shuffle:
    """All, in an order that looks random."""

    n: int
    seed: int
    epoch: int

    def __len__(self) -> int:
        return self.n

    def of(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return _alexpy._shuffled(places, self.n, self.seed, self.epoch)  # noqa: SLF001 - the native half


@dataclass(frozen=True)
class Order:
    """Some of `0..n-1`, in some order.

    Example:
        >>> order = Order.of(10)
        >>> order[2:].positions([0, -1])
        array([2, 9])
        >>> sorted(order.shuffled(seed=7, epoch=1)[::2].positions(range(5)).tolist()) == [0, 2, 4, 6, 8]
        False

    """

    steps: tuple[_Step, ...]

    @classmethod
    def of(cls, n: int) -> Order:
        """Return 0..n-1 as they are."""
        return cls((_Slice(range(n)),))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.steps[-1])

    def __getitem__(self, part: slice) -> Order:
        """Return a part of it; O(1)."""
        *before, last = self.steps
        if isinstance(last, _Slice):
            return replace(self, steps=(*before, _Slice(last.numbers[part])))
        return replace(self, steps=(*self.steps, _Slice(range(len(last))[part])))

    def shuffled(self, seed: int, epoch: int) -> Order:
        """Return the same ones in the order that a seed and an epoch make; O(1).

        Raises:
            TypeError, ValueError: `seed` or `epoch` is no int from 0 to 2**64-1.

        """
        numbers = {"seed": operator.index(seed), "epoch": operator.index(epoch)}
        for name, number in numbers.items():
            if not 0 <= number < _WORD:
                raise ValueError(f"{name} must be from 0 to 2**64-1, not {number}")
        return replace(self, steps=(*self.steps, _Shuffle(len(self), **numbers)))

    def positions(self, places: Any) -> NDArray[np.int64]:
        """Return which of `0..n-1` stand at `places`, of which those below 0 count from the end; O(places).

        Raises:
            IndexError: there is no such place.
            TypeError: they are no integers.

        """
        asked = np.asarray(places)
        if asked.size and (asked.dtype.kind not in "iu" or asked.ndim != 1):
            raise TypeError(
                f"places are a list or an array of integers, not {asked.dtype} of {asked.ndim} axes"
            )
        there = len(self)
        # Before the conversion, which makes negative numbers of large unsigned ones.
        wrong = (asked >= there) | (asked < -there)
        if wrong.any():
            raise IndexError(f"there is no sample {asked[int(wrong.argmax())]}: there are {there}")
        found = asked.astype(np.int64)
        found[found < 0] += there
        for step in reversed(self.steps):
            found = step.of(found)
        return found
