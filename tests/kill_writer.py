"""The program that test_kill kills: forks one writer for each job it reads from standard input.

A fork is much cheaper than a new Python with NumPy. The writer reports on standard output, a pipe: its
process id, then that the store is open, then the number of each operation after its call returned. In between
it reports the work of its other threads: "compact" for freed segments, "checkpoint" for an image. The parent,
which never opens a store, reports how the writer ended.
"""

from __future__ import annotations

import json
import threading

import numpy as np

import alexpy
from forked import say, serve
from kill_operations import Change, Job, changes


def write(job: Job) -> None:
    """Carry out operations until killed."""
    store = alexpy.open(job.path, **job.options)
    say("open")
    if job.beside:
        for work in (compact, checkpoint):
            threading.Thread(target=work, args=(store,), daemon=True).start()
    number = job.first
    while True:
        apply(store, changes(job.seed, number, job.style), number)
        say(str(number))
        number += 1


def compact(store: alexpy.Store) -> None:
    while True:
        if store.compact().freed_segments:
            say("compact")


def checkpoint(store: alexpy.Store) -> None:
    while True:
        store.checkpoint()
        say("checkpoint")


def apply(store: alexpy.Store, todo: list[Change], number: int) -> None:
    """Make one commit by a call that fits it; if two calls fit, alternate between them."""
    keys = [key for key, _ in todo]
    values = [value for _, value in todo if value is not None]
    if len(todo) == 1:
        if values:
            store.put(keys[0], values[0])
        else:
            store.delete(keys[0])
    elif len(values) == len(keys) and number % 2:
        store.put_many(np.array(keys, np.int64), values)
    else:
        with store.batch() as batch:
            for key, value in todo:
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)


if __name__ == "__main__":
    serve(lambda line: write(Job(**json.loads(line))))
