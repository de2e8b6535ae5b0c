"""A table that follows another: totals by customer, kept up to date from the changes of a store of orders.

    python examples/follower.py

The follower reads `changes` and writes what they mean, together with how far it is, in one commit. So a kill
at any moment costs nothing, and a change that comes twice changes nothing. Where compaction has freed changes
that it has not seen, it builds the table anew from a snapshot and goes on from there.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import alexpy
from alexpy import codecs

ORDERS, CUSTOMERS = 3_000, 50
# Keys of the derived table: customers, the orders as they were last seen, and how far it is.
SEEN, POSITION = 1 << 32, -1
# Most changes of one commit.
AT_ONCE = 10_000


def follow(orders: alexpy.Store[int, Any], table: alexpy.Store[int, Any]) -> None:
    """Bring the table up to what `orders` shows, and go on whenever more comes."""
    while True:
        shown = orders.refresh()
        position = table.get(POSITION)
        try:
            if position is None:
                rebuild(orders, table, "the table is new")
            elif position < shown:
                apply(list(islice(orders.changes(position), AT_ONCE)), shown, table)
            else:
                orders.wait(shown + 1)
        except alexpy.HistoryGoneError:
            rebuild(orders, table, "compaction has freed changes that it had not seen")


def apply(changes: list[Any], shown: int, table: alexpy.Store[int, Any]) -> None:
    """Write in one commit what some changes mean; they are all up to `shown` if fewer than AT_ONCE."""
    seen: dict[int, Any] = {}
    totals: Counter[int] = Counter()
    for change in changes:
        keys = [change.key]
        if isinstance(change.key, range):
            keys = [key - SEEN for key in table.scan_keys(SEEN + change.key.start, SEEN + change.key.stop)]
            keys += [key for key in seen if key in change.key]
        for key in keys:
            before = seen[key] if key in seen else table.get(SEEN + key)
            for order, sign in ((before, -1), (change.value, 1)):
                if order is not None:
                    totals[order["customer"]] += sign * order["cents"]
            seen[key] = change.value
    with table.batch() as batch:
        for key, order in seen.items():
            if order is None:
                batch.delete(SEEN + key)
            else:
                batch[SEEN + key] = order
        for customer, cents in totals.items():
            batch[customer] = table.get(customer, 0) + cents
        batch[POSITION] = shown if len(changes) < AT_ONCE else changes[-1].seq


def rebuild(orders: alexpy.Store[int, Any], table: alexpy.Store[int, Any], why: str) -> None:
    """Replace the whole table by what a snapshot says, in one commit."""
    with orders.snapshot() as snapshot, table.batch() as batch:
        batch.delete_range(POSITION)
        totals: Counter[int] = Counter()
        for key, order in snapshot.items():
            batch[SEEN + key] = order
            totals[order["customer"]] += order["cents"]
        batch.put_many(list(totals), list(totals.values()))
        batch[POSITION] = snapshot.seq
        print(f"follower: builds the table from a snapshot: {why}", flush=True)


def some_orders(store: alexpy.Store[int, Any], chance: random.Random) -> None:
    """Write, change and remove orders for a while."""
    for _ in range(200):
        keys = [chance.randrange(ORDERS) for _ in range(20)]
        store.put_many(
            keys, [{"customer": chance.randrange(CUSTOMERS), "cents": chance.randrange(9_999)} for _ in keys]
        )
        store.delete(chance.randrange(ORDERS))
    start = chance.randrange(ORDERS)
    store.delete_range(start, start + 50)


def wait_for(path: Path, position: int, follower: subprocess.Popen[bytes]) -> dict[int, int]:
    """Return the totals of the table once it is as far as that."""
    with alexpy.open(path, codec=codecs.json, read_only=True) as table:
        while table.get(POSITION, -1) < position and follower.poll() is None:
            time.sleep(0.01)
            table.refresh()
        return dict(table.scan(0, CUSTOMERS))


def main() -> None:
    """Write orders, kill the follower now and then, and compare its table with the truth."""
    chance = random.Random(3)
    with tempfile.TemporaryDirectory() as folder:
        path, table_path = Path(folder) / "orders", Path(folder) / "totals"
        command = [sys.executable, __file__, str(path), str(table_path)]
        alexpy.open(table_path, codec=codecs.json).close()
        # Compaction only where this program calls it, so that what is printed is the same each time.
        with alexpy.open(path, codec=codecs.json, segment_bytes=1 << 20, background=False) as orders:
            for number in range(4):
                with subprocess.Popen(command) as follower:
                    if number in {0, 2}:  # it starts over, and is to say so once
                        wait_for(table_path, orders.stats().last_seq, follower)
                    some_orders(orders, chance)
                    time.sleep(chance.uniform(0.3, 0.6))
                    follower.kill()
                some_orders(orders, chance)
                if number == 1:
                    for _ in range(3):
                        some_orders(orders, chance)
                        orders.compact()
                    print("compacted while no follower ran", flush=True)
            last = orders.stats().last_seq
            truth: Counter[int] = Counter()
            for order in orders.values():
                truth[order["customer"]] += order["cents"]
        with subprocess.Popen(command) as follower:
            totals = wait_for(table_path, last, follower)
            follower.kill()
        if totals != truth:
            raise SystemExit(f"WRONG: {totals} and should be {truth}")
        cents = sum(totals.values())
        print(f"after four kills the totals of {len(totals)} customers are right, {cents:,} cents in all")


if __name__ == "__main__":
    if sys.argv[1:]:
        with (
            alexpy.open(sys.argv[1], read_only=True) as of_orders,
            alexpy.open(sys.argv[2], codec=codecs.json) as derived,
        ):
            follow(of_orders, derived)
    else:
        main()
