"""The list of everything that is measured: what, under which promise, in which unit, against which target.

The rows are those of the project's targets, in their order, then chosen workloads. A figure of a cell is
seconds for `count` operations, or bytes, or percentiles of single calls; less is better, but for `/s`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .promise import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .sizes import Sizes

HARD, HARD_KEYS = "hard", "hard-keys"
STORE, OWN, INDEX, WORK, BESIDE, CARE = "store", "own", "index", "work", "beside", "care"
GROUPS: Mapping[str, str] = {
    HARD: "Hard data, from Python",
    HARD_KEYS: "Hard keys, the index",
    STORE: "The store, from Python",
    OWN: "The store against itself",
    INDEX: "The index, from Python",
    WORK: "Workloads",
    BESIDE: "Versions and readers, beside a writer",
    CARE: "Single calls, care and larger sizes",
}
HARD_GROUPS = (HARD, HARD_KEYS)
"""Those that the report begins with."""
OF_INDEX = frozenset({HARD_KEYS, INDEX})


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the report."""

    id: str
    group: str
    suite: str
    title: str
    """With the names of sizes in braces."""
    unit: str
    """s, ms, us or ns for one operation (s: for all), /s, MB, B for one key, files; p99 or p99.9 for single calls."""
    mode: Mode = Mode.KILL
    target: float | None = None
    """In `unit`; holds at the sizes of `Sizes()` only."""
    beside: str | None = None
    """Where an engine lacks this, the cell whose figure a user of it would get instead."""
    ranked: bool = True
    """Whether engines are compared in it; a bound of another row is not."""

    def name(self, sizes: Sizes) -> str:
        """Return the title with the sizes in it, and the percentile where it is about single calls."""
        return self.what(sizes) + (f", {self.unit.upper()}" if self.of_single_calls else "")

    def what(self, sizes: Sizes) -> str:
        """Return the title with the sizes in it."""
        return self.title.format(s=sizes, many=sizes.commits // 3)

    @property
    def of_single_calls(self) -> bool:
        """Whether its figures are percentiles."""
        return self.unit in {"p99", "p99.9"}


_MEM, _POWER = Mode.MEMORY, Mode.POWER
CELLS: tuple[Cell, ...] = (
    *(
        cell
        for suite, how in (("values", ""), ("zstd", ", zstd"))
        for kind, text, least in (("json", "flights as JSON", 31), ("columns", "flights as columns of 38 B", None))
        for cell in (
            Cell(f"{suite}_{kind}_load", HARD, suite, f"load {{s.flights:,}} {text}{how}, flushed", "s"),
            Cell(f"{suite}_{kind}_disk", HARD, suite, f"allocated on disk after close, {text}{how}", "MB",
                 target=least if suite == "zstd" else None),
            Cell(f"{suite}_{kind}_many", HARD, suite, f"all of them by the best batch call, {text}{how}", "s"),
            Cell(f"{suite}_{kind}_each", HARD, suite, f"single gets, {text}{how}", "us"),
        )
    ),
    Cell("squeezed_get", HARD, "squeezed",
         "random single gets out of {s.squeezed_values:,} x 1 KiB in a quarter of that memory", "us"),
    Cell("squeezed_read", HARD, "squeezed", "read from the disk by {s.squeezed_gets:,} of those gets", "MB"),
    Cell("squeezed_many", HARD, "squeezed",
         "random gets of the same, {s.squeezed_batch:,} by the best batch call, to a list", "us"),
    Cell("squeezed_array", HARD, "squeezed",
         "random gets of the same, {s.squeezed_batch:,} by the best batch call, to one array", "us"),
    *(
        cell
        for kind, text in (
            ("overwrite", "overwriting {s.keys:,} x 100 B in batches of 1,000"),
            ("queue", "a queue, trimmed to half of what it ever had"),
            ("wide", "overwriting 500 x 1 MiB"),
            ("cleared", "appending, cleared now and then"),
        )
        for cell in (
            Cell(f"growth_{kind}_puts", HARD, "growth", f"puts, {text}", "/s"),
            Cell(f"growth_{kind}_disk", HARD, "growth", f"on disk at the worst moment, {text}", "MB"),
            Cell(f"growth_{kind}_allowed", HARD, "growth",
                 "the bound at that moment: 2.5 times the live bytes and 256 MiB", "MB", ranked=False),
            Cell(f"growth_{kind}_opening", HARD, "growth", f"open after SIGKILL, and first get, {text}", "ms",
                 target=1000),
        )
    ),
    Cell("huge_load", HARD, "huge", "load {s.huge_rows:,} x 100 B in batches, flushed", "s"),
    Cell("huge_memory", HARD, "huge", "private memory after that load", "MB"),
    Cell("huge_index", HARD, "huge", "memory of the index a key, {s.huge_rows:,} keys", "B"),
    Cell("huge_close", HARD, "huge", "close, {s.huge_rows:,} keys", "ms"),
    Cell("huge_disk", HARD, "huge", "allocated on disk after close, a row of 100 B, {s.huge_rows:,} rows", "B"),
    Cell("huge_open", HARD, "huge", "open after a clean close, and first get, {s.huge_rows:,} keys", "ms", target=10),
    Cell("huge_array", HARD, "huge", "random gets of {s.keys:,} keys to one array, {s.huge_rows:,} keys", "ns"),
    Cell("huge_scan", HARD, "huge", "scan in batches, {s.huge_rows:,} rows", "ns"),
    Cell("huge_killed", HARD, "huge", "open after SIGKILL, {s.huge_rows:,} keys and {s.long_tail:,} since", "ms"),
    Cell("huge_delete", HARD, "huge", "delete every tenth by one call, {s.huge_rows:,} keys", "ns"),
    Cell("huge_compact", HARD, "huge", "compaction after that, {s.huge_rows:,} keys", "s"),
    Cell("huge_after", HARD, "huge", "random gets of {s.keys:,} keys to one array after it, {s.huge_rows:,} keys", "ns"),
    Cell("huge_peak", HARD, "huge", "most memory of all that, mapped files included, {s.huge_rows:,} keys", "MB"),
    *(
        cell
        for kind, text in (
            ("lognormal", "{s.keys:,} lognormal keys"),
            ("timestamps", "{s.keys:,} microsecond timestamps"),
            ("cells", "{s.keys:,} cell ids around 3,000 towns"),
            ("gaia", "ids of Gaia's brightest stars"),
            ("ip", "starts of IPv4 ranges"),
            ("taxa", "ids of NCBI's taxonomy"),
            ("chess", "hashes of a chess book's positions"),
            ("osm", "ids of OpenStreetMap nodes in Helsinki"),
        )
        for cell in (
            Cell(f"batch_lookup_{kind}", HARD_KEYS, "index_hard", f"batch lookup, {text}", "ns", _MEM),
            Cell(f"insert_{kind}", HARD_KEYS, "index_hard", f"insert, random, {text}", "ns", _MEM),
            Cell(f"bulk_load_{kind}", HARD_KEYS, "index_hard", f"bulk load, unsorted, {text}", "ns", _MEM),
        )
    ),
    Cell("load_batches", STORE, "table", "load {s.keys:,} x 100 B in batches of {s.batch:,}, flushed", "s",
         target=0.35),
    Cell("load_small", STORE, "small", "load {s.keys:,} x 8 B in one batch, flushed", "s", target=0.15),
    Cell("put_each", STORE, "table", "{s.puts:,} single puts", "s", target=0.05),
    Cell("get_each", STORE, "table", "{s.gets:,} random single gets, no key twice", "s", target=0.09),
    Cell("get_many", STORE, "table", "{s.keys:,} random gets by the best batch call, to a list", "s",
         target=0.12),
    Cell("get_array", STORE, "table", "{s.keys:,} random gets by the best batch call, to one array", "s",
         target=0.05),
    Cell("scan_dropped", STORE, "table", "scan {s.keys:,} items, each dropped", "s", target=0.10),
    Cell("scan_kept", STORE, "table", "scan {s.keys:,} items, kept in a list", "s", target=0.25),
    Cell("scan_arrays", STORE, "table", "scan {s.keys:,} items in batches", "s", target=0.02,
         beside="scan_dropped"),
    Cell("ranges_items", STORE, "table", "{s.ranges:,} ranges of {s.range_keys}, item by item, each dropped",
         "s", target=0.13),
    Cell("ranges_kept", STORE, "table", "{s.ranges:,} ranges of {s.range_keys}, item by item, kept", "s",
         target=0.13),
    Cell("ranges_arrays", STORE, "table", "{s.ranges:,} ranges of {s.range_keys}, in batches, each dropped", "s",
         target=0.05, beside="ranges_items"),
    Cell("delete_each", STORE, "table", "{s.deletes:,} single deletes", "s", target=0.04),
    Cell("close", STORE, "table", "close, {s.keys:,} keys", "ms", target=60),
    Cell("open", STORE, "table", "open after a clean close, and first get, {s.keys:,} keys", "ms", target=5),
    Cell("disk", STORE, "table", "allocated on disk after close, {s.keys:,} x 100 B", "MB", target=180),
    Cell("sync_single", STORE, "durable", "durable commits of one item", "/s", _POWER),
    Cell("sync_hundred", STORE, "durable", "durable commits of 100 items", "/s", _POWER),
    Cell("sync_4", STORE, "durable", "durable commits of one item, 4 threads", "/s", _POWER),
    Cell("sync_16", STORE, "durable", "durable commits of one item, 16 threads", "/s", _POWER),
    Cell("own_load", OWN, "own", "load {s.keys:,} x 100 B from arrays in batches of {s.batch:,}, flushed", "s"),
    Cell("own_parts", OWN, "own", "the parts of that load, each by itself, added up", "s"),
    Cell("own_copy", OWN, "own", "part: the same bytes copied into a mapped, reserved file", "s"),
    Cell("own_flush", OWN, "own", "part: the flush of that file", "s"),
    Cell("own_index", OWN, "own", "part: the same keys put into an index", "s"),
    Cell("own_checksums", OWN, "own", "checksums of {s.keys:,} records of 128 B", "s"),
    Cell("own_verified", OWN, "own", "{s.keys:,} random gets in one call, to a list, verified", "s"),
    Cell("own_unverified", OWN, "own", "the same with `verify_reads=False`", "s"),
    Cell("own_array", OWN, "own", "{s.keys:,} random gets in one call, to a new array", "s"),
    Cell("own_into", OWN, "own", "the same into an array that is there already", "s"),
    Cell("scans_items", OWN, "scans", "scan {s.keys:,} items loaded in random order, each dropped", "s"),
    Cell("scans_objects", OWN, "scans", "the same ints, bytes and tuples made of packed memory, each dropped", "s"),
    Cell("scans_batches", OWN, "scans", "scan the same in batches", "s"),
    Cell("scans_copy", OWN, "scans", "the same bytes in key order copied in such batches", "s"),
    Cell("scans_ranges", OWN, "scans", "{s.ranges:,} ranges of {s.range_keys} of the same, to lists", "s"),
    Cell("scans_range_objects", OWN, "scans", "the same lists made of packed memory", "s"),
    Cell("readers_one", OWN, "large",
         "index memory of one read-only process, {s.large_keys:,} keys, after a checkpoint", "MB"),
    Cell("readers_all", OWN, "large",
         "index memory of sixteen read-only processes, {s.large_keys:,} keys, after a checkpoint", "MB"),
    Cell("readers_open", OWN, "large",
         "opening and first get by the slowest of sixteen processes, {s.large_keys:,} keys", "ms", target=20),
    Cell("lookup", INDEX, "index", "lookup, uniform, {s.keys:,} keys", "ns", _MEM, 180),
    Cell("lookup_large", INDEX, "index_large", "lookup, uniform, {s.large_keys:,} keys", "ns", _MEM, 250),
    Cell("batch_lookup", INDEX, "index", "batch lookup, uniform, {s.keys:,} keys", "ns", _MEM, 25),
    Cell("batch_lookup_large", INDEX, "index_large", "batch lookup, uniform, {s.large_keys:,} keys", "ns", _MEM,
         40),
    Cell("insert", INDEX, "index", "insert, random, {s.keys:,} keys", "ns", _MEM, 230),
    Cell("insert_large", INDEX, "index_large", "insert, random, {s.large_keys:,} keys", "ns", _MEM, 320),
    Cell("batch_insert", INDEX, "index", "batch insert of {s.batch:,} random keys into {s.keys:,}", "ns", _MEM,
         80),
    Cell("bulk_load", INDEX, "index", "bulk load of {s.keys:,} unsorted keys from arrays", "ns", _MEM, 60),
    Cell("range", INDEX, "index", "a range of {s.range_keys} keys to arrays, dropped, {s.keys:,} keys", "ns", _MEM,
         500),
    Cell("range_kept", INDEX, "index", "a range of {s.range_keys} keys to arrays, kept, {s.keys:,} keys", "ns",
         _MEM, 500),
    Cell("range_large", INDEX, "index_large",
         "a range of {s.range_keys} keys to arrays, dropped, {s.large_keys:,} keys", "ns", _MEM, 700),
    Cell("range_kept_large", INDEX, "index_large",
         "a range of {s.range_keys} keys to arrays, kept, {s.large_keys:,} keys", "ns", _MEM, 700),
    Cell("sorted_load_huge", INDEX, "index_huge", "bulk load of {s.huge_keys:,} sorted keys from arrays", "ns",
         _MEM),
    Cell("batch_lookup_huge", INDEX, "index_huge",
         "batch lookup of {s.keys:,} keys, uniform, {s.huge_keys:,} keys", "ns", _MEM),
    Cell("key_bytes_huge", INDEX, "index_huge", "memory per key after a bulk load of {s.huge_keys:,}", "B", _MEM),
    Cell("ycsb_a", WORK, "mixes", "YCSB A: 50 % get, 50 % update, zipfian", "us"),
    Cell("ycsb_b", WORK, "mixes", "YCSB B: 95 % get, 5 % update, zipfian", "us"),
    Cell("ycsb_c", WORK, "mixes", "YCSB C: gets only, zipfian", "us"),
    Cell("ycsb_d", WORK, "mixes", "YCSB D: 95 % get of the latest, 5 % insert", "us"),
    Cell("ycsb_e", WORK, "mixes", "YCSB E: 95 % ranges of 1 to 100, 5 % insert, zipfian", "us"),
    Cell("ycsb_f", WORK, "mixes", "YCSB F: 50 % get, 50 % read-modify-write, zipfian", "us"),
    Cell("mix_80_20", WORK, "mixes", "80 % get, 20 % update, uniform", "us"),
    Cell("mix_write", WORK, "mixes", "inserts only, uniform", "us"),
    Cell("mix_delete", WORK, "mixes", "50 % delete, 25 % insert, 25 % get, uniform", "us"),
    Cell("load_1k", WORK, "widths", "load {s.kib_values:,} x 1 KiB in batches, flushed", "s"),
    Cell("get_1k", WORK, "widths", "{s.kib_values:,} random gets of 1 KiB, best batch call", "s"),
    Cell("load_64k", WORK, "widths", "load {s.wide_values:,} x 64 KiB in batches, flushed", "s"),
    Cell("get_64k", WORK, "widths", "{s.wide_values:,} random gets of 64 KiB, best batch call", "s"),
    *(
        cell
        for kind, text in (
            ("sequential", "sequential keys"),
            ("lognormal", "lognormal keys"),
            ("timestamps", "microsecond timestamps"),
            ("clustered", "clustered cell ids"),
            ("uuid", "UUID keys"),
            ("flights", "real keys (flights of 2013)"),
        )
        for cell in (
            Cell(f"load_{kind}", WORK, "kinds", f"load {{s.distribution_keys:,}} x 100 B, {text}, flushed", "s"),
            Cell(f"get_{kind}", WORK, "kinds", f"{{s.distribution_keys:,}} gets, {text}, best batch call", "s"),
        )
    ),
    *(
        cell
        for kind, text in (("int64", "int64 keys"), ("v4", "UUIDs of version 4"), ("v7", "UUIDs of version 7 in order"))
        for cell in (
            Cell(f"uuids_{kind}_load", OWN, "uuids", f"put_many into an empty store, {text}", "ns"),
            Cell(f"uuids_{kind}_insert", OWN, "uuids", f"put_many into {{s.keys:,}} / 2 rows, {text}", "ns"),
            Cell(f"uuids_{kind}_get", OWN, "uuids", f"single gets, {{s.keys:,}} {text}", "ns"),
            Cell(f"uuids_{kind}_many", OWN, "uuids", f"batch gets to lists, {{s.keys:,}} {text}", "ns"),
            Cell(f"uuids_{kind}_array", OWN, "uuids", f"batch gets to one array, {{s.keys:,}} {text}", "ns"),
            Cell(f"uuids_{kind}_bytes", OWN, "uuids", f"memory of the index a key, {{s.keys:,}} {text}", "B",
                 target=34 if kind == "v4" else None),
        )
    ),
    Cell("snapshot", BESIDE, "versions", "a snapshot taken and dropped, {s.keys:,} keys", "us", target=1),
    Cell("snapshots_none", BESIDE, "versions", "one get, no snapshot alive", "ns"),
    Cell("snapshots_get", BESIDE, "versions", "one get, 10,000 snapshots of different moments alive", "ns"),
    Cell("put_quiet", BESIDE, "versions", "one put, nothing open, {s.keys:,} keys", "p99.9"),
    Cell("put_beside", BESIDE, "versions", "one put beside an open iterator, {s.keys:,} keys", "p99.9", target=20),
    Cell("kept", BESIDE, "versions", "memory kept for that iterator, for each changed key", "B", target=64),
    Cell("put_quiet_large", BESIDE, "versions_large", "one put, nothing open, {s.large_keys:,} keys", "p99.9"),
    Cell("put_beside_large", BESIDE, "versions_large", "one put beside an open iterator, {s.large_keys:,} keys",
         "p99.9", target=20),
    Cell("kept_large", BESIDE, "versions_large",
         "memory kept for that iterator, for each changed key, {s.large_keys:,} keys", "B", target=64),
    Cell("live_few", BESIDE, "versions", "{s.keys:,} gets to one array, 1 % of the keys overwritten", "s"),
    Cell("behind_few", BESIDE, "versions",
         "{s.keys:,} gets to one array at a snapshot, 1 % of the keys overwritten since", "s"),
    Cell("live_all", BESIDE, "versions", "{s.keys:,} gets to one array, all keys overwritten", "s"),
    Cell("behind_all", BESIDE, "versions",
         "{s.keys:,} gets to one array at a snapshot, all keys overwritten since", "s"),
    Cell("get_quiet", BESIDE, "versions", "one get, nobody writing", "p99.9"),
    Cell("get_beside", BESIDE, "versions", "one get beside a thread that writes without a pause", "p99.9"),
    Cell("written_beside", BESIDE, "versions", "records written meanwhile, in batches of 1,000", "/s"),
    Cell("threads_one", BESIDE, "versions", "gets in calls of 4,096 keys, to lists, one thread", "/s"),
    Cell("threads_two", BESIDE, "versions", "gets in calls of 4,096 keys, to lists, two threads", "/s"),
    Cell("refresh_nothing", BESIDE, "followers", "refresh in another process, nothing new", "us", target=2),
    Cell("refresh_batches", BESIDE, "followers",
         "refresh in another process, {s.refreshed:,} records new, written in batches", "ms", target=40),
    Cell("refresh_singles", BESIDE, "followers",
         "refresh in another process, {s.refreshed:,} records new, by single puts", "ms", target=40),
    Cell("shared_one", BESIDE, "followers",
         "memory of one reading process, mapped files included, {s.keys:,} keys", "MB"),
    Cell("shared_all", BESIDE, "followers",
         "memory of sixteen reading processes, mapped files included, {s.keys:,} keys", "MB"),
    Cell("shared_open", BESIDE, "followers",
         "opening and first get by the slowest of sixteen processes, {s.keys:,} keys", "ms", target=20),
    Cell("latency_put", CARE, "latency", "one put", "p99"),
    Cell("latency_get", CARE, "latency", "one get", "p99"),
    Cell("latency_sync", CARE, "latency_sync", "one durable put", "p99", _POWER),
    Cell("backup", CARE, "care", "backup of {s.care_keys:,} x 100 B", "ms"),
    Cell("care_reads", CARE, "care", "batch gets with half of {s.care_keys:,} keys deleted", "ns"),
    Cell("compact", CARE, "care", "compaction with half of {s.care_keys:,} keys deleted", "ms"),
    Cell("compact_reads", CARE, "care", "batch gets after that compaction", "ns"),
    Cell("compact_disk", CARE, "care", "allocated on disk after that compaction", "MB"),
    Cell("load_large", CARE, "large", "load {s.large_keys:,} x 100 B in batches, flushed", "s", target=5),
    Cell("close_large", CARE, "large", "close, {s.large_keys:,} keys", "ms", target=1000),
    Cell("open_large", CARE, "large", "open after a clean close, and first get, {s.large_keys:,} keys", "ms",
         target=10),
    Cell("array_large", CARE, "large", "random gets of {s.keys:,} keys to one array, {s.large_keys:,} keys", "ns"),
    Cell("open_killed", CARE, "large", "open after SIGKILL, {s.large_keys:,} keys and {s.tail:,} since", "ms",
         target=50),
    Cell("load_tail", CARE, "large", "write {s.long_tail:,} more in batches, not flushed", "s"),
    Cell("open_tail", CARE, "large", "open after SIGKILL, {s.long_tail:,} since, nothing having followed", "s"),
    Cell("sessions", CARE, "sessions", "open, put, close, {s.sessions:,} times", "ms"),
    Cell("sessions_files", CARE, "sessions", "files after {s.sessions:,} such sessions", "files", target=16),
    Cell("sessions_open", CARE, "sessions", "open after them, and first get", "ms", target=3),
)  # fmt: skip
BY_ID: Mapping[str, Cell] = {cell.id: cell for cell in CELLS}
SINGLE_CALLS: tuple[Cell, ...] = tuple(cell for cell in CELLS if cell.of_single_calls)
