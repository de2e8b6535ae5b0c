"""The program that test_kill_orders kills: forks one writer for each job it reads from standard input.

A writer opens what the previous kill left, compares all of it with a model, and goes on from there, while
another thread writes one image of the index after another. The writer reports its process id, the operation
at which it goes on, and the number of each operation after its call returned. The parent reports how it
ended.
"""

from __future__ import annotations

import json
import random
import threading
from dataclasses import dataclass

import numpy as np

import alexpy
from forked import say, serve

COMING = ("ascending", "descending", "zigzag", "counters", "anywhere", "outliers")
GOING = ("never", "front by range", "front one by one", "back one by one", "anywhere", "cleared")


@dataclass(frozen=True, slots=True)
class Job:
    """The work of one writer: where it writes, how keys come and go, the last operation reported so far."""

    path: str
    seed: int
    coming: str
    going: str
    last: int
    options: dict[str, object]


class Life:
    """The content of the store after a number of operations, and the next operation."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.model: dict[int, bytes] = {}
        self.number = -1
        self.next_key = 0

    def step(self, store: alexpy.Store | None) -> None:
        """Make the next operation in the model, and in the store if there is one: one commit."""
        self.number += 1
        chance = random.Random(self.job.seed * 1_000_003 + self.number)
        if self.number % 4 == 3 and self._go(store, chance):
            return
        keys = [self._key(chance) for _ in range(chance.choice((1, 1, 20, 200)))]
        value = b"%08d" % self.number
        if store is not None and len(keys) == 1:
            store.put(keys[0], value)
        elif store is not None:
            store.put_many(np.array(keys, np.int64), [value] * len(keys))
        self.model.update(dict.fromkeys(keys, value))

    def _key(self, chance: random.Random) -> int:
        self.next_key += 1
        number = self.next_key
        match self.job.coming:
            case "ascending":
                return number
            case "descending":
                return -number
            case "zigzag":
                return number if number % 2 else -number
            case "counters":
                return (chance.randrange(7) << 40) + number
            case "outliers":
                return number << (30 if chance.random() < 0.002 else 0)
            case _:
                return chance.getrandbits(64) - 2**63

    def _go(self, store: alexpy.Store | None, chance: random.Random) -> bool:
        """Remove the keys that go now; return whether there were any."""
        keys = self._going(chance) if self.model else []
        if keys and store is not None:
            self._remove(store, keys)
        for key in keys:
            del self.model[key]
        return bool(keys)

    def _going(self, chance: random.Random) -> list[int]:
        model, lucky = self.model, chance.random()
        match self.job.going:
            case "cleared" if lucky < 0.02:
                return list(model)
            case "front by range" if lucky < 0.1:
                return sorted(model)[: len(model) // 2]
            case "front one by one":
                return [min(model)]
            case "back one by one":
                return [max(model)]
            case "anywhere":
                return chance.sample(sorted(model), min(len(model), chance.randrange(1, 150)))
            case _:
                return []

    def _remove(self, store: alexpy.Store, keys: list[int]) -> None:
        match self.job.going:
            case "cleared":
                store.clear()
            case "front by range":
                store.delete_range(stop=keys[-1] + 1)
            case "anywhere":
                store.delete_many(keys)
            case going:
                expected = (keys[0], self.model[keys[0]])
                assert store.popitem(last=going == "back one by one") == expected


def write(job: Job) -> None:
    """Check the content of the store, then go on until killed."""
    life = Life(job)
    while life.number < job.last:
        life.step(None)
    store = alexpy.open(job.path, **job.options)
    if dict(store.items()) != life.model:
        # The kill can fall between a commit and its report.
        life.step(None)
    found = dict(store.items())
    wrong = [key for key in found.keys() | life.model.keys() if found.get(key) != life.model.get(key)]
    assert not wrong, f"reported {job.last}; {len(wrong)} keys differ, among them {sorted(wrong)[:5]}"
    assert len(store) == len(found)
    keys = sorted(found)[:: len(found) // 100 + 1]
    assert store.get_many(keys) == [found[key] for key in keys]
    say(f"from {life.number + 1}")
    threading.Thread(target=checkpoint, args=(store,), daemon=True).start()
    while True:
        life.step(store)
        say(str(life.number))


def checkpoint(store: alexpy.Store) -> None:
    while True:
        store.checkpoint()


if __name__ == "__main__":
    serve(lambda line: write(Job(**json.loads(line))))
