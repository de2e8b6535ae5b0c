"""Sharded stores built and read by Ray (`pip install 'alexpy[ray]'`).

    write(dataset, "events", key="id")          # a shard of each range of keys, built in parallel
    events = read("events")                     # a Dataset of Ray Data, with known row counts
    with Lookup("events", actors=4) as pool:    # actors that hold the store open
        rows = pool.get_array(keys)

Ray schedules and tries again; workers get paths and bounds, and open stores for themselves, so all machines
need the same file system. Nothing of a build is visible before all of it is.
"""

from __future__ import annotations

try:
    # It needs pyarrow, and says so.
    import ray.data as _  # noqa: F401
except ImportError as error:
    raise ImportError("alexpy.ray needs Ray: pip install 'alexpy[ray]'") from error

from ._lookup import Lookup
from ._read import Datasource, read
from ._sink import Datasink
from ._write import write

__all__ = ["Datasink", "Datasource", "Lookup", "read", "write"]
