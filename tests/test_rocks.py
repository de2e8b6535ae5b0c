"""`RocksStore` does what `Store` does: it passes the same tests, and tests of its own.

The tests imported below ask for the fixtures `store`, `empty` and `filled`; here those are over RocksDB.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import initialize, rule

import alexpy
import test_keys
import test_scan
from alexpy.rocks import RocksConfig, RocksStore
from test_batches import (  # noqa: F401 - run here, with the fixtures below
    test_a_batch_is_write_only,
    test_a_batch_may_be_ended_inside_its_block,
    test_a_batch_that_has_ended_raises_closed_error,
    test_a_refused_operation_adds_nothing_to_the_batch,
    test_an_empty_batch_commits,
    test_an_exception_in_the_block_drops_the_batch,
    test_batches_are_independent_of_each_other,
    test_contains_many_is_a_bool_array,
    test_delete_many_counts_the_keys_that_were_there,
    test_delete_range_is_half_open_and_needs_a_bound,
    test_get_array_does_not_write_over_the_keys_it_reads,
    test_get_array_fills_an_array_that_is_there_already,
    test_get_array_names_a_missing_key_unless_fill_is_given,
    test_get_array_names_the_key_whose_value_has_another_length,
    test_get_array_reads_empty_values_as_rows_without_bytes,
    test_get_array_refuses_an_array_that_does_not_fit,
    test_get_array_returns_rows_in_the_order_and_with_the_duplicates_of_the_keys,
    test_get_many_keeps_order_and_duplicates,
    test_put_many_counts_distinct_keys_and_the_last_duplicate_wins,
    test_the_last_operation_on_a_key_wins,
)
from test_keys import (  # noqa: F401 - as above
    test_an_enormous_integer_is_an_overflow_error_too,
    test_an_exception_in_the_iterable_passes_and_nothing_is_written,
    test_an_exception_of_the_objects_own_index_method_passes,
    test_an_iterable_of_keys_is_read_once,
    test_anything_but_keys_is_refused_by_name_and_nothing_is_written,
    test_everything_with_an_index_is_the_same_key,
    test_large_keys_never_pass_through_floats,
    test_no_keys_at_all_are_legal,
    test_the_ends_of_int64_are_keys_like_any_other,
    test_the_message_shows_the_key_and_what_to_do,
    test_the_same_keys_in_any_container_are_the_same_keys,
)
from test_mapping import (  # noqa: F401 - as above
    StoreAgainstSortedDict,
    _directories,
    _directory,
    _numbers,
    test_a_missing_key_is_a_key_error_that_names_it,
    test_a_store_is_a_mutable_mapping_and_unhashable,
    test_a_store_updates_from_itself_and_from_another,
    test_clear_removes_everything,
    test_compare_and_set_takes_none_for_absent,
    test_delete_says_whether_the_key_was_there,
    test_get_returns_the_default_for_a_missing_key,
    test_items_are_set_read_and_deleted,
    test_iteration_is_in_key_order_and_reversed_the_other_way,
    test_pop_removes_and_returns,
    test_popitem_gives_no_item_to_two_threads,
    test_racing_threads_share_the_atomic_calls_without_a_loss,
    test_setdefault_and_put_if_absent_keep_what_is_there,
    test_stores_are_equal_to_mappings_with_the_same_items,
    test_the_neighbours_of_a_key_are_found_by_order,
    test_update_is_all_or_nothing,
    test_update_takes_what_dict_update_takes,
    test_views_are_live_and_of_the_collection_types,
)
from test_scan import (  # noqa: F401 - as above
    test_a_bound_or_limit_that_is_no_integer_is_a_type_error_that_names_it,
    test_a_negative_limit_is_a_value_error,
    test_a_scan_yields_exactly_the_keys_inside_its_bounds,
    test_a_store_may_change_under_its_own_iteration,
    test_an_exhausted_iterator_stays_exhausted,
    test_an_iterator_does_not_pickle,
    test_an_iterator_sees_the_store_as_it_was_when_it_was_made,
    test_arguments_after_the_bounds_are_keyword_only,
    test_bounds_do_not_swap_under_reverse,
    test_many_iterators_keep_their_own_moments,
    test_readers_see_whole_batches_only,
    test_scans_of_any_length_are_whole,
    test_the_limit_counts_from_the_top_under_reverse,
    test_threads_that_share_an_iterator_get_each_item_once,
)
from test_values import (  # noqa: F401 - as above
    test_a_mutable_value_is_copied_when_it_is_put,
    test_a_refused_value_of_many_is_named_by_its_position,
    test_a_value_above_the_limit_is_a_value_error,
    test_another_number_of_values_than_keys_is_a_value_error_before_anything_is_written,
    test_any_contiguous_buffer_is_stored_as_its_memory_and_comes_back_as_bytes,
    test_anything_but_a_value_is_refused_in_every_call_and_nothing_is_written,
    test_anything_but_values_is_refused_and_nothing_is_written,
    test_empty_bytes_are_a_value_and_not_a_miss,
    test_many_values_in_any_container_are_the_same_values,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(store_path: Path) -> Iterator[RocksStore]:
    with RocksStore(store_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RocksStore]:
    with RocksStore(tmp_path_factory.mktemp("rocks") / "store") as opened:
        yield opened


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RocksStore]:
    with RocksStore(tmp_path_factory.mktemp("rocks-scan") / "store") as opened:
        opened.update({key: b"%d" % key for key in test_scan.KEYS})
        test_scan._filled.append(opened)  # type: ignore[arg-type]
        yield opened
        test_scan._filled.clear()


CALLS = {name: call for name, call in test_keys.SINGLE_CALLS.items() if name != "get_view"}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("key", test_keys.NO_KEYS, ids=repr)
def test_anything_but_an_integer_is_a_type_error_in_every_call(empty: Any, call: Any, key: Any) -> None:
    with pytest.raises(TypeError, match="keys are integers"):
        call(empty, key)
    assert len(empty) == 0


class RocksStoreAgainstSortedDict(StoreAgainstSortedDict):
    """The same random calls and reopenings."""

    @initialize()
    def open_first(self) -> None:
        self.path = _directories[-1] / f"rocks-{next(_numbers)}"
        self.store: Any = RocksStore(self.path)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = RocksStore(self.path)


TestRocksStoreAgainstSortedDict = RocksStoreAgainstSortedDict.TestCase
TestRocksStoreAgainstSortedDict.settings = settings(max_examples=15, stateful_step_count=30)


def test_the_index_is_rebuilt_when_a_store_is_opened(store_path: Path) -> None:
    keys = np.random.default_rng(5).integers(-(2**63), 2**63, 20_000)
    with RocksStore(store_path) as store:
        store.put_many(keys, keys.astype("<i8"))
        store.delete_many(keys[:5000])
    with RocksStore(store_path, create=False) as store:
        left = np.unique(keys[5000:])
        assert list(store) == left.tolist()
        assert store.get_array(left, "<i8").tolist() == left.tolist()
        assert store.contains_many(keys[:5000]).sum() == 0
        assert store.stats().keys == len(left)
        assert store.stats().index_bytes > 0


def test_a_killed_writer_loses_nothing_it_had_committed(store_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from alexpy.rocks import RocksStore\n"
        "store = RocksStore(sys.argv[1])\n"
        "store.put_many(range(1000), [b'%d' % key for key in range(1000)])\n"
        "store[5] = b'five'\n"
        "store.delete(6)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(store_path)], check=False, timeout=60)
    assert done.returncode == -9
    with RocksStore(store_path) as store:
        assert len(store) == 999
        assert store[5] == b"five"
        assert 6 not in store


def test_a_second_opener_is_refused_with_the_lock_error(store: RocksStore) -> None:
    with pytest.raises(alexpy.LockedError, match="open elsewhere"):
        RocksStore(store.path)


def test_a_path_that_is_not_a_store_is_refused_and_not_touched(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RocksStore(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        RocksStore(tmp_path / "file")
    with pytest.raises(alexpy.FormatError, match="no RocksDB"):
        RocksStore(tmp_path)
    with alexpy.open(tmp_path / "own") as own:
        own[1] = b"one"
    with pytest.raises(alexpy.FormatError):
        RocksStore(tmp_path / "own")
    with alexpy.open(tmp_path / "own") as own:
        assert own == {1: b"one"}


def test_a_closed_store_raises_closed_error_and_can_be_opened_again(store_path: Path) -> None:
    store = RocksStore(store_path)
    store.update({1: b"one", 2: b"two"})
    scans = [store.scan(), store.scan_keys(), store.scan_values()]
    batch = store.batch()
    batch.put(3, b"three")
    next(scans[0])
    store.close()
    store.close()
    assert store.closed
    for call in (store.first, store.flush, store.stats, batch.commit, *(scan.__next__ for scan in scans)):
        with pytest.raises(alexpy.ClosedError):
            call()
    with pytest.raises(alexpy.ClosedError):
        store[1]
    with RocksStore(store_path) as again:
        assert again == {1: b"one", 2: b"two"}


def test_a_forgotten_store_warns_and_gives_up_its_lock(store_path: Path) -> None:
    store = RocksStore(store_path)
    with pytest.warns(ResourceWarning, match="not closed"):
        del store
    RocksStore(store_path).close()


READS = {
    "get": lambda store: store.get(1),
    "get_many": lambda store: store.get_many([1, 2]),
    "first": lambda store: store.first(),
    "higher": lambda store: store.higher(1),
    "scan": lambda store: list(store.scan()),
    "reverse scan": lambda store: list(store.scan(reverse=True)),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_damage_to_an_open_store_is_a_corruption_error(store_path: Path, read: Any) -> None:
    rows = np.random.default_rng(7).integers(0, 256, (20_000, 500), np.uint8)
    with RocksStore(store_path, config=RocksConfig(block_cache_mb=1)) as store:
        store.put_many(range(len(rows)), rows)
        store.compact()
    with RocksStore(store_path, config=RocksConfig(block_cache_mb=1)) as store:
        for file in store_path.glob("*.sst"):
            data = bytearray(file.read_bytes())
            # All but the ends, which RocksDB keeps in memory.
            data[1000 : len(data) - 1_000_000] = bytes(len(data) - 1_001_000)
            with file.open("r+b") as opened:
                opened.write(data)
        with pytest.raises(alexpy.CorruptionError):
            read(store)


@pytest.mark.parametrize("first_byte", [0, 5_000_000])
def test_damage_is_refused_at_opening_and_no_key_is_left_out(store_path: Path, first_byte: int) -> None:
    rows = np.random.default_rng(7).integers(0, 256, (20_000, 500), np.uint8)
    with RocksStore(store_path) as store:
        store.put_many(range(len(rows)), rows)
        store.compact()
    (file,) = store_path.glob("*.sst")
    whole = file.read_bytes()
    data = bytearray(whole)
    data[first_byte : first_byte + 1000] = bytes(1000)
    file.write_bytes(data)
    with pytest.raises(alexpy.CorruptionError, match="block checksum mismatch"):
        RocksStore(store_path)
    # It let go of its lock.
    file.write_bytes(whole)
    with RocksStore(store_path) as store:
        assert len(store) == len(rows)


@pytest.mark.parametrize(
    "write", ["store.put(key, value)", "store.delete(key)", "store.put_many([key], [value])"]
)
@pytest.mark.slow
def test_a_write_that_the_system_refuses_is_an_os_error_and_the_index_is_as_before(
    store_path: Path, write: str
) -> None:
    program = f"""
