"""Integers that a caller gives, and how messages show them."""

from __future__ import annotations

import operator
from collections.abc import Iterable

_MOST_SHOWN = 60


def integer(number: object, name: str) -> int:
    """Return what `operator.index` makes of an argument.

    Raises:
        TypeError: it is no integer.

    Example:
        >>> integer("1", "n")
        Traceback (most recent call last):
        TypeError: n is '1' (str); n is an integer

    """
    try:
        return operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        kind = "" if number is None else f" ({type(number).__name__})"
        raise TypeError(f"{name} is {shown(number)}{kind}; {name} is an integer") from None


def lengths(shape: object) -> tuple[int, ...]:
    """Return the shape of an array, or the length of its one axis, as plain integers.

    Raises:
        TypeError: it has something that is no integer.

    Example:
        >>> lengths(3), lengths([2, True])
        ((3,), (2, 1))

    """
    if (
        isinstance(shape, (str, bytes))
        or not isinstance(shape, Iterable)
        or getattr(shape, "shape", None) == ()
    ):
        shape = (shape,)
    return tuple(int(integer(length, "shape")) for length in shape)


def shown(number: object) -> str:
    """Return an argument as a message shows it; Python converts only so many digits.

    Example:
        >>> shown(10**5000), shown(2**64)
        ('an enormous int', '18446744073709551616')

    """
    try:
        text = repr(number)
    except ValueError:
        return "an enormous int" if isinstance(number, int) else f"a {type(number).__name__}"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
