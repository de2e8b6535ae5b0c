"""`RocksStore`: an ALEX index in memory over values in RocksDB, with the protocol of `alexpy.Store`.

The design that alexpy's own storage replaced, kept as a second backend and as the system to measure against
(`pip install 'alexpy[rocksdb]'`). RocksDB holds the items. Its keys are 8 big-endian bytes with the sign bit
flipped, so that they sort as integers do. An `AlexIndex` of key to length of value answers what needs no
value: membership, order, counts, neighbours, and which keys a read or delete can find. It is rebuilt from
RocksDB at every opening, O(keys). Writes go to RocksDB first and to the index after, under one lock.

RocksDB has no support for zero-copy views, Arrow, verify, checkpoints, read-only handles that follow a
writer, and timed flushes (`durability` is "sync" or "os"), so those are missing here.
"""

from ._batch import RocksBatch
from ._config import RocksConfig
from ._store import RocksStats, RocksStore

__all__ = ["RocksBatch", "RocksConfig", "RocksStats", "RocksStore"]
