"""A writer killed with SIGKILL in mid-load: every row it had acknowledged is there, and no half batch."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import alexpy
from show import Checks, duration, say, stopwatch

if TYPE_CHECKING:
    from pathlib import Path

    from flights import Flight

BATCH = 5_000


def kill_and_recover(csv_file: Path, store_path: Path, flights: list[Flight], checks: Checks) -> None:
    """Load the file into a new store, kill the loading process, and look at what is left."""
    acknowledged = _load_and_kill(csv_file, store_path, random.Random())
    with stopwatch() as seconds, alexpy.open(store_path) as store:
        found = list(store.items())
    say(
        f"Killed after it had acknowledged {acknowledged:,} of {len(flights):,} rows. Opened again and read "
        f"whole in {duration(seconds[0])}: {len(found):,} rows are there."
    )
    # The file was loaded in its own order, so what is there must be its first rows, sorted by key.
    checks.same("the killed load was in mid-way", 0 < acknowledged < len(flights), expected=True)
    checks.same("no acknowledged row is missing after SIGKILL", len(found) >= acknowledged, expected=True)
    checks.same(
        "no batch is half there after SIGKILL", len(found) % BATCH if len(found) < len(flights) else 0, 0
    )
    expected = sorted((flight.key, flight.row_json) for flight in flights[: len(found)])
    right = checks.same("every row found after SIGKILL is right", found, expected)
    beyond = len(found) - acknowledged
    say(
        f"{'Right' if right else 'WRONG'}: all {acknowledged:,} acknowledged rows are there, byte for byte, "
        + (
            f"and {beyond:,} more, whole batches whose acknowledgement the kill cut off."
            if beyond
            else "and no others."
        )
    )
    with stopwatch() as seconds:
        subprocess.run(_command(csv_file, store_path), check=True, stdout=subprocess.DEVNULL)
    with alexpy.open(store_path, read_only=True) as store:
        right = checks.same("loading again completes the killed load", len(store), len(flights))
    how_many = "all" if right else "NOT ALL"
    say(f"Loaded again to the end in {duration(seconds[0])}: {how_many} {len(flights):,} rows.")


def _load_and_kill(csv_file: Path, store_path: Path, chance: random.Random) -> int:
    """Return how many rows the killed process had acknowledged."""
    after = chance.randrange(10, 50)
    writer = subprocess.Popen(_command(csv_file, store_path), stdout=subprocess.PIPE)
    if writer.stdout is None:
        raise RuntimeError("no pipe to the writer")
    acknowledged = 0
    with writer:
        for line in writer.stdout:
            acknowledged = json.loads(line).get("committed", acknowledged)
            after -= 1
            if after == 0:
                time.sleep(chance.uniform(0, 0.05))
                writer.send_signal(signal.SIGKILL)
    return acknowledged


def _command(csv_file: Path, store_path: Path) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "alexpy",
        "load",
        str(store_path),
        str(csv_file),
        "--key",
        "id",
        "--json",
    ]
    return [*command, "--batch-rows", str(BATCH)]
