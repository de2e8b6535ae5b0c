"""SIGKILL at random moments loses no returned write and leaves no half batch.

In each round a writer makes commits and reports each one after it returned. The test kills it, opens the
store and compares all of it with a model: the store must hold exactly the first n commits, where n is the
last one reported or the one after it (the kill can fall between the commit and the report). The rounds of one
case share a store, so that what a kill left behind is recovered, overwritten and killed again; some kills
fall into that recovery.

Other rounds compact and write images all the time, and are killed in the middle of that.

ALEXPY_KILLS sets the number of rounds (200 by default; an eighth as many of the other rounds).
ALEXPY_KILL_SEED repeats the operations of a failure; the moments of the kills depend on the machine.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

import alexpy
from command_line import command
from kill_operations import Job, Style, changes
from writers import Writers

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("ALEXPY_KILLS", "200"))
SEED = int(os.environ.get("ALEXPY_KILL_SEED", "0")) or random.SystemRandom().getrandbits(32)
CASES = list(
    itertools.product(("sync", "interval", "os"), ("mmap", "pwrite"), ("single", "batch")),
)
ROUNDS_A_STORE = 8


def run_and_kill(writers: Writers, job: Job, seconds: float, *, in_opening: bool, beside: int = 0) -> int:
    """Let a writer work for a while, kill it, and return the last operation it reported.

    The time begins once the store is open and each kind of background work was done that often.
    """
    pid = writers.start(json.dumps(asdict(job)))
    if not in_opening:
        assert writers.line() == "open\n"
    done = dict.fromkeys(("compact\n", "checkpoint\n"), 0)
    last, killed = job.first - 1, False
    while True:
        if not killed and min(done.values()) >= beside:
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
            killed = True
        line = writers.line()
        if line.startswith("ended "):
            break
        if line in done:
            done[line] += 1
        elif line != "open\n":
            number = int(line)
            assert number == last + 1
            last = number
    assert line == f"ended {-signal.SIGKILL}\n"
    return last


def apply(model: dict[int, bytes], seed: int, number: int, style: Style) -> None:
    for key, value in changes(seed, number, style):
        if value is None:
            model.pop(key, None)
        else:
            model[key] = value


@pytest.mark.timeout(0)
@pytest.mark.parametrize(("durability", "write_mode", "style"), CASES)
def test_a_killed_writer_loses_nothing_it_had_returned_from(
    tmp_path: Path, durability: str, write_mode: str, style: Style
) -> None:
    case = CASES.index((durability, write_mode, style))
    rounds = ROUNDS // len(CASES) + (case < ROUNDS % len(CASES))
    seed = SEED * 100 + case
    chance = random.Random(seed)
    commits = 0
    with Writers("kill_writer.py") as writers:
        for first_round in range(0, rounds, ROUNDS_A_STORE):
            path = tmp_path / f"store-{first_round}"
            model: dict[int, bytes] = {}
            done = 0
            compression = chance.choice((None, "zstd"))
            for round_number in range(first_round, min(first_round + ROUNDS_A_STORE, rounds)):
                options = {
                    "durability": durability,
                    "write_mode": write_mode,
                    "compression": compression,
                    "sync_interval_ms": chance.choice((1, 5, 50)),
                    "segment_bytes": chance.choice((16 << 10, 64 << 10, 1 << 20)),
                    # Checkpoints all the time, now and then, and hardly ever.
                    "checkpoint_tail_bytes": chance.choice((1 << 10, 32 << 10, 64 << 20)),
                }
                in_opening = chance.random() < 0.15
                seconds = chance.uniform(0, 0.004) if in_opening else min(chance.expovariate(50), 0.1)
                job = Job(str(path), seed, done, style, options)
                last = run_and_kill(writers, job, seconds, in_opening=in_opening)
                where = f"ALEXPY_KILL_SEED={SEED}, round {round_number} ({job})"
                done = check(path, model, job, last, where)
                commits += last + 1 - job.first
    print(f"{durability} {write_mode} {style}: {rounds} kills, {commits:,} reported commits, none lost")


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("durability", "write_mode", "style", "compression"),
    [
        ("sync", "mmap", "batch", None),
        ("interval", "mmap", "single", None),
        ("os", "pwrite", "batch", None),
        ("interval", "mmap", "batch", "zstd"),
    ],
)
def test_a_writer_killed_amid_compaction_and_checkpoints_loses_nothing_it_had_returned_from(
    tmp_path: Path, durability: str, write_mode: str, style: Style, compression: str | None
) -> None:
    rounds = max(ROUNDS // 25, 2)
    seed = SEED * 100 + 50 + ("sync", "interval", "os").index(durability)
    chance = random.Random(seed)
    model: dict[int, bytes] = {}
    done, commits = 0, 0
    path = tmp_path / "store"
    with Writers("kill_writer.py") as writers:
        for round_number in range(rounds):
            options = {
                "durability": durability,
                "write_mode": write_mode,
                "compression": compression,
                "sync_interval_ms": 5,
                "segment_bytes": chance.choice((8 << 10, 32 << 10, 128 << 10)),
            }
            job = Job(str(path), seed, done, style, options, beside=True)
            last = run_and_kill(writers, job, chance.uniform(0, 0.03), in_opening=False, beside=1)
            where = f"ALEXPY_KILL_SEED={SEED}, round {round_number} ({job})"
            commits += last + 1 - done
            done = check(path, model, job, last, where)
            with alexpy.open(path, read_only=True) as store:
                assert store.verify().ok, where
    numbers = [int(file.stem[4:], 16) for file in path.glob("img-*.idx")]
    assert max(numbers) >= rounds, "many images were written"
    numbers = [int(file.stem[4:], 16) for file in path.glob("seg-*.log")]
    assert len(numbers) < max(numbers) / 2, "many segments were freed"
    print(f"{durability} {write_mode} {style}: {rounds} kills, {commits:,} reported commits, none lost")


def check(path: Path, model: dict[int, bytes], job: Job, last: int, where: str) -> int:
    """Advance the model to what the store must hold, compare, and return the next operation's number."""
    for number in range(job.first, last + 1):
        apply(model, job.seed, number, job.style)
    if job.first == 0 and last < 0 and not any(path.glob("*")):
        return 0
    # Read-only first: the next writer must find what the kill left, not what a clean close made of it.
    try:
        store = alexpy.open(path, read_only=True)
    except (FileNotFoundError, alexpy.FormatError):
        # The kill fell into the making of the store, before anything could be in it.
        assert not model, where
        assert last < 0, where
        compression: Any = job.options["compression"]
        with alexpy.open(path, compression=compression) as made:
            assert len(made) == 0, where
        return 0
    with store:
        found = dict(store.items())
        assert len(store) == len(found), where
    if found == model:
        return last + 1
    apply(model, job.seed, last + 1, job.style)
    wrong = {key for key in found.keys() | model.keys() if found.get(key) != model.get(key)}
    shown = [(key, found.get(key, b"")[:40], model.get(key, b"")[:40]) for key in sorted(wrong)[:3]]
    assert not wrong, f"{where}: reported {last}; {len(wrong)} keys differ: (key, found, expected) {shown}"
    return last + 2


@pytest.mark.parametrize("durability", ["sync", "interval"])
def test_a_killed_load_keeps_every_committed_row(tmp_path: Path, durability: str) -> None:
    chance = random.Random()
    file = tmp_path / "rows.csv"
    count, batch = 200_000, 1000
    file.write_bytes(b"id,v\n" + b"".join(b"%d,%d\n" % (key, key * key) for key in range(count)))
    for number in range(3):
        path = tmp_path / f"store-{number}"
        arguments = ["load", path, file, "--key", "id", "--value", "v", "--json", "--batch-rows", batch]
        after = chance.randrange(1, 60)
        committed = 0
        with subprocess.Popen(
            command(*arguments, "--durability", durability), stdout=subprocess.PIPE
        ) as load:
            assert load.stdout is not None
            for line in load.stdout:
                committed = json.loads(line)["committed"]
                after -= 1
                if after == 0:
                    time.sleep(chance.uniform(0, 0.01))
                    load.kill()
        assert load.returncode == -signal.SIGKILL
        with alexpy.open(path) as store:
            found = list(store.items())
        assert len(found) in range(committed, count, batch)
        assert found == [(key, b"%d" % (key * key)) for key in range(len(found))]
