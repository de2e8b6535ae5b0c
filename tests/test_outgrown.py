"""A store that outgrows memory while it is open reads what is asked for, and not megabytes around it."""

import subprocess
import sys
from pathlib import Path

import pytest

from alexpy.compare.engine import Lacks
from alexpy.compare.group import limited

LIMIT = 192 << 20
# Run in a control group: makes a store twice as large as the group's memory beside a reader that was there
# first, and prints how many bytes a random value of 1 KiB takes to read, by each way and in each of the two.
PROGRAM = """
import sys
from pathlib import Path
from alexpy.compare.group import enter
enter(Path(sys.argv[1]))
import resource
import numpy as np
import alexpy

COUNT, ASKED = 400_000, 500
generator = np.random.default_rng(1)

def value(key):
    return key.to_bytes(8, "little") * 128

def read(get):
    asked = generator.integers(0, COUNT, ASKED)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_inblock
    assert get(asked) == [value(key) for key in asked.tolist()]
    return (resource.getrusage(resource.RUSAGE_SELF).ru_inblock - before) * 512 // ASKED

store = alexpy.open(sys.argv[2], segment_bytes=8 << 20)
reader = alexpy.open(sys.argv[2], read_only=True)
for at in range(0, COUNT, 1000):
    keys = range(at, at + 1000)
    store.put_many(np.array(keys), [value(key) for key in keys])
store.flush()
reader.refresh()
for each in (store, reader):
    print(read(each.get_many), read(lambda keys: [each[key] for key in keys.tolist()]))
"""


def test_a_store_that_outgrows_memory_while_it_is_open_reads_no_more_than_it_needs(tmp_path: Path) -> None:
    asked = ["stat", "-f", "-c", "%T", str(tmp_path)]
    kind = subprocess.run(asked, capture_output=True, text=True, check=True)
    if kind.stdout.strip() == "tmpfs":
        pytest.skip("the files of this file system are memory")
    try:
        with limited(LIMIT) as group:
            arguments = [sys.executable, "-c", PROGRAM, str(group), str(tmp_path / "store")]
            done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    except Lacks as why:
        pytest.skip(str(why))
    assert done.returncode == 0, done.stderr
    found = [int(number) for number in done.stdout.split()]
    assert len(found) == 4
    # Some of it is in memory, so that it is about a page on average, a little more with the index.
    assert all(0 < number < 32 << 10 for number in found), found
