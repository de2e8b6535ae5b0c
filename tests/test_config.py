"""Config: defaults, every refusal, and the three sources that it is read from."""

from __future__ import annotations

import dataclasses
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alexpy
from alexpy import Config

NAMES = [field.name for field in dataclasses.fields(Config)]
# The variables by which `make` tells the tests how much to do.
ALEXPY_TESTS = set(re.findall(r"ALEXPY_\w+(?==)", (Path(__file__).parents[1] / "Makefile").read_text()))
ALEXPY_TESTS |= {"ALEXPY_SEED", "ALEXPY_KILL_SEED"}


def test_defaults_are_those_of_the_documentation() -> None:
    assert dataclasses.asdict(Config()) == {
        "durability": "interval",
        "sync_interval_ms": 50,
        "segment_bytes": 64 << 20,
        "write_mode": "auto",
        "read_mode": "mmap",
        "verify_reads": True,
        "compact_dead_ratio": 0.30,
        "compact_bytes_per_second": 64 << 20,
        "background": True,
        "checkpoint_tail_bytes": 64 << 20,
        "recovery": "strict",
    }


def test_config_is_frozen_and_compares_and_pickles_by_value() -> None:
    config = Config(durability="sync")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.durability = "os"  # type: ignore[misc]
    assert config == Config(durability="sync") != Config()
    assert pickle.loads(pickle.dumps(config)) == config
    assert len({config, Config(durability="sync")}) == 1


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("durability", "fsync", '"sync" or "interval" or "os"'),
        ("durability", None, '"sync" or "interval" or "os"'),
        ("durability", ["sync"], '"sync" or "interval" or "os"'),
        ("write_mode", "MMAP", '"auto" or "mmap" or "pwrite"'),
        ("read_mode", "auto", '"mmap" or "pread"'),
        ("recovery", "salvage", '"strict" or "point_in_time"'),
        ("sync_interval_ms", 0, "an integer from 1 to"),
        ("sync_interval_ms", -1, "an integer from 1 to"),
        ("sync_interval_ms", 50.0, "an integer from 1 to"),
        ("sync_interval_ms", "50", "an integer from 1 to"),
        ("sync_interval_ms", True, "an integer from 1 to"),
        ("segment_bytes", 4095, "an integer from 4096 to 34359738368, not 4095"),
        ("segment_bytes", 2**35 + 1, "an integer from 4096 to 34359738368"),
        ("compact_bytes_per_second", 0, "an integer from 1 to"),
        ("checkpoint_tail_bytes", 2**63, "an integer from 1 to"),
        ("verify_reads", 1, "True or False, not 1"),
        ("background", "no", "True or False, not 'no'"),
        ("compact_dead_ratio", 0, "a number between 0 and 1"),
        ("compact_dead_ratio", 1.0, "a number between 0 and 1"),
        ("compact_dead_ratio", float("nan"), "a number between 0 and 1"),
        ("compact_dead_ratio", "0.3", "a number between 0 and 1"),
        ("compact_dead_ratio", True, "a number between 0 and 1"),
    ],
)
def test_impossible_value_is_a_value_error_that_says_what_is_allowed(
    name: str, value: Any, allowed: str, store_path: Path
) -> None:
    with pytest.raises(ValueError, match=name) as refusal:
        Config(**{name: value})
    assert allowed in str(refusal.value)
    with pytest.raises(ValueError, match=name):
        alexpy.open(store_path, **{name: value})
    assert not store_path.exists()


@pytest.mark.parametrize("value", [4096, 2**35, np.int64(8192)])
def test_segment_bytes_takes_both_limits_and_numpy_integers(value: Any) -> None:
    segment_bytes = Config(segment_bytes=value).segment_bytes
    assert segment_bytes == value
    assert type(segment_bytes) is int


def test_open_refuses_an_unknown_option_and_makes_nothing(store_path: Path) -> None:
    with pytest.raises(ValueError, match="cache_size"):
        alexpy.open(store_path, cache_size=5)
    assert not store_path.exists()


