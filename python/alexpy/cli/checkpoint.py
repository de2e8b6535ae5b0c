"""`alexpy checkpoint`: make the next opening fast."""

from __future__ import annotations

import click

import alexpy

from .options import config_from_env, store_path


@click.command("checkpoint", short_help="Write an image of the index, for fast opening.")
@store_path
def checkpoint(store: str) -> None:
    """Write an image of STORE's index, so that the next opening starts from it instead of reading the log.

    Writers do this by themselves; this is for a store whose writer was killed, or before it is copied.
    """
    with alexpy.open(store, create=False, config=config_from_env()) as opened:
        opened.checkpoint()