import resource, signal, sys
from alexpy.rocks import RocksStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = RocksStore(sys.argv[1])
store.put_many(range(1_000_000), [b""] * 1_000_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
value = bytes(1000)
for key in range(1_000_000):
    before = len(store), store.count(0, key + 1)
    try:
        {write}
    except OSError as error:
        assert "RocksDB" in str(error), error
        assert (len(store), store.count(0, key + 1)) == before
        break
else:
    raise SystemExit("nothing was refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(store_path)],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("compression", ["none", "lz4"])
@pytest.mark.parametrize("durability", ["sync", "os"])
def test_every_configuration_keeps_the_items(store_path: Path, compression: Any, durability: Any) -> None:
    config = RocksConfig(
        compression=compression,
        durability=durability,
        write_buffer_mb=64,
        level0_trigger=4,
        bloom_bits=10,
    )
    items = {key: b"%d" % key * 10 for key in range(2000)}
    with RocksStore(store_path, config=config) as store:
        store.update(items, sync=True)
        store.compact()
        assert store == items
        store.backup(store_path.with_name("copy"))
        store.clear()
    with RocksStore(store_path.with_name("copy")) as copy:
        assert copy == items


@pytest.mark.parametrize(
    "wrong",
    [{"durability": "interval"}, {"compression": "zip"}, {"write_buffer_mb": 0}, {"level0_trigger": 1.5}],
    ids=repr,
)
def test_an_impossible_option_is_a_value_error_that_names_it(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RocksConfig(**wrong)


def test_a_batch_commits_when_its_block_ends_and_counts_its_operations(store: RocksStore) -> None:
    store[9] = b"gone"
    with store.batch() as batch:
        batch.put(1, b"one")
        batch[2] = b"two"
        batch.put_many([3, 4], [b"three", b"four"])
        batch.delete(9)
        batch.delete_many([4])
        assert len(batch) == 6
        assert repr(batch) == "<alexpy.rocks.RocksBatch of 6 operations>"
        assert store == {9: b"gone"}
    assert store == {1: b"one", 2: b"two", 3: b"three"}


def test_it_is_merged_as_a_dict_is(store: RocksStore) -> None:
    store.update({1: b"a", 2: b"b"})
    other = {2: b"c", 3: b"d"}
    assert store | other == {1: b"a", 2: b"c", 3: b"d"}
    assert other | store == {1: b"a", 2: b"b", 3: b"d"}
    assert store | {} == store
    same = store
    same |= other
    assert same is store
    assert store == {1: b"a", 2: b"c", 3: b"d"}
    with pytest.raises(TypeError, match="unsupported operand"):
        store | [(1, b"a")]


def test_it_lacks_exactly_what_the_documentation_says() -> None:
    lacking = {name for name in dir(alexpy.Store) if not name.startswith("_")} - set(dir(RocksStore))
    assert lacking >= {"get_view", "get_buffers", "scan_batches", "to_arrow"}
    assert not lacking & set(dir(MutableMapping) + dir(Mapping))
