"""RocksDB by `rocksdict`, tuned as the project's first plan had it, and for reads from a warm cache.

The plan: write buffers of 256 MB, level-0 trigger 8, level base 512 MB, files of 128 MB, no compression.
For reads: a block cache that holds everything, 10-bit Bloom filters, hash lookup inside blocks.
"""

from __future__ import annotations

import os
from typing import Any

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DataBlockIndexType,
    DBCompressionType,
    Options,
)

from .rocks_default import RocksDefault

_MIB = 1 << 20
_SETTINGS: dict[str, int] = {
    "write_buffer_size": 256 * _MIB,
    "level_zero_file_num_compaction_trigger": 8,
    "max_bytes_for_level_base": 512 * _MIB,
    "target_file_size_base": 128 * _MIB,
}
_CACHE_BYTES = 512 * _MIB
# Where memory is a quarter of the values; the rest of it is left to the page cache.
_LITTLE_CACHE_BYTES = 16 * _MIB
_BLOOM_BITS = 10


class RocksTuned(RocksDefault):
    """Options by the plan."""

    name = "rocksdict tuned"

    def __init__(self) -> None:
        super().__init__()
        self._cache_bytes = _CACHE_BYTES

    def expect_little_memory(self) -> None:
        self._cache_bytes = _LITTLE_CACHE_BYTES

    def settings(self) -> dict[str, object]:
        return {
            **super().settings(),
            **_SETTINGS,
            "compression": "none",
            "block_cache": f"{_CACHE_BYTES}; {_LITTLE_CACHE_BYTES} in a quarter of the memory",
            "bloom_bits": _BLOOM_BITS,
            "data_block_index": "binary_and_hash",
            "parallelism": os.cpu_count(),
        }

    def options(self) -> Any:
        options = Options(raw_mode=True)
        for name, value in _SETTINGS.items():
            getattr(options, f"set_{name}")(value)
        options.set_compression_type(DBCompressionType.none())
        options.increase_parallelism(os.cpu_count() or 1)
        table = BlockBasedOptions()
        table.set_block_cache(Cache(self._cache_bytes))
        table.set_bloom_filter(_BLOOM_BITS, block_based=False)
        table.set_data_block_index_type(DataBlockIndexType.binary_and_hash())
        options.set_block_based_table_factory(table)
        return options
