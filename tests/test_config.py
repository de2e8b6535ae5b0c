"""Config: defaults, every refusal, and the three sources that it is read from."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import pydoc
import re
import subprocess
import sys
import typing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
import alexpy.aio
from alexpy import Config
from alexpy.config import Options

if TYPE_CHECKING:
    from collections.abc import Callable

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
        ("compact_dead_ratio", 10**400, "a number between 0 and 1"),
        ("compact_dead_ratio", Fraction(1, 10**400), "a number between 0 and 1"),
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


@pytest.mark.parametrize(
    "value", [0.25, np.float32(0.25), np.float64(0.25), Fraction(1, 4)], ids=["float", "f4", "f8", "fraction"]
)
def test_a_share_takes_numbers_of_any_type(value: Any) -> None:
    ratio = Config(compact_dead_ratio=value).compact_dead_ratio
    assert ratio == 0.25
    assert type(ratio) is float


@pytest.mark.parametrize("name", [1, None, ("durability",)])
def test_a_name_that_is_no_text_is_no_option(name: Any) -> None:
    with pytest.raises(ValueError, match=r"there is no option .*durability"):
        Config().with_options({name: 2})


@pytest.mark.parametrize("value", [4096, 2**35, np.int64(8192)])
def test_segment_bytes_takes_both_limits_and_numpy_integers(value: Any) -> None:
    segment_bytes = Config(segment_bytes=value).segment_bytes
    assert segment_bytes == value
    assert type(segment_bytes) is int


OPENS: dict[str, Callable[..., object]] = {"open": alexpy.open, "aio.open": alexpy.aio.open}


@pytest.mark.parametrize("function", [*OPENS.values(), Config], ids=[*OPENS, "Config"])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("durabilty", "did you mean 'durability'?"),
        ("Durability", "did you mean 'durability'?"),
        ("segment_size", "did you mean 'segment_bytes'?"),
        ("cache_mb", "there are "),
    ],
)
def test_a_misspelt_option_is_a_type_error_that_names_the_nearest(
    function: Callable[..., object], name: str, told: str, store_path: Path
) -> None:
    path = [] if function is Config else [store_path]
    with pytest.raises(TypeError, match=re.escape(f"{function.__name__}() has no option {name!r}; {told}")):
        function(*path, **{name: 5})
    assert not store_path.exists()


def test_the_other_keywords_of_open_are_suggested_too(store_path: Path) -> None:
    with pytest.raises(TypeError, match="has no option 'readonly'; did you mean 'read_only'"):
        alexpy.open(store_path, readonly=True)
    with pytest.raises(TypeError, match="has no option 'thread'; did you mean 'threads'"):
        alexpy.aio.open(store_path, thread=1)


def test_the_keywords_that_type_checkers_see_are_the_fields_of_config() -> None:
    assert Options.__annotations__.keys() == set(NAMES)
    assert typing.get_type_hints(Options) == typing.get_type_hints(Config)
    assert not Options.__required_keys__
    for function in OPENS.values():
        assert typing.get_type_hints(function)["options"] == typing.Unpack[Options]


@pytest.mark.parametrize("function", OPENS.values(), ids=OPENS)
def test_the_signature_of_open_names_every_option_with_its_default(function: Callable[..., object]) -> None:
    parameters = inspect.signature(function).parameters
    defaults = dataclasses.asdict(Config())
    assert {name: parameters[name].default for name in NAMES} == defaults
    assert all(one.kind is one.KEYWORD_ONLY for one in list(parameters.values())[1:])
    own = list(inspect.signature(inspect.unwrap(function)).parameters)
    assert set(parameters) >= set(own) - {"options"}


@pytest.mark.parametrize("told", [alexpy.open, alexpy.aio.open, Config], ids=["open", "aio.open", "Config"])
def test_help_says_what_each_option_means_what_it_takes_and_its_default(told: Any) -> None:
    text = pydoc.plain(pydoc.render_doc(told))
    for name in NAMES:
        described = re.search(rf"{name}: (.+); (.+) by default\.\n[ |]+([A-Z].*)", text)
        assert described, name
        default = getattr(Config(), name)
        assert described[2].strip('"').split(" (")[0] == str(default)
    assert text.index("Options:") < text.index("Raises:")


@pytest.mark.parametrize("function", OPENS.values(), ids=OPENS)
def test_a_config_of_another_type_is_refused(function: Callable[..., object], store_path: Path) -> None:
    with pytest.raises(
        TypeError, match=r"config is a dict, not an alexpy.Config; single options are keywords"
    ):
        function(store_path, config={"durability": "sync"})
    assert not store_path.exists()


def test_a_docstring_stripped_by_python_leaves_everything_working(store_path: Path) -> None:
    program = (
        "import sys, alexpy; print(alexpy.open.__doc__, len(alexpy.open(sys.argv[1], background=False)))"
    )
    command = [sys.executable, "-OO", "-W", "ignore", "-c", program, str(store_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "None 0\n"


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
