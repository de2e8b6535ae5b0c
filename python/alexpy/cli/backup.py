"""`alexpy backup`: copies a store, even while it is being written."""

from __future__ import annotations

from pathlib import Path

import click

from . import output, text
from .opening import no_directory_for, reader
from .options import BAD_INPUT, Stopped, as_json, completed_as, examples, store_path
from .progress import progress


@click.command(
    "backup",
    short_help="Make a copy of a store, also of one in use.",
    epilog=examples("alexpy backup flights flights-monday", "alexpy verify flights-monday"),
)
@store_path
@click.argument("dest", shell_complete=completed_as("dir"))
@click.option("--quiet", is_flag=True, help="No progress.")
@as_json
def backup(store: str, dest: str, *, quiet: bool, json: bool) -> None:
    """Make a store in the new directory DEST that holds what STORE holds now, also while it is written.

    Finished files are hard links if the file system allows: copy DEST elsewhere against the loss of the disk.
    """
    with reader(store) as opened:
        keys, last_seq = len(opened), opened.stats().last_seq
        try:
            with progress("backing up", "bytes", quiet=quiet or json) as show:
                opened.backup(dest, show)
        except FileNotFoundError as error:
            raise (error if Path(dest).absolute().parent.exists() else no_directory_for(dest)) from error
        except ValueError as error:
            raise Stopped(str(error), BAD_INPUT) from error
    if json:
        output.report_json({"keys": keys, "last_seq": last_seq, "dest": dest})
    else:
        output.report(f"{dest} holds all {text.count(keys, 'key')} of {store}, flushed to the device")
