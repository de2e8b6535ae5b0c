"""Fixtures for every test, and the settings of hypothesis."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

import alexpy
from command_line import CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Tests judge answers, never times: a busy machine must not fail them.
settings.register_profile("alexpy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("alexpy")


@pytest.fixture(autouse=True)
def _no_configuration_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the fields of Config from the environment; the SIMD backend and the tests' own counts stay."""
    for name in list(os.environ):
        if name.startswith("ALEXPY_") and name not in {
            "ALEXPY_SIMD",
            "ALEXPY_KILLS",
            "ALEXPY_KILL_SEED",
            "ALEXPY_PROGRAM_SECONDS",
            "ALEXPY_SHIP_FIRST",
            "ALEXPY_SHIP_SEEDS",
        }:
            monkeypatch.delenv(name)


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """A path at which there is no store yet."""
    return tmp_path / "store"


@pytest.fixture
def store(store_path: Path) -> Iterator[alexpy.Store]:
    """An open, empty store."""
    with alexpy.open(store_path) as opened:
        yield opened


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory to ship to, which is not there yet."""
    return tmp_path / "place"


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """A path at which there is no mirror yet."""
    return tmp_path / "mirror"


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """Run the command line in this process: `run("get", path, 5)`."""
    return CommandLine(capfdbinary)
