"""`RocksStore`: an ALEX index in memory over values in RocksDB, with the protocol of `alexpy.Store`.

The design that alexpy's own storage replaced, kept as a second backend and as the system to measure against
(`pip install 'alexpy[rocksdb]'`). RocksDB holds the items, keys as 8 big-endian bytes with the sign bit
turned, so that they sort as integers do; an `AlexIndex` of key to length of value answers what needs no
value: membership, order, counts, neighbours, and which keys a read or delete can find. It is rebuilt from
RocksDB at every opening, O(keys). Writes go to RocksDB first and to the index after, under one lock.

Not here, for RocksDB has nothing under it: zero-copy views, Arrow, verify, checkpoints, and compare with a
`Store`: no read-only handles that follow, no timed flush (`durability` is "sync" or "os").
"""

from ._batch import RocksBatch
from ._config import RocksConfig
from ._store import RocksStats, RocksStore

__all__ = ["RocksBatch", "RocksConfig", "RocksStats", "RocksStore"]
