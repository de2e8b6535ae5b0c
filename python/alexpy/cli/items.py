"""`alexpy get`, `put` and `delete`: one key at a time."""

from __future__ import annotations

import os
from pathlib import Path

import click

from . import output
from .inputs import stdin
from .opening import reader, writer, writer_of_new
from .options import NEGATIVE_ARGUMENTS, NOT_FOUND, Stopped, key_argument, store_path


@click.command(
    "get", short_help="Write the value of a key to standard output.", context_settings=NEGATIVE_ARGUMENTS
)
@store_path
@key_argument
def get(store: str, key: int) -> None:
    """Write the value of KEY to standard output, byte for byte; exit 1 if the key is absent."""
    with reader(store) as opened:
        value = opened.get(key)
    if value is None:
        raise Stopped(f"{store} has no key {key}", NOT_FOUND)
    # On a terminal the prompt should not follow the value on its line.
    output.write(value + b"\n" if output.is_terminal() else value)


@click.command("put", short_help="Store one value.", context_settings=NEGATIVE_ARGUMENTS)
@store_path
@key_argument
@click.argument("value", required=False)
@click.option(
    "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Take the value from a file."
)
def put(store: str, key: int, value: str | None, file: Path | None) -> None:
    """Store VALUE (text; "-" reads standard input) under KEY. The store is made if there is none."""
    if (value is None) == (file is None):
        raise click.UsageError("give either VALUE or --file")
    if file is not None:
        data = file.read_bytes()
    else:
        data = stdin().read() if value == "-" else os.fsencode(value or "")
    with writer_of_new(store) as opened:
        opened.put(key, data)
        opened.flush()


@click.command("delete", short_help="Remove one key.", context_settings=NEGATIVE_ARGUMENTS)
@store_path
@key_argument
def delete(store: str, key: int) -> None:
    """Remove KEY; exit 1 if the key is absent."""
    with writer(store) as opened:
        there = opened.delete(key)
        opened.flush()
    if not there:
        raise Stopped(f"{store} has no key {key}", NOT_FOUND)
