"""`alexpy backup`: copies a store, even while it is being written."""

from __future__ import annotations

import click

import alexpy

from .options import BAD_INPUT, Stopped, config_from_env, store_path
from .progress import byte_progress


@click.command("backup", short_help="Make a copy of a store, also of one in use.")
@store_path
@click.argument("dest")
@click.option("--quiet", is_flag=True, help="No progress.")
def backup(store: str, dest: str, *, quiet: bool) -> None:
    """Make a store in the new directory DEST that holds what STORE holds now, also while it is written.

    Finished files are hard links if the file system allows: copy DEST elsewhere against the loss of the disk.
    """
    with alexpy.open(store, read_only=True, config=config_from_env()) as opened:
        try:
            with byte_progress("backing up", quiet=quiet) as progress:
                opened.backup(dest, progress)
        except ValueError as error:
            raise Stopped(str(error), BAD_INPUT) from error
