"""How options are declared, what `help()` says of them, and what is said of one that does not exist.

The declarations are the fields of a dataclass, `Config`: name, default and meaning stand there and nowhere
else. Knows nothing of any option. O(options), at import.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_T = TypeVar("_T")


def option(default: _T, meaning: str) -> _T:
    """Declare a field of a dataclass; `meaning` is what `help()` says of it.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Chosen:
        ...     rows: int = option(5, "Rows of a batch.")
        >>> Chosen()
        Chosen(rows=5)

    """
    return field(default=default, metadata={"meaning": inspect.cleandoc(meaning)})


def described(dataclass: type[Any], allowed: Callable[[str], str]) -> str:
    """Return the section of a docstring that says what the fields of a dataclass mean and take.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Chosen:
        ...     size: int = option(2 << 20, "Bytes of a file.")
        >>> print(described(Chosen, lambda name: "any integer"))
        Options:
            size: any integer; 2097152 (2 << 20) by default.
                Bytes of a file.

    """
    lines = ["Options:"]
    for one in fields(dataclass):
        lines.append(f"    {one.name}: {allowed(one.name)}; {_literal(one.default)} by default.")
        lines += [f"        {line}" for line in one.metadata["meaning"].splitlines()]
    return "\n".join(lines)


def tell(documented: Any, options: str) -> None:
    r"""Put the section of the options into a docstring, before "Raises".

    Example:
        >>> def function(): '''Do it.\n\nRaises:\n    OSError: it cannot.'''
        >>> tell(function, "Options:\n    none")
        >>> function.__doc__.splitlines()[2]
        'Options:'

    """
    if documented.__doc__ is None:
        # python -OO
        return
    before, raises, after = inspect.cleandoc(documented.__doc__).partition("\nRaises:")
    documented.__doc__ = f"{before}\n{options}\n{raises}{after}"


def naming(dataclass: type[Any]) -> None:
    """Have a dataclass refuse a keyword that it does not know with the nearest one that it knows.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Chosen:
        ...     rows: int = 5
        >>> naming(Chosen)
        >>> Chosen(row=5)
        Traceback (most recent call last):
        ...
        TypeError: Chosen() has no option 'row'; did you mean 'rows'?

    """
    plain = dataclass.__init__
    known = [one.name for one in fields(dataclass)]

    @functools.wraps(plain)
    def __init__(self: Any, *values: Any, **options: Any) -> None:  # noqa: N807 - it takes the place of one
        check_names(dataclass.__name__, options, known)
        plain(self, *values, **options)

    dataclass.__init__ = __init__


def check_names(function: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a keyword that is not among those a function takes.

    Raises:
        TypeError: there is one; the message names the nearest that exists, or all.

    Example:
        >>> check_names("open", {"red_only": True}, ["read_only", "create"])
        Traceback (most recent call last):
        ...
        TypeError: open() has no option 'red_only'; did you mean 'read_only'?

    """
    known = list(known)
    for name in options:
        if name not in known:
            raise TypeError(f"{function}() has no option {name!r}; {nearest(name, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the question whether the nearest of the names `known` was meant, or all of them.

    Example:
        >>> nearest("durabilty", ["durability", "recovery"]), nearest("cache", ["durability", "recovery"])
        ("did you mean 'durability'?", 'there are durability, recovery')

    """
    import difflib  # noqa: PLC0415 - only errors need it

    known = list(known)
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def _literal(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, int) and value >= 1 << 20 and value % (1 << 20) == 0:
        return f"{value} ({value >> 20} << 20)"
    return repr(value)
