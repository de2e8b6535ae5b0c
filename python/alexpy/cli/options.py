"""Shared by the commands: arguments, options, exit codes, and the exception that ends a command with one."""

from __future__ import annotations

import click

from alexpy.config import Config

_KEY_MIN = -(2**63)
_KEY_MAX = 2**63 - 1
_MOST_DIGITS = 1000


def _integer(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS):
        raise click.BadParameter(f"{text!r} is not an integer")
    return int(text)


def _key(ctx: click.Context, param: click.Parameter, text: str) -> int | None:
    number = _integer(ctx, param, text)
    if number is not None and not _KEY_MIN <= number <= _KEY_MAX:
        raise click.BadParameter(f"the key {number} is outside int64 ({_KEY_MIN} to {_KEY_MAX})")
    return number


store_path = click.argument("store")
key_argument = click.argument("key", callback=_key)
# A bound may be any integer: one outside int64 means no bound on that side.
start_option = click.option(
    "--start", callback=_integer, metavar="KEY", help="The smallest key shown. [default: the first]"
)
stop_option = click.option(
    "--stop", callback=_integer, metavar="KEY", help="The first key no longer shown. [default: none]"
)
as_json = click.option("--json", "json", is_flag=True, help="One JSON object a line, for programs.")
# Keys may be negative: "-5" is an argument here, not an option.
NEGATIVE_ARGUMENTS = {"ignore_unknown_options": True}

NOT_FOUND = 1
BAD_INPUT = 2
STORE_ERROR = 3
INTERRUPTED = 130
PIPE_CLOSED = 141


class Stopped(Exception):  # noqa: N818 - not every end is an error
    """Ends a command with a message for standard error and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        """Keep the exit code beside the message."""
        super().__init__(message)
        self.exit_code = exit_code


def config_from_env(durability: str | None = None) -> Config:
    """Return what the environment configures (ALEXPY_DURABILITY and so on), the command line's over it."""
    try:
        config = Config.from_env()
    except ValueError as error:
        raise Stopped(str(error), BAD_INPUT) from error
    return config if durability is None else config.with_options({"durability": durability})
