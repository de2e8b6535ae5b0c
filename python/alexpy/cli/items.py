"""`alexpy get`, `put` and `delete`: some keys at a time, or a range to delete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from . import keys as keys_module
from . import output, text
from .inputs import stdin
from .meaning import meaning_of
from .opening import NoStore, reader, writer, writer_of_new
from .options import (
    BAD_INPUT,
    NEGATIVE_ARGUMENTS,
    NOT_FOUND,
    Stopped,
    any_key_arguments,
    as_json,
    examples,
    key_argument,
    key_arguments,
    key_kind_option,
    start_option,
    stop_option,
    store_path,
)

if TYPE_CHECKING:
    import alexpy

_LONGEST_VALUE = 2**32 - 1
_PIECE_BYTES = 1 << 20


@click.command(
    "get",
    short_help="Write the values of keys to standard output.",
    context_settings=NEGATIVE_ARGUMENTS,
    epilog=examples(
        "alexpy get flights 2                  # the value, byte for byte",
        "alexpy get flights 2 > value",
        "alexpy get flights 1 2 3              # a line for each: key, tab, value",
        "alexpy get flights 1 2 --json",
        "alexpy get readings 2026-11-29T12:00",
    ),
)
@store_path
@key_arguments
@as_json
def get(store: str, keys: tuple[str, ...], *, json: bool) -> None:
    """Write the value of KEY to standard output, byte for byte.

    For several keys each is a line in the order given: key, tab, value as `scan` shows it. With --json a line
    is as that of `scan --json`, and {"key": ..., "value": null} if the key is not there. Keys that are not
    there are named on standard error, after all the others were written; the exit code is then 1.

    KEY is what the keys of STORE are: an integer; a date or time in ISO 8601, in UTC or with an offset; or a
    UUID, which can also be given as 32 hex digits or as an integer.
    """
    with reader(store) as opened:
        meaning = meaning_of(opened)
        wanted = keys_module.arguments(keys, opened.key_kind)
        found = [(key, opened.get(key)) for key in wanted]
    there = [(key, value) for key, value in found if value is not None]
    if json:
        output.write_lines(
            text.json_line({"key": keys_module.to_json(key), "value": None})
            if value is None
            else meaning.json(key, value)
            for key, value in found
        )
    elif len(keys) > 1:
        output.write_lines(meaning.line(key, value) for key, value in there)
    elif there:
        # On a terminal the prompt should not follow the value on its line; arrays are not for the screen.
        on_screen = meaning.shown(there[0][1]).encode() if meaning.is_json else there[0][1]
        output.write(on_screen + b"\n" if output.is_terminal() else there[0][1])
    absent = [key for key, value in found if value is None]
    if absent:
        raise Stopped(f"{store} has no {text.keys(absent)}", NOT_FOUND)


@click.command(
    "put",
    short_help="Store one value.",
    context_settings=NEGATIVE_ARGUMENTS,
    epilog=examples(
        'alexpy put flights 4 "a value"',
        "alexpy put flights 5 --file flights.csv",
        "printf 'any bytes' | alexpy put flights 6 -",
        "alexpy put people 550e8400-e29b-41d4-a716-446655440000 Ada --key-kind uuid",
    ),
)
@store_path
@key_argument
@click.argument("value", required=False)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the value from a file.",
)
@key_kind_option
@as_json
def put(
    store: str, key: str, value: str | None, file: Path | None, key_kind: str | None, *, json: bool
) -> None:
    """Store VALUE (text; "-" reads standard input) under KEY. The store is made if there is none.

    In a store of JSON, arrays or records (alexpy.codecs) VALUE is JSON: 0.5, [1, 2], '"text"'.
    It survives a power cut once the command has ended. With --json it prints the key, how many bytes the
    value has, and whether it replaced another.
    """
    given = _value(value, file)
    with _writer(store, key, key_kind) as opened:
        (place,) = keys_module.arguments([key], opened.key_kind)
        try:
            data = meaning_of(opened).stored(given)
        except ValueError as error:
            raise Stopped(f"{error}; nothing was stored", BAD_INPUT) from error
        replaced = place in opened
        opened.put(place, data)
        opened.flush()
    if json:
        output.report_json({"key": keys_module.to_json(place), "bytes": len(data), "replaced": replaced})


def _writer(store: str, key: str, kind: str | None) -> alexpy.Store[Any, bytes]:
    try:
        return writer(store, kind)
    except NoStore:
        # No store is made for what is no key.
        keys_module.arguments([key], kind or "int64")
        return writer_of_new(store, kind=kind)


def _value(value: str | None, file: Path | None) -> bytes:
    if (value is None) == (file is None):
        raise click.UsageError("give either VALUE or --file")
    if file is not None:
        try:
            with file.open("rb") as source:
                return _whole(source)
        except OSError as error:
            raise Stopped(f"cannot read {file}: {error.strerror}; nothing was stored", BAD_INPUT) from error
    if value == "-":
        return _whole(stdin())
    text_of_value = value or ""
    if text_of_value.startswith("--"):
        raise click.UsageError(
            f'there is no option "{text_of_value}"; a value that begins so is read from standard input: '
            "printf %s VALUE | alexpy put STORE KEY -"
        )
    return os.fsencode(text_of_value)


def _whole(source: BinaryIO) -> bytes:
    """Read a value piece by piece, so that one without end is refused before it fills the memory."""
    pieces, size = [], 0
    while piece := source.read(_PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > _LONGEST_VALUE:
            raise Stopped(f"a value has at most {_LONGEST_VALUE:,} bytes; nothing was stored", BAD_INPUT)
    return b"".join(pieces)


@click.command(
    "delete",
    short_help="Remove keys, or a range of them.",
    context_settings=NEGATIVE_ARGUMENTS,
    epilog=examples(
        "alexpy delete flights 4 5",
        "alexpy delete flights --start 2 --stop 4     # 2 and 3",
        "alexpy delete readings --stop 2026-11-01    # all before November",
        "alexpy delete flights --all",
    ),
)
@store_path
@any_key_arguments
@start_option
@stop_option
@click.option("--all", "everything", is_flag=True, help="Remove every key.")
@as_json
def delete(
    store: str,
    keys: tuple[str, ...],
    start: str | None,
    stop: str | None,
    *,
    everything: bool,
    json: bool,
) -> None:
    """Remove each KEY; or every key of a range, which needs at least one bound, or --all.

    One commit: all of it or nothing, and no question is asked. It survives a power cut once the command has
    ended. Prints how many keys of a range were removed; with --json always, {"deleted": n, "absent": [...]}.
    If some KEY is not there, the others are removed and the exit code is 1.
    """
    ranged = start is not None or stop is not None
    if bool(keys) + ranged + everything != 1:
        raise click.UsageError("give either keys, or --start or --stop or both, or --all")
    with writer(store) as opened:
        given = keys_module.arguments(keys, opened.key_kind)
        ends = keys_module.bounds(start, stop, opened.key_kind)
        absent = [key for key in dict.fromkeys(given) if key not in opened]
        if everything:
            removed = len(opened)
            opened.clear()
        else:
            removed = opened.delete_range(*ends) if ranged else opened.delete_many(given)
        opened.flush()
    if json:
        output.report_json({"deleted": removed, "absent": list(map(keys_module.to_json, absent))})
    elif not keys:
        output.report(f"removed {text.count(removed, 'key')} from {store}")
    if absent:
        rest = f"; removed {text.count(removed, 'other key')}" if removed else ""
        raise Stopped(f"{store} has no {text.keys(absent)}{rest}", NOT_FOUND)
