"""An embedded, durable, ordered key-value store with a learned index.

    >>> import alexpy, tempfile
    >>> with alexpy.open(tempfile.mkdtemp()) as store:
    ...     store[20130704] = b"fireworks"
    ...     store.floor(20131231)
    (20130704, b'fireworks')

`open` makes or opens a `Store` in a directory; `AlexIndex` is the index alone, in memory. This module only
names what is public: no logic, and nothing that the command line alone needs.
"""

import warnings as _warnings

from . import _ahead as _ahead
from . import codecs
from ._alexpy import ScanBatch, ValueBuffers, build_info
from ._changes import Change, KeyRange
from ._cursor import Cursor
from ._index import AlexIndex
from ._maintenance import CompactReport, RepairReport, VerifyReport, repair
from ._store import Snapshot, Stats, Store, WriteBatch, open  # noqa: A004 - `alexpy.open` is the public name
from .codecs import Codec
from .config import Config
from .errors import (
    AlexError,
    ClosedError,
    CodecError,
    CorruptionError,
    FencedError,
    ForkedError,
    FormatError,
    HistoryGoneError,
    LockedError,
    PoisonedError,
    ReadOnlyError,
)

__all__ = [
    "AlexError",
    "AlexIndex",
    "Change",
    "ClosedError",
    "Codec",
    "CodecError",
    "CompactReport",
    "Config",
    "CorruptionError",
    "Cursor",
    "FencedError",
    "ForkedError",
    "FormatError",
    "HistoryGoneError",
    "KeyRange",
    "LockedError",
    "PoisonedError",
    "ReadOnlyError",
    "RepairReport",
    "ScanBatch",
    "Snapshot",
    "Stats",
    "Store",
    "ValueBuffers",
    "VerifyReport",
    "WriteBatch",
    "__version__",
    "build_info",
    "codecs",
    "open",
    "repair",
]

__version__: str = build_info()["version"]

if build_info()["profile"] == "debug":
    _warnings.warn(
        "alexpy was built for debugging and is many times slower than a release build; "
        "build it with `maturin develop --release` or install the wheel of `make wheel`",
        RuntimeWarning,
        stacklevel=2,
    )
