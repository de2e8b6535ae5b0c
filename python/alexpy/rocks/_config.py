"""`RocksConfig`: how RocksDB is tuned, and what a returned write survives. Knows no store."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options

__all__ = ["RocksConfig"]

_MIB: Final = 1 << 20
_INT64_MAX: Final = 2**63 - 1
_CHOICES: Final = {"durability": ("sync", "os"), "compression": ("none", "lz4")}


@dataclass(frozen=True, slots=True, kw_only=True)
class RocksConfig:
    """Options of `RocksStore`, checked when it is made; the defaults are the tuned ones.

    The tuning compared write buffers of 64 and 256 MB, a level-0 trigger of 4 and 8, and no
    compression and LZ4.

    Raises:
        ValueError: a value is impossible; the message says what is allowed.

    Example:
        >>> RocksConfig(write_buffer_mb=64).level0_trigger
        8

    """

    durability: Literal["sync", "os"] = "os"
    """What a returned write survives: "sync" a power cut; "os" a kill, and a power cut after flush()."""
    write_buffer_mb: int = 256
    """MiB that RocksDB collects in memory before it writes a sorted file."""
    level0_trigger: int = 8
    """Sorted files of level 0 at which RocksDB compacts."""
    level_base_mb: int = 512
    """MiB of level 1."""
    target_file_mb: int = 128
    """MiB of one sorted file."""
    compression: Literal["none", "lz4"] = "none"
    """How blocks are compressed."""
    block_cache_mb: int = 512
    """MiB of blocks kept in memory for reads."""
    bloom_bits: int = 0
    """Bits a key of Bloom filters; 0 for none: the index knows already which keys are there."""

    def __post_init__(self) -> None:
        """Check every field."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "bloom_bits" else 1
            if field.name not in _CHOICES and not (
                type(value) is int and least <= value < _INT64_MAX // _MIB
            ):
                raise ValueError(f"{field.name} must be an integer from {least} on, not {value!r}")

    def options(self) -> Any:
        """Return the options of RocksDB."""
        options = Options(raw_mode=True)
        options.set_write_buffer_size(self.write_buffer_mb * _MIB)
        options.set_level_zero_file_num_compaction_trigger(self.level0_trigger)
        options.set_max_bytes_for_level_base(self.level_base_mb * _MIB)
        options.set_target_file_size_base(self.target_file_mb * _MIB)
        compression = DBCompressionType.lz4() if self.compression == "lz4" else DBCompressionType.none()
        options.set_compression_type(compression)
        table = BlockBasedOptions()
        table.set_block_cache(Cache(self.block_cache_mb * _MIB))
        if self.bloom_bits:
            table.set_bloom_filter(self.bloom_bits, block_based=False)
        options.set_block_based_table_factory(table)
        return options
