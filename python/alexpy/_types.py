"""The types that stores are generic over, for type checkers: `Store[K, V]` has keys K and values V.

`Store` alone is `Store[int, bytes]`. Python itself knows such defaults from 3.13 on only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["K", "V"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    K = TypeVar("K", default=int)
    V = TypeVar("V", default=bytes)
else:
    from typing import TypeVar

    K = TypeVar("K")
    V = TypeVar("V")
