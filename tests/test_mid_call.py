"""Python code that runs in the middle of a call: the right answer or a clear error, no crash, no deadlock.

Every call that takes keys, values, a value, a callback or a bound is made with objects whose `__index__`,
`__iter__`, `__next__`, buffer, progress, signal handler or finaliser frees, resizes, changes, closes, forks
or re-enters. Child processes run the combinations, many in each, with a timeout and faulthandler on. A child
prints each combination before it runs it, so that a crash names it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# `make torture` runs every combination, other runs one of so many.
STRIDE = "5" if "ALEXPY_LIMIT_SEEDS" not in os.environ else "1"
PROGRAM = Path(__file__).with_name("mid_call.py")


@pytest.mark.parametrize("part", ["store", "batch", "index", "signals", "threads"])
def test_code_in_mid_call_leads_to_an_answer_or_a_clear_error(part: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(PROGRAM), part, str(tmp_path), STRIDE],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout[-500:]}\n{run.stderr[-3000:]}"
    assert "PanicException" not in run.stderr
    assert run.stdout.splitlines()[-1].startswith("done:")
