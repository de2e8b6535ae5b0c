"""A table of jobs: eight threads claim, finish and retry them; a kill in the middle loses none.

    python examples/jobs.py

A job is one JSON value, and `compare_and_set` changes its state, so no two threads get the same job. What was
running when the process died waits again at the next start: such a job runs twice, and ends once.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import alexpy
from alexpy import codecs

JOBS, THREADS, TRIES = 400, 8, 3
# One that never succeeds, and how often the others fail.
HOPELESS, FAILS = 13, 0.05
# Jobs that have ended keep their number, above this.
ENDED = 1 << 62


class Jobs:
    """Jobs in a store: open ones under their number, in the order in which they came, then the others."""

    def __init__(self, path: Path) -> None:
        self.store: alexpy.Store[int, Any] = alexpy.open(path, codec=codecs.json)
        for number, job in self.store.scan(0, ENDED):
            if job["state"] == "running":
                self.store[number] = job | {"state": "waiting"}

    def add(self, works: list[Any]) -> None:
        """Add jobs in one commit, behind those that are there."""
        last = self.store.lower(ENDED)
        first = 0 if last is None else last[0] + 1
        waiting = [{"state": "waiting", "tries": 0, "work": work} for work in works]
        self.store.put_many(range(first, first + len(works)), waiting)

    def claim(self) -> tuple[int, Any] | None:
        """Return the first job that waits, which runs now; None if none waits. O(jobs that run)."""
        for number, job in self.store.scan(0, ENDED):
            running = job | {"state": "running", "tries": job["tries"] + 1}
            if job["state"] == "waiting" and self.store.compare_and_set(number, job, running):
                return number, running
        return None

    def finish(self, number: int, result: Any) -> None:
        """Take a job out of the open ones and keep its result, both in one commit."""
        with self.store.batch() as batch:
            batch.delete(number)
            batch[ENDED + number] = {"state": "done", "result": result}

    def fail(self, number: int, job: Any, reason: str) -> None:
        """Let a job wait again, or give it up after the last try."""
        if job["tries"] < TRIES:
            self.store[number] = job | {"state": "waiting"}
            return
        with self.store.batch() as batch:
            batch.delete(number)
            batch[ENDED + number] = {"state": "failed", "reason": reason}

    def open(self) -> int:
        """Return how many jobs have not ended."""
        return self.store.count(0, ENDED)


def work(number: int, tries: int) -> int:
    """Do a job: it fails at times, and one always does."""
    time.sleep(0.002)
    if number == HOPELESS or random.Random(f"{number} {tries}").random() < FAILS:
        raise RuntimeError("no answer")
    return number * number


def worker(jobs: Jobs) -> None:
    """Claim jobs and do them until none is open."""
    while jobs.open():
        claimed = jobs.claim()
        if claimed is None:
            # Others run, and may fail.
            time.sleep(0.001)
            continue
        number, job = claimed
        try:
            jobs.finish(number, work(job["work"], job["tries"]))
        except RuntimeError as error:
            jobs.fail(number, job, str(error))


def run(path: Path) -> Jobs:
    """Do all jobs in threads."""
    jobs = Jobs(path)
    threads = [threading.Thread(target=worker, args=[jobs]) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return jobs


def main() -> None:
    """Add jobs, kill the process that does them, go on in this one, and count."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs"
        jobs = Jobs(path)
        jobs.add(list(range(JOBS)))
        jobs.store.close()
        with subprocess.Popen([sys.executable, __file__, path]) as killed:
            with alexpy.open(path, read_only=True) as watcher:
                while watcher.count(ENDED) < JOBS // 4 and killed.poll() is None:
                    time.sleep(0.002)
                    watcher.refresh()
            killed.kill()
        with alexpy.open(path, codec=codecs.json, read_only=True) as store:
            states = [job["state"] for job in store.scan_values(0, ENDED)]
            print(f"killed: {store.count(ENDED)} jobs had ended, {states.count('running')} were running")
        jobs = run(path)
        ended = {key - ENDED: job for key, job in jobs.store.scan(ENDED)}
        failed = [number for number, job in ended.items() if job["state"] == "failed"]
        done = {number: job["result"] for number, job in ended.items() if job["state"] == "done"}
        jobs.store.close()
    right = {number: number * number for number in range(JOBS) if number not in failed}
    if set(ended) != set(range(JOBS)) or done != right or HOPELESS not in failed:
        raise SystemExit(f"WRONG: {len(ended)} ended, {failed} failed")
    print(
        f"went on: {len(done)} of {JOBS} are done with the right result, failed after {TRIES} tries: {failed}"
    )


if __name__ == "__main__":
    if sys.argv[1:]:
        run(Path(sys.argv[1]))
    else:
        main()
