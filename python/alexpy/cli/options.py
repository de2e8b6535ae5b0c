"""Shared by the commands: arguments, options, exit codes, and the exception that ends a command with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

import click

from alexpy.config import Config, Integers, Moments

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem


# What the keys of a store can be, as `alexpy.open` names it.
KINDS: Final[tuple[str, ...]] = (*get_args(Integers), *get_args(Moments), "uuid")


def completed_as(kind: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return a function that leaves the completion of a word to the shell: of a "file" or a "dir"."""

    def completed(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only at the Tab key

        return [CompletionItem(incomplete, type=kind)]

    return completed


def examples(*lines: str) -> str:
    """Return the end of a help text: command lines that a reader can try."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


store_path = click.argument("store", shell_complete=completed_as("dir"))
# Keys are text here: only the store knows what they are (keys.py).
key_argument = click.argument("key")
key_arguments = click.argument("keys", metavar="KEY...", nargs=-1, required=True)
any_key_arguments = click.argument("keys", metavar="[KEY...]", nargs=-1)
start_option = click.option("--start", metavar="KEY", help="From this key on. [default: from the first]")
stop_option = click.option("--stop", metavar="KEY", help="Up to this key, without it. [default: to the last]")
key_kind_option = click.option(
    "--key-kind",
    type=click.Choice(KINDS),
    metavar="KIND",
    help="What the keys of a new store are: int64, uint64, datetime64[s], [ms], [us] or [ns], or uuid. "
    "[default: int64]",
)
as_json = click.option("--json", "json", is_flag=True, help="One JSON object a line, for programs.")
# Keys may be negative: "-5" is an argument here, not an option.
NEGATIVE_ARGUMENTS = {"ignore_unknown_options": True}

NOT_FOUND = 1
BAD_INPUT = 2
STORE_ERROR = 3
WRONG_ANSWER = 4
DEFECT = 5
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