def test_an_option_of_open_overrides_the_config(store_path: Path) -> None:
    with alexpy.open(store_path, config=Config(write_mode="mmap"), write_mode="pwrite") as store:
        assert store.stats().write_mode == "pwrite"
    with alexpy.open(store_path, config=Config(write_mode="pwrite")) as store:
        assert store.stats().write_mode == "pwrite"


def test_toml_sets_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "store.toml"
    path.write_text('durability = "sync"\nsegment_bytes = 1_048_576\nverify_reads = false\n')
    assert Config.from_toml(path) == Config(durability="sync", segment_bytes=1 << 20, verify_reads=False)
    path.write_text("")
    assert Config.from_toml(str(path)) == Config()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('durablity = "sync"', "durablity"),
        ('durability = "sink"', "durability must be"),
        ("[durability]\nmode = 1", "durability must be"),
        ("durability", "after a key"),
        ("sync_interval_ms = 2026-01-01", "sync_interval_ms"),
    ],
)
def test_bad_toml_is_a_value_error_that_names_the_file(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "store.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=part) as refusal:
        Config.from_toml(path)
    assert str(path) in str(refusal.value)


def test_toml_that_is_not_utf8_is_a_value_error_and_a_missing_file_its_own(tmp_path: Path) -> None:
    path = tmp_path / "store.toml"
    path.write_bytes(b'durability = "\xff"')
    with pytest.raises(ValueError, match="utf-8"):
        Config.from_toml(path)
    with pytest.raises(FileNotFoundError):
        Config.from_toml(tmp_path / "other.toml")


def test_environment_sets_every_field() -> None:
    assert Config.from_env(
        {
            "ALEXPY_DURABILITY": "os",
            "ALEXPY_SYNC_INTERVAL_MS": "7",
            "ALEXPY_SEGMENT_BYTES": "8192",
            "ALEXPY_WRITE_MODE": "pwrite",
            "ALEXPY_READ_MODE": "pread",
            "ALEXPY_VERIFY_READS": "0",
            "ALEXPY_COMPACT_DEAD_RATIO": "0.5",
            "ALEXPY_COMPACT_BYTES_PER_SECOND": "1000",
            "ALEXPY_BACKGROUND": "False",
            "ALEXPY_CHECKPOINT_TAIL_BYTES": "9",
            "ALEXPY_RECOVERY": "point_in_time",
        }
    ) == Config(
        durability="os",
        sync_interval_ms=7,
        segment_bytes=8192,
        write_mode="pwrite",
        read_mode="pread",
        verify_reads=False,
        compact_dead_ratio=0.5,
        compact_bytes_per_second=1000,
        background=False,
        checkpoint_tail_bytes=9,
        recovery="point_in_time",
    )


def test_environment_ignores_the_backend_the_counts_of_tests_and_other_programs() -> None:
    others = {
        "ALEXPY_SIMD": "scalar",
        **dict.fromkeys(ALEXPY_TESTS, "10"),
        "PATH": "/bin",
        "ALEX": "1",
    }
    assert Config.from_env(others) == Config()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALEXPY_DURABLITY", "sync"),
        ("ALEXPY_durability", "sync"),
        ("ALEXPY_", "sync"),
        ("ALEXPY_DURABILITY", "SYNC"),
        ("ALEXPY_SYNC_INTERVAL_MS", "fifty"),
        ("ALEXPY_SYNC_INTERVAL_MS", ""),
        ("ALEXPY_SEGMENT_BYTES", "1"),
        ("ALEXPY_VERIFY_READS", "maybe"),
        ("ALEXPY_COMPACT_DEAD_RATIO", "third"),
        ("ALEXPY_COMPACT_DEAD_RATIO", "nan"),
    ],
)
def test_bad_environment_is_a_value_error_that_names_the_variable(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=variable):
        Config.from_env({variable: value})


def test_environment_is_read_from_the_process_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXPY_DURABILITY", "sync")
    assert Config.from_env().durability == "sync"
