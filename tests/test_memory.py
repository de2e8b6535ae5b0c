"""Calls without enough memory: MemoryError, nothing lost or poisoned, and the process lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# MiB: hardly anything, less than many calls need, and more than most do.
ROOMS = ["0", "20", "150"] if "ALEXPY_LIMIT_SEEDS" not in os.environ else ["0", "1", "5", "20", "60", "150"]
PROGRAM = Path(__file__).with_name("memory_limits.py")


def test_every_call_without_memory_raises_memory_error_and_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(PROGRAM), str(tmp_path), *ROOMS],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert "panicked" not in run.stderr
    refused = int(run.stdout.split("done: ")[1].split(" refused")[0])
    assert refused > 20, "the limits are too wide to show anything"


def test_an_index_that_finds_no_memory_in_the_middle_of_a_call_raises_memory_error_and_goes_on() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(PROGRAM.with_name("memory_of_an_index.py"))],
        capture_output=True,
        text=True,
        # Telling of a panic takes memory, and waits for ever where that is missing.
        env={**os.environ, "RUST_BACKTRACE": "1"},
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert "panicked" not in run.stderr
