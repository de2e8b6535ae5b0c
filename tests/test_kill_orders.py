"""Every order in which keys arrive and leave, by a writer that is killed while another thread writes images.

The commonest stores are queues, logs and time series: keys ascend, and leave at the front. A writer goes on
with what the previous kill left, after it has compared all of it with a model.

ALEXPY_KILLS sets the number of kills, two for each of those in test_kill (100); ALEXPY_KILL_SEED repeats the
operations of a failure; the moments of the kills depend on the machine.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from order_writer import COMING, GOING, Job
from writers import Writers

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

KILLS = 2 * int(os.environ.get("ALEXPY_KILLS", "50"))
SEED = int(os.environ.get("ALEXPY_KILL_SEED", "0")) or random.SystemRandom().getrandbits(32)
KILLS_A_STORE = 3
"""Those that another writer comes after and looks at."""


@pytest.mark.timeout(0)
def test_every_order_of_keys_and_of_removal_survives_kills_while_images_are_written(tmp_path: Path) -> None:
    cases = list(itertools.product(COMING, GOING))
    chance = random.Random(SEED)
    chance.shuffle(cases)
    operations = 0
    with Writers("order_writer.py") as writers:
        for store in range(-(-KILLS // KILLS_A_STORE)):
            coming, going = cases[store % len(cases)]
            path, last = tmp_path / f"store-{store}", -1
            for kill in range(KILLS_A_STORE + 1):
                options = {
                    # Default and small segments; images as soon as there is anything, and by default.
                    "segment_bytes": chance.choice((64 << 10, 1 << 20, 64 << 20)),
                    "checkpoint_tail_bytes": chance.choice((1, 64 << 20)),
                    "durability": chance.choice(("interval", "os", "sync")),
                }
                job = Job(str(path), SEED + store, coming, going, last, options)
                where = f"ALEXPY_KILL_SEED={SEED}, store {store}, kill {kill} ({job})"
                before = last
                last = run_and_kill(writers, job, chance.uniform(0, 0.15), where)
                operations += last - before
    print(f"{KILLS} kills, {operations:,} operations, none lost")


def run_and_kill(writers: Writers, job: Job, seconds: float, where: str) -> int:
    """Let a writer check the store and work for a while, kill it, and return its last reported operation."""
    pid = writers.start(json.dumps(asdict(job)))
    try:
        last = int(writers.line().removeprefix("from ")) - 1
    except AssertionError as failed:
        raise AssertionError(f"{where}: {failed}") from failed
    assert last in (job.last, job.last + 1), where
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    while not (line := writers.line()).startswith("ended "):
        assert int(line) == last + 1, where
        last = int(line)
    assert line == f"ended {-signal.SIGKILL}\n", where
    return last
